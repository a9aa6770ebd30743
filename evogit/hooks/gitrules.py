"""What a driver may not do with git while a campaign runs: push, destroy, rewrite, or move what is evogit's to move.

Reading is free, and so is work on branches of one's own. A subcommand that is not git's own may be an alias of anything,
so it is refused: what an alias stands for can be written out.
"""

from __future__ import annotations

from collections.abc import Iterator

from evogit.hooks import shell
from evogit.hooks.place import BRANCHES, Place
from evogit.hooks.shell import Arg, Simple

_TAKES = frozenset(
    {"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env", "--super-prefix", "--attr-source"}
)
_COMMANDS = """
add annotate apply archive bisect blame bugreport bundle cat-file check-attr check-ignore check-mailmap check-ref-format
cherry column commit-graph count-objects credential describe diff diff-files diff-index diff-tree diagnose difftool
fast-export fetch fmt-merge-msg for-each-ref for-each-repo format-patch fsck get-tar-commit-id grep gui help init
interpret-trailers log ls-files ls-remote ls-tree mailinfo mailsplit maintenance merge-base merge-file merge-tree
mergetool mktag mktree multi-pack-index name-rev pack-objects patch-id range-diff read-tree remote repack rerere
rev-list rev-parse shortlog show show-branch show-index show-ref sparse-checkout status stripspace submodule
symbolic-ref tag unpack-objects update-index var verify-commit verify-pack verify-tag version whatchanged worktree
write-tree hash-object config reflog stash branch switch checkout restore reset clean commit merge cherry-pick revert
pull am rm mv notes gc evogit clone citool gitk lfs
"""
_FREE = frozenset(_COMMANDS.split())  # git's own; what some of them may not do is below
_NEVER = {
    "push": "pushing is for the person to do",
    "send-pack": "pushing is for the person to do",
    "http-push": "pushing is for the person to do",
    "rebase": "a rebase rewrites history",
    "update-ref": "evogit moves the campaign's refs, nobody else does",
    "filter-branch": "it rewrites history",
    "filter-repo": "it rewrites history",
    "replace": "it rewrites history",
    "fast-import": "it writes history past evogit",
    "prune": "it removes commits that a run may still need",
    "prune-packed": "it removes objects that a run may still need",
    "svn": "pushing is for the person to do",
    "p4": "pushing is for the person to do",
    "subtree": "it merges and pushes",
    "receive-pack": "it writes refs past evogit",
}
_MOVES = frozenset({"commit", "merge", "cherry-pick", "revert", "pull", "am"})  # a branch that is checked out


def refusal(simple: Simple, place: Place) -> str:
    """Why this git command is not for a driver, in one line; "" if it is. `simple` is one whose program is git."""
    sub, args, settings, where = _split(simple)
    for setting in settings:
        if setting.split("=")[0].lower().startswith(("alias.", "core.hookspath", "core.fsmonitor", "core.sshcommand")):
            return f"git -c {setting.split('=')[0]} changes what git itself does"
    if sub is None:
        return "" if simple.loose else "which git command this is would only be known when it runs"
    if not sub:
        return ""
    if sub in _NEVER:
        return f"git {sub}: {_NEVER[sub]}"
    if sub not in _FREE:
        return f"git {sub} is not a command of git's own; what an alias stands for, write out"
    words = [a.head if a.text is None else a.text for a in args]
    if (
        any(a.text is None for a in args)
        and sub in ("branch", "reset", "clean", "checkout", "restore", "notes", "config")
        and not simple.loose
    ):
        return f"what this git {sub} is about would only be known when it runs: write the words out"
    rule = _RULES.get(sub)
    reason = (rule(words, place) if rule is not None else "") or _moves_branch(sub, words, place)
    return f"git {sub}: {reason}" if reason else next((f"git {sub}: {r}" for r in _writes(sub, words, args, where, place)), "")


def _split(simple: Simple) -> tuple[str | None, tuple[Arg, ...], list[str], str | None]:
    """Subcommand (None: not known, "": none), its words, settings given by -c, and the folder it works in."""
    words, settings, where = list(simple.argv[1:]), [], simple.cwd
    while words:
        text = words[0].text
        if text is None:
            return None, (), settings, where
        if not text.startswith("-"):
            return text, tuple(words[1:]), settings, where
        if text in ("-c", "--config-env") and len(words) > 1:
            settings.append(words[1].text or words[1].head)
        elif text == "-C" and len(words) > 1:
            where = (shell.paths(words[1], where) or [None])[0]
        elif text.startswith("--config-env="):
            settings.append(text.partition("=")[2])
        words = words[2:] if text in _TAKES else words[1:]
    return "", (), settings, where


def _flags(words: list[str]) -> set[str]:
    """Options, short ones taken apart: -Dq is -D and -q."""
    found: set[str] = set()
    for word in words:
        if word == "--":
            break
        if word.startswith("--"):
            found.add(word.split("=")[0])
        elif word.startswith("-"):
            found.update(f"-{letter}" for letter in word[1:])
    return found


def _is_long(flags: set[str], *names: str) -> bool:
    """True if one of those long options is there, or what git takes for it: git lets them be cut short."""
    return any(len(flag) > 3 and name.startswith(flag) for flag in flags if flag.startswith("--") for name in names)


def _ours(words: list[str]) -> bool:
    return any(BRANCHES in word or "refs/evogit" in word or "notes/evogit" in word for word in words)


def _reset(words: list[str], place: Place) -> str:
    flags = _flags(words)
    if _is_long(flags, "--hard", "--merge", "--keep"):
        return "it throws work away; `git restore --source COMMIT -- FILE` brings one file back"
    moves = [w for w in words if not w.startswith("-") and w not in ("HEAD", "@")]
    return "evogit moves the campaign's branch, you do not" if place.campaign and moves and "--" not in words else ""


def _clean(words: list[str], place: Place) -> str:
    flags = _flags(words)
    dry = "-n" in flags or _is_long(flags, "--dry-run")
    return "" if dry or not ("-f" in flags or _is_long(flags, "--force")) else "it deletes files that git does not have"


def _branch(words: list[str], place: Place) -> str:
    flags = _flags(words)
    if "-D" in flags or (("-d" in flags or _is_long(flags, "--delete")) and ("-f" in flags or _is_long(flags, "--force"))):
        return "it deletes commits that nothing else may hold"
    changes = flags & {"-d", "-m", "-M", "-f", "-c", "-C"} or _is_long(flags, "--delete", "--move", "--force", "--copy")
    on_it = bool(place.campaign) and len([w for w in words if not w.startswith("-")]) < 2 and bool(flags & {"-m", "-M"})
    return "a campaign's branch is evogit's to move" if changes and (_ours(words) or on_it) else ""


def _switch(words: list[str], place: Place) -> str:
    flags = _flags(words)
    if "-f" in flags or _is_long(flags, "--force", "--discard-changes"):
        return "it throws changes away"
    return "a campaign's branch is evogit's to move" if flags & {"-B", "-C"} and _ours(words) else ""


def _checkout(words: list[str], place: Place) -> str:
    if "--" in words and not _flags(words) & {"-f", "-B"}:
        return ""
    return _switch(words, place)


def _stash(words: list[str], place: Place) -> str:
    return "it throws work away" if words[:1] in (["drop"], ["clear"]) else ""


def _reflog(words: list[str], place: Place) -> str:
    return "it removes what a rewritten branch is restored from" if words[:1] in (["expire"], ["delete"], ["drop"]) else ""


def _gc(words: list[str], place: Place) -> str:
    flags = _flags(words)
    return "it removes commits that a run may still need" if _is_long(flags, "--prune", "--aggressive", "--cruft-expiration") else ""


def _repack(words: list[str], place: Place) -> str:
    return "it removes objects that a run may still need" if _flags(words) & {"-d", "-a", "-A"} else ""


def _tag(words: list[str], place: Place) -> str:
    flags = _flags(words)
    changes = flags & {"-d", "-f"} or _is_long(flags, "--delete", "--force")
    return "evogit's tags are certificates" if changes and any(w.removeprefix("refs/tags/").startswith("evogit/") for w in words) else ""


def _notes(words: list[str], place: Place) -> str:
    rest = [w for w in words if not w.startswith("-")]
    writes = {"add", "append", "edit", "copy", "merge", "remove", "prune"}
    return "notes on runs are evogit's to write" if any("evogit" in w for w in words) and writes & set(rest) else ""


def _symbolic_ref(words: list[str], place: Place) -> str:
    flags = _flags(words)
    rest = [w for w in words if not w.startswith("-")]
    return "evogit moves the campaign's refs, nobody else does" if len(rest) > 1 or "-d" in flags else ""


def _fetch(words: list[str], place: Place) -> str:
    into = [w.partition(":")[2] for w in words if ":" in w and "://" not in w]
    return "it would overwrite the campaign's refs" if _ours(into) or any(w == "refs/*" or "refs/heads/*" in w for w in into) else ""


def _config(words: list[str], place: Place) -> str:
    rest = [w for w in words if not w.startswith("-") and w not in ("set", "get", "list", "unset")]
    reads = _is_long(_flags(words), "--get", "--get-all", "--list", "--get-regexp") or "-l" in _flags(words) or "get" in words[:1]
    touchy = rest and rest[0].lower().startswith(("alias.", "core.hookspath", "evogit.", "core.fsmonitor", "core.sshcommand"))
    return (
        "it changes what git itself does"
        if touchy and not reads and (len(rest) > 1 or "unset" in words or _is_long(_flags(words), "--unset"))
        else ""
    )


def _worktree(words: list[str], place: Place) -> str:
    return "it throws work away" if words[:1] == ["remove"] and _flags(words) & {"-f", "--force"} else ""


_RULES = {
    "reset": _reset,
    "clean": _clean,
    "branch": _branch,
    "switch": _switch,
    "checkout": _checkout,
    "stash": _stash,
    "reflog": _reflog,
    "gc": _gc,
    "maintenance": lambda words, place: _gc(words, place),
    "repack": _repack,
    "tag": _tag,
    "notes": _notes,
    "symbolic-ref": _symbolic_ref,
    "fetch": _fetch,
    "config": _config,
    "worktree": _worktree,
}


def _moves_branch(sub: str, words: list[str], place: Place) -> str:
    """On a campaign's branch only `evogit submit` commits; elsewhere commits are one's own."""
    if sub == "pull" and _is_long(_flags(words), "--rebase"):
        return "a rebase rewrites history"
    if not place.campaign or sub not in _MOVES:
        return ""
    if sub == "commit" and _is_long(_flags(words), "--amend"):
        return f"an amended commit rewrites {place.branch}"
    if sub == "commit" and _is_long(_flags(words), "--dry-run"):
        return ""
    return f'only evogit commits on {place.branch}: evogit submit -m "what you changed"'


def _writes(sub: str, words: list[str], args: tuple[Arg, ...], where: str | None, place: Place) -> Iterator[str]:
    """Frozen files that the command would change in the work tree."""
    if sub not in ("restore", "checkout", "rm", "mv", "apply"):
        return
    flags = _flags(words)
    if sub == "apply":
        if not (_is_long(flags, "--check", "--stat", "--numstat", "--summary")):
            yield from _applied(args, where, place)
        return
    source = "-s" in flags or _is_long(flags, "--source")
    named = [a for a, w in zip(args, words, strict=True) if not w.startswith("-")]
    if sub == "checkout":
        if "--" not in words:
            named = named[1:]
        else:
            source = words.index("--") > 0 and any(not w.startswith("-") for w in words[: words.index("--")])
            named = [a for a in args[words.index("--") + 1 :]]
    elif sub == "restore" and "-s" in words or "--source" in words:
        at = words.index("-s" if "-s" in words else "--source")
        named = [a for i, a in enumerate(args) if i != at + 1 and not words[i].startswith("-")]
    for arg in named:
        if arg.text in (".", ":/", "*", ":") or (arg.text or "").startswith(":(") and (arg.text or "").endswith(")"):
            yield "it would change every file; name the files"
            return
        if sub == "restore" and not source or sub == "checkout" and not source:
            continue  # from the index: a frozen file becomes what it should be
        for path in shell.paths(_plain(arg, place), where) or []:
            if reason := place.frozen(path):
                yield f"{arg.text} {reason}"


def _plain(arg: Arg, place: Place) -> Arg:
    """`:/train.py` is a path from the top, `:(glob)parts/*.py` one with a pattern."""
    text = arg.text or ""
    if text.startswith(":/"):
        return Arg(str(place.top / text[2:]), text, arg.globs)
    if text.startswith(":(glob)"):
        return Arg(text[7:], text, True)
    return Arg(arg.text, arg.head, True) if any(c in text for c in "*?[") else arg


def _applied(args: tuple[Arg, ...], where: str | None, place: Place) -> Iterator[str]:
    """Files that a patch changes, as it names them. A patch that cannot be read is refused by `git apply` itself."""
    for arg in args:
        if arg.text is None or arg.text.startswith("-"):
            continue
        for name in shell.paths(arg, where) or []:
            for path in patched(name):
                base = place.top if where is None else where
                for full in {f"{place.top}/{path}", f"{base}/{path}"}:
                    if reason := place.frozen(full):
                        yield f"{path} {reason}"
                        return


def patched(file: str) -> list[str]:
    """Paths that a unified diff names as its new side, a leading b/ taken off; [] if it cannot be read."""
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            return [line[6:].rstrip("\n").split("\t")[0] for line in lines if line.startswith("+++ b/")]
    except OSError:
        return []
