"""`evogit prune`: campaigns that are over into the archive and back; away for good only where a person says so twice."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from evogit import sheets
from evogit.cli import complete, forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Column, Page
from evogit.domain.moment import seconds_of_age
from evogit.errors import UserError
from evogit.harvested import Harvested
from evogit.present import clean, plural

if TYPE_CHECKING:
    from evogit.pruning import Pruned


class Age(click.ParamType):
    """`30d`, `12h`, `2w`: seconds."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click's BadParameter for anything else."""
        if isinstance(value, float):
            return value
        found = seconds_of_age(str(value))
        if found is None:
            self.fail(f"{value!r} is no age: say 12h, 30d or 2w", param, ctx)
        return found


@click.command("prune", cls=Command)
@click.argument("tags", nargs=-1, metavar="[TAG]...", shell_complete=complete.tags)
@click.option("--older-than", type=Age(), default=None, metavar="AGE", help="All whose last entry is older: 12h, 30d, 2w.")
@click.option("--flights", is_flag=True, help="Take along runs that are not decided yet.")
@click.option("--restore", metavar="TAG", default="", shell_complete=complete.archived, help="Bring an archived campaign back.")
@click.option("--delete", is_flag=True, help="Delete instead; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@forms.formats("One JSON object a campaign.")
@click.pass_obj
def command(
    invocation: Invocation,
    tags: tuple[str, ...],
    older_than: float | None,
    flights: bool,
    restore: str,
    delete: bool,
    yes: bool,
    dry_run: bool,
    form: str,
) -> None:
    """Put campaigns that are over into the archive; without a name, list all.

    An archived campaign is in no list and costs nothing; its runs, outputs and notes stay. Nothing is deleted unless you say so.
    """
    lab = invocation.lab()
    if restore and (tags or older_than is not None or delete):
        raise click.UsageError("--restore stands alone")
    if restore:
        done = lab.restore(restore)
        if not _told([done], form):
            click.echo(f"campaign {done.tag} is back: evogit log --tag {done.tag}")
        return
    if not tags and older_than is None:
        if delete:
            raise click.UsageError("name what to delete, or give --older-than")
        _overview(invocation, lab, form)
        return
    age = older_than or 0.0
    if delete and not dry_run and not yes:
        _confirm(
            [done.tag for done in lab.prune(tags, older_than_s=age, delete=True, flights=flights, dry_run=True) if done.action == "deleted"]
        )
    found = lab.prune(tags, older_than_s=age, delete=delete, flights=flights, dry_run=dry_run)
    for done in found if not _told(found, form) else ():
        would = "would be " if dry_run and done.action != "kept" else ""
        back = f"; back with: evogit prune --restore {done.tag}" if done.action == "archived" and not dry_run else ""
        click.echo(f"campaign {done.tag} {would}{done.action}" + (f": {clean(done.why)}" if done.why else back))


def _told(found: list[Pruned], form: str) -> bool:
    return forms.put(form, lambda: found, lambda: sheets.objects("pruned", found))


def _confirm(names: list[str]) -> None:
    """Raises UserError where nobody can be asked, click's Abort where they say no."""
    if not names:
        return
    if not sys.stdin.isatty():
        raise UserError(f"this deletes {plural(len(names), 'campaign')} for good: {', '.join(names)}", hint="say --yes if that is meant")
    click.confirm(f"delete {', '.join(names)} for good, runs and outputs", abort=True, err=True)


def _overview(invocation: Invocation, lab: Harvested, form: str) -> None:
    found = lab.prunable()
    if forms.put(form, lambda: found, lambda: sheets.objects("campaigns", found)):
        return
    if not found:
        click.echo("there is no campaign yet; start one with: evogit start", err=True)
        return
    page: Page = invocation.page()
    columns = [Column("campaign"), Column("last entry", right=True), Column("", least=20), Column("", least=10)]
    rows = [
        [
            (campaign.tag, "title"),
            "archived" if campaign.is_archived else _days(campaign.age_s),
            clean(campaign.subject),
            (clean(campaign.bars), "quiet"),
        ]
        for campaign in found
    ]
    page.show(page.table(columns, rows))


def _days(seconds: float) -> str:
    return f"{plural(int(seconds // 86400), 'day')} ago" if seconds >= 86400 else "today"
