"""A screen as a small SVG: what stands in each cell and how it looks, the same bytes for the same screen. No ids, no fonts, no network."""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME
from textual.app import App

WIDE, HIGH = 10, 20  # of a cell


def lines_of(app: App) -> list[list[Segment]]:
    """The cells of the screen that is shown, as segments a line."""
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False)
    update = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens, simplify=True)
    rendered = console.render(update, console.options)
    return [list(Segment.simplify(line)) for line in Segment.split_lines(s for s in rendered if not s.control)]


def text_of(app: App) -> str:
    """The letters of the screen alone."""
    return "\n".join("".join(s.text for s in line).rstrip() for line in lines_of(app))


def picture(app: App) -> str:
    """The screen as SVG."""
    width, height = app.size
    looks: dict[str, str] = {}
    body: list[str] = []
    for y, line in enumerate(lines_of(app)):
        x, pieces, grounds = 0, [], []
        for text, style, _ in line:
            ink, ground = _look(style or Style())
            if ground != SVG_EXPORT_THEME.background_color.hex:
                grounds.append(f'<path fill="{ground}" d="M{x * WIDE} {y * HIGH}h{len(text) * WIDE}v{HIGH}h-{len(text) * WIDE}z"/>')
            if text.strip():
                name = looks.setdefault(ink, f"s{len(looks)}")
                start = x + len(text) - len(text.lstrip())
                said = text.strip()
                length = f' textLength="{len(said) * WIDE}"' if len(said) > 5 else ""
                pieces.append(f'<tspan class="{name}" x="{start * WIDE}"{length}>{escape(said)}</tspan>')
            x += len(text)
        body += grounds
        if pieces:
            body.append(f'<text y="{y * HIGH + 15}">{"".join(pieces)}</text>')
    styles = "\n".join(f".{name} {{ {look} }}" for look, name in looks.items())
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * WIDE} {height * HIGH}">'
    font = f"text {{ font-family: monospace; font-size: {WIDE / 0.6:.3f}px; white-space: pre }}"
    ground = f'<rect width="100%" height="100%" fill="{SVG_EXPORT_THEME.background_color.hex}"/>'
    return "\n".join([head, f"<style>\n{font}\n{styles}\n</style>", ground, *body, "</svg>", ""])


def _look(style: Style) -> tuple[str, str]:
    """CSS of a style's letters, and the colour behind them."""
    theme = SVG_EXPORT_THEME
    ink = theme.foreground_color if style.color is None or style.color.is_default else style.color.get_truecolor(theme)
    ground = theme.background_color if style.bgcolor is None or style.bgcolor.is_default else style.bgcolor.get_truecolor(theme)
    if style.reverse:
        ink, ground = ground, ink
    words = [f"fill: {ink.hex}"]
    words += ["font-weight: bold"] * bool(style.bold) + ["font-style: italic"] * bool(style.italic)
    words += ["text-decoration: underline"] * bool(style.underline)
    return "; ".join(words), ground.hex
