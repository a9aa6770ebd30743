"""`evogit baseline`: run 0 under several seeds, so that noise is known before anything is compared."""

from __future__ import annotations

from typing import Any

import click

from evogit.cli import work
from evogit.cli.command import WorkCommand
from evogit.cli.invocation import Invocation


@click.command("baseline", cls=WorkCommand)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, metavar="N", help="How many seeds to measure.")
@work.trial_options
@click.pass_obj
def command(invocation: Invocation, seeds: int, as_json: bool, **asked: Any) -> int:
    """Measure the untouched code, to know its noise."""
    lab = invocation.lab()
    happenings = lab.baseline(seeds, work.options_from(invocation, asked), lab.stopper)
    code, _ = work.follow(invocation, lab, happenings, as_json=as_json)
    return code
