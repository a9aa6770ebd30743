"""What the commands that run trials share: their options, their events on the screen, Ctrl-C, and their exit code.

A first Ctrl-C (or SIGTERM) asks the lab to finish what runs, a second one to cancel it, a third one ends this process at once;
nothing that was recorded is lost by any of them.
"""

from __future__ import annotations

import contextlib
import math
import re
import signal
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import click

from evogit.cli import complete
from evogit.cli.invocation import Invocation
from evogit.errors import UnknownName

if TYPE_CHECKING:
    from evogit.cli.progress import Progress
    from evogit.domain.event import Event
    from evogit.domain.options import LoopOptions
    from evogit.domain.problem import Problem
    from evogit.lab import Lab

FAILED, INTERRUPTED = 1, 130
_TARGET = re.compile(r"\s*([^\s<>=]+)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*")


class TargetType(click.ParamType):
    """`val_loss<0.05` as a `Target`."""

    name = "target"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from evogit.domain.options import Target

        found = _TARGET.fullmatch(value)
        with contextlib.suppress(ValueError):
            if found and math.isfinite(number := float(found[3])):
                return Target(metric=found[1], relation=found[2], value=number)
        self.fail(f'{value!r} is no target; write one like "val_loss<0.05"', param, ctx)


class PairType(click.ParamType):
    """`KEY=VALUE` as a pair of strings."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        key, sign, text = value.partition("=")
        if not key or not sign:
            self.fail(f"{value!r} is no KEY=VALUE", param, ctx)
        return key, text


class BackendOptionType(click.ParamType):
    """`NAME.KEY=VALUE` as backend, option and value: text, since an account may be all digits. The backend knows which are numbers."""

    name = "name.key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path, sign, text = value.partition("=")
        name, dot, key = path.partition(".")
        if not (name and dot and key and sign):
            self.fail(f"{value!r} is no NAME.KEY=VALUE", param, ctx)
        return name, key, text


class WorkersType(click.ParamType):
    """A number of trials at a time, or `auto` as 0."""

    name = "workers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "auto":
            return 0
        with contextlib.suppress(ValueError):
            if int(value) >= 1:
                return int(value)
        self.fail(f"{value!r} is neither a number of trials nor auto", param, ctx)


def trial_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that runs trials."""
    number = {"type": click.FloatRange(min=0), "default": 0.0}
    for option in reversed(
        [
            click.option(
                "--reviewer",
                metavar="NAME",
                default="heuristic",
                show_default=True,
                shell_complete=complete.hands("reviewers"),
                help="Who interprets a run.",
            ),
            click.option("--reviewer-command", metavar="COMMAND", default="", help="The program that reviews, for --reviewer command."),
            click.option("--reviewer-option", type=PairType(), multiple=True, metavar="KEY=VALUE", help="An option of the reviewer."),
            click.option(
                "--backend",
                metavar="NAME",
                multiple=True,
                default=("local",),
                show_default=True,
                shell_complete=complete.hands("backends"),
                help="Where trials run; may be repeated.",
            ),
            click.option(
                "--backend-option", type=BackendOptionType(), multiple=True, metavar="NAME.KEY=VALUE", help="An option of a backend."
            ),
            click.option("--timeout-s", **number, metavar="S", help="Wall-clock limit of a trial; default: the problem's."),
            click.option("--train-seconds", **number, metavar="S", help="Training time told to the candidate; default: the problem's."),
            click.option("--json", "as_json", is_flag=True, help="One JSON object an event."),
        ]
    ):
        function = option(function)
    return function


def options_from(invocation: Invocation, asked: dict[str, Any]) -> LoopOptions:
    """LoopOptions from the values of a command's options, by name, and from the arguments behind `--`."""
    from evogit.domain.options import LoopOptions

    renamed = {"train_seconds": "train_s", "agent_option": "agent_options", "reviewer_option": "reviewer_options", "emitter": "emitters"}
    values = {renamed.get(name, name): value for name, value in asked.items()}
    values["backend"] = "+".join(dict.fromkeys(values["backend"]))
    chosen: dict[str, dict[str, object]] = {}
    for name, key, value in values.pop("backend_option", ()):
        chosen.setdefault(name, {})[key] = value
    values["backend_options"] = chosen
    for name in ("agent_options", "reviewer_options"):
        values[name] = dict(values.get(name, ()))
    for hand in ("agent", "reviewer"):
        if command := values.pop(f"{hand}_command", ""):
            _give_command(invocation, hand, values, command)
    _give_address(values)
    _give_cloud(invocation, values)
    for option in ("model", "base_url"):
        if value := values.pop(option, ""):
            _give(option, value, values)
    return LoopOptions(**values, arguments=invocation.after)


def _give_command(invocation: Invocation, hand: str, values: dict[str, Any], command: str) -> None:
    """`--agent-command` is the option `command` of the agent of that name. Raises UsageError with another agent: it would be ignored."""
    if values[hand] != "command":
        raise click.UsageError(f"--{hand}-command goes with --{hand} command")
    given = values[f"{hand}_options"]
    given.setdefault("command", command)
    if invocation.directory != ".":
        given.setdefault("folder", invocation.directory)


def _give_address(values: dict[str, Any]) -> None:
    """`--address` is an option of the backend ray. Raises UsageError with another one: it would be ignored."""
    if address := values.pop("address", ""):
        if "ray" not in values["backend"].split("+"):
            raise click.UsageError("--address goes with --backend ray")
        values["backend_options"].setdefault("ray", {})["address"] = address


def _give_cloud(invocation: Invocation, values: dict[str, Any]) -> None:
    """`--cloud-spec` and its like are options of the backend cloud-run. Raises UsageError with another one: they would be ignored."""
    given = {name: values.pop(f"cloud_{name}", None) for name in ("spec", "dataset", "env")}
    asked = {name: dict(value) if name == "env" else value for name, value in given.items() if value}
    if asked and "cloud-run" not in values["backend"].split("+"):
        raise click.UsageError(f"--cloud-{next(iter(asked))} goes with --backend cloud-run")
    if "spec" in asked:
        asked["spec"] = str(invocation.under(asked["spec"]).absolute())
    if asked:
        values["backend_options"].setdefault("cloud-run", {}).update(asked)


def _give(option: str, value: str, values: dict[str, Any]) -> None:
    """`--model` and `--base-url` are options of the agent and the reviewer, of those that take them. Raises UsageError if none does."""
    from evogit import registry

    asked = [hand for hand in ("agent", "reviewer") if not values[hand].startswith("replay:")]  # who repeats asks no model
    takers = [hand for hand in asked if registry.takes(registry.find(f"{hand}s", values[hand]), option)]
    if not takers:
        flag = f"--{option.replace('_', '-')}"
        raise click.UsageError(f"{flag}: neither agent {values['agent']} nor reviewer {values['reviewer']} takes it")
    for hand in takers:
        values[f"{hand}_options"].setdefault(option, value)


def check_target(options: LoopOptions, problem: Problem) -> None:
    """Raises UnknownName if `--until` names a metric that the problem lacks: such a loop would never end."""
    if options.until is not None and problem.metric(options.until.metric) is None:
        known = ", ".join(m.name for m in problem.metrics)
        raise UnknownName(f"--until: {problem.name} has no metric {options.until.metric}", hint=f"its metrics are {known}")


def follow(
    invocation: Invocation,
    lab: Lab,
    happenings: Generator[Event, None, None],
    *,
    as_json: bool,
    aside: Callable[[], list[str]] = list,
) -> tuple[int, list[Event]]:
    """Show events until they end. Returns the exit code (0, or 130 after Ctrl-C) and the verdicts among the events.

    aside: asked after each event what there is to say on stderr alone.
    """
    from evogit.domain.event import CampaignOpened, Decided, Stopped
    from evogit.domain.options import resuming

    progress = _progress(invocation, lab, as_json=as_json)
    decided: list[Event] = []
    resume, where = "", "local"
    with contextlib.closing(progress), contextlib.closing(happenings), _ctrl_c(lab, progress) as asked:
        try:
            for event in happenings:
                progress.tell(event)
                for line in aside():
                    progress.note(line)
                if isinstance(event, Decided):
                    decided.append(event)
                elif isinstance(event, CampaignOpened):
                    where = event.backend
                elif isinstance(event, Stopped):
                    resume = event.resume
        except KeyboardInterrupt:
            progress.note(f"interrupted; nothing recorded is lost. Go on with: {resuming(lab.tag, where)}")
            return INTERRUPTED, decided
    if asked and resume and as_json:
        progress.note(f"go on with: {resume}")
    return INTERRUPTED if asked else 0, decided


def _progress(invocation: Invocation, lab: Lab, *, as_json: bool) -> Progress:
    from evogit.cli import progress
    from evogit.narrating import event_line
    from evogit.present import json_line

    page = invocation.page()
    if as_json:
        return progress.Plain(json_line)
    if not page.terminal:
        return progress.Plain(event_line)
    return progress.Live(page, invocation.page(error=True), lab.metric, lab.glance)


@contextlib.contextmanager
def _ctrl_c(lab: Lab, progress: Progress) -> Iterator[list[int]]:
    """While it lasts, SIGINT and SIGTERM go to the lab's stopper. Yields the list of signals that came."""
    came: list[int] = []

    def handle(number: int, _frame: object) -> None:
        came.append(number)
        if len(came) > 2:
            raise KeyboardInterrupt
        words = ("finishing running trials; Ctrl-C again cancels them", "cancelling running trials")
        progress.note(words[len(came) - 1])
        lab.stopper.request()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
