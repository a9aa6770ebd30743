"""What Tab offers for an argument: runs, campaigns, metrics, names of hands. Where there is nothing to read it offers nothing."""

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

THEMES = ("auto", "evogit-dark", "evogit-light", "terminal")
WAITING = ("queued", "needs-model", "dropped")


def runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labels of the newest runs, the names that every campaign has, and tags on its runs."""
    return _offer(ctx, incomplete, lambda lab: [*lab.recent_labels(), *NAMED, *lab.tag_names()])


def files(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Artifacts of the run that stands before."""
    label = ctx.params.get("run") or next(iter(ctx.args), "")  # click puts arguments aside where an option still lacks its value
    return _offer(ctx, incomplete, lambda lab: [(path, "") for path in sorted(lab.show(label).files)] if label else [])


def metrics(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The problem's metrics; of several with commas between them the last one."""
    before = incomplete[: incomplete.rfind(",") + 1]
    return _offer(ctx, incomplete, lambda lab: [(before + m.name, f"{m.direction.value}d") for m in lab.problem.metrics])


def branches(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Branches that are no campaign's."""
    return _offer(ctx, incomplete, lambda lab: [(name, "") for name in lab.branches()])


def in_flight(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs in flight."""
    return _offer(ctx, incomplete, lambda lab: [(f.run, f"{f.emitter}, {f.state}") for f in lab.in_flight()])


def ideas(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of ideas that wait, or were dropped."""
    return _offer(ctx, incomplete, lambda lab: [(t.idea.id, t.idea.description[:60]) for t in lab.ideas() if t.status.value in WAITING])


def hands(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Names of emitters, policies, agents, reviewers or backends, plugins' too."""

    def names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from evogit import registry

        return [CompletionItem(name) for name in registry.names(kind) if name.startswith(incomplete)]

    return names


roles = hands("emitters")


def themes(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Themes of the full screen, Textual's among them."""
    from textual.theme import BUILTIN_THEMES

    return [CompletionItem(name) for name in dict.fromkeys([*THEMES, *BUILTIN_THEMES]) if name.startswith(incomplete)]


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
