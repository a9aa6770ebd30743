"""`evogit submit`: the change that was made by hand, committed, measured, reviewed and decided in one call."""

from __future__ import annotations

from typing import Any

import click

from evogit.cli import work
from evogit.cli.command import WorkCommand
from evogit.cli.invocation import Invocation


class ForecastType(click.ParamType):
    """`0.095+-0.004` as a `Forecast`."""

    name = "mean+-spread"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from evogit.present import forecast_of

        forecast = forecast_of(value)
        if forecast is None:
            self.fail(f"{value!r} is no forecast; write one like 0.095+-0.004", param, ctx)
        return forecast


@click.command("submit", cls=WorkCommand)
@click.option("-m", "--message", metavar="TEXT", required=True, help="One line on what you changed.")
@click.option("--hypothesis", metavar="TEXT", default="", help="What you expect, and why; default: the assignment's words.")
@click.option("--predicted", type=ForecastType(), metavar="FORECAST", help="The primary metric that you expect, as 0.095+-0.004.")
@click.option("--change", metavar="TYPE", default="", help="What kind of change it is: optimizer, schedule, architecture ...")
@click.option("--begun", "is_begun", is_flag=True, help="The assignment's files were put in place, whatever they look like.")
@work.trial_options
@click.pass_obj
def command(
    invocation: Invocation, message: str, hypothesis: str, predicted: Any, change: str, is_begun: bool, as_json: bool, **asked: Any
) -> int:
    """Measure the working tree as the run of the assignment that waits.

    Without one it is a run of your own, on top of the incumbent. Exit code 1 if it crashed or a gate rejected it.
    Arguments behind `--` are handed to the problem's command.
    """
    from evogit.domain.proposal import Proposal

    lab = invocation.lab()
    said = Proposal(summary=message, hypothesis=hypothesis, change=change, forecast=predicted)
    happenings = lab.submit(said, work.options_from(invocation, asked), lab.stopper, is_begun=is_begun)
    code, decided = work.follow(invocation, lab, happenings, as_json=as_json)
    if code or not decided:
        return code
    _tell(invocation, lab, decided[-1].run, as_json=as_json)
    return work.FAILED if decided[-1].verdict in ("crash", "reject") else 0


def _tell(invocation: Invocation, lab: Any, run: str, *, as_json: bool) -> None:
    from evogit.cli import show
    from evogit.present import detail_object, json_line

    lab.refresh()
    detail = lab.show(run)
    if as_json:
        click.echo(json_line({"event": "submission", **detail_object(detail)}))
        return
    page = invocation.page()
    page.echo()
    page.echo("\n".join(show.verdict_lines(detail, lab.problem, page)))
    page.echo()
    page.echo(f"next: evogit next --tag {lab.tag}")
