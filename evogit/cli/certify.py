"""`evogit certify`: does a gain hold on fresh seeds? Readings until the evidence says so, or the looks are used up."""

from __future__ import annotations

from typing import Any

import click

from evogit.cli import complete, work
from evogit.cli.command import WorkCommand
from evogit.cli.invocation import Invocation


@click.command("certify", cls=WorkCommand)
@click.argument("run", required=False, default="", shell_complete=complete.runs)
@click.option("--incumbent", is_flag=True, help="Certify the incumbent; so it is where no run is named.")
@click.option(
    "--looks", type=click.IntRange(1, 16), default=16, show_default=True, metavar="N", help="At most N pairs of readings this time."
)
@work.trial_options
@click.pass_obj
def command(invocation: Invocation, run: str, incumbent: bool, looks: int, as_json: bool, **asked: Any) -> int:
    """Test on fresh seeds whether a run's gain is real.

    The run is compared with its last certified ancestor. Exit code 1 if it is not certified.
    """
    if run and incumbent:
        raise click.UsageError("name a run or give --incumbent, not both")
    lab = invocation.lab()
    happenings = lab.certify(run, looks, work.options_from(invocation, asked), lab.stopper)
    code, _ = work.follow(invocation, lab, happenings, as_json=as_json)
    if code:
        return code
    test, words = lab.certificate(run)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"event": "certificate", **msgspec.structs.asdict(test)}).decode())
    else:
        page = invocation.page()
        page.echo("\n".join(page.fold(words, hang=2)))
    return 0 if test.is_certified else work.FAILED
