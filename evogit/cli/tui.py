"""`evogit tui`: a campaign on a full screen. What is on it is `evogit.tui`'s matter."""

from __future__ import annotations

import sys

import click

from evogit.cli import complete
from evogit.cli.command import Command
from evogit.cli.complete import THEMES
from evogit.cli.invocation import Invocation
from evogit.errors import EvogitError, UserError


@click.command("tui", cls=Command)
@click.option(
    "--theme",
    default="auto",
    show_default=True,
    envvar="EVOGIT_THEME",
    metavar="NAME",
    shell_complete=complete.themes,
    help="evogit-dark, evogit-light, terminal (its own colours), or one of Textual's.",
)
@click.option("--ascii", "as_ascii", is_flag=True, help="Letters of ASCII alone; the default where the locale knows no others.")
@click.pass_obj
def command(invocation: Invocation, theme: str, as_ascii: bool) -> None:
    """Watch and steer a campaign on a full screen, beside a running loop or without one.

    Five screens: frontier, lineage, run, portfolio, live. `?` lists the keys. It shows a campaign as soon as there is one.
    """
    import importlib.util
    import os
    import threading

    if importlib.util.find_spec("textual") is None:
        raise UserError("the package textual is not installed", hint="pip install 'evogit[tui]'")
    page = invocation.page()
    if not (page.terminal and sys.stdin.isatty()) or os.environ.get("TERM") == "dumb":
        raise UserError("this is no terminal that a screen can be drawn on", hint="`evogit status --watch` prints what goes on")
    if not page.colour:
        os.environ["NO_COLOR"] = "1"  # --no-color, which Textual looks for here
    from evogit.tui.app import EvogitApp, letters_for

    app = EvogitApp(invocation.lab_of, letters=letters_for(unicode=page.unicode and not as_ascii), theme=theme, colour=page.colour)
    _check_theme(theme, list(app.available_themes))
    bugs: list[BaseException] = []
    threading.excepthook = lambda told: bugs.append(told.exc_value) if told.exc_value is not None else None
    fault = app.run()
    bugs += [app._exception] if app._exception is not None else []
    for told in [*([fault] if isinstance(fault, EvogitError) else []), *bugs]:
        raise told


def _check_theme(asked: str, known: list[str]) -> None:
    if asked not in ("auto", *known):
        raise UserError(f"there is no theme {asked!r}", hint=f"one of: {', '.join([*THEMES, *sorted(set(known) - set(THEMES))])}")
