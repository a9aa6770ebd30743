"""Keys of models' services: from the environment or from a `.env`, into this process alone, and out of everything that is written.

A `.env` beside the problem, then one at the repository's top, may name what hands know; neither overrides what is set. Trials get
an environment of their own (`git.environment`), which never holds a credential. Words are cleaned of secrets, of values that are known
and of what is shaped like one (`tokens`); code never is, since another text would then be measured: it is refused. It never prints a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from evogit import tokens

# What hands ask for. Nothing else in a `.env` is read: it may be full of a project's own variables.
NAMES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CODEX_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
)
SHORTEST = 8  # characters; a shorter value is a placeholder, and would be found in ordinary words
LONG = 16  # characters of a value that is taken for a secret by its variable's name alone; it has letters and digits too
FILE_CAP = 64 << 10  # bytes of a `.env`
_SECRET_WORDS = {
    "KEY",
    "KEYS",
    "APIKEY",
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "AUTH",
}
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?""")
T = TypeVar("T")


def load(folders: Iterable[Path]) -> list[str]:
    """Put what hands know of each folder's `.env` into this process's environment, the first folder first; what is set stays.

    Returns one line a file about what could not be read: its path and the first such line's number, never a value.
    """
    said: list[str] = []
    for path in dict.fromkeys(folder / ".env" for folder in folders):
        if not path.is_file():
            continue
        found, fault = read(path)
        for name in NAMES:
            if name in found:
                os.environ.setdefault(name, found[name])
        said += [fault] if fault else []
    return said


def read(path: Path) -> tuple[dict[str, str], str]:
    """What a `.env` says, and what is wrong with it ("" if nothing is): KEY=VALUE, quotes, `export`, comments; no substitution."""
    try:
        data = path.read_bytes()
        lines = data[:FILE_CAP].decode("utf-8-sig").splitlines()
    except OSError as error:
        return {}, f"{path} cannot be read: {(error.strerror or 'unknown').lower()}"
    except UnicodeDecodeError:
        return {}, f"{path} is not UTF-8 text: nothing was taken from it"
    found: dict[str, str] = {}
    bad: list[int] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        pair = _pair(line)
        if pair is None:
            bad.append(number)
        else:
            found[pair[0]] = pair[1]
    return found, f"{path}: {_lines(bad)} KEY=VALUE, and left out" if bad else ""


def _lines(bad: list[int]) -> str:
    return f"line {bad[0]} is not" if len(bad) == 1 else f"line {bad[0]} and {len(bad) - 1} more are not"


def redact(text: str) -> str:
    """The text without secrets: the value of a secret variable of this process becomes its name, `<ANTHROPIC_API_KEY>`, a token `<its kind>`."""
    return _clean_text(text, _secrets())


def redact_bytes(data: bytes) -> bytes:
    """The same for bytes of any encoding that keeps ASCII. 4 MiB take some 40 ms."""
    for name, value in _secrets():
        if (raw := os.fsencode(value)) in data:
            data = data.replace(raw, f"<{name}>".encode())
    return tokens.scrub(data)


def redacted(noun: T) -> T:
    """The same for every text of a noun, however deep: an event, a proposal, a review."""
    return _clean(noun, _secrets())


def new_secrets(data: bytes, before: bytes = b"") -> list[str]:
    """Secrets in `data` that are not in `before`, as "line 12 holds <api-key>", in their order. Values are not told."""
    found = [(data.find(raw), name, raw) for name, value in _secrets() if (raw := os.fsencode(value)) in data]
    found += [(token.start, token.kind, data[token.start : token.end]) for token in tokens.found(data)]
    new = sorted((at, name) for at, name, raw in found if raw not in before)
    return [f"line {_line_at(data, at)} holds <{name}>" for at, name in new]


def _line_at(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def _clean_text(text: str, secrets: list[tuple[str, str]]) -> str:
    for name, secret in secrets:
        text = text.replace(secret, f"<{name}>") if secret in text else text
    return tokens.scrub_text(text)


def _clean(value: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        return _clean_text(value, secrets)
    if isinstance(value, dict):
        return {_clean(k, secrets): _clean(v, secrets) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_clean(item, secrets) for item in value)
    if isinstance(value, msgspec.Struct):
        new = {name: _clean(getattr(value, name), secrets) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **new)
    return value


@cache
def is_credential(name: str) -> bool:
    """True if a variable of that name looks like a secret: `HF_TOKEN` is one, `TOKENIZERS_PARALLELISM` is not."""
    return not _SECRET_WORDS.isdisjoint(name.upper().split("_"))


def _pair(line: str) -> tuple[str, str] | None:
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    name, value = found.groups()
    if value[:1] in ("'", '"'):
        quoted = _QUOTED.fullmatch(value)
        if quoted is None:
            return None
        single, double = quoted.groups()
        return name, single if single is not None else re.sub(r"\\(.)", r"\1", double)
    value = re.split(r"\s#", value, maxsplit=1)[0].strip()
    return None if any(c in value for c in "'\"") else (name, value)


def _secrets() -> list[tuple[str, str]]:
    """Name and value of what must not be written, longer values first: one may begin like another."""
    found = [(name, value) for name, value in os.environ.items() if is_credential(name) and _is_secret(name, value)]
    return sorted(found, key=lambda pair: -len(pair[1]))


def _is_secret(name: str, value: str) -> bool:
    """A hand's key, or what looks like one: `AUTH=disabled` would take a word out of every text, and a path is no secret."""
    if name in NAMES:
        return len(value) >= SHORTEST
    return len(value) >= LONG and value[0] != "/" and any(map(str.isdigit, value)) and not value.isdigit()
