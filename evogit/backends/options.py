"""What a person says under `[backend.NAME]` or on the command line, as a backend's own struct. It knows no backend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from evogit.errors import UserError

T = TypeVar("T", bound=msgspec.Struct)
Slots = Annotated[int, msgspec.Meta(ge=1)]


def read(name: str, told: Mapping[str, object], kind: type[T]) -> T:
    """The options of a backend. Numbers and truths may come as text, as they do from a command line.

    Raises UserError that names the one that is wrong.
    """
    known = ", ".join(kind.__struct_fields__)
    if unknown := sorted(told.keys() - set(kind.__struct_fields__)):
        raise UserError(f"[backend.{name}]: {unknown[0]!r} is no option", hint=f"its options are {known}")
    try:
        return msgspec.convert(dict(told), kind, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(f"[backend.{name}] {_in_words(str(error))}", hint=f"its options are {known}; see docs/backends.md") from error


def _in_words(said: str) -> str:
    """ "Expected `int`, got `str` - at `$.slots`" with the option first, and its types by their names."""
    what, _, where = said.partition(" - at `$.")
    for theirs, ours in (
        ("int", "a whole number"),
        ("float", "a number"),
        ("str", "text"),
        ("bool", "true or false"),
        ("object", "a table"),
    ):
        what = re.sub(rf"`{theirs}(?: \| null)?`", ours, what)
    what = what[:1].lower() + what[1:]
    return f"{where.rstrip('`')}: {what}" if where else what
