"""Every screen as it looks, in three sizes; in one colour, in ASCII, on a light ground. A picture that changed is a change that was meant."""

from __future__ import annotations

import pytest

from evogit.domain.run import Run
from evogit.tui.widgets.paper import Feed
from stills import StillLab, check, crowd, stage
from stills.svg import lines_of

SIZES = {"small": (80, 24), "middle": (120, 40), "large": (200, 60)}
SCREENS = ("frontier", "lineage", "run", "portfolio", "live")


async def at(on, screen: str) -> None:
    """Go to a screen, with a run selected that has everything, and wait until it stands."""
    app = on.app
    run = next(r for r in app.book.runs if r.is_kept and len(r.parents) == 2)
    app.selected = run.commit
    await on.press(str(1 + SCREENS.index(screen)))
    there = {
        "frontier": lambda: "val_loss" in on.text and f"{len(app.book)} runs" in on.text,
        "lineage": lambda: "dead ends" in on.text,
        "run": lambda: app.screen._sight is not None,
        "portfolio": lambda: app.screen._portfolio is not None and "wait" in on.text,
        "live": lambda: app.screen._machine is not None and "in the air" in on.text and (app.size.height < 32 or "loss 0.0917" in on.text),
    }[screen]
    await on.until(there, f"the screen {screen}")
    if screen == "run" and app.size.height > 45:
        await on.until(lambda: "loss 0.09" in on.text, "the log beside it")
    await on.until(lambda: all(f.scroll_offset.y >= f.max_scroll_y for f in app.screen.query(Feed)), "what grows is at its end")
    await on.pilot.pause()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_looks_as_recorded(screen, size):
    async def look(on):
        await at(on, screen)
        return await on.picture()

    check(f"{screen}-{size}", stage(look, size=SIZES[size]))


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_without_colour_looks_as_recorded(screen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def look(on):
        await at(on, screen)
        return await on.picture(), lines_of(on.app)

    drawn, lines = stage(look, colour=False)

    check(f"{screen}-mono", drawn)
    colours = {c.name for line in lines for s in line if s.style for c in (s.style.color, s.style.bgcolor) if c is not None}
    assert colours <= {"default"}


class LongLab(StillLab):
    """Three thousand runs."""

    def __init__(self) -> None:
        super().__init__(crowd(3000))

    def frontier(self, over: tuple[str, ...] = ()) -> list[Run]:
        return self.made[-1:]


@pytest.mark.parametrize("letters", ["unicode", "ascii"])
def test_three_thousand_runs_without_colour_look_as_recorded(letters, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def look(on):
        await on.until(lambda: "3,000 runs" in on.text, "the table")
        return await on.picture()

    drawn = stage(look, lab=LongLab(), colour=False, unicode=letters == "unicode")

    check(f"frontier-crowd-{letters}", drawn)


def test_without_colour_keep_discard_crash_and_certified_are_told_apart_by_letter_and_word(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def look(on):
        await at(on, "frontier")
        return on.text

    text = stage(look, colour=False, size=(140, 120))

    for said in ("● keep", "○ discard", "✗ crash", "✓ certified", "◇ near miss", "⊘ reject", "★ incumbent", "◆ frontier"):
        assert said in text


@pytest.mark.parametrize("screen", SCREENS)
def test_without_unicode_every_letter_is_ascii(screen):
    async def look(on):
        await at(on, screen)
        return on.text, await on.picture()

    text, drawn = stage(look, unicode=False)

    assert text.isascii(), [c for c in text if not c.isascii()]
    if screen in ("frontier", "run"):
        check(f"{screen}-ascii", drawn)


@pytest.mark.parametrize("theme", ["evogit-light", "terminal"])
def test_other_themes_look_as_recorded(theme):
    async def look(on):
        await at(on, "frontier")
        return await on.picture()

    check(f"frontier-{theme}", stage(look, theme=theme))


@pytest.mark.parametrize("size", ["small", "middle"])
def test_no_campaign_yet_says_how_to_start_one(size):
    from evogit.errors import UnknownName

    def none(tag):
        raise UnknownName("there is no campaign yet", hint="start one with `evogit start`, and measure it with `evogit baseline`")

    async def look(on):
        await on.until(lambda: "evogit loop" in on.text, "the words")
        return await on.picture()

    check(f"absent-{size}", stage(look, open_lab=none, size=SIZES[size]))


def test_a_campaign_without_a_run_is_shown_as_one():
    async def look(on):
        await on.until(lambda: "no run is decided yet" in on.text, "the words")
        return await on.picture()

    check("empty-middle", stage(look, lab=StillLab([])))


@pytest.mark.parametrize("name, key", [("help", "question_mark"), ("judge", "J"), ("idea", "i")])
def test_what_lies_above_a_screen_looks_as_recorded(name, key):
    async def look(on):
        await at(on, "frontier")
        await on.press(key)
        on.app.screen.set_focus(None) if name != "help" else None  # a cursor that blinks is no picture
        await on.pilot.pause()
        return await on.picture()

    check(name, stage(look))


def test_text_of_candidates_brings_no_escape_to_the_terminal():
    async def look(on):
        on.app.selected = on.app.book.runs[12].commit
        await on.press("3")
        await on.until(lambda: "a clock" in on.text, "the run")
        await on.press("l")
        await on.until(lambda: "bye" in on.text, "the log")
        log = lines_of(on.app)
        await on.press("w", "enter")
        await on.until(lambda: "emitter" in on.text, "the file")
        await on.press("1")
        await on.until(lambda: "[31mof its own" in on.text, "the table")
        return [*log, *lines_of(on.app)]

    shown = "".join(s.text for line in stage(look, size=(140, 90)) for s in line)

    assert not [c for c in shown if c < " " or c in "\x7f\u202e" or "\x80" <= c < "\xa0"]
