"""`evogit run`: a person's own mutation, measured and recorded like any other run."""

from __future__ import annotations

from typing import Any

import click

from evogit.cli import work
from evogit.cli.command import WorkCommand
from evogit.cli.invocation import Invocation


@click.command("run", cls=WorkCommand)
@click.option("--parent", metavar="RUN", help="The run that your change starts from; default: the incumbent.")
@click.option("--hypothesis", metavar="TEXT", default="", help="What you expect, and why.")
@click.option("-m", "--message", metavar="TEXT", default="", help="One line on what you changed.")
@work.trial_options
@click.pass_obj
def command(invocation: Invocation, parent: str | None, hypothesis: str, message: str, as_json: bool, **asked: Any) -> int:
    """Measure the working tree as a run of its own.

    Exit code 1 if it crashed or a gate rejected it. Arguments behind `--` are handed to the problem's command.
    """
    lab = invocation.lab()
    options = work.options_from(invocation, asked)
    happenings = lab.measure(parent=parent, hypothesis=hypothesis, message=message, options=options, stop=lab.stopper)
    code, decided = work.follow(invocation, lab, happenings, as_json=as_json)
    return code or (work.FAILED if any(e.verdict in ("crash", "reject") for e in decided) else 0)
