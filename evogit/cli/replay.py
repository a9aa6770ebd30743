"""`evogit replay`: a run's candidate made again from its record, and held against its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from evogit.cli import complete, work
from evogit.cli.command import WorkCommand
from evogit.cli.invocation import Invocation
from evogit.cli.page import Page
from evogit.present import clean_lines, json_line, number, short

if TYPE_CHECKING:
    from evogit.domain.report import Replayed

DIFFERS = 1
_HOW = {
    "plan": "by rule, from its plan",
    "answers": "from the recorded answers",
    "files.json": "from the files that were recorded",
    "cut": "from the files that were recorded, since an answer was too long to be kept whole and cannot be replayed",
}


@click.command("replay", cls=WorkCommand)
@click.argument("run", shell_complete=complete.runs)
@click.option("--measure", is_flag=True, help="Also run it again, and compare the numbers: a replicate.")
@work.trial_options
@click.pass_obj
def command(invocation: Invocation, run: str, measure: bool, as_json: bool, **asked: Any) -> int:
    """Rebuild a run's candidate from its record, without asking a model.

    Exit code 0 if the tree is the same to the byte (and the numbers within noise), 1 if not, 2 if nothing was recorded.
    """
    lab, page = invocation.lab(), invocation.page()
    replayed = lab.replay(run)
    if not as_json:
        page.echo("\n".join(_lines(replayed, page)))
    if measure:
        known = lab.readings_of(run)
        options = work.options_from(invocation, asked)
        code, _ = work.follow(invocation, lab, lab.measure_again(run, options, lab.stopper), as_json=as_json)
        if code:
            return code
        lab.refresh()
        replayed = lab.compared(replayed, known)
        if not as_json:
            page.echo("\n".join(page.fold(_numbers(replayed), hang=2)))
    if as_json:
        click.echo(json_line(replayed))
    return 0 if replayed.is_equal and replayed.is_within_noise is not False else DIFFERS


def _lines(said: Replayed, page: Page) -> list[str]:
    if said.is_equal:
        same = page.paint("the same tree to the byte", "good")
        return [f"run {said.run}: {same} ({short(said.tree)}), {_HOW[said.how]}"]
    tree = f"{short(said.rebuilt)} for {short(said.tree)}" if said.rebuilt else "no tree"
    return [f"run {said.run}: {page.paint('differs', 'bad')}, {tree}, {_HOW[said.how]}", *clean_lines(said.diff.rstrip("\n"))]


def _numbers(said: Replayed) -> str:
    before, after = (", ".join(number(v) for v in values) or "no number" for values in (said.before, said.after))
    verdict = "within noise" if said.is_within_noise else "further apart than noise explains"
    return f"run {said.run} measured again: {after}; recorded: {before}; {verdict}"
