"""What a program did to the files of its workspace, and the record that makes the same edit again. It writes nothing.

The host reads the workspace itself and decides what enters the commit; an agent looks only to know whether anything was done,
and to keep it among its answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from evogit.domain.briefing import Briefing
from evogit.domain.problem import Problem
from evogit.errors import AgentFailed
from evogit.problem import is_mutable
from evogit.programs.speech import Secrets

RECORD = "edits.json"  # below a run's `answers/`: {"files": {path: text}, "deleted": [path]}, paths below the problem's folder
FILE_CAP = 4 << 20  # bytes of one file; the host takes no larger one
LOOK_CAP = 20_000  # files of a workspace that are looked at


class Watch:
    """Looks at a workspace before a program works there, and says afterwards what it did. Costs one `lstat` a file each time."""

    def __init__(self, briefing: Briefing, workspace: Path, secrets: Secrets) -> None:
        self._briefing, self._workspace, self._secrets = briefing, workspace, secrets
        self._before = dict(_files(workspace))

    def edits(self, returned: Mapping[str, str] | None = None) -> dict[str, str | None]:
        """Mutable files that are not as the briefing has them: path below the problem's folder -> text, None if it is gone.

        returned: files that were handed back; they win. Bytes that are not UTF-8 are kept as surrogate escapes. Raises
        AgentFailed if nothing at all was changed, a file is no source code, or a key was written down.
        """
        if self._workspace.is_symlink() or not self._workspace.is_dir():
            raise AgentFailed("the program removed its working folder")
        sources, frozen = self._briefing.sources, []
        found: dict[str, str | None] = {}
        for path in self._touched():
            if not is_mutable(self._briefing.problem, _in_repository(self._briefing.problem, path)):
                frozen.append(path)
                continue
            data = self._read(path)
            if data is None or data.decode("utf-8", "replace") != sources.get(path):
                found[path] = None if data is None else data.decode("utf-8", "surrogateescape")
        found |= {path: text for path, text in (returned or {}).items() if text != sources.get(path) or path in found}
        for path in frozen:  # the host strips them, and keeps what was in them
            self._refuse_keys(path, (self._read(path, FILE_CAP) or b"").decode("utf-8", "replace"))
        for path, text in found.items():
            self._refuse_keys(path, text or "")
        if not found and not frozen:
            raise AgentFailed("the program changed nothing")
        return found

    def _touched(self) -> list[str]:
        after = dict(_files(self._workspace))
        return sorted(path for path in {*self._before, *after} if self._before.get(path) != after.get(path))

    def _read(self, path: str, cap: int = 0) -> bytes | None:
        """Bytes of a regular file, at most `cap`; None if there is none. Without a cap, raises AgentFailed where it is no source code."""
        file = self._workspace / path
        if not file.is_file() or file.is_symlink():
            return None
        try:
            with file.open("rb") as stream:
                data = stream.read((cap or FILE_CAP) + 1)
        except OSError as error:
            raise AgentFailed(f"{path} cannot be read any more: {error.strerror}") from error
        if len(data) > FILE_CAP and not cap:
            raise AgentFailed(
                f"{path} has more than {FILE_CAP >> 10} KiB", hint="a mutable file is source code; write large outputs elsewhere"
            )
        return data

    def _refuse_keys(self, path: str, text: str) -> None:
        if name := self._secrets.found_in(text):
            raise AgentFailed(f"the value of {name} was written into {path}", hint="it was not committed; replace that key all the same")


def returned(files: Mapping[str, object], workspace: Path) -> dict[str, str]:
    """The files that a program hands back, their paths made relative. Raises AgentFailed for what is no path below the folder, or no text."""
    found: dict[str, str] = {}
    for name, text in files.items():
        path = _below(name, workspace)
        if path is None:
            raise AgentFailed(f"files: {name[:80]!r} leads out of the problem's folder")
        if not isinstance(text, str) or not _is_writable(text):
            raise AgentFailed(f"files: {path} is no text")
        found[path] = text
    return found


def record(edits: Mapping[str, str | None]) -> str:
    """The edits as RECORD keeps them. Plain ASCII, so that surrogate escapes survive."""
    files = {path: text for path, text in sorted(edits.items()) if text is not None}
    return json.dumps({"files": files, "deleted": sorted(path for path, text in edits.items() if text is None)}, indent=1) + "\n"


def _below(name: str, workspace: Path) -> str | None:
    """A path as the host counts it, or None if it is none below the workspace."""
    if not name or "\0" in name or "\\" in name:
        return None
    path = PurePosixPath(name)
    if path.is_absolute():
        try:
            path = path.relative_to(PurePosixPath(workspace.as_posix()))
        except ValueError:
            return None
    parts = [part for part in path.parts if part != "."]
    return "/".join(parts) if parts and ".." not in parts else None


def _is_writable(text: str) -> bool:
    try:
        return len(text.encode("utf-8", "surrogateescape")) <= FILE_CAP
    except UnicodeEncodeError:
        return False


def _in_repository(problem: Problem, path: str) -> str:
    return f"{problem.folder}/{path}" if problem.folder else path


def _files(top: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Files below a folder with what changes when somebody writes them; links are not followed."""
    seen = 0
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if name != "__pycache__"]
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            path = os.path.join(folder, name)
            with suppress(OSError):
                found = os.lstat(path)
                yield os.path.relpath(path, top).replace(os.sep, "/"), (found.st_ino, found.st_size, found.st_ctime_ns, found.st_mode)
            seen += 1
            if seen > LOOK_CAP:
                return
