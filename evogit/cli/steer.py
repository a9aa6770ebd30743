"""`evogit pause`, `resume`, `stop`, `cancel`, `measure`: asked of the loop that runs, whichever process it is, and answered by it.

What a message does is the loop's affair; here it is sent, and what came of it is waited for, a little while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from evogit.cli import complete, work
from evogit.cli.command import Command, WorkCommand
from evogit.cli.invocation import Invocation
from evogit.narrating import event_line
from evogit.present import control_object, json_line

NOT_DONE = 1  # exit code
WAIT_S = 5.0


def _answered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that wait for the loop's answer."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object: the message, and what came of it."),
        click.option(
            "--wait",
            "wait_s",
            type=click.FloatRange(min=0),
            default=WAIT_S,
            show_default=True,
            metavar="S",
            help="Wait so long for the answer.",
        ),
        click.option("--because", metavar="TEXT", default="", help="Why; it is told by the loop."),
    ):
        function = option(function)
    return function


@click.command("pause", cls=Command)
@_answered
@click.pass_obj
def pause(invocation: Invocation, **asked: Any) -> int:
    """Have the loop begin nothing further; what runs is finished.

    Runs in the air go on until they are decided. It lasts until `evogit resume` or `evogit stop`; a loop that is started anew is not paused.
    """
    return _send(invocation, "pause", **asked)


@click.command("resume", cls=Command)
@_answered
@click.pass_obj
def resume(invocation: Invocation, **asked: Any) -> int:
    """Let a paused loop go on."""
    return _send(invocation, "resume", **asked)


@click.command("stop", cls=Command)
@_answered
@click.pass_obj
def stop(invocation: Invocation, **asked: Any) -> int:
    """Stop the loop as one Ctrl-C does; a second time, as the second.

    Running trials end and nothing further is begun; asked again, running trials are cancelled and stay in flight. Nothing is lost by
    either: `evogit loop` goes on.
    """
    return _send(invocation, "stop", **asked)


@click.command("cancel", cls=Command)
@click.argument("run", shell_complete=complete.in_flight)
@click.option("--because", metavar="TEXT", required=True, help="Why; it is the reason of the verdict.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(min=0), default=WAIT_S, show_default=True, metavar="S", help="Wait so long for the answer."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the message, and what came of it.")
@click.pass_obj
def cancel(invocation: Invocation, run: str, **asked: Any) -> int:
    """End a run that is in flight; it is decided as it stands.

    What was read of it stays on record: a discard if it has a number, else a reject. It is not tried again.
    """
    return _send(invocation, "cancel", run=run, **asked)


@click.command("measure", cls=WorkCommand)
@click.argument("run", shell_complete=complete.runs)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How many readings more.")
@click.option("--because", metavar="TEXT", default="", help="Why; it is told by the loop.")
@work.trial_options
@click.pass_obj
def measure(invocation: Invocation, run: str, seeds: int, because: str, as_json: bool, **asked: Any) -> int:
    """Read a decided run again, under seeds that it was not read under.

    The loop that runs does it between two runs, with its own options; without one it is done here. No verdict changes: later readings
    sharpen what is believed of the run and of the noise.
    """
    options = work.options_from(invocation, asked)
    lab = invocation.lab()
    helm = lab.helm()
    if helm is not None and not helm.is_errand:
        return _send(invocation, "remeasure", run=run, seeds=seeds, because=because, as_json=as_json)
    code, _ = work.follow(invocation, lab, lab.measure_more(run, seeds, options, lab.stopper), as_json=as_json)
    return code


def _send(invocation: Invocation, kind: str, *, because: str, as_json: bool, wait_s: float = WAIT_S, run: str = "", seeds: int = 0) -> int:
    lab = invocation.lab()
    sent = lab.send(kind, run=run, seeds=seeds, reason=because)
    answer = lab.answer(sent, wait_s)
    if as_json:
        click.echo(json_line(control_object(sent, answer)))
    elif answer is not None:
        page = invocation.page()
        page.echo("\n".join(page.fold(event_line(answer), hang=2)))
    else:
        click.echo(f"asked; the loop has not come to it yet. It looks between two steps: `evogit status --tag {lab.tag}`", err=True)
    return 0 if answer is None or answer.is_done else NOT_DONE
