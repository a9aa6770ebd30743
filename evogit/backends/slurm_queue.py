"""Jobs that were left in their folders and are not in Slurm's hands yet: handed over together, by one sbatch at a time.

Nobody has to wait for sbatch: a thread calls it, half a second after the first job or at once for somebody who waits for one. Meanwhile
more may be added, or taken out again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from evogit.backends.slurm_folder import JobFolder
from evogit.backends.slurm_submit import Arrays, Unanswered
from evogit.errors import BackendDown, EvogitError
from evogit.turns import Asking

GATHER_S = 0.5  # for further starts before a lone job is handed over
LAST_S = 5.0  # that the end of this process waits for an sbatch


class Queue:
    """`array_max`: jobs of one array; `heard()` is called when Slurm has taken some. May be used from threads."""

    def __init__(self, arrays: Arrays, array_max: int, heard: Callable[[], None]) -> None:
        self._arrays, self._array_max, self._heard = arrays, array_max, heard
        self._is_tidy = self._is_down = False
        self._lock = threading.Lock()  # of what follows; never held while anybody is asked
        self._turn = threading.Lock()  # of whoever hands over
        self._waiting: dict[JobFolder, dict[str, object]] = {}  # limits for submitit
        self._going: dict[JobFolder, dict[str, object]] = {}  # with an sbatch that has not answered
        self._timer: threading.Timer | None = None
        self._handing: Asking[None] | None = None

    def add(self, folder: JobFolder, limits: dict[str, object]) -> None:
        """One more. Jobs with the same limits become one array."""
        with self._lock:
            self._waiting[folder] = limits
            if self._timer is None:
                self._timer = threading.Timer(GATHER_S, self.flush_in_passing)
                self._timer.daemon = True
                self._timer.start()

    def drop(self, folder: JobFolder) -> None:
        """It need not be handed over any more; if it is just now, its folder has to say so."""
        with self._lock:
            self._waiting.pop(folder, None)
            self._going.pop(folder, None)

    def __contains__(self, folder: JobFolder) -> bool:
        with self._lock:
            return folder in self._waiting or folder in self._going

    def hurry(self) -> None:
        """See that all of them are handed over, and come back at once. Raises what the last time that was done for somebody ran into."""
        with self._lock:
            handing = self._handing
            if handing is not None and handing.is_over:
                self._handing = None
            elif handing is None and self._waiting:
                self._handing = Asking(self.flush, "evogit-sbatch")
        if handing is not None and handing.is_over:
            handing.take()

    def flush(self) -> None:
        """Hand over all of them. Raises BackendDown, UserError; what Slurm did not take stays here."""
        with self._turn:
            with self._lock:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
            while batch := self._next():
                self._submit(batch)

    def _next(self) -> dict[JobFolder, dict[str, object]]:
        """Those that make the next array; {} if there are none."""
        with self._lock:
            limits = next(iter(self._waiting.values()), None)
            alike = [folder for folder, others in self._waiting.items() if others == limits][: self._array_max]
            self._going = {folder: self._waiting.pop(folder) for folder in alike}
            return dict(self._going)

    def _submit(self, batch: dict[JobFolder, dict[str, object]]) -> None:
        if not self._is_tidy:
            self._is_tidy = True
            self._arrays.tidy()  # what killed loops left
        is_taken = self._is_down = False
        try:
            self._arrays.submit(list(batch), next(iter(batch.values())))
            is_taken = True
            self._heard()
        except Unanswered:  # Slurm may have them: whoever waits for one looks for its array first
            is_taken = self._is_down = True
            raise
        except BackendDown:
            self._is_down = True
            raise
        finally:
            with self._lock:
                left, self._going = self._going, {}
                self._waiting = self._waiting if is_taken else left | self._waiting

    def flush_in_passing(self) -> None:
        """The same, where nobody waits for one of them."""
        with contextlib.suppress(EvogitError):  # whoever waits tries again, and is told
            self.flush()

    def close(self) -> None:
        """Hand over what is left, unless Slurm was out of reach the last time, or does not answer now."""
        if not self._is_down and self._turn.acquire(timeout=LAST_S):
            self._turn.release()
            self.flush_in_passing()
