"""From a command to the commands that it runs in turn: `env X=1 sudo git push` is `git push`, and so is `bash -c 'git push'`.

It knows the programs whose business it is to run others. What they would run is told as commands of their own; where that
cannot be known the reason is told instead. It decides nothing about either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from evogit.hooks import lexer, shell
from evogit.hooks.shell import Arg, Simple

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "mksh", "fish", "rbash"})
SCRIPT_CAP = 256 << 10  # bytes of a script file that are read
DEEPEST = 12
EXPERIMENT = "run_experiment.py"  # of `scripts/`
# Programs that run others, each with those of its options that take the next word; any other option stands alone.
_OPTIONS = """
sudo -u -g -h -p -C -T -r -t -U -R -D --user --group --host --prompt --chdir
doas -u -C
env -u -C --unset --chdir
command
builtin
exec -a
nohup
setsid
nice -n --adjustment
ionice -c -n -p --class --classdata
chrt -T -P -D
stdbuf -i -o -e --input --output --error
time -f -o --format --output
timeout -s -k --signal --kill-after
taskset
unbuffer
strace -e -o -p -s -u -E
ltrace -e -o -p -s -u
xargs -a -d -E -I -L -n -P -s --arg-file --delimiter --max-args --max-procs --max-lines --replace
parallel -j --jobs -a --arg-file -N -n --joblog
busybox
flock -w -E --timeout --conflict-exit-code
script
watch -n --interval
caffeinate -t -w
chronic
proxychains4 -f
"""
_RUNNERS = {name: frozenset(options) for name, *options in (line.split() for line in _OPTIONS.splitlines() if line)}
_LEADING = {"timeout": 1, "taskset": 1, "chrt": 1, "flock": 1}  # words of their own before the command
_MORE = frozenset({"xargs", "parallel"})  # they add words that cannot be known
_TEXT = frozenset({"watch", "parallel"})  # they hand their words to a shell


class Unknown(Exception):
    """What would be run cannot be known; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "write the command out") -> None:
        super().__init__(message)
        self.hint = hint


def unwrapped(simple: Simple, environ: Mapping[str, str], depth: int = 0) -> Iterator[Simple]:
    """The command and every command that it runs in turn. Raises Unknown, lexer.Unreadable. Reads script files of up to SCRIPT_CAP."""
    if depth > DEEPEST:
        raise Unknown("commands are nested too deeply")
    yield simple
    name = simple.name
    if not simple.argv or (simple.loose and name is None):
        return
    if name is None or (simple.argv[0].globs and name not in ("[", "[[") and not simple.loose):
        raise Unknown(f"the command's name is only known when it runs ({_shown(simple)})")
    for inner in _inside(simple, name, environ):
        yield from unwrapped(inner, environ, depth + 1)


def _shown(simple: Simple) -> str:
    return " ".join(word or "?" for word in simple.words)[:60]


def _inside(simple: Simple, name: str, environ: Mapping[str, str]) -> Iterator[Simple]:
    words = simple.argv[1:]
    if name in SHELLS:
        yield from _shell(simple, name, environ)
    elif name in ("eval", "trap"):
        text = _joined(words if name == "eval" else words[:1], simple)
        yield from _parsed(text, simple, environ)
    elif name in ("source", "."):
        yield from _file(simple, words[:1], environ)
    elif name == "alias":
        for arg in words:
            yield from _parsed((arg.text or "").partition("=")[2], simple, environ)
    elif name == "find":
        yield from _find(simple)
    elif name == "git" and len(words) > 2 and words[0].text in ("submodule", "bisect"):
        yield from _git(simple, environ)
    elif name in _RUNNERS:
        yield from _runner(simple, name, environ)
    elif EXPERIMENT in (os.path.basename(arg.text or "") for arg in simple.argv[:4]):
        yield from _experiment(simple)
    elif os.sep in (simple.argv[0].text or "") and (simple.argv[0].text or "").endswith(".sh"):
        yield from _file(simple, simple.argv[:1], environ)


def _parsed(text: str, simple: Simple, environ: Mapping[str, str], *, loose: bool = False) -> Iterator[Simple]:
    for inner in shell.commands(text, simple.cwd or "/", environ):
        cwd = inner.cwd if simple.cwd is not None else None
        outputs = inner.outputs or simple.outputs  # what it prints goes where its shell's output goes
        yield replace(inner, cwd=cwd, outputs=outputs, pipeline=simple.pipeline, loose=loose or simple.loose or inner.loose)


def _joined(words: tuple[Arg, ...], simple: Simple) -> str:
    if any(a.text is None for a in words) and not simple.loose:
        raise Unknown(f"{simple.name} runs text that is only known when it runs")
    return " ".join(a.text or "" for a in words)


def _shell(simple: Simple, name: str, environ: Mapping[str, str]) -> Iterator[Simple]:
    words = list(simple.argv[1:])
    while words and (text := words[0].text) is not None and text[:1] in ("-", "+") and len(text) > 1:
        words = words[1:]
        if text in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"):
            words = words[1:]
        elif text == "--":
            break
        elif not text.startswith("--") and "c" in text:
            if not words:
                return
            yield from _parsed(_joined(tuple(words[:1]), simple), simple, environ)
            return
        elif text in ("--version", "--help"):
            return
    if words:
        yield from _file(simple, tuple(words[:1]), environ)
    elif simple.stdin is not None:
        yield from _parsed(simple.stdin, simple, environ)
    elif simple.is_fed and not simple.loose:
        raise Unknown(f"{name} reads its commands from a pipe")


def _file(simple: Simple, named: tuple[Arg, ...], environ: Mapping[str, str]) -> Iterator[Simple]:
    """Commands of a script file. Only what is plainly there counts: somebody else may have written the rest."""
    found = shell.paths(named[0], simple.cwd) if named else []
    if not found or len(found) > 1:
        if named and not simple.loose:
            raise Unknown(f"which script {simple.name} runs is only known when it runs")
        return
    try:
        with open(found[0], "rb") as file:
            text = file.read(SCRIPT_CAP).decode("utf-8", "replace")
    except OSError:
        if simple.loose or not simple.argv:
            return
        raise Unknown(f"{simple.words[0]} runs {os.path.basename(found[0])}, which is not there", "write it first, then run it") from None
    if re.match(r"#!.*python", text) or "\0" in text:
        return
    try:
        yield from _parsed(text, simple, environ, loose=True)
    except lexer.Unreadable:
        return


def _find(simple: Simple) -> Iterator[Simple]:
    argv = simple.argv
    for at, arg in enumerate(argv):
        if arg.text in ("-exec", "-execdir", "-ok", "-okdir"):
            ends = [i for i in range(at + 1, len(argv)) if argv[i].text in (";", "+")]
            body = argv[at + 1 : ends[0] if ends else len(argv)]
            yield replace(simple, argv=tuple(Arg(None) if a.text and "{}" in a.text else a for a in body))


def _git(simple: Simple, environ: Mapping[str, str]) -> Iterator[Simple]:
    texts = simple.words
    if texts[1] == "submodule" and "foreach" in texts:
        rest = simple.argv[texts.index("foreach") + 1 :]
        yield from _parsed(_joined(tuple(a for a in rest if a.text != "--recursive"), simple), simple, environ)
    elif texts[1] == "bisect" and texts[2] == "run":
        yield replace(simple, argv=simple.argv[3:])


def _experiment(simple: Simple) -> Iterator[Simple]:
    """`python scripts/run_experiment.py --backend modal -- COMMAND` runs the command on the work tree, or on a copy of it."""
    texts = simple.words
    if "--" in texts:
        yield replace(simple, argv=simple.argv[texts.index("--") + 1 :])


def _runner(simple: Simple, name: str, environ: Mapping[str, str]) -> Iterator[Simple]:
    words, cwd, takes = list(simple.argv[1:]), simple.cwd, _RUNNERS[name]
    while words:
        text = words[0].text
        if text is None:
            break
        if name == "env" and re.match(r"[A-Za-z_]\w*=", text):
            words = words[1:]
        elif name == "env" and (text in ("-S", "--split-string") or text.startswith("--split-string=")):
            rest = words[0].text.partition("=")[2] if "=" in text else (words[1].text if len(words) > 1 else None)
            if rest is None:
                raise Unknown("env runs text that is only known when it runs")
            more = "" if "=" in text else _joined(tuple(words[2:]), simple)
            yield from _parsed(f"{rest} {more}".strip(), simple, environ)
            return
        elif name == "command" and text in ("-v", "-V"):
            return
        elif name == "script" and text in ("-c", "--command") and len(words) > 1:
            yield from _parsed(_joined(tuple(words[1:2]), simple), simple, environ)
            return
        elif text == "--":
            words = words[1:]
            break
        elif text.startswith("-") and len(text) > 1:
            if name == "env" and text in ("-C", "--chdir") and len(words) > 1:
                cwd = (shell.paths(words[1], cwd) or [None])[0]
            words = words[2:] if text in takes else words[1:]
        else:
            break
    if name == "script":
        return
    words = words[_LEADING.get(name, 0) :]
    if name == "flock" and words and words[0].text == "-c":
        yield from _parsed(_joined(tuple(words[1:]), simple), simple, environ)
    elif name in _TEXT and words:
        yield from _parsed(_joined(tuple(words), simple), simple, environ)
    elif words:
        yield replace(
            simple, argv=(*words, *((Arg(None),) if name in _MORE else ())), cwd=cwd, stdin=None if name in _MORE else simple.stdin
        )
