"""Strings that are shaped like a secret, whoever's it is: keys of services, web tokens, private keys, passwords in addresses.

Shapes are precise, so that no hash, uuid or base64 of weights is taken for one; a secret of no known shape (a password in a sentence, 32
hex digits) is not found. It knows no environment: `keys` takes out values that are known, and asks here for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

SHORTEST = 12  # characters; nothing shorter has a shape

# A token begins where no word goes on; the letter of an escape (`\n` in JSON) and the end of a colour (`ESC[31m`) belong to no word. What
# may stand before a token may not stand in one, so that a run of half tokens is read once and not once for each.
_BEGIN = rb"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrtbf])|(?<=[\[;][0-9]m)|(?<=[\[;][0-9][0-9]m))"
_END = rb"(?![A-Za-z0-9_-])"
_QUOTE = rb"[\"'\\]{0,2}"
_IS = _QUOTE + rb"\s{0,4}[:=]\s{0,4}" + _QUOTE
_PEM = rb"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_PEM_END = rb"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"


class Token(NamedTuple):
    """One secret-shaped string: what it seems to be, and where it stands."""

    kind: str  # "api-key", "password", ...; what stands in its place is "<kind>"
    start: int
    end: int


class _Shape(NamedTuple):
    kind: str
    anchor: re.Pattern[bytes]  # how such a string begins (or its name ends): looked for first, which costs 0.4 ms a MiB
    pattern: re.Pattern[bytes]  # from the anchor on; group 1, where there is one, is the secret
    is_real: Callable[[bytes], bool]
    needs: bytes  # nothing is found where this is missing


def _is_mixed(secret: bytes) -> bool:
    """Letters and digits: `sk-learn-contrib-classification` is no key."""
    return re.search(rb"[0-9]", secret) is not None and re.search(rb"[A-Za-z]", secret) is not None


def _has_a_long_part(secret: bytes) -> bool:
    """Sixteen characters without a hyphen, letters and digits among them: words and dates that hyphens join have none."""
    return any(len(part) >= 16 and _is_mixed(part) for part in re.split(rb"-", secret))


def _is_two_cased(secret: bytes) -> bool:
    return secret.lower() != secret != secret.upper()


def _shape(kind: str, anchor: bytes, pattern: bytes, is_real: Callable[[bytes], bool] = bool, needs: bytes = b"") -> _Shape:
    return _Shape(kind, re.compile(anchor), re.compile(pattern), is_real, needs)


_SHAPES = (
    _shape(
        "private-key", b"-----BEGIN ", _PEM + rb"(?:(?:[^-]|-(?!----)){0,20000}" + _PEM_END + rb"|(?:[\s|>]|\\[nr]|[A-Za-z0-9+/=]{16,})+)"
    ),
    _shape("api-key", b"sk-", _BEGIN + rb"sk-[A-Za-z0-9_-]{20,}", _has_a_long_part),
    _shape("github-token", b"gh[pousr]_", _BEGIN + rb"gh[pousr]_[A-Za-z0-9]{36,255}" + _END),
    _shape("github-token", b"github_pat_", _BEGIN + rb"github_pat_[A-Za-z0-9_]{22,255}" + _END, _is_mixed),
    _shape("gitlab-token", b"glpat-", _BEGIN + rb"glpat-[A-Za-z0-9_-]{20,}", _is_mixed),
    _shape("hf-token", b"hf_", _BEGIN + rb"hf_[A-Za-z0-9]{30,}" + _END, _is_two_cased),
    _shape("slack-token", b"xox[abeoprs]-", _BEGIN + rb"xox[abeoprs]-[A-Za-z0-9-]{10,}", _is_mixed),
    _shape("google-key", b"AIza", _BEGIN + rb"AIza[A-Za-z0-9_-]{35}" + _END),
    _shape(
        "aws-key",
        b"A[KS]IA",
        _BEGIN + rb"A[KS]IA[A-Z0-9]{16}" + _END + rb"(?:[\s,:;\"'|]{1,8}[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=]))?",
        _is_mixed,
    ),
    _shape(
        "aws-secret",
        b"ecret(?:_access_key|AccessKey)",
        rb"ecret(?:_access_key|AccessKey)" + _IS + rb"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    _shape("aws-secret", b"ECRET_ACCESS_KEY", rb"ECRET_ACCESS_KEY" + _IS + rb"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"),
    _shape("web-token", b"eyJ", _BEGIN + rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}", needs=b".eyJ"),
    _shape("bearer-token", b"earer ", rb"earer {1,4}([A-Za-z0-9._~+/=-]{20,})", _is_mixed),
    _shape("password", b"uthorization", rb"uthorization" + _IS + rb"(?i:basic|token) {1,4}([A-Za-z0-9._~+/=-]{8,})"),
    _shape("api-key", b"-[aA]pi-[kK]ey", rb"(?i:-api-key)" + _IS + rb"([A-Za-z0-9._~+/=-]{16,})", _is_mixed),
    # Not `{password}`, `$PASSWORD`, `<password>` and `***`, which stand for one.
    _shape("password", b"://", rb"://[^\s/:@\"'`<>\\]{0,64}:(?![{$%<*])([^\s/@\"'`<>\\]{1,256})@[A-Za-z0-9\[]"),
)


def found(data: bytes) -> list[Token]:
    """Every secret-shaped string in `data` (any encoding that keeps ASCII), in order, none twice. 4 MiB of log take some 20 ms."""
    tokens = sorted((token for shape in _SHAPES for token in _of(shape, data)), key=lambda token: (token.start, -token.end))
    kept: list[Token] = []
    for token in tokens:
        if not kept or token.start >= kept[-1].end:
            kept.append(token)
    return kept


def scrub(data: bytes) -> bytes:
    """The same bytes with `<kind>` in the place of each; the object itself where there is none."""
    parts, at = [], 0
    for token in found(data):
        parts += [data[at : token.start], b"<%s>" % token.kind.encode()]
        at = token.end
    return b"".join([*parts, data[at:]]) if parts else data


def scrub_text(text: str) -> str:
    """The same for text."""
    if len(text) < SHORTEST:
        return text
    data = text.encode("utf-8", "surrogatepass")
    clean = scrub(data)
    return text if clean is data else clean.decode("utf-8", "surrogatepass")


def _of(shape: _Shape, data: bytes) -> Iterator[Token]:
    if shape.needs not in data:
        return
    group = shape.pattern.groups
    begin = shape.anchor.search(data)
    while begin is not None:
        match = shape.pattern.match(data, begin.start())
        if match is not None and shape.is_real(match[group]):
            yield Token(shape.kind, *match.span(group))
        begin = shape.anchor.search(data, match.end() if match is not None else begin.end())
