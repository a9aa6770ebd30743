"""Held-out scores are for the person: which commands and which reads would show them to an agent.

As with all denials it guards against slips and short cuts. Whoever may run any program as this user can read what the user can.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from evogit.domain.state import holdout_folder
from evogit.hooks import shell
from evogit.hooks.shell import Arg, Simple

READS = frozenset({"Read", "Grep", "Glob", "LS", "NotebookRead"})
WHY = "held-out scores are for the person: what chooses by them overfits them too"
_VALUED = frozenset({"--tag", "--problem", "-C"})  # options of evogit that stand before its command
_DEEP = frozenset({"grep", "egrep", "fgrep", "rg", "ag", "ack", "tar", "zip", "cp", "rsync", "scp"})  # they read what lies in a folder
_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")


def of_read(tool: str, named: str, cwd: str, environ: Mapping[str, str]) -> str:
    """Why a tool may not read a path, "" if it may. A search by content may not begin above the folder either."""
    return _of_path(os.path.join(cwd, os.path.expanduser(named)) if named else cwd, environ, is_deep=tool == "Grep")


def of_text(script: str, environ: Mapping[str, str]) -> str:
    """The same for text that names the folder, in whatever language it is written."""
    return WHY if str(holdout_folder(environ)) in script or "evogit/holdout/" in script else ""


def of_command(simple: Simple, environ: Mapping[str, str]) -> Iterator[str]:
    """Why one command is denied: it asks evogit for held-out scores, or names files of theirs."""
    argv = _of_evogit(simple.argv)
    if argv is not None and (asked := _subcommand(argv)) is not None:
        if asked.text == "holdout":
            yield WHY
        elif asked.text is None and not simple.loose and "holdout".startswith(asked.head):
            yield "which command of evogit this runs is only known when it runs: write it out"
    if simple.cwd is not None and simple.name not in ("cd", "pushd"):
        yield from filter(None, [_of_path(simple.cwd, environ)])
    for arg in simple.argv[1:]:
        for path in shell.paths(arg, simple.cwd) or ():
            yield from filter(None, [_of_path(path, environ, is_deep=simple.name in _DEEP)])


def _of_evogit(argv: tuple[Arg, ...]) -> tuple[Arg, ...] | None:
    """What stands behind `evogit`, however it is called; None if it is not."""
    words = [os.path.basename(arg.text or "") if at == 0 else arg.text for at, arg in enumerate(argv)]
    if words[:1] in (["evogit"], ["git-evogit"]):
        return argv[1:]
    if words[:2] == ["git", "evogit"]:
        return argv[2:]
    if words[:2] == ["uv", "run"]:
        rest = next((at for at, word in enumerate(words[2:], 2) if word is None or not word.startswith("-")), len(argv))
        return _of_evogit(argv[rest:]) if rest < len(argv) else None
    if words and words[0] and _PYTHON.fullmatch(words[0]) and "-m" in words:
        at = words.index("-m")
        return argv[at + 2 :] if words[at + 1 : at + 2] in (["evogit"], ["evogit.cli"]) else None
    return None


def _subcommand(argv: tuple[Arg, ...]) -> Arg | None:
    at = 0
    while at < len(argv):
        text = argv[at].text
        if text is None or not text.startswith("-"):
            return argv[at]
        at += 2 if text in _VALUED else 1
    return None


def _of_path(path: str, environ: Mapping[str, str], *, is_deep: bool = False) -> str:
    """WHY if the path lies in the folder, or (is_deep) the folder in the path and there is something in it to be found."""
    held, asked = Path(os.path.realpath(holdout_folder(environ))), Path(os.path.realpath(path))
    is_below = held == asked or held in asked.parents
    return WHY if is_below or (is_deep and asked in held.parents and held.is_dir()) else ""
