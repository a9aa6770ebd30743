"""What holds for every command: where to look, which campaign, how to print. One object an invocation, click's `ctx.obj`.

It opens the lab when a command asks for it and never before, so that `--help` and a typing error cost nothing.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evogit.errors import UserError

if TYPE_CHECKING:
    from evogit.cli.page import Page
    from evogit.lab import Lab


def _open_lab(path: str, *, problem: str | None, tag: str | None) -> Lab:
    from evogit.lab import Lab

    return Lab.open(path, problem=problem, tag=tag)


@dataclasses.dataclass
class Invocation:
    """The options that may stand before or after any command, and the lab they lead to."""

    directory: str = "."
    problem: str | None = None
    tag: str | None = None
    debug: bool = False
    colour: bool = True
    paged: bool = True
    after: tuple[str, ...] = ()  # the arguments behind `--`, for the problem's command
    open_lab: Callable[..., Any] = _open_lab

    def lab(self) -> Lab:
        """The lab at `-C DIR`, which a relative `--problem` starts from. Raises UserError if that is no folder, and what `Lab.open` raises."""
        if not Path(self.directory).is_dir():
            raise UserError(f"there is no folder {self.directory}", hint="give another one to -C")
        return self.open_lab(self.directory, problem=self.problem, tag=self.tag)

    def lab_of(self, tag: str) -> Any:
        """The same lab at another campaign, "" for the one that was asked for."""
        return dataclasses.replace(self, tag=tag).lab() if tag else self.lab()

    def under(self, path: str) -> Path:
        """A path that the user typed, as seen from `-C DIR`, as git does it."""
        return Path(self.directory) / path

    def page(self, *, error: bool = False) -> Page:
        """The page on stdout, or on stderr."""
        from evogit.cli.page import page_on

        return page_on(sys.stderr if error else sys.stdout, colour=self.colour, paged=self.paged, directory=self.directory)
