"""Themes, and what the inks of `evogit.tcss` look like in each: evogit's own two, the terminal's own colours, and every theme of Textual's."""

from __future__ import annotations

import os

from textual.theme import BUILTIN_THEMES, Theme

TERMINAL = "terminal"  # the sixteen colours and the background that the terminal has
DARK, LIGHT = "evogit-dark", "evogit-light"
WORDS = {
    DARK: "evogit's own, for a dark terminal",
    LIGHT: "evogit's own, for a light one",
    TERMINAL: "the terminal's own colours and background",
}
CHOICES = ("auto", DARK, LIGHT, TERMINAL)

_DARK_INKS = {
    "keep": "#7ee787", "discard": "#768390", "crash": "#ff7b72", "reject": "#d2a8ff", "near": "#f0a45d", "certified": "#56d364",
    "incumbent": "#ffd866", "front": "#56d4dd", "quiet": "#6e7b8b", "title": "#f0f4f8", "name": "#79b8ff", "good": "#7ee787",
    "worse": "#ff9492", "warning": "#e3b341", "line": "#4f9d69", "band": "#24402f", "axis": "#8492a3", "rule": "#3d4a59",
    "cursor-back": "#264166", "cursor-text": "#ffffff", "cursor-style": "none", "blurred-style": "none", "here-style": "bold", "blurred-back": "#1c2836", "fresh-back": "#1d3a2a",
    "head-back": "#161d26", "tab-back": "#161d26", "here-back": "#79b8ff", "here-text": "#0d1218", "added-back": "#12301f",
    "removed-back": "#3a1a1f", "added-word": "#1f6b3a", "removed-word": "#8a2f37", "keyword": "#ff9ac1", "string": "#a5d6ff",
    "number": "#ffb870", "comment": "#7d8a99", "call": "#d2a8ff", "trough": "#26313d",
}  # fmt: skip
_LIGHT_INKS = {
    "keep": "#1a7f37", "discard": "#6e7781", "crash": "#cf222e", "reject": "#8250df", "near": "#bc4c00", "certified": "#116329",
    "incumbent": "#9a6700", "front": "#0a7c86", "quiet": "#6e7781", "title": "#0d1117", "name": "#0550ae", "good": "#1a7f37",
    "worse": "#cf222e", "warning": "#9a6700", "line": "#57a773", "band": "#d3eadb", "axis": "#57606a", "rule": "#c3cbd3",
    "cursor-back": "#cfe3ff", "cursor-text": "#0d1117", "cursor-style": "none", "blurred-style": "none", "here-style": "bold", "blurred-back": "#e8eef5", "fresh-back": "#dcf5e3",
    "head-back": "#eef1f4", "tab-back": "#eef1f4", "here-back": "#0550ae", "here-text": "#ffffff", "added-back": "#dcf5e3",
    "removed-back": "#ffe3e3", "added-word": "#9be2b1", "removed-word": "#ffb3b3", "keyword": "#a40e66", "string": "#0a3069",
    "number": "#953800", "comment": "#6e7781", "call": "#8250df", "trough": "#dde3e9",
}  # fmt: skip
_ANSI_INKS = {
    "keep": "ansi_green", "discard": "ansi_default", "crash": "ansi_red", "reject": "ansi_magenta", "near": "ansi_yellow",
    "certified": "ansi_green", "incumbent": "ansi_yellow", "front": "ansi_cyan", "quiet": "ansi_bright_black", "title": "ansi_default",
    "name": "ansi_cyan", "good": "ansi_green", "worse": "ansi_red", "warning": "ansi_yellow", "line": "ansi_green",
    "band": "ansi_bright_black", "axis": "ansi_bright_black", "rule": "ansi_bright_black", "cursor-back": "ansi_default",
    "cursor-text": "ansi_default", "cursor-style": "reverse", "blurred-style": "underline", "here-style": "bold reverse", "blurred-back": "ansi_default", "fresh-back": "ansi_default",
    "head-back": "ansi_default", "tab-back": "ansi_default", "here-back": "ansi_default", "here-text": "ansi_default",
    "added-back": "ansi_default", "removed-back": "ansi_default", "added-word": "ansi_default", "removed-word": "ansi_default",
    "keyword": "ansi_magenta", "string": "ansi_green", "number": "ansi_yellow", "comment": "ansi_bright_black", "call": "ansi_blue",
    "trough": "ansi_bright_black",
}  # fmt: skip


def own() -> list[Theme]:
    """evogit's themes."""
    dark = Theme(
        name=DARK, primary="#79b8ff", secondary="#d2a8ff", warning="#e3b341", error="#ff7b72", success="#7ee787", accent="#56d4dd",
        foreground="#cdd6e0", background="#0d1218", surface="#121820", panel="#1a222c", variables=_variables(_DARK_INKS, "#0d1218"),
    )  # fmt: skip
    light = Theme(
        name=LIGHT, primary="#0550ae", secondary="#8250df", warning="#9a6700", error="#cf222e", success="#1a7f37", accent="#0a7c86",
        foreground="#24292f", background="#fcfdfe", surface="#f4f6f8", panel="#e9edf1", dark=False,
        variables=_variables(_LIGHT_INKS, "#fcfdfe"),
    )  # fmt: skip
    terminal = Theme(
        name=TERMINAL, ansi=True, primary="ansi_blue", secondary="ansi_magenta", warning="ansi_yellow", error="ansi_red",
        success="ansi_green", accent="ansi_cyan", foreground="ansi_default", background="ansi_default", surface="ansi_default",
        panel="ansi_default", boost="ansi_default", variables=BUILTIN_THEMES["ansi-dark"].variables | _variables(_ANSI_INKS, "ansi_default"),
    )  # fmt: skip
    return [dark, light, terminal]


def defaults(theme: Theme) -> dict[str, str]:
    """Inks for a theme of somebody else's, from the colours that it has."""
    if theme.ansi:
        return _variables(_ANSI_INKS, "ansi_default")
    inks = dict(_DARK_INKS if theme.dark else _LIGHT_INKS)
    said = {
        "keep": theme.success, "good": theme.success, "certified": theme.success, "crash": theme.error, "worse": theme.error,
        "reject": theme.secondary, "near": theme.warning, "warning": theme.warning, "incumbent": theme.warning, "front": theme.accent,
        "name": theme.primary, "here-back": theme.primary, "title": theme.foreground, "head-back": theme.surface,
        "tab-back": theme.surface, "blurred-back": theme.panel, "trough": theme.panel,
    }  # fmt: skip
    return _variables(inks | {name: colour for name, colour in said.items() if colour}, theme.background or "#121212")


def _variables(inks: dict[str, str], background: str) -> dict[str, str]:
    found = {f"ink-{name}": colour for name, colour in inks.items()}
    return found | {
        "scrollbar": inks["rule"], "scrollbar-hover": inks["axis"], "scrollbar-active": inks["name"],
        "scrollbar-background": background, "scrollbar-background-hover": background, "scrollbar-background-active": background,
        "scrollbar-corner-color": background,
    }  # fmt: skip


def choose(asked: str, *, colour: bool) -> str:
    """The theme for a terminal: as asked; without colour the terminal's own, whose colours are then left out; by its background otherwise."""
    if not colour:
        return TERMINAL
    if asked and asked != "auto":
        return asked
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT if background in ("7", "15") else DARK
