"""Tools in plain text, for servers that have none: a line that names the tool, then a fenced block with its argument.

    WRITE train.py
    ````
    the whole file
    ````
    FINISH
    ```
    {"mutation_type": "...", ...}
    ```

Parsed strictly: a block without its line, or without an end, is not read. Where a tool has no argument called `path` it is JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from evogit.models.talk import Tool, Use

WRITE = "write_file"
_HEAD = re.compile(r"^(?P<tool>[A-Z_]+)(?:[ \t]+(?P<path>\S.*?))?[ \t]*\n(?P<fence>`{3,})[^\n`]*\n", re.MULTILINE)


def contract(tools: Sequence[Tool]) -> str:
    """How to use some tools in plain text: appended to the system prompt."""
    lines = ["This server has no tools. Write what you want done in your answer, exactly so, each on lines of its own:"]
    for tool in tools:
        if tool.name == WRITE:
            lines.append("WRITE path/of/the/file\n````\nthe whole new text of the file\n````")
        elif "path" not in tool.schema.get("properties", {}):
            lines.append(f"{tool.name.upper()}\n```\none JSON object: {msgspec.json.encode(tool.schema).decode()}\n```")
    lines.append("A fence has more backticks than any run of them in its block. Files that you do not write stay as they are.")
    return "\n\n".join(lines)


def uses_of(text: str) -> tuple[Use, ...]:
    """The tools that an answer in plain text asks for, in its order; () if it is only talk."""
    found: list[Use] = []
    at = 0
    while (head := _HEAD.search(text, at)) is not None:
        end = re.compile(rf"^{head['fence']}[ \t]*$", re.MULTILINE).search(text, head.end())
        at = end.end() if end else head.end()
        if end is not None and (use := _use(head["tool"], head["path"] or "", text[head.end() : end.start()], len(found))) is not None:
            found.append(use)
    return tuple(found)


def _use(tool: str, path: str, body: str, number: int) -> Use | None:
    identity = f"plain-{number}"
    if tool == "WRITE":
        return Use(id=identity, name=WRITE, arguments={"path": path, "text": body})
    if path:
        return None
    try:
        return Use(id=identity, name=tool.lower(), arguments=msgspec.json.decode(body, type=dict[str, Any]))
    except msgspec.DecodeError as error:
        return Use(id=identity, name=tool.lower(), fault=f"the block is no JSON object: {error}")
