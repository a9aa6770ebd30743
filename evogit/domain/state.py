"""Where evogit keeps what is a person's own and belongs to no repository. Names alone: it looks at no disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def holdout_folder(environ: Mapping[str, str]) -> Path:
    """Where looks are kept, of all repositories: below $XDG_STATE_HOME, or ~/.local/state where that is no absolute path."""
    named = environ.get("XDG_STATE_HOME", "")
    state = Path(named) if os.path.isabs(named) else Path(environ.get("HOME") or os.path.expanduser("~")) / ".local" / "state"
    return state / "evogit" / "holdout"
