"""`evogit pick`: gains taken home as clean commits. Conflicts are shown, and left to the person as git leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evogit.cli import complete
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.errors import UserError
from evogit.present import clean, json_line, plural, short

if TYPE_CHECKING:
    from evogit.lab import Lab
    from evogit.picking import Pick

CONFLICT = 1  # exit code


@click.command("pick", cls=Command)
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete.runs)
@click.option("--marked", is_flag=True, help="The runs that are marked (`evogit mark`), beside those that are named.")
@click.option(
    "--onto",
    metavar="BRANCH",
    default="",
    shell_complete=complete.branches,
    help="The branch that gets them; default: the one that is checked out.",
)
@click.option("--squash", is_flag=True, help="One commit for all of it.")
@click.option("--dry-run", is_flag=True, help="Say which commits and conflicts would come; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def command(invocation: Invocation, runs: tuple[str, ...], marked: bool, onto: str, squash: bool, dry_run: bool, as_json: bool) -> int:
    """Take runs home as clean commits on a branch of yours.

    One commit for each kept run on the way from the baseline, mutable files only; what was not kept on the way is in the next one, and
    named. A branch that is not checked out gets them without a file of yours being touched. Exit code 1 where they conflict with what the branch has.
    """
    if not runs and not marked:
        raise click.UsageError("name a run, or give --marked")
    lab = invocation.lab()
    wanted = [*runs, *(_marked(lab) if marked else ())]
    done = lab.pick(wanted, onto=onto, squash=squash, dry_run=dry_run)
    for note in done.notes:
        click.echo(f"warning: {clean(note)}", err=True)
    if as_json:
        click.echo(json_line(_object(done)))
    else:
        for line in _lines(done, dry_run):
            click.echo(line)
    return CONFLICT if done.clash and not done.is_done else 0


def _marked(lab: Lab) -> list[str]:
    found = [run.label for run in lab.marks()]
    if not found:
        raise UserError("no run is marked", hint="mark some first: `evogit mark RUN`")
    return found


def _lines(done: Pick, is_trial: bool) -> list[str]:
    verb = "would get" if is_trial else "has" if done.is_done or done.is_left else "would have got"
    nothing = [] if done.clash and not done.is_done else [f"{done.branch} gets nothing new"]
    lines = [f"{done.branch} {verb} {plural(len(done.commits), 'commit')}"] if done.commits else nothing
    lines += [f"  {'' if is_trial or not done.is_done else short(commit) + ' '}{clean(subject)}" for commit, subject in done.commits]
    if done.present:
        lines.append(f"there already: run {', '.join(done.present)}")
    if done.clash and not done.is_done:
        lines += [f"conflict: run {done.clash} does not apply to {done.branch}, in {', '.join(clean(path) for path in done.conflicts)}"]
        if done.rest:
            lines.append(f"behind it: run {', '.join(done.rest)}")
        if done.is_left:
            lines.append("resolve it, then: git add FILES && git cherry-pick --continue; or undo all of it: git cherry-pick --abort")
        elif not is_trial:
            lines.append(f"nothing was changed; to resolve it: git switch {done.branch}, then pick again")
    return lines


def _object(done: Pick) -> dict[str, object]:
    return {
        "branch": done.branch,
        "commits": [{"commit": commit, "subject": subject} for commit, subject in done.commits],
        "present": list(done.present),
        "clash": done.clash or None,
        "conflicts": list(done.conflicts),
        "rest": list(done.rest),
        "is_done": done.is_done,
        "is_left": done.is_left,
        "notes": list(done.notes),
    }
