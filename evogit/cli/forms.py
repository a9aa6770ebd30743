"""How a command that reads prints for programs: `--json`, `--tsv`, `--porcelain`, the last one given. What is in them `present` and `sheets` say.

None of the three is paged, coloured or cut to the terminal, and an empty answer is no complaint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from evogit.present import json_line

if TYPE_CHECKING:
    from evogit.sheets import Sheet


def formats(json: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The three options; a command gets `form`: "json", "tsv", "porcelain" or "". json: what its objects are, for the help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--porcelain", "form", flag_value="porcelain", help="Stable, versioned lines for scripts."),
            click.option("--tsv", "form", flag_value="tsv", help="A table with tabs: its columns' names, then a row a line."),
            click.option("--json", "form", flag_value="json", default="", help=json),
        ):
            function = option(function)
        return function

    return decorate


def put(form: str, objects: Callable[[], Iterable[object]], sheet: Callable[[], Sheet]) -> bool:
    """Print as `form` asks; False if it is for people. Only what is asked for is made."""
    if not form:
        return False
    if form == "json":
        for each in objects():
            click.echo(json_line(each))
        return True
    from evogit import sheets

    for line in (sheets.tsv if form == "tsv" else sheets.porcelain)(sheet()):
        click.echo(line)
    return True
