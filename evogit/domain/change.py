"""What a run changed in its parent's files, small enough to stand in its commit: moves of named constants, and lines."""

from __future__ import annotations

import msgspec

MoveValue = bool | int | float | str | tuple[int | float, ...]


class Move(msgspec.Struct, frozen=True, array_like=True):
    """One named constant or component whose value changed. `gene` is `path:name`, the path below the problem's folder."""

    gene: str
    old: MoveValue
    new: MoveValue
    family: str = ""  # its role: lr, width, activation ...; "" if its name does not say

    @property
    def direction(self) -> int:
        """+1 for a number that grew (False to True is growth), -1 for one that shrank, 0 for what has no order."""
        if isinstance(self.old, (bool, int, float)) and isinstance(self.new, (bool, int, float)):
            return (self.new > self.old) - (self.new < self.old)
        return 0
