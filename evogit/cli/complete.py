"""What Tab offers for an argument: runs and campaigns, from the record. Where there is nothing to read it offers nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from evogit.errors import EvogitError
from evogit.present import clean

if TYPE_CHECKING:
    from evogit.lab import Lab

NAMED = (("incumbent", "the best run so far"), ("baseline", "the untouched code"))


def runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labels of the newest runs, and the names that every campaign has."""
    return _offer(ctx, incomplete, lambda lab: [*lab.recent_labels(), *NAMED])


def tags(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Campaigns."""
    return _offer(ctx, incomplete, lambda lab: [(tag, "") for tag in lab.campaigns()])


def archived(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Archived campaigns."""
    return _offer(ctx, incomplete, lambda lab: [(tag, "archived") for tag in lab.archived()])


def _offer(ctx: click.Context, incomplete: str, ask: Callable[[Lab], list[tuple[str, str]]]) -> list[CompletionItem]:
    from evogit.cli.invocation import Invocation

    try:
        found = ask(ctx.find_root().ensure_object(Invocation).lab())
    except EvogitError:
        return []
    return [CompletionItem(word, help=clean(words) or None) for word, words in found if word.startswith(incomplete)]
