"""What a driver's tool call may not do while a campaign runs: each rule a reason in one line, or nothing.

It guards against slips and short cuts, not against an enemy: a program that the agent writes can do what it likes, and
the gates of a run are what its verdict rests on. What cannot be known before it runs is refused, with the plain way to say it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from evogit.hooks import gitrules, lexer, shell, training, withheld
from evogit.hooks.place import Place
from evogit.hooks.shell import Arg, Simple
from evogit.hooks.unwrapping import Unknown, unwrapped

EDITS = frozenset({"Edit", "Write", "MultiEdit", "NotebookEdit"})
_PATCH = re.compile(r"^\*\*\* (?:Update|Add|Delete) File: (.+)$|^\*\*\* Move to: (.+)$", re.MULTILINE)
_PIP = re.compile(r"pip[0-9.]*")
_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")
_INSTALLS: dict[str, frozenset[str]] = {
    "uv": frozenset({"add", "remove", "sync", "lock", "self", "tool", "pip", "python"}),
    "pipx": frozenset({"install", "inject", "upgrade", "run", "reinstall", "uninstall"}),
    "poetry": frozenset({"add", "install", "update", "remove", "lock"}),
    "pdm": frozenset({"add", "install", "update", "remove", "sync"}),
    "hatch": frozenset({"env", "dep"}),
    "pixi": frozenset({"add", "install", "update", "remove"}),
    "rye": frozenset({"add", "sync", "install", "remove"}),
    "conda": frozenset({"install", "create", "update", "upgrade", "env", "remove", "uninstall"}),
    "npm": frozenset({"install", "i", "add", "ci", "update", "exec", "uninstall", "install-test", "it", "link", "publish"}),
    "apt": frozenset({"install", "remove", "purge", "upgrade", "full-upgrade", "dist-upgrade", "build-dep", "reinstall"}),
    "brew": frozenset({"install", "upgrade", "uninstall", "reinstall", "tap"}),
    "apk": frozenset({"add", "del", "upgrade"}),
    "pacman": frozenset(),
    "cargo": frozenset({"install", "add", "update", "remove", "uninstall", "publish"}),
    "go": frozenset({"install", "get"}),
    "gem": frozenset({"install", "update", "uninstall"}),
    "snap": frozenset({"install", "refresh", "remove"}),
    "port": frozenset({"install", "upgrade"}),
    "nix-env": frozenset(),
    "easy_install": frozenset(),
    "uvx": frozenset(),
    "npx": frozenset(),
    "dpkg": frozenset(),
}
_LIKE = {"mamba": "conda", "micromamba": "conda", "pnpm": "npm", "yarn": "npm", "bun": "npm", "apt-get": "apt", "aptitude": "apt"}
_LIKE |= {"dnf": "apt", "yum": "apt", "zypper": "apt", "bunx": "npx"}
_ALONE = {"dpkg": ("-i", "--install"), "pacman": ("-S", "-U", "-R"), "nix-env": ("-i", "--install")}


def of_tool(tool: str, given: Mapping[str, Any], cwd: str, place: Place, environ: Mapping[str, str]) -> str:
    """Why a tool call is denied, "" if it is not. It reads files and asks git; it never raises for any input that is JSON."""
    if tool in EDITS:
        named = given.get("file_path") or given.get("notebook_path") or given.get("path")
        return _of_paths([named] if isinstance(named, str) else [], cwd, place)
    if tool in withheld.READS:
        named = given.get("file_path") or given.get("notebook_path") or given.get("path")
        return withheld.of_read(tool, named if isinstance(named, str) else "", cwd, environ)
    command = given.get("command") or given.get("cmd")
    if isinstance(command, list):
        command = " ".join(_quoted(str(word)) for word in command)
    if not isinstance(command, str):
        return ""
    if tool == "apply_patch" or command.lstrip().startswith("*** Begin Patch"):
        return _of_paths([a or b for a, b in _PATCH.findall(command)], cwd, place)
    return of_script(command, cwd, place, environ)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _of_paths(named: list[str], cwd: str, place: Place) -> str:
    for name in named:
        if reason := place.frozen(os.path.join(cwd, name.strip())):
            return f"{name.strip()} {reason}"
    return ""


def of_script(script: str, cwd: str, place: Place, environ: Mapping[str, str]) -> str:
    """Why a shell command is denied, "" if it is not."""
    try:
        simple = [inner for one in shell.commands(script, cwd, environ) for inner in unwrapped(one, environ)]
    except lexer.Unreadable as fault:
        return f"this cannot be read as a shell command: {fault}"
    except Unknown as fault:
        return f"{fault}; {fault.hint}"
    reasons = (reason for one in simple for reason in (*_of_command(one, place), *withheld.of_command(one, environ)))
    return next(reasons, "") or withheld.of_text(script, environ) or training.without_capture(simple, place)


def _of_command(simple: Simple, place: Place) -> Iterator[str]:
    for output in simple.outputs:
        yield from _of_target(output.target, simple, place)
    name, words = simple.name, simple.words
    if not name:
        return
    if name == "git":
        yield from filter(None, [gitrules.refusal(simple, place)])
    elif name.startswith("git-") and name != "git-evogit":
        rest = (Arg("git"), Arg(name[4:]), *simple.argv[1:])
        yield from filter(None, [gitrules.refusal(Simple(rest, cwd=simple.cwd, loose=simple.loose), place)])
    yield from filter(None, [installs(name, words[1:])])
    yield from filter(None, [_steers(name, words[1:])])
    for target in _targets(simple, name):
        yield from _of_target(target, simple, place)


def _of_target(target: Arg, simple: Simple, place: Place) -> Iterator[str]:
    if target.text == "-" or target.text in ("/dev/null", "/dev/stderr", "/dev/stdout", "/dev/tty"):
        return
    found = shell.paths(target, simple.cwd)
    if found is None:
        if not simple.loose and _may_be_frozen(target.head, simple, place):
            yield f"which file {simple.name or 'this'} would write is only known when it runs: write its path out"
        return
    for path in found:
        if reason := place.frozen(path):
            yield f"{target.text} {reason}"
            return


def _may_be_frozen(head: str, simple: Simple, place: Place) -> bool:
    """True if a file of which only the beginning is known could be a frozen one: `run_$i.log` is none where none begins with run_."""
    if not head or ".." in head or (simple.cwd is None and not os.path.isabs(head)):
        return True
    return place.may_hold(os.path.join(simple.cwd or "/", head))


# installing ----------------------------------------------------------------------------------------------------------


def installs(name: str, words: list[str]) -> str:
    """Why the command counts as installing packages, "" if it does not."""
    what = f"{name} {words[0]}" if words else name
    if _PYTHON.fullmatch(name):
        return _python(name, words)
    if _PIP.fullmatch(name):
        return _pip(name, words)
    if name == "uv" and words[:1] == ["run"]:
        extra = [w for w in words[1:] if w.split("=")[0] in ("--with", "--with-requirements", "--with-editable", "--upgrade", "--refresh")]
        rest = [w for w in words[1:] if not w.startswith("-")]
        return _NO.format(f"uv run {extra[0]}") if extra else installs(os.path.basename(rest[0]), rest[1:]) if rest else ""
    if name == "uv" and words[:1] == ["pip"]:
        return _pip("uv pip", words[1:])
    if name == "uv" and words[:1] in (["tool"], ["python"], ["self"]) and words[1:2] in (["list"], ["dir"], ["find"], ["version"]):
        return ""
    if name == "uv" and words[:1] == ["sync"] and "--dry-run" in words:
        return ""
    if name == "yarn" and not words:
        return _NO.format("yarn")
    known = _INSTALLS.get(_LIKE.get(name, name))
    if known is None:
        return ""
    alone = _ALONE.get(name)
    if alone is not None:
        return _NO.format(what) if any(w.startswith(a) for w in words for a in alone) else ""
    plain = [w for w in words if not w.startswith("-")]
    if not known:
        return _NO.format(what) if plain else ""
    return _NO.format(f"{name} {plain[0]}") if plain and plain[0] in known else ""


_NO = "{} installs or changes packages; what the environment lacks, the change does without"


def _python(name: str, words: list[str]) -> str:
    for at, word in enumerate(words):
        if word == "-m" or (word.startswith("-") and not word.startswith("--") and word.endswith("m") and "c" not in word):
            module, rest = (words[at + 1] if at + 1 < len(words) else ""), words[at + 2 :]
            if module in ("pip", "uv", "pipx", "poetry", "conda"):
                return installs(module, rest)
            return _NO.format(f"{name} -m ensurepip") if module == "ensurepip" else ""
        if word.startswith("-m") and len(word) > 2:
            return installs(word[2:], words[at + 1 :]) if word[2:] in ("pip", "uv", "pipx") else ""
        if word.startswith("-c") or not word.startswith("-"):
            is_setup = os.path.basename(word) == "setup.py" and {"install", "develop"} & set(words[at + 1 :])
            return _NO.format("setup.py") if is_setup else ""
    return ""


def _pip(name: str, words: list[str]) -> str:
    changing = {"install", "uninstall", "download", "wheel", "sync"}
    sub = next((w for w in words if w in changing), "")
    return _NO.format(f"{name} {sub}") if sub else ""


def _steers(name: str, words: list[str]) -> str:
    """Hooks and autonomy are for the person to set, and so is what becomes of runs and campaigns: a driver is judged, it does not judge."""
    if name == "git" and _subcommand(words) == "evogit":
        name, words = "evogit", words[words.index("evogit") + 1 :]
    if name not in ("evogit", "git-evogit"):
        return ""
    if _subcommand(words) in ("judge", "pick", "prune") and "--dry-run" not in words and words[-1:] != ["prune"]:
        return "what becomes of runs and campaigns is for the person to say"
    rest = words[words.index("hook") + 1 :] if "hook" in words else []
    is_theirs = "install" in rest or ("autonomy" in rest and bool(set(rest) - {"autonomy", "status", "off"}))
    return "hooks and autonomy are for the person to set" if is_theirs else ""


def _subcommand(words: list[str]) -> str:
    """The first word that is neither an option nor the value of one."""
    takes_value = ("--tag", "--problem", "-C", "-c")
    plain = (w for i, w in enumerate(words) if not w.startswith("-") and (i == 0 or words[i - 1] not in takes_value))
    return next(plain, "")


# writing -------------------------------------------------------------------------------------------------------------


def _targets(simple: Simple, name: str) -> list[Arg]:
    """Words that name files which the command writes, moves or removes."""
    args = simple.argv[1:]
    plain = [a for a in args if a.text is None or not a.text.startswith("-") or a.text == "-"]
    flags = [a.text for a in args if a.text is not None and a.text.startswith("-")]
    if name in ("tee", "rm", "unlink", "shred", "truncate", "rmdir", "sponge", "ex", "ed"):
        if name == "truncate":
            plain = [
                a for i, a in enumerate(args) if (a.text is None or not a.text.startswith("-")) and args[i - 1].text not in ("-s", "-r")
            ]
        return plain
    if name == "dd":
        return [Arg(a.text[3:], a.head[3:], a.globs) for a in args if a.text and a.text.startswith("of=")]
    if name == "sed":
        if any(f.startswith(("-i", "--in-place")) or (re.fullmatch(r"-[nErsuz]*i.*", f)) for f in flags):
            has_script = any(f in ("-e", "-f") or f.startswith(("--expression", "--file", "-e", "-f")) for f in flags)
            skip = {id(args[i + 1]) for i, a in enumerate(args[:-1]) if a.text in ("-e", "-f")}
            rest = [a for a in plain if id(a) not in skip]
            return rest if has_script else rest[1:]
        return []
    if name in ("perl", "ruby"):
        in_place = any(re.fullmatch(r"-[A-Za-z0-9]*i.*", f) and not f.startswith("--") for f in flags)
        skip = {id(args[i + 1]) for i, a in enumerate(args[:-1]) if a.text and re.fullmatch(r"-[a-zA-Z0-9]*e", a.text)}
        return [a for a in plain if id(a) not in skip] if in_place else []
    if name in ("cp", "mv", "install", "ln", "rsync", "scp"):
        return _copied(simple, name, args, plain)
    if name == "patch":
        fed = {id(args[i + 1]) for i, a in enumerate(args[:-1]) if a.text in ("-i", "--input", "-d", "-p", "-o")}
        return [a for a in plain if id(a) not in fed][:1] or _patched(simple, args)
    return _outputs(name, args)


def _copied(simple: Simple, name: str, args: tuple[Arg, ...], plain: list[Arg]) -> list[Arg]:
    """The destination (below a folder: the names that appear there), and for mv what goes away."""
    into = [a for i, a in enumerate(args) if i and args[i - 1].text in ("-t", "--target-directory")]
    into += [Arg(a.text.partition("=")[2]) for a in args if a.text and a.text.startswith("--target-directory=")]
    sources = [a for a in plain if a not in into] if into else plain[:-1]
    target = into[0] if into else plain[-1] if len(plain) > 1 else None
    if target is None:
        return []
    found = [target]
    where = shell.paths(target, simple.cwd)
    if where and os.path.isdir(where[0]):
        found = [Arg(os.path.join(where[0], os.path.basename(a.text.rstrip("/"))), "", a.globs) for a in sources if a.text]
        found += [Arg(None, where[0] + "/") for a in sources if a.text is None]
    return [*found, *sources] if name == "mv" else found


def _patched(simple: Simple, args: tuple[Arg, ...]) -> list[Arg]:
    named = [args[i + 1] for i, a in enumerate(args[:-1]) if a.text in ("-i", "--input")]
    files = [path for a in named for path in shell.paths(a, simple.cwd) or []]
    return [Arg(path) for file in files for path in gitrules.patched(file)] or [Arg(None)]


def _outputs(name: str, args: tuple[Arg, ...]) -> list[Arg]:
    """`curl -o FILE`, `wget -O FILE`, `sort -o FILE`."""
    options = {"curl": ("-o", "--output"), "wget": ("-O", "--output-document"), "sort": ("-o", "--output")}.get(name, ())
    found = [args[i + 1] for i, a in enumerate(args[:-1]) if a.text in options]
    return found + [Arg(a.text.partition("=")[2]) for a in args if a.text and a.text.split("=")[0] in options and "=" in a.text]
