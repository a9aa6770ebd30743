"""`evogit loop`: the search itself, shown as it goes. What happens in it is `evogit.loop`'s matter."""

from __future__ import annotations

from typing import Any

import click

from evogit.cli import complete, work
from evogit.cli.command import WorkCommand
from evogit.cli.invocation import Invocation


@click.command("loop", cls=WorkCommand)
@click.option("--max-runs", type=click.IntRange(min=0), default=0, metavar="N", help="Stop after N runs decided now; 0: no limit.")
@click.option("--max-hours", type=click.FloatRange(min=0), default=0.0, metavar="H", help="Stop after H hours; 0: no limit.")
@click.option("--max-cost", type=click.FloatRange(min=0), default=0.0, metavar="USD", help="Hard cap on dollars spent now; 0: none.")
@click.option("--until", type=work.TargetType(), metavar='"METRIC<X"', help='Stop once the best run is there: "val_loss<0.05".')
@click.option(
    "--patience",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Stop after N runs in a row without a keep, earlier loops' counted.",
)
@click.option("--crash-streak", type=click.IntRange(min=0), default=0, metavar="N", help="Stop after N crashes or rejects in a row.")
@click.option("--smoke", is_flag=True, help="Run the problem's smoke command only: is everything wired?")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the search's own choices.")
@click.option("--workers", type=work.WorkersType(), default=1, show_default=True, metavar="N|auto", help="Trials at a time.")
@click.option(
    "--prefetch",
    type=click.IntRange(min=0),
    default=None,
    metavar="N",
    help="Candidates made ready while others run; default: as many as keep the slots busy, none with one worker.",
)
@click.option("--emitter", multiple=True, metavar="NAME", shell_complete=complete.roles, help="Only this search role; may be repeated.")
@click.option(
    "--policy",
    metavar="NAME",
    default="",
    shell_complete=complete.hands("policies"),
    help="Who chooses among the roles: sw-ucb, thompson, uniform, phases, topk.",
)
@click.option("--ideas/--no-ideas", default=True, help="Carry out queued ideas of people and reviewers.")
@click.option(
    "--agent",
    metavar="NAME",
    default="offline",
    show_default=True,
    shell_complete=complete.hands("agents"),
    help="Who edits the code; replay:TAG repeats a campaign.",
)
@click.option("--agent-command", metavar="COMMAND", default="", help="The program that edits, for --agent command.")
@click.option("--model", metavar="ID", default="", help="The model that agent and reviewer ask, where they ask one.")
@click.option("--base-url", metavar="URL", default="", help="Where they ask it; default: the service of its makers.")
@click.option("--agent-option", type=work.PairType(), multiple=True, metavar="KEY=VALUE", help="An option of the agent.")
@click.option("--address", metavar="ADDRESS", default="", help="The cluster, for --backend ray: host:port, ray://host:port, auto.")
@click.option("--cloud-spec", metavar="FILE", default="", help="The cloud_runner.yaml, for --backend cloud-run.")
@click.option("--cloud-dataset", metavar="URI", default="", help="gs:// address of the data, in place of the spec's.")
@click.option("--cloud-env", type=work.PairType(), multiple=True, metavar="KEY=VALUE", help="A variable for trials on Cloud Run.")
@work.trial_options
@click.pass_obj
def command(invocation: Invocation, as_json: bool, **asked: Any) -> int:
    """Start or resume the search: propose, run, decide, record.

    Limits combine: the first that is reached ends the loop. --max-cost counts what this invocation spends, on models and on the
    backend; a call or a trial that could pass it is not begun.

    Ctrl-C lets running trials finish, a second one cancels them; the same command goes on where it stopped. Arguments behind `--` are
    handed to the problem's command and replace what they repeat there.
    """
    asked["prefetch"] = -1 if asked["prefetch"] is None else asked["prefetch"]
    options = work.options_from(invocation, asked)
    lab = invocation.lab()
    work.check_target(options, lab.problem)
    is_watched = invocation.page(
        error=True
    ).terminal  # held-out scores are for a person at a terminal: agents and scripts read pipes and files
    aside = lab.held_out_news if is_watched else list
    code, _ = work.follow(invocation, lab, lab.loop(options, lab.stopper), as_json=as_json, aside=aside)
    return code
