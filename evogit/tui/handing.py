"""What leaves the screen: a hash for the clipboard, a run's text for the pager, its files for the editor. Nothing of it comes back."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PAGERS = ("GIT_PAGER", "PAGER")
EDITORS = ("GIT_EDITOR", "VISUAL", "EDITOR")


def page(lines: Sequence[str], name: str) -> str:
    """Show lines in the person's pager; what went wrong, "" if nothing did. The lines must be safe on a terminal."""
    return _open(_wanted(PAGERS, "less"), {name: "\n".join(lines) + "\n"}, {"LESS": os.environ.get("LESS", "-R")})


def edit(files: Mapping[str, str]) -> str:
    """Open copies of files in the person's editor; what went wrong, "" if nothing did. They cannot be written, so that nobody expects to."""
    return _open(_wanted(EDITORS, "vi"), files, {})


def _wanted(names: Sequence[str], otherwise: str) -> list[str]:
    asked = next((os.environ[name] for name in names if os.environ.get(name, "").strip()), otherwise)
    return shlex.split(asked)


def _open(command: list[str], files: Mapping[str, str], env: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="evogit-") as folder:
        paths = [_write(Path(folder), name, text) for name, text in files.items()]
        try:
            done = subprocess.run([*command, *map(str, paths)], env={**os.environ, **env}, check=False)
        except OSError as fault:
            return f"{command[0]}: {(fault.strerror or str(fault)).lower()}"
        finally:
            for path in paths:
                with contextlib.suppress(OSError):
                    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return f"{command[0]} ended with code {done.returncode}" if done.returncode else ""


def _write(folder: Path, name: str, text: str) -> Path:
    """A file below the folder whatever its name says."""
    parts = [part for part in Path(name).parts if part not in ("..", "/", "")] or ["file"]
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace")
    path.chmod(stat.S_IRUSR)
    return path
