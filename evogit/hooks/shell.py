"""A script's simple commands, each with the words it would be run with, as far as that can be known without running it.

All commands of all branches are told, whether or not they would be reached. What a variable holds is known where this
very script sets it to plain text, or the environment does; `cd` is followed. It never runs anything.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from evogit.hooks import lexer
from evogit.hooks.lexer import KEYWORDS, Part, Redirect, Token, Word

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[[^]]*\])?(\+?)=")
_BRACES = re.compile(r"(.*?)\{([^{}]*,[^{}]*)\}(.*)", re.DOTALL)
_MOST_WORDS = 4096
_SETTERS = frozenset({"export", "declare", "typeset", "local", "readonly"})
WRITES = frozenset({">", ">>", ">|", "&>", "&>>", "<>", ">&"})


@dataclass(frozen=True)
class Arg:
    """A word as the program gets it. `text` is None where only running would tell; `head` is its known beginning then."""

    text: str | None
    head: str = ""
    globs: bool = False  # it has unquoted * ? [ in it


@dataclass(frozen=True)
class Output:
    """Where a redirection sends output; a target of None cannot be known, a `fd` of "" is stdout (of `&>` both)."""

    op: str
    fd: str
    target: Arg


@dataclass(frozen=True)
class Simple:
    """One command: its words, where it would run, and where its output goes."""

    argv: tuple[Arg, ...]
    outputs: tuple[Output, ...] = ()
    cwd: str | None = None  # absolute; None where it cannot be known
    stdin: str | None = None  # text of a here-document or here-string
    is_fed: bool = False  # it reads a pipe
    pipeline: int = 0  # commands joined by | share it
    loose: bool = False  # what cannot be known of it is nobody's fault: it stands in arithmetic, or in a file
    group: bool = False  # no words: redirections of a group that ended

    @property
    def name(self) -> str | None:
        """The program, without its folder; None where it cannot be known."""
        first = self.argv[0].text if self.argv else ""
        return None if first is None else os.path.basename(first)

    @property
    def words(self) -> list[str]:
        """Its words as text; a word that cannot be known is its known beginning."""
        return [a.head if a.text is None else a.text for a in self.argv]


@dataclass
class _State:
    cwd: str | None
    known: dict[str, str | None]  # None: set to what cannot be known
    loose: bool = False
    pipelines: list[int] = field(default_factory=lambda: [0])  # one counter for a whole reading


def commands(script: str, cwd: str, environ: Mapping[str, str]) -> list[Simple]:
    """Every simple command of a script. Raises `lexer.Unreadable`. Some 5 us a character."""
    return list(_flat(lexer.tokens(script), _State(cwd, dict(environ))))


def _flat(tokens: list[Token], state: _State) -> Iterator[Simple]:
    held: list[Word | Redirect] = []
    scopes: list[_State] = []
    state.pipelines[0] += 1
    pipeline, is_fed, after_group = state.pipelines[0], False, False
    for token in [*tokens, "\n"]:
        if not isinstance(token, str):
            held.append(token)
            continue
        if held:
            yield from _simple(held, state, pipeline, is_fed, after_group)
            after_group = isinstance(held[-1], Word) and held[-1].plain in ("}", "done", "fi", "esac")
        held = []
        if token == "(":
            scopes.append(replace(state, known=dict(state.known)))
        elif token == ")" and scopes:
            outer = scopes.pop()
            state.cwd, state.known = outer.cwd, outer.known
            after_group = True
        is_fed = token in ("|", "|&")
        if not is_fed and token not in ("(", ")"):
            state.pipelines[0] += 1
            pipeline = state.pipelines[0]


def _simple(held: list[Word | Redirect], state: _State, pipeline: int, is_fed: bool, after_group: bool) -> Iterator[Simple]:
    for item in held:
        word = item if isinstance(item, Word) else item.target
        for script in word.scripts:
            yield from _flat(script, replace(state, known=dict(state.known)))
        for script in word.loose:
            yield from _flat(script, replace(state, known=dict(state.known), loose=True))
    words = [w for w in held if isinstance(w, Word)]
    redirects = [r for r in held if isinstance(r, Redirect)]
    closes = bool(words) and words[0].plain in ("}", "done", "fi", "esac")
    words = _without_keywords(words, state)
    words = _assign(words, state)
    argv = tuple(arg for word in words for arg in _args(word, state))[:_MOST_WORDS]
    outputs = tuple(
        Output(r.op, r.fd, one) for r in redirects if r.op in WRITES for one in _args(r.target, state)[:1] if not _is_descriptor(r, one)
    )
    texts = [r.target for r in redirects if r.op in ("<<", "<<-", "<<<")]
    stdin = _text(texts[-1], state) if texts else None
    if not argv and not outputs:
        return
    yield Simple(
        argv=argv,
        outputs=outputs,
        cwd=state.cwd,
        stdin=stdin if stdin is not None or not texts else "",
        is_fed=is_fed,
        pipeline=pipeline,
        loose=state.loose,
        group=not argv and (closes or after_group),
    )
    _follow(argv, state)


def _is_descriptor(redirect: Redirect, target: Arg) -> bool:
    """`2>&1` writes to no file."""
    return redirect.op == ">&" and target.text is not None and (target.text.isdigit() or target.text == "-" or target.text.endswith("-"))


def _without_keywords(words: list[Word], state: _State) -> list[Word]:
    while words and (plain := words[0].plain) is not None:
        if plain in KEYWORDS:
            words = words[1:]
            if plain == "time" and words and words[0].plain == "-p":
                words = words[1:]
        elif plain in ("for", "select", "case"):
            if plain != "case" and len(words) > 1 and words[1].plain:
                state.known[words[1].plain] = None
            return []
        elif plain == "function":
            words = words[2:]
        else:
            break
    return words


def _assign(words: list[Word], state: _State) -> list[Word]:
    """Take the assignments off the front. They last where no command follows, or a builtin makes them last."""
    names: list[tuple[str, str | None]] = []
    while words and (match := _ASSIGNMENT.match(words[0].head)):
        names.append(_value(words[0], match, state))
        words = words[1:]
    if not words:
        state.known.update(names)
    elif words[0].plain in _SETTERS:
        for word in words[1:]:
            if match := _ASSIGNMENT.match(word.head):
                state.known.update([_value(word, match, state)])
    elif words[0].plain in ("read", "mapfile", "readarray", "getopts", "unset"):
        state.known.update({w.plain: None for w in words[1:] if w.plain})
    return words


def _value(word: Word, match: re.Match[str], state: _State) -> tuple[str, str | None]:
    rest = Word([Part("text", word.parts[0].text[match.end() :]), *word.parts[1:]])
    value = _text(rest, state) if not match[2] else None
    if match[3]:
        before = state.known.get(match[1], "")
        value = None if value is None or before is None else before + value
    return match[1], value


def _follow(argv: tuple[Arg, ...], state: _State) -> None:
    """`cd` moves what comes after it."""
    if not argv or argv[0].text not in ("cd", "pushd", "popd", "chdir"):
        return
    where = [a for a in argv[1:] if a.text is None or not a.text.startswith("-")]
    if argv[0].text == "popd" or state.cwd is None or len(where) > 1 or (where and where[0].text is None):
        state.cwd = None
    else:
        target = where[0].text if where else state.known.get("HOME")
        state.cwd = None if target is None else os.path.normpath(os.path.join(state.cwd, target or ""))


def _text(word: Word, state: _State) -> str | None:
    """The word's text, whole, as in an assignment; None if it cannot be known."""
    found = []
    for part in word.parts:
        value = part.text if part.kind == "text" else state.known.get(part.text) if part.kind == "variable" else None
        if value is None:
            return None
        found.append(value)
    return "".join(found)


def _args(word: Word, state: _State) -> list[Arg]:
    """The words that one word becomes: braces and variables expanded, a known pattern left as it is."""
    return [arg for parts in _braced(word.parts) for arg in _arg(parts, state)]


def _braced(parts: list[Part]) -> list[list[Part]]:
    """`{a,b}c` is two words. Only where the braces are plain text and not nested; else the word is unknown."""
    plain = "".join(p.text if p.kind == "text" and not p.quoted else "\0" * max(len(p.text), 1) for p in parts)
    if "{" not in plain or "}" not in plain or not re.search(r"\{[^{}]*(?:,|\.\.)[^{}]*\}", plain.replace("\0", "x")):
        return [parts]
    if "\0" in plain or not (match := _BRACES.fullmatch(plain)):
        return [[Part("unknown")]]
    middle = [f"{match[1]}{choice}{match[3]}" for choice in match[2].split(",")]
    if len(middle) > 64:
        return [[Part("unknown")]]
    return [again for text in middle for again in _braced([Part("text", text)])]


def _arg(parts: list[Part], state: _State) -> list[Arg]:
    text, globs, known = "", False, True
    if parts and parts[0].kind == "text" and not parts[0].quoted and parts[0].text.startswith("~"):
        home = state.known.get("HOME")
        whole = "".join(p.text for p in parts)
        if home and (whole == "~" or whole.startswith("~/")):
            parts = [Part("text", home, True), Part("text", parts[0].text[1:]), *parts[1:]]
        else:
            return [Arg(None)]
    for part in parts:
        value = part.text if part.kind == "text" else state.known.get(part.text) if part.kind == "variable" else None
        if value is None or (part.kind == "variable" and not part.quoted and re.search(r"[\s*?\[]", value)):
            known = False
            break
        if part.kind == "variable" and not part.quoted and not value and len(parts) == 1:
            return []  # an empty variable is no word
        globs = globs or (part.kind == "text" and not part.quoted and any(c in "*?[" for c in value))
        text += value
    return [Arg(text, text, globs)] if known else [Arg(None, text, globs)]


def paths(arg: Arg, cwd: str | None) -> list[str] | None:
    """Absolute paths that a word names; a pattern those that are there. None where it cannot be known."""
    base = cwd if cwd is not None else "\0"
    if arg.text is None or (cwd is None and not os.path.isabs(arg.text)):
        return None
    full = os.path.normpath(os.path.join(base, arg.text))
    return (glob.glob(full) if arg.globs else []) or [full]
