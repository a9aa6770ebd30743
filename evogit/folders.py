"""What of a folder is work: everything below it but caches, environments and `.git`. It follows no link and reads no file."""

from __future__ import annotations

import os
from collections.abc import Iterator

SKIPPED = frozenset({".git", "__pycache__", ".venv", ".pytest_cache"})


def listed(top: str) -> Iterator[str]:
    """Paths of everything below `top` that counts, folders too. What goes meanwhile, or cannot be listed, is left out."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(top, below)))
        except OSError:
            continue
        for entry in entries:
            name = os.path.join(below, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED:
                    waiting.append(name)
                    yield name
            else:
                yield name
