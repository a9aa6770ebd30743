"""What a program said, made fit to be read, kept and shown: JSON found among other words, control characters and keys taken out.

It believes nothing: what the words mean is the matter of those who asked.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable

STARTS = 2000  # places that are tried for the beginning of an object
SHORT = 8  # characters below which a value is no secret: taking it out would tear words apart

_SECRET = {
    "KEY", "KEYS", "APIKEY", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")


def decode(data: bytes) -> str:
    """Text of bytes; what is not UTF-8 is shown as replacement marks, line ends are newlines."""
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def clean(text: str) -> str:
    """Without terminal escapes and control characters; newlines and tabs stay."""
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def one_line(text: str, cap: int = 300) -> str:
    """Cleaned, white space collapsed, at most `cap` characters."""
    words = " ".join(clean(text).split())
    return words if len(words) <= cap else words[: cap - 3] + "..."


def words(value: object, cap: int) -> str:
    """A value that should be words as one line that can be written anywhere; "" for what is no text."""
    return one_line(value, cap).encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def tail(text: str, cap: int = 300) -> str:
    """The end of a program's complaint as one line: its last lines, at most `cap` characters."""
    words = " ".join(clean(text[-4 * cap :]).split())
    return words if len(words) <= cap else "..." + words[-cap + 3 :]


def json_object(text: str, wanted: Collection[str] = ()) -> dict[str, object] | None:
    """The last JSON object in a text that has one of the `wanted` keys, else the last one at all; None if there is none.

    Objects inside other objects do not count. Words before, between and after are passed over, fences too.
    """
    decoder, found, place, tries = json.JSONDecoder(), [], 0, 0
    while (start := text.find("{", place)) >= 0 and tries < STARTS:
        tries += 1
        try:
            value, place = decoder.raw_decode(text, start)
            found.append(value)
        except (ValueError, RecursionError):
            place = start + 1
    if tries == STARTS:
        found += _at_line_starts(text)
    meant = [value for value in found if not wanted or not value.keys().isdisjoint(wanted)]
    return (meant or found or [None])[-1]


def _at_line_starts(text: str) -> list[dict[str, object]]:
    """Of a text full of braces: the last object that begins a line and ends the text, if there is one."""
    for match in list(re.finditer(r"^[ \t]*(\{)", text[-(4 << 20) :], re.MULTILINE))[-200:]:
        try:
            return [json.loads(text[-(4 << 20) :][match.start(1) :])]
        except (ValueError, RecursionError):
            continue
    return []


def is_secret(name: str) -> bool:
    """True if a variable of that name holds what nobody may read: `ANTHROPIC_API_KEY` does, `TOKENIZERS_PARALLELISM` does not."""
    return not _SECRET.isdisjoint(name.upper().split("_"))


class Secrets:
    """Values that must not leave this process but in a program's environment: those of variables that are named like keys."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        named = {name for name in os.environ if is_secret(name)} | {n for n in names if is_secret(n)}
        pairs = [(os.environ.get(name, ""), name) for name in named]
        self._values = sorted((pair for pair in pairs if len(pair[0]) >= SHORT), key=lambda pair: -len(pair[0]))

    def hide(self, text: str) -> str:
        """The text with each value replaced by its variable's name in brackets."""
        for value, name in self._values:
            text = text.replace(value, f"[{name}]")
        return text

    def found_in(self, text: str) -> str:
        """Name of the first variable whose value stands in the text, "" if none does."""
        return next((name for value, name in self._values if value in text), "")
