"""A backend elsewhere whose way there can be cut: trials are real processes of this machine, and files in one folder say what is wrong.

down     nobody answers, until the file is gone
slow     a start takes until the file is gone; `stuck` says that one waits for that
started  is written once a job was started
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from evogit.backends.local import LocalBackend
from evogit.errors import BackendDown

PATIENCE_S = 30.0


def install(folder: Path, monkeypatch) -> Path:
    """Make it a plugin called `far` of every evogit from here on. Returns the folder of those files."""
    told, way = folder / "far_places-1.0.dist-info", folder / "way"
    told.mkdir(parents=True)
    way.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: far-places\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[evogit.backends]\nfar = far_places:FarBackend\n")
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("FAR_WAY", str(way))
    return way


class FarBackend(LocalBackend):
    """One that is never quick, as whatever lies behind a network."""

    name = "far"
    is_quick = False

    def __init__(self, root: Path, slots: int = 1) -> None:
        super().__init__(root, slots=slots)
        self._way = Path(os.environ["FAR_WAY"])

    def _go(self) -> None:
        if (self._way / "down").exists():
            raise BackendDown("far does not answer", hint="mend the way")

    def start(self, job):
        self._go()
        give_up_at, pause = time.monotonic() + PATIENCE_S, threading.Event()
        while (self._way / "slow").exists():
            (self._way / "stuck").touch()
            if time.monotonic() > give_up_at:
                raise BackendDown("far never made up its mind")
            pause.wait(0.01)
        handle = super().start(job)
        (self._way / "started").touch()
        return handle

    def find(self, key):
        self._go()
        return super().find(key)

    def wait(self, handles, timeout_s):
        self._go()
        return super().wait(handles, timeout_s)

    def collect(self, handle):
        self._go()
        return super().collect(handle)

    def cancel(self, handle):
        self._go()
        super().cancel(handle)

    def forget(self, handle):
        self._go()
        super().forget(handle)

    def resources(self):
        self._go()
        return super().resources()
