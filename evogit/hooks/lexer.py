"""Shell text into tokens: words with their quoting undone, operators, redirections, and the scripts that stand inside words.

It reads what a POSIX shell and bash read, and expands nothing: what a variable holds is for `shell` to say. It never runs
anything. Text that no shell could read raises `Unreadable`.

Why not a library: `shlex` does not tell `'$(x)'` from `$(x)` and knows no here-document, bashlex is GPL-3 and rests since
2023, and tree-sitter-bash leaves the quoting of every word to its caller and would be a compiled dependency of the core.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

OPERATORS = (";;&", ";&", ";;", "&&", "||", "|&", ";", "&", "|", "(", ")", "\n")
REDIRECTIONS = ("<<<", "<<-", "&>>", "<<", "<>", "<&", ">&", ">>", ">|", "&>", "<", ">")
_ENDS = frozenset(" \t\n;&|<>()")
_NAME = re.compile(r"[A-Za-z_]\w*")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(?:\[[^]]*\])?\+?=")
_ANSI = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|c.|.)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
DEEPEST = 40  # levels of scripts in scripts


class Unreadable(ValueError):
    """No shell could read it; the message says why, in a few words."""


@dataclass(frozen=True)
class Part:
    """A piece of a word: literal text, a variable's name, or something that only running it would tell."""

    kind: str  # "text", "variable" or "unknown"
    text: str = ""
    quoted: bool = False


@dataclass
class Word:
    """One word; `scripts` are the commands inside it (substitutions), `loose` those that may be arithmetic instead."""

    parts: list[Part] = field(default_factory=list)
    scripts: list[list[Token]] = field(default_factory=list)
    loose: list[list[Token]] = field(default_factory=list)

    @property
    def plain(self) -> str | None:
        """Its text, if it is literal and not quoted: how keywords and assignments are told."""
        return "".join(p.text for p in self.parts) if all(p.kind == "text" and not p.quoted for p in self.parts) else None

    @property
    def head(self) -> str:
        """Its literal beginning, up to the first quoted or expanded part."""
        first = self.parts[0] if self.parts else Part("text")
        return first.text if first.kind == "text" and not first.quoted else ""


@dataclass
class Redirect:
    """`2> file`; of a here-document or here-string, `target` is its text."""

    op: str
    fd: str
    target: Word


Token = Word | Redirect | str


def tokens(text: str, depth: int = 0) -> list[Token]:
    """All tokens of a script. Raises Unreadable."""
    return _Lexer(text, depth).script("")


class _Lexer:
    def __init__(self, text: str, depth: int) -> None:
        self.text, self.at, self.depth = text.replace("\\\n", ""), 0, depth
        self.here: list[tuple[Redirect, str, bool, bool]] = []  # here-documents that begin after this line
        if depth > DEEPEST:
            raise Unreadable("scripts are nested too deeply")

    def peek(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def script(self, end: str) -> list[Token]:
        """Tokens up to an unmatched `end` ("" for the end of the text), which is consumed."""
        found: list[Token] = []
        level, begins, cases = 0, True, 0  # begins: a command's first word may stand here; cases: how many are open
        while True:
            self.blanks()
            if self.at >= len(self.text):
                if end or level > 0:
                    raise Unreadable("a parenthesis is not closed")
                if self.here:
                    self.documents()
                return found
            if begins and self.peek(2) == "((":
                found.append(self.arithmetic())
                begins = False
                continue
            op = self.operator()
            if op:
                if op == ")" and not level and end == ")" and not cases:
                    return found
                level += (op == "(") - (op == ")" and level > 0)
                found.append(op)
                begins = True
                continue
            if (redirect := self.redirect("")) is not None:
                found.append(redirect)
                continue
            word = self.word()
            plain = word.plain
            if plain is not None and plain.isdigit() and self.peek() in ("<", ">") and (redirect := self.redirect(plain)) is not None:
                found.append(redirect)
                continue
            found.append(word)
            if begins and plain == "[[":
                found.append(self.test())
                begins = False
                continue
            cases += begins * ((plain == "case") - (plain == "esac" and cases > 0))
            begins = begins and plain is not None and (plain in KEYWORDS or bool(_ASSIGNMENT.match(plain)))

    def blanks(self) -> None:
        while self.at < len(self.text):
            if self.peek() in (" ", "\t", "\r"):
                self.at += 1
            elif self.peek() == "#":
                stop = self.text.find("\n", self.at)
                self.at = len(self.text) if stop < 0 else stop
            else:
                return

    def operator(self) -> str:
        if self.peek(2) == "&>":
            return ""
        for op in OPERATORS:
            if self.text.startswith(op, self.at):
                self.at += len(op)
                if op == "\n":
                    self.documents()
                return op
        return ""

    # redirections ----------------------------------------------------------------------------------------------------

    def redirect(self, fd: str) -> Redirect | None:
        if self.peek(2) in ("<(", ">("):
            return None
        op = next((op for op in REDIRECTIONS if self.text.startswith(op, self.at)), "")
        if not op:
            return None
        self.at += len(op)
        self.blanks()
        if self.at >= len(self.text) or (self.peek() in _ENDS and self.peek(2) not in ("<(", ">(")):
            raise Unreadable(f"nothing stands behind {op}")
        target = self.word()
        made = Redirect(op, fd, target)
        if op in ("<<", "<<-"):
            quoted = any(p.quoted for p in target.parts)
            self.here.append((made, "".join(p.text for p in target.parts), quoted, op == "<<-"))
        return made

    def documents(self) -> None:
        """The bodies of the here-documents that were announced on the line that ended."""
        waiting, self.here = self.here, []
        for redirect, mark, quoted, tabs in waiting:
            lines: list[str] = []
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                line = self.text[self.at :] if stop < 0 else self.text[self.at : stop]
                self.at = len(self.text) if stop < 0 else stop + 1
                if (line.lstrip("\t") if tabs else line) == mark:
                    break
                lines.append(line)
            body = "\n".join(lines)
            redirect.target = Word([Part("text", body, True)]) if quoted else _inner(body, self.depth)

    # words -----------------------------------------------------------------------------------------------------------

    def word(self) -> Word:
        found = Word()
        while self.at < len(self.text):
            char = self.peek()
            if self.peek(2) in ("<(", ">("):
                self.at += 2
                found.scripts.append(self.nested(")"))
                found.parts.append(Part("unknown"))
            elif char == "(" and found.plain and _ASSIGNMENT.fullmatch(found.plain):
                self.at += 1
                found.loose.append(self.nested(")"))
                found.parts.append(Part("unknown"))
            elif char in _ENDS:
                break
            elif char == "\\":
                found.parts.append(Part("text", self.peek(2)[1:], True))
                self.at += 2
            elif char == "'":
                stop = self.text.find("'", self.at + 1)
                if stop < 0:
                    raise Unreadable("a quotation mark is not closed")
                found.parts.append(Part("text", self.text[self.at + 1 : stop], True))
                self.at = stop + 1
            elif char == '"':
                self.at += 1
                self.double(found, '"')
            elif char == "$":
                self.dollar(found, False)
            elif char == "`":
                self.backtick(found, False)
            else:
                _add(found, char, False)
                self.at += 1
        return found

    def double(self, found: Word, end: str) -> None:
        """The inside of double quotes, or of anything that is expanded like it; `end` "" reads to the end of the text."""
        found.parts.append(Part("text", "", True))
        while self.at < len(self.text):
            char = self.peek()
            if char == end:
                self.at += 1
                return
            if char == "\\" and self.peek(2)[1:] in ("$", "`", '"', "\\", "\n"):
                found.parts.append(Part("text", self.peek(2)[1:], True))
                self.at += 2
            elif char == "$":
                self.dollar(found, True)
            elif char == "`":
                self.backtick(found, True)
            else:
                _add(found, char, True)
                self.at += 1
        if end:
            raise Unreadable("a quotation mark is not closed")

    def dollar(self, found: Word, quoted: bool) -> None:
        self.at += 1
        char = self.peek()
        if self.peek(2) == "((":
            self.at += 1
            found.loose.append(self.nested(")"))
            found.parts.append(Part("unknown", "", quoted))
        elif char == "(":
            self.at += 1
            found.scripts.append(self.nested(")"))
            found.parts.append(Part("unknown", "", quoted))
        elif char == "{":
            self.brace(found, quoted)
        elif char == "'" and not quoted:
            self.ansi(found)
        elif char == '"' and not quoted:
            self.at += 1
            self.double(found, '"')
        elif (name := _NAME.match(self.text, self.at)) is not None:
            self.at = name.end()
            found.parts.append(Part("variable", name[0], quoted))
        elif char and char in "0123456789@*#?$!-":
            self.at += 1
            found.parts.append(Part("unknown", "", quoted))
        else:
            found.parts.append(Part("text", "$", quoted))

    def brace(self, found: Word, quoted: bool) -> None:
        """`${...}`: a name alone is a variable; anything else is unknown, and the scripts in it are kept."""
        start, level = self.at + 1, 0
        self.at += 1
        inside = Word()
        while self.peek() != "}" or level:
            if self.at >= len(self.text):
                raise Unreadable("a brace is not closed")
            char = self.peek()
            if char == "$":
                self.dollar(inside, True)
            elif char == "`":
                self.backtick(inside, True)
            elif char == "\\":
                self.at += 2
            else:
                level += (char == "{") - (char == "}")
                self.at += 1
        text = self.text[start : self.at]
        self.at += 1
        found.scripts += inside.scripts
        found.loose += inside.loose
        found.parts.append(Part("variable", text, quoted) if _NAME.fullmatch(text) else Part("unknown", "", quoted))

    def ansi(self, found: Word) -> None:
        stop = self.at + 1
        while stop < len(self.text) and self.text[stop] != "'":
            stop += 2 if self.text[stop] == "\\" else 1
        if stop >= len(self.text):
            raise Unreadable("a quotation mark is not closed")
        found.parts.append(Part("text", _ANSI.sub(_unescape, self.text[self.at + 1 : stop]), True))
        self.at = stop + 1

    def backtick(self, found: Word, quoted: bool) -> None:
        stop = self.at + 1
        while stop < len(self.text) and self.text[stop] != "`":
            stop += 2 if self.text[stop] == "\\" else 1
        if stop >= len(self.text):
            raise Unreadable("a backtick is not closed")
        inside = re.sub(r'\\([`\\$"])' if quoted else r"\\([`\\$])", r"\1", self.text[self.at + 1 : stop])
        found.scripts.append(tokens(inside, self.depth + 1))
        found.parts.append(Part("unknown", "", quoted))
        self.at = stop + 1

    def nested(self, end: str) -> list[Token]:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("scripts are nested too deeply")
        waiting, self.here = self.here, []
        found = self.script(end)
        self.here = waiting
        self.depth -= 1
        return found

    def arithmetic(self) -> Word:
        """`((...))` as a command: no redirection is in it."""
        self.at += 1
        return Word([Part("text", "((", True)], loose=[self.nested(")")])

    def test(self) -> Word:
        """What stands between `[[` and `]]`, where < and > compare; the scripts in it are kept."""
        whole = Word([Part("text", "]]", True)])
        while self.at < len(self.text):
            if self.peek() in _ENDS:
                self.at += 1
                continue
            word = self.word()
            if word.plain == "]]":
                return whole
            whole.scripts += word.scripts
            whole.loose += word.loose
        raise Unreadable("[[ is not closed")


def _add(found: Word, char: str, quoted: bool) -> None:
    """A letter more, in the part before it where that is text of the same kind."""
    last = found.parts[-1] if found.parts else None
    if last is not None and last.kind == "text" and last.quoted is quoted:
        found.parts[-1] = Part("text", last.text + char, quoted)
    else:
        found.parts.append(Part("text", char, quoted))


def _inner(text: str, depth: int) -> Word:
    """Text in which only $ and backticks mean something: a here-document's body."""
    lexer, found = _Lexer("", depth + 1), Word()
    lexer.text = text
    lexer.double(found, "")
    return found


def _unescape(match: re.Match[str]) -> str:
    said = match[1]
    if said[0] in "xuU" and len(said) > 1:
        return chr(min(int(said[1:], 16), 0x10FFFF))
    if said[0] in "01234567":
        return chr(int(said, 8) & 0xFF)
    return _ESCAPES.get(said, said if said in "\\'\"?" else match[0])


KEYWORDS = frozenset({"if", "then", "elif", "else", "fi", "do", "done", "while", "until", "!", "{", "}", "time", "coproc", "esac"})
