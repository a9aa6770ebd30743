"""`evogit` itself: finds the command, loads it, and is the only place that prints an error.

The one-line helps are kept here, so that `evogit --help` loads no command; a test holds them equal to the commands' own.
It catches what evogit raises on purpose. Anything else is a bug and reaches `explain_bug`, the process's last word.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from types import TracebackType
from typing import Any

import click

from evogit.cli.command import everywhere
from evogit.cli.invocation import Invocation
from evogit.errors import EvogitError

INTERRUPTED = 130
PIPE_CLOSED = 141  # as git and the shell say it
USER_CAN_MEND = 2
_MENDABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG)

MISTYPED = "evogit.mistyped"  # in a context: no command is called what stands there
SECTIONS: dict[str, dict[str, str]] = {
    "Search": {
        "init": "Write evogit.toml after looking at a folder.",
        "start": "Make a campaign's branch, without touching the checkout.",
        "loop": "Start or resume the search: propose, run, decide, record.",
        "run": "Measure the working tree as a run of its own.",
        "baseline": "Measure the untouched code, to know its noise.",
        "certify": "Test on fresh seeds whether a run's gain is real.",
        "holdout": "Show what kept runs score on held-out data, for you alone.",
        "ideas": "List what people and reviewers want tried, or add to it, or move what waits.",
    },
    "Look": {
        "tui": "Watch and steer a campaign on a full screen, beside a running loop or without one.",
        "status": "Show a campaign at a glance, and what to do next.",
        "log": "Draw the lineage with verdicts and deltas.",
        "show": "Show all about one run: plan, numbers, diff, review, files.",
        "diff": "Compare two runs, or a run with its parent.",
        "leaderboard": "List the best runs.",
        "frontier": "List and draw the runs that no other run dominates.",
        "cost": "Sum what models and the backend cost, and what a kept run did.",
        "emitters": "Show which search role pays, and what another policy would have.",
        "memory": "List what the campaign remembers: near misses, elites, conjectures, crashes.",
        "context": "Print the briefing that an agent would get next.",
        "conclude": "Write a campaign's conclusion from its evidence.",
        "lineage": "List the ancestors of a run, oldest first.",
        "search": "Find runs by what they say: summary, hypothesis, reason, crash, reviews.",
    },
    "Steer": {
        "pause": "Have the loop begin nothing further; what runs is finished.",
        "resume": "Let a paused loop go on.",
        "stop": "Stop the loop as one Ctrl-C does; a second time, as the second.",
        "cancel": "End a run that is in flight; it is decided as it stands.",
        "measure": "Read a decided run again, under seeds that it was not read under.",
    },
    "Drive": {
        "next": "Show what to try now: the assignment, where to start, what is known.",
        "submit": "Measure the working tree as the run of the assignment that waits.",
        "mcp": "Serve the lab as tools of the Model Context Protocol on stdio.",
        "hook": "Answer the hooks of coding agents and git, or install them.",
    },
    "Harvest": {
        "judge": "Override the verdict on a run, with a reason.",
        "mark": "Mark runs to be picked later; without a run, list the marked ones.",
        "pick": "Take runs home as clean commits on a branch of yours.",
        "tag": "Tag a run, its numbers in the tag's message; without a run, list the tags.",
        "bisect": "Find the keep since which a metric is worse, beyond noise.",
        "prune": "Put campaigns that are over into the archive; without a name, list all.",
    },
    "Keep": {
        "replay": "Rebuild a run's candidate from its record, without asking a model.",
        "export": "Write results.tsv anywhere.",
        "doctor": "Check the problem and the campaign; mend what is safe to mend.",
        "cloud": "Build the image for Cloud Run, or check what it needs once.",
        "completion": "Print what makes a shell complete commands, options, runs and campaigns.",
    },
}
_TOGETHER = {name: f"evogit.cli.steer:{name}" for name in SECTIONS["Steer"]}  # each is a line or two
COMMANDS = {name: _TOGETHER.get(name, f"evogit.cli.{name}:command") for section in SECTIONS.values() for name in section}


class LazyGroup(click.Group):
    """A group whose commands are modules, imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), attribute)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in COMMANDS and ctx.resilient_parsing:  # Tab was pressed behind a typing error
            ctx.meta[MISTYPED] = True
            return None, None, args
        if args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise click.UsageError(f"there is no command {args[0]}" + (f"; did you mean {near[0]}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=14)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        if MISTYPED in ctx.meta:
            return []
        words = {name: text for section in SECTIONS.values() for name, text in section.items() if name.startswith(incomplete)}
        return [CompletionItem(name, help=text) for name, text in words.items()] + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _forget_stdout()
            return PIPE_CLOSED

    def main(self, args: Any = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command line and end the process, or return the command's value if not `standalone_mode`."""
        invocation = extra.setdefault("obj", None) or Invocation()
        extra["obj"] = invocation
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        _prepare_streams()
        sys.excepthook = lambda *fault: explain_bug(invocation, *fault)
        sys.exit(self._exit_code(invocation, args, prog_name, extra))

    def _exit_code(self, invocation: Invocation, args: Any, prog_name: str | None, extra: dict[str, Any]) -> int:
        try:
            value = super().main(args, prog_name, standalone_mode=False, **extra)
        except EvogitError as fault:
            _complain(fault, invocation, fault.message, fault.hint)
            return fault.exit_code
        except click.ClickException as fault:
            _complain(fault, invocation, _in_words(fault), _usage_hint(fault))
            return USER_CAN_MEND
        except click.Abort:
            click.echo("interrupted", err=True)
            return INTERRUPTED
        except OSError as fault:
            if fault.errno not in _MENDABLE:
                raise
            where = f"{fault.filename}: " if fault.filename else ""
            _complain(fault, invocation, f"{where}{(fault.strerror or '').lower()}", "mend that, then run the same command again")
            return USER_CAN_MEND
        return value if isinstance(value, int) else 0


def _prepare_streams() -> None:
    """A summary with a letter that the terminal lacks is printed escaped, not refused."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _forget_stdout() -> None:
    """The reader has gone: what is still buffered must not raise again when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _in_words(fault: click.ClickException) -> str:
    """Click's message without what its types are called inside."""
    said = fault.format_message().rstrip(".")
    for theirs, ours in (("integer range", "whole number"), ("float range", "number"), ("integer", "whole number"), ("float", "number")):
        said = said.replace(f"is not a valid {theirs}", f"is no {ours}")
    return said


def _usage_hint(fault: click.ClickException) -> str:
    context = getattr(fault, "ctx", None)
    return f"{context.command_path} --help" if context is not None else ""


def _complain(fault: BaseException, invocation: Invocation, message: str, hint: str) -> None:
    if invocation.debug:
        import traceback

        traceback.print_exception(type(fault), fault, fault.__traceback__)
    from evogit.keys import redact

    page = invocation.page(error=True)
    message, hint = redact(message), redact(hint)
    for word, style, text in (("error:", "bad", message), ("hint:", "quiet", hint)):
        if text:
            first, *more = page.fold(f"{word} {text}", hang=len(word) + 1)
            click.echo("\n".join([page.paint(word, style) + first.removeprefix(word), *more]), err=True, color=page.colour)


def explain_bug(invocation: Invocation, kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    """Take the place of Python's traceback for what nobody foresaw. The exit code is Python's own for that: 1."""
    if invocation.debug:
        sys.__excepthook__(kind, fault, trace)
    words = " ".join(str(fault).split())
    _complain(fault.with_traceback(None), Invocation(colour=invocation.colour), f"{kind.__name__}: {words}".rstrip(": "), _BUG)


_BUG = "this is a bug in evogit; --debug shows the trace"


def name_as_called() -> str:
    """ "evogit", or "git evogit" where git found us as its subcommand."""
    return "git evogit" if os.path.basename(sys.argv[0]).startswith("git-evogit") else "evogit"


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        import evogit as package

        click.echo(f"evogit {package.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup, params=everywhere(hidden=False), invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version and exit.")
@click.pass_context
def evogit(ctx: click.Context) -> None:
    """Evolve machine-learning code in a git repository: every run is a commit, every verdict is kept.

    \b
    evogit init              describe the problem in evogit.toml
    evogit loop --max-runs 12
    evogit log
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
