"""The command line: it parses, asks `Lab` once, and prints one result. It decides nothing.

Importing this package loads click and nothing heavier; a command's module is loaded when the command is named.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the console scripts `evogit` and `git-evogit`. Ends the process with the command's exit code."""
    from evogit.cli.group import evogit, name_as_called

    evogit.main(prog_name=name_as_called())
