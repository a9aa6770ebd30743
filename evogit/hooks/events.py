"""What happens in a session, and what a hook answers: JSON in, JSON out, as Claude Code and Codex both speak it.

A repository without a campaign gets no answer at all. Only the events that speak of numbers open the lab.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evogit.errors import UserError
from evogit.hooks import autonomy, denials
from evogit.hooks import place as places
from evogit.hooks.place import Place

if TYPE_CHECKING:
    from evogit.lab import Lab

OFF = "EVOGIT_HOOKS"  # set to "off" it silences every hook of a session


def answer(event: str, text: str, environ: Mapping[str, str]) -> str:
    """The JSON that the hook prints, "" for nothing. Raises ValueError, EvogitError, OSError."""
    if environ.get(OFF) == "off":
        return ""
    given = json.loads(text or "{}")
    if not isinstance(given, dict):
        raise UserError("a hook gets one JSON object on stdin")
    cwd = given.get("cwd")
    cwd = cwd if isinstance(cwd, str) and os.path.isdir(cwd) else os.getcwd()
    place = places.find(cwd)
    if place is None or not place.has_campaigns:
        return ""
    said = _ANSWERS[event](given, cwd, place, environ)
    return json.dumps(said) if said else ""


def _context(event: str, text: str) -> dict[str, Any]:
    return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}} if text else {}


def _lab(cwd: str, tag: str = "") -> Lab:
    from evogit.lab import Lab

    return Lab.open(cwd, tag=tag or None)


# before and after a tool ---------------------------------------------------------------------------------------------


def _pre_tool_use(given: dict[str, Any], cwd: str, place: Place, environ: Mapping[str, str]) -> dict[str, Any]:
    tool, wish = given.get("tool_name"), given.get("tool_input")
    if not isinstance(tool, str) or not isinstance(wish, dict):
        return {}
    reason = denials.of_tool(tool, wish, cwd, place, environ)
    if not reason:
        return {}
    said = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": f"evogit: {reason}"}
    return {"hookSpecificOutput": said}


def _post_tool_use(given: dict[str, Any], cwd: str, place: Place, environ: Mapping[str, str]) -> dict[str, Any]:
    wish = given.get("tool_input")
    command = wish.get("command") if isinstance(wish, dict) else None
    if not isinstance(command, str):
        return {}
    from evogit.hooks import byhand

    found = byhand.trained(command, given.get("tool_response"), cwd, place, environ)
    return _context("PostToolUse", byhand.words(found, _lab(cwd)) if found is not None else "")


# a session -----------------------------------------------------------------------------------------------------------


def _session_start(given: dict[str, Any], cwd: str, place: Place, environ: Mapping[str, str]) -> dict[str, Any]:
    from evogit.hooks import words

    return _context("SessionStart", words.state(_lab(cwd), autonomy.read(place)))


def _user_prompt_submit(given: dict[str, Any], cwd: str, place: Place, environ: Mapping[str, str]) -> dict[str, Any]:
    prompt = given.get("prompt")
    wish = autonomy.asked(prompt) if isinstance(prompt, str) else ""
    if wish == "off":
        autonomy.write(place, None)
        return _context("UserPromptSubmit", "evogit: autonomy is off. Finish what you are at, and wait for the person.")
    if wish != "on":
        return {}
    lab = _lab(cwd)
    runs = lab.status().runs
    begun = autonomy.begin(lab.tag, runs, *autonomy.limits(prompt))
    autonomy.write(place, begun)
    return _context(
        "UserPromptSubmit", f"evogit: {begun.words(runs)}. Take assignments with `evogit next` and hand them in with `evogit submit`."
    )


def _stop(given: dict[str, Any], cwd: str, place: Place, environ: Mapping[str, str]) -> dict[str, Any]:
    """While autonomy is on, the next assignment instead of an end. A stop that no run came before is let through."""
    wish = autonomy.read(place)
    if wish is None:
        return {}
    lab = _lab(cwd, wish.campaign)
    runs = lab.status().runs
    if over := wish.over(runs, time.time()):
        autonomy.write(place, None)
        return {"systemMessage": f"evogit: autonomy is off, {over}"}
    if given.get("stop_hook_active") and runs <= wish.asked_at:
        return {"systemMessage": "evogit: no run came of the last assignment, so the session may stop; autonomy stays on"}
    from evogit.hooks import words

    reason = words.assignment(lab, wish, runs)
    autonomy.write(place, replace(wish, asked_at=runs))
    return {"decision": "block", "reason": reason}


_ANSWERS: dict[str, Callable[[dict[str, Any], str, Place, Mapping[str, str]], dict[str, Any]]] = {
    "session-start": _session_start,
    "user-prompt-submit": _user_prompt_submit,
    "pre-tool-use": _pre_tool_use,
    "post-tool-use": _post_tool_use,
    "stop": _stop,
}
NAMES = tuple(_ANSWERS)
