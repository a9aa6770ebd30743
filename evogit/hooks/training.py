"""A training run that is launched by hand: how it is told from other commands, and where its output goes.

The problem's own command says what training is: the same script, or the same words. Its smoke command is not one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evogit.hooks import place as places
from evogit.hooks import shell
from evogit.hooks.place import Place
from evogit.hooks.shell import Simple

if TYPE_CHECKING:
    from evogit.domain.problem import Problem

_LAUNCHERS = re.compile(r"python[\d.]*|pypy[\d.]*|uv|uvx|poetry|pdm|hatch|rye|pixi|torchrun|accelerate|deepspeed|ipython|coverage|kernprof")


_ORDINARY = """
awk cat cd cp cut date df diff du echo env evogit false file find git grep head jq kill less ls make mkdir mv nproc nvidia-smi ps pwd
pytest rg rm ruff sed seq sleep sort stat tail tee test touch tr tree true uname uniq wc which xargs [ [[ ((
"""
_NEVER = frozenset(_ORDINARY.split()) - {"make"}  # no problem is read for their sake


def without_capture(commands: Sequence[Simple], place: Place) -> str:
    """Why a training run among the commands is refused, "" if there is none or its output is kept."""
    for at, simple in enumerate(commands):
        problem = of(simple, place)
        if problem is not None and not captured(commands, at):
            folder = f"{problem.folder}/" if problem.folder else ""
            return (
                f"this trains {folder or 'the problem '}without keeping what it prints, and its numbers count for nothing:"
                ' `evogit submit -m "what you changed"` measures it and records it; to look first, send its output to a file'
                f" ({problem.command} > run.log 2>&1)"
            )
    return ""


def of(simple: Simple, place: Place) -> Problem | None:
    """The problem that this command would train, or None."""
    words = simple.words
    if not words or simple.loose and not simple.argv:
        return None
    is_launcher = _LAUNCHERS.fullmatch(simple.name or "") is not None or words[0].endswith(".py")
    if not is_launcher and not _might_be(simple, place):
        return None
    problem = places.problem_at(place.top, place.below(simple.cwd or str(place.top)) or "")
    script = _script(words)
    for one in _candidates(problem, script, simple, place):
        if _is_training(one, words, script, simple, place):
            return one
    return None


def _might_be(simple: Simple, place: Place) -> bool:
    """Commands that are no launcher at all are looked at only where some problem's command begins alike."""
    if simple.name in _NEVER:
        return False
    problem = places.problem_at(place.top, place.below(simple.cwd or str(place.top)) or "") if simple.cwd else None
    return problem is not None and problem.command.split()[:1] == simple.words[:1]


def _candidates(problem: Problem | None, script: str, simple: Simple, place: Place) -> list[Problem]:
    found = [problem] if problem is not None else []
    if script and simple.cwd:
        local = place.below(os.path.join(simple.cwd, script))
        other = places.problem_at(place.top, os.path.dirname(local)) if local else None
        if other is not None and other not in found:
            found.append(other)
    return found


def _script(words: Sequence[str]) -> str:
    """The script that a launcher runs: the first .py, or the module behind -m as a file."""
    for at, word in enumerate(words):
        if word in ("-c", "-"):
            return ""
        if word == "-m" and at + 1 < len(words):
            return words[at + 1].replace(".", "/") + ".py" if words[at + 1] != "coverage" else _script(words[at + 2 :])
        if word.endswith(".py") and not word.startswith("-"):
            return word
    return ""


def _is_training(problem: Problem, words: list[str], script: str, simple: Simple, place: Place) -> bool:
    from evogit.errors import ProblemError
    from evogit.problem.command import script as script_of
    from evogit.problem.command import split

    try:
        own = split(problem.command)
        smoke = split(problem.smoke) if problem.smoke else []
    except ProblemError:
        return False
    wanted = script_of(own)
    if wanted and script:
        full = os.path.realpath(os.path.join(simple.cwd or str(place.top), script))
        is_it = full == os.path.realpath(place.top / problem.folder / wanted)
        return is_it and not (smoke and _tail(words, script) == _tail(smoke, script_of(smoke)))
    return not wanted and words[: len(own)] == own and words != smoke


def _tail(words: Sequence[str], script: str) -> list[str]:
    """Arguments behind the script."""
    at = next((i for i, word in enumerate(words) if word == script or word.endswith(script)), len(words))
    return list(words[at + 1 :])


def captured(commands: Sequence[Simple], at: int) -> bool:
    """True if what it prints is kept: sent to a file, through tee, or with the group that it is in."""
    return bool(kept_in(commands, at))


def kept_in(commands: Sequence[Simple], at: int) -> list[str]:
    """Files (absolute) that its standard output goes to; a file that cannot be known is ""."""
    simple = commands[at]
    outputs = [o for o in simple.outputs if o.fd in ("", "1")]
    outputs += [o for later in commands[at + 1 :] if later.group for o in later.outputs if o.fd in ("", "1")]
    found = [path for o in outputs for path in (shell.paths(o.target, simple.cwd) or [""])]
    for other in commands[at + 1 :]:
        if other.pipeline == simple.pipeline and other.name == "tee":
            named = [a for a in other.argv[1:] if a.text is None or not a.text.startswith("-")]
            found += [path for a in named for path in (shell.paths(a, other.cwd) or [""])]
    return [path for path in found if not path.startswith("/dev/")]
