"""`evogit hook`: what coding agents and git call at their events, and how they come to call it.

A hook never breaks a session: what goes wrong in it is one line on stderr and the exit code 0.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import TracebackType
from typing import Any

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.errors import EvogitError, UserError

NO_SUCH_HOOK = 1  # not 2: to an agent that would mean "denied"


class HookGroup(Command, click.Group):
    """Hooks are called by settings that may be older or newer than evogit: a name that it lacks must not stand in anybody's way."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in self.commands:
            click.echo(f"evogit hook: there is no hook {args[0]}; there are: {', '.join(self.commands)}", err=True)
            ctx.exit(NO_SUCH_HOOK)
        return super().resolve_command(ctx, args)


@click.group("hook", cls=HookGroup, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Answer the hooks of coding agents and git, or install them."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _event(name: str, about: str) -> None:
    @command.command(name, cls=Command, help=about)
    def hook() -> int:
        from evogit.hooks import events

        with _fail_open():
            said = events.answer(name, sys.stdin.read(), os.environ)
            if said:
                click.echo(said)
        return 0


for _name, _about in {
    "session-start": "Tell a session the state of the campaign.",
    "user-prompt-submit": "Switch autonomy where the person asks for it.",
    "pre-tool-use": "Deny what a driver may not do.",
    "post-tool-use": "Review a training run that was launched by hand.",
    "stop": "Give the next assignment while autonomy is on.",
}.items():
    _event(_name, _about)


@command.command("pre-commit", cls=Command)
def pre_commit() -> int:
    """Refuse frozen files on a campaign's branch."""
    from evogit.hooks import commits, place

    here = place.find(".")
    return _refuse(commits.pre_commit(here) if here else "")


@command.command("commit-msg", cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def commit_msg(file: str) -> int:
    """Refuse messages that forge evogit's record on a campaign's branch."""
    from evogit.hooks import commits, place

    here = place.find(".")
    with open(file, encoding="utf-8", errors="replace") as message:
        return _refuse(commits.commit_msg(here, message.read()) if here else "")


def _refuse(reason: str) -> int:
    if reason:
        click.echo(f"evogit: {reason}", err=True)
    return 1 if reason else 0


@command.command("install", cls=Command)
@click.argument("kind", type=click.Choice(["claude", "codex", "git"]))
@click.option("--remove", is_flag=True, help="Take the hooks out again.")
@click.pass_obj
def install(invocation: Invocation, kind: str, remove: bool) -> None:
    """Put the hooks into the settings of Claude Code, Codex or git."""
    from evogit.hooks import installing

    changed = installing.install(kind, _place(invocation), remove=remove)
    for line in changed:
        click.echo(line)
    if not changed:
        click.echo(f"nothing to do: the hooks are {'not ' if remove else ''}there", err=True)
    elif kind == "codex" and not remove:
        click.echo("Codex asks you to trust them when it starts (/hooks shows them)", err=True)


@command.command("autonomy", cls=Command)
@click.argument("switch", type=click.Choice(["on", "off", "status"]), default="status")
@click.option("--max-runs", type=click.IntRange(min=0), default=0, metavar="N", help="Only for N runs.")
@click.option("--max-hours", type=click.FloatRange(min=0), default=0.0, metavar="H", help="Only for H hours.")
@click.pass_obj
def autonomy_(invocation: Invocation, switch: str, max_runs: int, max_hours: float) -> None:
    """Let the agent go on by itself, or not. A limit alone means on."""
    from evogit.hooks import autonomy

    here = _place(invocation)
    if switch == "status" and not (max_runs or max_hours):
        wish = autonomy.read(here)
        click.echo(wish.words(invocation.lab().status().runs) if wish else "autonomy is off")
    elif switch == "off":
        autonomy.write(here, None)
        click.echo("autonomy is off")
    else:
        lab = invocation.lab()
        runs = lab.status().runs
        wish = autonomy.begin(lab.tag, runs, max_runs, max_hours)
        autonomy.write(here, wish)
        click.echo(wish.words(runs))


def _place(invocation: Invocation) -> Any:
    from evogit.hooks import place

    found = place.find(invocation.directory)
    if found is None:
        raise UserError("this is no git repository", hint="run it inside the repository whose sessions the hooks are for")
    return found


@contextlib.contextmanager
def _fail_open() -> Any:
    """Whatever goes wrong inside is told in one line, and the session goes on. What nobody foresaw ends the process with 0 as well."""
    sys.excepthook = _last_word
    try:
        yield
    except EvogitError as fault:
        _tell(fault, fault.message)
    except (OSError, ValueError, RecursionError) as fault:
        _tell(fault, str(fault))


def _tell(fault: BaseException, words: str) -> None:
    click.echo(f"evogit hook: {type(fault).__name__}: {' '.join(words.split())}", err=True)


def _last_word(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    """In place of a traceback: a bug in a hook is no reason to stop somebody's work."""
    _tell(fault, str(fault))
    sys.stderr.flush()
    os._exit(0)
