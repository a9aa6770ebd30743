"""Hooks into the settings of Claude Code, Codex and git, and out of them again: what else stands there keeps every byte.

What it wrote it knows by the command, `evogit hook NAME`; anything else in those files is somebody's own. It makes no
backup: a file is replaced at once or not at all, and taking the hooks out gives the bytes of before.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

from evogit.errors import UserError
from evogit.hooks import jsontext, place

OURS = re.compile(r"\bevogit(?:\.cli)?['\"]? hook ([a-z-]+)")
CLAUDE, CODEX = ".claude/settings.json", ".codex/hooks.json"
_EVENTS = {  # event -> (name of the hook, seconds it may take)
    "SessionStart": ("session-start", 30),
    "UserPromptSubmit": ("user-prompt-submit", 30),
    "PreToolUse": ("pre-tool-use", 10),
    "PostToolUse": ("post-tool-use", 60),
    "Stop": ("stop", 60),
}
_TOOLS = {
    CLAUDE: {"PreToolUse": "Bash|Edit|Write|MultiEdit|NotebookEdit|Read|Grep|Glob", "PostToolUse": "Bash"},
    CODEX: {"PreToolUse": "Bash|apply_patch|Edit|Write", "PostToolUse": "Bash"},
}
GIT = ("pre-commit", "commit-msg")
_MARK = "# evogit"


def command() -> str:
    """How a session reaches this evogit: by its name where that is on PATH, else by its full path."""
    if shutil.which("evogit"):
        return "evogit"
    own = Path(sys.argv[0])
    beside = Path(sys.executable).with_name("evogit")
    if own.name == "evogit" and own.is_absolute():
        return _quoted(str(own))
    return _quoted(str(beside)) if beside.exists() else f"{_quoted(sys.executable)} -m evogit.cli"


def _quoted(path: str) -> str:
    return path if re.fullmatch(r"[\w./+-]+", path) else "'" + path.replace("'", "'\\''") + "'"


def groups(file: str, program: str = "evogit") -> dict[str, dict[str, Any]]:
    """Event -> the group that stands in its list, for the settings of that name."""
    found: dict[str, dict[str, Any]] = {}
    for event, (name, seconds) in _EVENTS.items():
        matcher = _TOOLS[file].get(event)
        handler = {"type": "command", "command": f"{program} hook {name}", "timeout": seconds}
        found[event] = {**({"matcher": matcher} if matcher else {}), "hooks": [handler]}
    return found


def settings(wanted: dict[str, dict[str, Any]]) -> str:
    """A settings file that holds nothing but the hooks."""
    return json.dumps({"hooks": {event: [group] for event, group in wanted.items()}}, indent=2) + "\n"


def install(kind: str, where: place.Place, *, remove: bool = False) -> list[str]:
    """Put the hooks of "claude", "codex" or "git" there, or take them out; lines on what changed, [] if nothing did. Raises UserError."""
    if kind == "git":
        return [line for name in GIT for line in _git_hook(_hooks_folder(where) / name, name, remove)]
    file = CLAUDE if kind == "claude" else CODEX
    path = where.top / file
    before = _read(path)
    after = _without(before, str(file)) if remove else _with(before, file)
    if after == before:
        return []
    if after is None:
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
        return [f"removed {file}, which held nothing else"]
    _replace(path, after)
    return [f"{'took the hooks out of' if remove else 'put the hooks into' if before is not None else 'wrote'} {file}"]


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8", hint="mend it, then install again; nothing was changed") from None


def _parsed(text: str, file: str) -> jsontext.Node:
    try:
        node = jsontext.parse(text)
    except (ValueError, RecursionError) as fault:
        raise UserError(f"{file} is not JSON: {str(fault).splitlines()[0]}", hint="mend it, then try again; nothing was changed") from None
    hooks = node.member("hooks") if node.kind == "object" else None
    lists = hooks.children if hooks is not None and hooks.kind == "object" else []
    if node.kind != "object" or (hooks is not None and hooks.kind != "object") or any(n.kind != "array" for n in lists):
        raise UserError(f"{file} has no hooks as that program reads them", hint="`hooks` is an object of lists; nothing was changed")
    return node


def _with(text: str | None, file: str) -> str:
    """The text with the hooks in it. Those of an older evogit are replaced, where they differ."""
    wanted = groups(file, command())
    if text is not None and _ours(text, file) == list(wanted.items()):
        return text
    text = _without(text, file)
    if text is None:
        return settings(wanted)
    for event, group in wanted.items():
        root = _parsed(text, file)
        hooks = root.member("hooks")
        if hooks is None:
            text = jsontext.put(text, root, {event: [group]}, "hooks")
        elif (groups_there := hooks.member(event)) is None:
            text = jsontext.put(text, hooks, [group], event)
        else:
            text = jsontext.put(text, groups_there, group)
    return text


def _ours(text: str, file: str) -> list[tuple[str, Any]]:
    """(event, group) of every group that is evogit's alone, in the order of events that evogit writes."""
    _parsed(text, file)
    hooks = json.loads(text).get("hooks", {})
    return [(event, group) for event in _EVENTS for group in hooks.get(event, ()) if _is_ours(group)]


def _is_ours(group: object) -> bool:
    handlers = group.get("hooks") if isinstance(group, dict) else None
    return (
        bool(handlers) and isinstance(handlers, list) and all(isinstance(h, dict) and OURS.search(str(h.get("command"))) for h in handlers)
    )


def _without(text: str | None, file: str) -> str | None:
    """The text without the hooks; None where nothing is left of a file that they were written with."""
    while text is not None and (found := _first(text, file)) is not None:
        event, index = found
        root = _parsed(text, file)
        hooks = root.member("hooks")
        text, is_over = jsontext.take(text, hooks.member(event), index)
        if not is_over:
            continue
        root = _parsed(text, file)
        hooks = root.member("hooks")
        text, is_over = jsontext.take(text, hooks, hooks.place(event))
        if not is_over:
            continue
        root = _parsed(text, file)
        text, is_over = jsontext.take(text, root, root.place("hooks"))
        if is_over:
            return None
    return text


def _first(text: str, file: str) -> tuple[str, int] | None:
    _parsed(text, file)
    for event, there in json.loads(text).get("hooks", {}).items():
        for index, group in enumerate(there):
            if _is_ours(group):
                return event, index
    return None


# git -----------------------------------------------------------------------------------------------------------------


def _hooks_folder(where: place.Place) -> Path:
    """Where git looks for hooks here: `core.hooksPath` counts."""
    named = place.ask(where.top, "rev-parse", "--git-path", "hooks").strip()
    return (where.top / named) if named else where.common / "hooks"


def git_hook(name: str, program: str = "evogit") -> str:
    """A hook of git's in two lines."""
    return f"#!/bin/sh\n{_git_line(name, program)}\n"


def _git_line(name: str, program: str) -> str:
    return f'{program} hook {name} "$@" || exit 1  {_MARK}'


def _git_hook(path: Path, name: str, remove: bool) -> list[str]:
    before = _read(path)
    line = _git_line(name, command())
    if remove:
        if before is None or not any(one.endswith(_MARK) for one in before.splitlines()):
            return []
        rest = [one for one in before.splitlines(keepends=True) if not one.rstrip("\n").endswith(_MARK)]
        if "".join(rest) == "#!/bin/sh\n":
            path.unlink()
            return [f"removed {path}, which held nothing else"]
        _replace(path, "".join(rest))
        return [f"took the line out of {path}"]
    if before is None:
        _replace(path, git_hook(name, command()), executable=True)
        return [f"wrote {path}"]
    lines = before.splitlines(keepends=True)
    if any(one.rstrip("\n") == line for one in lines):
        return []
    if not re.match(r"#!\s*(/usr)?/bin/(env )?(sh|bash|dash|zsh)\b.*\n", lines[0] if lines else ""):
        raise UserError(
            f"{path} is no shell script, so no line can be added to it", hint=f"call it from there yourself: {line.split(' ||')[0]}"
        )
    lines = [one for one in lines if not one.rstrip("\n").endswith(_MARK)]
    _replace(path, lines[0] + line + "\n" + "".join(lines[1:]))
    return [f"added a line to {path}"]


def _replace(path: Path, text: str, *, executable: bool = False) -> None:
    """The whole file at once; a link stays a link, and permissions stay."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o755 if executable else 0o644
    draft.write_bytes(text.encode("utf-8"))
    draft.chmod(mode)
    os.replace(draft, target)
