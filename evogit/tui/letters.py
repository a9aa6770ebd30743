"""Letters and inks: everything that is told apart has a shape of its own, in Unicode and in ASCII; colour only repeats it. Pure."""

from __future__ import annotations

import msgspec

from evogit.domain.run import Run
from evogit.present import claim

# What a run is to somebody who looks for the next one, the rarest first. Each has a letter in both alphabets, and an ink of its name.
KINDS = ("incumbent", "front", "certified", "keep", "near", "discard", "crash", "reject")
WORDS = {"front": "frontier", "near": "near miss"}
INKS = frozenset(
    f"ink--{name}"
    for name in (
        *KINDS, "quiet", "title", "name", "good", "worse", "warning", "line", "band", "axis", "rule", "link", "bar", "trough",
        "cursor", "blurred", "marked", "fresh", "head", "tab", "here", "key", "brand", "busy",
        "added", "removed", "added-word", "removed-word", "hunk", "file", "keyword", "string", "number", "comment", "call",
    )
)  # fmt: skip

_UNICODE = {
    "incumbent": "★", "front": "◆", "certified": "✓", "keep": "●", "near": "◇", "discard": "○", "crash": "✗", "reject": "⊘",
    "dot": "·", "plus-minus": "±", "about": "≈", "better": "▲", "worse": "▼", "flag": "⚑", "mark": "✚", "dash": "–", "cut": "…",
    "down": "↓", "up": "↑", "left": "←", "right": "→", "above": "▴", "below": "▾", "band": "░", "vertical": "│", "corner": "└",
    "across": "─", "dots": "⠶", "tick": "┬", "notch": "┤", "run": "▶", "pause": "⏸", "stop": "■", "closed": "▸", "open": "▾", "and": "⋈",
    "full": "█", "empty": "░", "point": "•", "bar-left": "├", "bar-right": "┤", "bullet": "•", "arrow": "→", "times": "×", "wait": "◌",
}  # fmt: skip
_ASCII = {
    "incumbent": "*", "front": "#", "certified": "C", "keep": "k", "near": "n", "discard": "d", "crash": "x", "reject": "r",
    "dot": ".", "plus-minus": "+-", "about": "~", "better": "^", "worse": "v", "flag": "!", "mark": "M", "dash": "-", "cut": "~",
    "down": "(min)", "up": "(max)", "left": "<-", "right": "->", "above": "^", "below": "v", "band": "'", "vertical": "|", "corner": "+",
    "across": "-", "dots": ".:", "tick": "+", "notch": "+", "run": ">", "pause": "=", "stop": "-", "closed": "+", "open": "-", "and": "&",
    "full": "#", "empty": ".", "point": "o", "bar-left": "|", "bar-right": "|", "bullet": "-", "arrow": "->", "times": "x", "wait": "o",
}  # fmt: skip
_BARS = (" ▁▂▃▄▅▆▇█", " .:-=+*#@")
_EIGHTHS = " ▏▎▍▌▋▊▉█"

Piece = tuple[str, str]  # text and the name of its ink, "" for plain
Line = list[Piece]


class Letters(msgspec.Struct, frozen=True):
    """The alphabet of a terminal."""

    unicode: bool = True

    def __getitem__(self, name: str) -> str:
        return (_UNICODE if self.unicode else _ASCII)[name]

    def spark(self, shares: list[float]) -> str:
        """A letter a share, taller for greater ones; 1.0 and more is the tallest."""
        bars = _BARS[not self.unicode]
        return "".join(bars[0 if share <= 0 else 1 + min(int(share * (len(bars) - 1)), len(bars) - 2)] for share in shares)

    def meter(self, share: float, width: int) -> tuple[str, str]:
        """A bar of `width` cells as what is full and what is empty."""
        share = min(max(share, 0.0), 1.0)
        if not self.unicode:
            full = round(share * width)
            return "#" * full, "." * (width - full)
        eighths = round(share * width * 8)
        full, rest = divmod(eighths, 8)
        tip = _EIGHTHS[rest] if rest else ""
        return "█" * full + tip, " " * (width - full - len(tip))

    def plain(self, text: str) -> str:
        """Text of others as this terminal can show it."""
        return text if self.unicode or text.isascii() else text.encode("ascii", "replace").decode()


def verdict_of(run: Run) -> str:
    """Which of KINDS a run is by its verdict alone, what is claimed for it included."""
    if run.is_kept:
        return "certified" if claim(run) == "certified" else "keep"
    return "near" if run.near_miss else run.verdict.value
