"""Values of messages: text cleaned so that what is read is what was meant, and numbers that read back as themselves. Pure text.

It knows no trailer's name; `messages` does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from evogit.domain.change import Move
from evogit.domain.plan import Forecast
from evogit.domain.usage import Spent
from evogit.errors import BadRecord

_SPACES = re.compile("[\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_BREAKS = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")  # bidi and zero-width: they fake what a reader sees
_SURROGATE = re.compile("[\ud800-\udfff]")
LINE_CAP = 500
BODY_CAP = 4000
TEXT_CAP = 240  # characters of one of several texts in a line
_LINES = re.compile(r"\+(\d{1,9}) -(\d{1,9})")


def one_line(text: str, cap: int = LINE_CAP) -> str:
    """Text as one line: white space and control characters become one space, what fakes the eye is dropped, the rest is cut at `cap`."""
    text = _INVISIBLE.sub("", _SURROGATE.sub("\ufffd", text[: 16 * cap]))
    text = _SPACES.sub(" ", text).strip()
    return text if len(text) <= cap else text[: cap - 1].rstrip() + "…"


def paragraphs(text: str, cap: int = BODY_CAP) -> str:
    """Text as a body: lines without control characters, no two blank lines on end, cut at `cap`; idempotent.

    A line that starts like one of our trailers, or with `---` (where git's own trailer reader stops), is indented by one space.
    """
    text = _INVISIBLE.sub("", _SURROGATE.sub("\ufffd", text[: 4 * cap]))
    out: list[str] = []
    for raw in _BREAKS.split(text):
        line = _SPACES.sub(lambda m: m.group() if set(m.group()) == {" "} else " ", raw).rstrip()
        if line.lower().startswith(("evogit-", "---")):
            line = " " + line
        if line or (out and out[-1]):
            out.append(line)
    body = "\n".join(out).strip("\n")
    return body if len(body) <= cap else body[: cap - 1].rstrip() + "…"


def exact(text: str) -> str:
    """A name that must survive to the byte (a folder, a tag, a metric): as it is, or as a JSON string where it has odd characters."""
    return text if text == one_line(text) and not text.startswith('"') else json.dumps(text)


def plain(text: str, where: str) -> str:
    """The name behind `exact`. Raises `BadRecord`."""
    if not text.startswith('"'):
        return text
    try:
        return msgspec.json.decode(text, type=str)
    except msgspec.DecodeError as error:
        raise BadRecord(where, f"{text} is not a JSON string") from error


def number(value: float) -> str:
    """Shortest text that reads back as the same number; "" for NaN and infinities, which say nothing."""
    return repr(float(value)) if math.isfinite(value) else ""


def finite(text: str) -> float:
    """A finite number. Raises ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def parse_number(text: str, where: str) -> float:
    """A finite number. Raises `BadRecord`."""
    try:
        return finite(text)
    except ValueError as error:
        raise BadRecord(where, f"{text!r} is not a number") from error


def forecast_text(forecast: Forecast | None) -> str:
    """`0.081 0.004`: mean and spread; "" without a forecast."""
    if forecast is None or not (math.isfinite(forecast.mean) and math.isfinite(forecast.spread)):
        return ""
    return f"{number(forecast.mean)} {number(forecast.spread)}"


def parse_forecast(text: str, where: str) -> Forecast | None:
    """The forecast of a trailer, None for none. Raises `BadRecord`."""
    if not text:
        return None
    mean, _, spread = text.partition(" ")
    return Forecast(mean=parse_number(mean, where), spread=parse_number(spread, where))


def parse_yes(text: str) -> bool:
    """True for `yes`. Raises ValueError for anything but `yes` and `no`."""
    if text not in ("yes", "no"):
        raise ValueError(text)
    return text == "yes"


def parse_numbers(text: str) -> tuple[float, ...]:
    """Finite numbers between spaces. Raises ValueError."""
    return tuple(finite(part) for part in text.split())


def moves_text(moves: Sequence[Move]) -> str:
    """JSON of as many moves as one line holds, "" for none. ASCII, so that cleaning changes nothing of it."""
    kept: list[str] = []
    for move in moves:
        text = json.dumps([move.gene, *_finite_values(move), move.family])
        if sum(map(len, kept)) + 2 * len(kept) + len(text) + 2 > LINE_CAP:
            break
        kept.append(text)
    return f"[{', '.join(kept)}]" if kept else ""


def _finite_values(move: Move) -> list[object]:
    """Old and new value; an infinity, which JSON cannot say, as text."""
    return [v if not isinstance(v, float) or math.isfinite(v) else repr(v) for v in (move.old, move.new)]


def parse_moves(text: str, where: str) -> tuple[Move, ...]:
    """The moves of a trailer. Raises `BadRecord`."""
    if not text:
        return ()
    try:
        return msgspec.json.decode(text, type=tuple[Move, ...])
    except msgspec.MsgspecError as error:
        raise BadRecord(where, f"Evogit-Moves cannot be read: {error}") from error


def texts_text(texts: Sequence[str]) -> str:
    """JSON of as many texts as one line holds, "" for none; one that is longer than the line is cut. ASCII, so that cleaning changes nothing."""
    kept: list[str] = []
    for text in texts:
        said = json.dumps(one_line(text))
        said = said if len(said) <= TEXT_CAP else json.dumps(one_line(text, TEXT_CAP // 8))  # an escape takes up to six characters
        if sum(map(len, kept)) + 2 * len(kept) + len(said) + 2 > LINE_CAP:
            break
        kept.append(said)
    return f"[{', '.join(kept)}]" if kept else ""


def parse_texts(text: str) -> tuple[str, ...]:
    """The texts of `texts_text`. Raises ValueError."""
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        raise ValueError(text) from error


def lines_text(lines: tuple[int, int]) -> str:
    """`+3 -1`, "" where no line changed."""
    return f"+{lines[0]} -{lines[1]}" if any(lines) else ""


def parse_lines(text: str, where: str) -> tuple[int, int]:
    """The two counts of `+3 -1`. Raises `BadRecord`."""
    if not text:
        return (0, 0)
    found = _LINES.fullmatch(text)
    if found is None:
        raise BadRecord(where, f"Evogit-Lines is {text!r}, not like +3 -1")
    return int(found.group(1)), int(found.group(2))


SPENT_KEYS = frozenset(("Evogit-Cost", "Evogit-Calls", "Evogit-Unpriced", "Evogit-Tokens"))


def spent_trailers(spent: Spent) -> list[tuple[str, str]]:
    """What models were paid, as trailers; a part that is nothing is left out."""
    tokens = (spent.input, spent.output, spent.cache_write, spent.cache_read)
    return [
        ("Cost", number(spent.usd) if spent.usd else ""),
        ("Calls", str(spent.calls) if spent.calls else ""),
        ("Unpriced", str(spent.unpriced) if spent.unpriced else ""),
        ("Tokens", " ".join(map(str, tokens)) if any(tokens) else ""),
    ]


def parse_spent(trailers: Mapping[str, str], where: str) -> Spent:
    """What those trailers say. Raises `BadRecord`."""
    tokens = trailers.get("Evogit-Tokens", "0 0 0 0").split()
    try:
        if len(tokens) != 4:
            raise ValueError(tokens)
        return Spent(
            usd=finite(trailers.get("Evogit-Cost", "0")),
            calls=_count(trailers.get("Evogit-Calls", "0")),
            unpriced=_count(trailers.get("Evogit-Unpriced", "0")),
            **dict(zip(("input", "output", "cache_write", "cache_read"), map(_count, tokens))),
        )
    except ValueError as error:
        raise BadRecord(where, f"what it cost cannot be read: {error}") from error


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no count")
    return int(text)
