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

WAITING = ("queued", "needs-model", "dropped")


def runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labels of the newest runs, and the names that every campaign has."""
    return _offer(ctx, incomplete, lambda lab: [*lab.recent_labels(), *NAMED])


def in_flight(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs in flight."""
    return _offer(ctx, incomplete, lambda lab: [(f.run, f"{f.emitter}, {f.state}") for f in lab.in_flight()])


def ideas(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of ideas that wait, or were dropped."""
    return _offer(ctx, incomplete, lambda lab: [(t.idea.id, t.idea.description[:60]) for t in lab.ideas() if t.status.value in WAITING])


def roles(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Search roles, plugins' too."""
    from evogit import registry

    return [CompletionItem(name) for name in registry.names("emitters") if name.startswith(incomplete)]


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
