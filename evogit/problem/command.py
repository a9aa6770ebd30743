"""From a command as people write it to the argument list and environment that a trial gets.

It splits as a POSIX shell would and hands over to /bin/sh only what needs one. It never looks at the disk, and never
guesses what a program's options mean: the rules for arguments after `--` are in `merge`, and in docs/problem.md.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from posixpath import basename

from evogit.domain.problem import Problem
from evogit.errors import ProblemError

_NUMBER = re.compile(r"-(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NAMED = re.compile(r"\+{0,2}([A-Za-z_][\w./@-]*)=")
_LAUNCHERS = re.compile(r"python[\d.]*|pypy[\d.]*|uv|uvx|poetry|pdm|torchrun|accelerate|deepspeed")


def argv(problem: Problem, command: str, run_number: int, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """The words to execute: the command, `problem.append` with {run_id} filled in, then `extra` merged in.

    A command that needs a shell becomes ("/bin/sh", "-c", text); arguments are quoted and appended to its text.
    Raises ProblemError if the command has an open quotation or is empty.
    """
    appended = [word.replace("{run_id}", run_id(run_number)) for word in problem.append]
    if needs_shell(command):
        tail = shlex.join([*appended, *extra])
        return ("/bin/sh", "-c", f"{command.strip()} {tail}".rstrip())
    return tuple(merge(split(command) + appended, extra))


def run_id(number: int) -> str:
    """The name that older problems know a run by: run_000003."""
    return f"run_{number:06d}"


def split(command: str, where: str = "command") -> list[str]:
    """Words of a command. Raises ProblemError if there are none or a quotation is open."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ProblemError(where, f"{str(error).lower()} in {command.strip()!r}", fix="close the quotation mark") from error
    if not words or not words[0]:
        raise ProblemError(where, "is empty", fix='write what runs one trial, for example "python train.py"')
    return words


def needs_shell(command: str) -> bool:
    """True if the text means something to a shell that splitting alone would lose: pipes, &&, redirects, $, globs, ~, X=1 cmd."""
    quote, start, index = "", True, 0
    if re.match(r"\s*[A-Za-z_]\w*=", command):
        return True
    text = command.strip()
    while index < len(text):
        char = text[index]
        if char == "\\" and quote != "'":
            index += 2
            start = False
            continue
        if quote:
            if char == quote:
                quote = ""
            elif quote == '"' and char in "$`":
                return True
        elif char in "'\"":
            quote = char
        elif char in "|&;<>()$`*?\n" or (start and char in "~#"):
            return True
        start = not quote and char.isspace()
        index += 1
    return False


def merge(words: Sequence[str], extra: Sequence[str]) -> list[str]:
    """`words` with the options of `extra` in place of those they repeat, and everything else of `extra` appended.

    An option is a word that begins with `-` and is no number, or a `name=value` word. One that occurs in both is put where
    it first stood, and goes away wherever else it stood. How many of the words behind an option belong to it is not known:
    none where `extra` gives none, all of them where both sides give several, else one. Words up to the script (the first
    that ends in .py, or the module behind -m) belong to the launcher and are left alone.
    """
    first = _script_end(words)
    wanted, loose = _by_option(_groups(extra))
    merged: list[str] = list(words[:first])
    placed: set[str] = set()
    groups = _groups(words[first:])
    behind = groups.pop()[1] if groups and groups[-1][1][0] == "--" else []
    for key, group in groups:
        if key not in wanted:
            merged += group
            continue
        kept = group[1 + _values(group, wanted[key][0]) :]
        if key not in placed:
            merged += [word for one in wanted[key] for word in one]
            placed.add(key)
        merged += kept
    for key in wanted:
        if key not in placed:
            merged += [word for one in wanted[key] for word in one]
    return merged + behind + loose


def trial_env(
    problem: Problem, *, label: str, number: int, seed: int, train_s: float = 0.0, artifact_dir: str, data_dir: str = ""
) -> dict[str, str]:
    """What evogit tells a trial, beside the base environment. `train_s` 0 means the problem's; what is not set has no variable."""
    seconds = train_s or problem.budget.train_s
    env = {
        "EVOGIT_RUN": label,
        "EVOGIT_SEED": str(seed),
        "EVOGIT_ARTIFACT_DIR": artifact_dir,
        "PYTHONUNBUFFERED": "1",
        "ACR_RUN_ID": run_id(number),
        "ACR_ARTIFACT_DIR": artifact_dir,
        "AUTORESEARCH_SEED": str(seed),
    }
    if seconds:
        env["EVOGIT_TRAIN_S"] = str(int(seconds)) if float(seconds).is_integer() else repr(float(seconds))
    if data_dir:
        env["EVOGIT_DATA_DIR"] = data_dir
    return env


def script(words: Sequence[str]) -> str:
    """The Python file that a command runs, or "" if it runs something else."""
    end = _script_end(words)
    return words[end - 1] if words[end - 1].endswith(".py") else ""


def _script_end(words: Sequence[str]) -> int:
    launched = False
    for index, word in enumerate(words):
        launched = launched or _LAUNCHERS.fullmatch(basename(word)) is not None
        if word.endswith(".py") and not word.startswith("-"):
            return index + 1
        if launched and word == "-m":
            return min(index + 2, len(words))
    return min(1, len(words))


def _option(word: str) -> str:
    if word.startswith("-") and word not in ("-", "--") and _NUMBER.fullmatch(word) is None:
        return word.split("=", 1)[0]
    named = _NAMED.match(word)
    return named.group(1) + "=" if named else ""


def _groups(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each option with the words behind it; ("", [word]) for words that no option stands before; all behind `--` is loose."""
    groups: list[tuple[str, list[str]]] = []
    for index, word in enumerate(words):
        if word == "--":
            groups.append(("", list(words[index:])))
            break
        key = _option(word)
        if key or not groups or not groups[-1][0].startswith("-") or "=" in groups[-1][1][0]:
            groups.append((key, [word]))
        else:
            groups[-1][1].append(word)
    return groups


def _by_option(groups: list[tuple[str, list[str]]]) -> tuple[dict[str, list[list[str]]], list[str]]:
    wanted: dict[str, list[list[str]]] = {}
    loose: list[str] = []
    for key, group in groups:
        if key:
            wanted.setdefault(key, []).append(group)
        else:
            loose += group
    return wanted, loose


def _values(old: list[str], new: list[str]) -> int:
    """How many words behind the old option belong to it, judged by how the new one is written."""
    behind = len(old) - 1
    given = 1 if "=" in new[0] else len(new) - 1
    if behind > 1 and given > 1:
        return behind
    return min(behind, given, 1)
