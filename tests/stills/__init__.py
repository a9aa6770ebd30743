"""The app without a terminal: real reader, real screens, over a lab that stands still or over a real one. And pictures of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from evogit.tui.app import EvogitApp
from evogit.tui.letters import Letters
from stills.nouns import NOW, StillLab, crowd, machine
from stills.svg import picture, text_of

__all__ = ["Stage", "StillLab", "check", "crowd", "stage"]

PICTURES = Path(__file__).resolve().parent.parent / "tui" / "pictures"
PATIENCE_S = 60.0


class Stage:
    """An app over a lab, and what a person would do with it."""

    def __init__(self, app: EvogitApp, pilot: Any, lab: Any) -> None:
        self.app, self.pilot, self.lab = app, pilot, lab

    async def until(self, is_so: Callable[[], object], what: str = "") -> None:
        """Wait until something is so."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not is_so():
            assert asyncio.get_running_loop().time() < deadline, f"never: {what}\n{self.text}"
            await asyncio.sleep(0.01)
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        await self.press(*("space" if c == " " else c for c in text))

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return text_of(self.app)

    async def picture(self) -> str:
        """The screen as SVG, once it stands still."""
        before, now = "", picture(self.app)
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while now != before and asyncio.get_running_loop().time() < deadline:
            before = now
            await asyncio.sleep(0.1)
            await self.pilot.pause()
            now = picture(self.app)
        return now


def stage(
    act: Callable[[Stage], Coroutine[Any, Any, Any]],
    *,
    lab: Any = None,
    size: tuple[int, int] = (120, 40),
    unicode: bool = True,
    colour: bool = True,
    theme: str = "auto",
    open_lab: Callable[[str], Any] | None = None,
) -> Any:
    """Run `act` on a stage whose lab was read; what it returns."""

    async def play() -> Any:
        shown = StillLab() if lab is None else lab
        app = EvogitApp(open_lab or (lambda tag: shown), letters=Letters(unicode), theme=theme, colour=colour, clock=lambda: NOW)
        app.gauge = machine
        async with app.run_test(size=size, notifications=True) as pilot:
            on = Stage(app, pilot, shown)
            if open_lab is None:
                await on.until(lambda: app.status is not None and app.book is not None, "the campaign is read")
            return await act(on)

    return asyncio.run(play())


def check(name: str, drawn: str) -> None:
    """Compare a picture with the recorded one; with EVOGIT_RECORD=1 record it."""
    path = PICTURES / f"{name}.svg"
    if os.environ.get("EVOGIT_RECORD"):
        PICTURES.mkdir(exist_ok=True)
        path.write_text(drawn, encoding="utf-8")
    recorded = path.read_text(encoding="utf-8") if path.exists() else ""
    if drawn != recorded:
        other = path.with_suffix(".new.svg")
        other.write_text(drawn, encoding="utf-8")
        pytest.fail(f"{name} looks different: compare {path.name} with {other.name}, and record it with EVOGIT_RECORD=1 if it should")
