"""Answers for the loopback service: a model that reads a file, lowers its LR, and says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from loopback_programs.server import Block, call, text

SAID = {"mutation_type": "hyperparameter", "mutation_summary": "lower LR", "hypothesis": "it overshoots"}
REVIEW = {
    "valid": True, "is_improvement": False, "branch_recommendation": "branch", "observation": "looked at it", "next_belief": "try more",
    "confidence": 0.4, "recommended_next_mutations": [{"mutation_type": "schedule", "description": "a cosine schedule"}],
}  # fmt: skip


def _written(value: object) -> str:
    """All text of a request's part, whatever it is wrapped in."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def folder_in(request: dict[str, Any]) -> str:
    """The workspace that the prompt names."""
    found = re.search(r"The files are in your working folder, ([^,\"]+?)\. Edit", _written(request.get("messages") or request.get("input")))
    assert found, "the prompt names no folder"
    return found[1]


def claude_edits(factor: float = 0.9, also: Callable[[str], Block] | None = None) -> Callable[[dict[str, Any]], list[Block]]:
    """Reads train.py, edits its LR, ends. `also` makes one more call before the end; it is told the folder."""

    def answer(request: dict[str, Any]) -> list[Block]:
        if not request.get("tools"):
            return [text(json.dumps(REVIEW))]
        results = [b for m in request["messages"] if isinstance(m["content"], list) for b in m["content"] if b.get("type") == "tool_result"]
        folder = folder_in(request)
        if not results:
            return [text("I look first."), call("Read", file_path=f"{folder}/train.py")]
        if len(results) == 1:
            lr = re.search(r"LR = ([\d.e-]+)", _written(results[0]["content"]))[1]
            old, new = f"LR = {lr}\n", f"LR = {float(lr) * factor!r}\n"
            return [call("Edit", file_path=f"{folder}/train.py", old_string=old, new_string=new)]
        if len(results) == 2 and also is not None:
            return [also(folder)]
        return [text("Done.\n" + json.dumps(SAID))]

    return answer


def codex_edits(factor: float = 0.9, also: Callable[[str], Block] | None = None) -> Callable[[dict[str, Any]], list[Block]]:
    """The same by way of a shell and apply_patch."""

    def answer(request: dict[str, Any]) -> list[Block]:
        results = [_written(item["output"]) for item in request["input"] if item.get("type", "").endswith("call_output")]
        if not results:
            return [call("exec_command", cmd="grep -n '^LR' train.py")]
        if len(results) == 1:
            lr = re.search(r"LR = ([\d.e-]+)", results[0])[1]
            patch = f"*** Begin Patch\n*** Update File: train.py\n@@\n-LR = {lr}\n+LR = {float(lr) * factor!r}\n*** End Patch\n"
            return [call("exec_command", cmd=f"apply_patch <<'END'\n{patch}END\n")]
        if len(results) == 2 and also is not None:
            return [also(folder_in(request))]
        return [text(json.dumps(SAID))]

    return answer
