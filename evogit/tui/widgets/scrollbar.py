"""A scrollbar of blanks alone, for terminals without block letters: the part that is seen stands out by its ground."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBarRender


class PlainBar(ScrollBarRender):
    """Whole cells; no eighths."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8
