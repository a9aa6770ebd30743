"""`evogit mcp`: the lab as tools for a coding agent, over stdin and stdout."""

from __future__ import annotations

import click

from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.errors import UserError


@click.command("mcp", cls=Command)
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Serve the lab as tools of the Model Context Protocol on stdio."""
    import importlib.util

    if importlib.util.find_spec("mcp") is None:
        raise UserError("the package mcp is not installed", hint="pip install 'evogit[mcp]'")
    invocation.lab()  # a folder that is no repository is told now, not at the first call
    from evogit import mcp

    mcp.serve(invocation.lab)
