"""Options of hands that are programs: words from a command line made into what they mean, or one line on why they mean nothing.

Raises UserError throughout: a hand reads its options when it is made, before anything is begun.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from evogit.errors import UserError

INTERPRETERS = re.compile(r"(python|pypy)[\d.]*|(ba|da|z|fi|k)?sh|node|deno|bun|npx|uv|uvx|ruby|perl|php|Rscript|julia|env|nice|timeout")
SCRIPT = re.compile(r".+\.(py|pyw|sh|js|mjs|cjs|ts|rb|pl|php|R|jl)")


def seconds(option: str, value: str | float) -> float:
    """A time limit above 0."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise UserError(f"{option}={value} is no number of seconds", hint=f"for example {option}=600")
    return number


def dollars(option: str, value: str | float) -> float:
    """An amount of dollars, 0 for no limit."""
    try:
        number = float(value or 0)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise UserError(f"{option}={value} is no amount of dollars", hint=f"for example {option}=0.50")
    return number


def names(option: str, value: str) -> tuple[str, ...]:
    """Names of environment variables, separated by commas or spaces."""
    found = tuple(value.replace(",", " ").split())
    wrong = next((name for name in found if not re.fullmatch(r"[A-Za-z_]\w*", name)), "")
    if wrong:
        raise UserError(f"{option}: {wrong!r} is no name of a variable", hint=f"name variables, not their values: {option}=HF_TOKEN,HOME")
    return found


def program(kind: str, value: str, folder: str = "") -> list[str]:
    """A command line as its words: the program found, a script beside the user made absolute, so that it runs in another folder.

    kind: "agent" or "reviewer". folder: where relative paths begin, "" for the current one.
    """
    here = Path(folder).absolute()
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise UserError(f"--{kind}-command {value!r} cannot be read: {str(error).lower()}", hint="quote it as in a shell") from error
    if not words:
        raise UserError(f"the {kind} `command` has no program to run", hint=f'--{kind}-command "python worker.py"')
    is_path = os.sep in words[0]
    if is_path:
        words[0] = str(here / words[0])
    if shutil.which(words[0]) is None:
        raise UserError(f"there is no program {words[0]!r}", hint=f"is it installed, and on PATH? Or write --{kind}-command with its path")
    at = script_at(words, here)
    if at and (here / words[at]).is_file():
        words[at] = str(here / words[at])
    return words


def script_at(words: Sequence[str], folder: Path) -> int:
    """Place of the script that an interpreter is told to run; 0 where there is none to be seen."""
    if not INTERPRETERS.fullmatch(Path(words[0]).name):
        return 0
    for at, word in enumerate(words[1:], 1):
        if word in {"-c", "-m", "-e"}:
            return 0
        if SCRIPT.fullmatch(word) or (not word.startswith("-") and (folder / word).is_file()):
            return at
    return 0


def check_script(kind: str, words: Sequence[str], folder: Path) -> None:
    """Raise UserError if the script is neither where evogit was started nor in the folder that it will run in."""
    at = script_at(words, folder)
    if at and not (folder / words[at]).is_file():
        raise UserError(
            f"there is no script {words[at]!r}, neither where evogit was started nor in the problem's folder",
            hint=f"write --{kind}-command with its whole path",
        )
