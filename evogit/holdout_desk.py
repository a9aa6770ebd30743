"""Who takes looks while a night goes on: a process beside the loop, which waits for its turn and takes what was asked for.

The loop starts it and never waits for it. Killed with the loop or before it, it loses nothing: a look that was not written down
waits in the state folder, and its jobs, which outlive both, are found again. It shows nothing to anybody.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from evogit import holdout

if TYPE_CHECKING:
    from evogit.bench import Bench

LAUNCH = "import sys; sys.path.append(sys.argv[1]); from evogit.holdout_desk import main; main(*sys.argv[2:])"
MOST = 4  # processes that wait for their turn; what the last of them finds is all that was asked for before
ENDING_S = 5.0


class Desk:
    """The looks of one night. `faults` is what the person at the console should know, in words."""

    def __init__(self, bench: Bench) -> None:
        """Begins with what earlier loops left."""
        self.faults: list[str] = []
        self._bench = bench
        self._working: list[subprocess.Popen[bytes]] = []
        self.begin()

    def begin(self) -> None:
        """Have what waits looked at. Returns at once: starting a process takes some 2 ms."""
        campaign, top = self._bench.campaign, str(Path(__file__).resolve().parents[1])
        self._working = [process for process in self._working if process.poll() is None]
        if campaign.problem.holdout is None or len(self._working) >= MOST:
            return
        book = holdout.book_of(campaign)
        if not book.pending():
            return
        command = [sys.executable, "-c", LAUNCH, top, str(campaign.repo.top), campaign.tag]
        try:
            log = os.open(book.room / "looks.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._working.append(
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd=book.room, start_new_session=True
                    )
                )
            finally:
                os.close(log)
        except OSError as fault:
            self.faults.append(f"looks at held-out data wait ({(fault.strerror or str(fault)).lower()}); `evogit holdout` takes them")

    def close(self) -> None:
        """The night ends, and waits for no look: what is not written down yet is left to the next loop or to `evogit holdout`."""
        for process in self._working:
            process.terminate()
        for process in self._working:
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_S)
        self._working = []


def main(top: str, tag: str) -> None:
    """The process: take what waits in the campaign of that repository, and go. On this machine, wherever trials run: labels do not travel."""
    from evogit.domain.options import LoopOptions
    from evogit.errors import EvogitError
    from evogit.git.campaign import Campaign
    from evogit.git.repository import Repository

    try:
        campaign = Campaign.open(Repository.open(top), tag)
        holdout.attend(campaign, LoopOptions())
    except EvogitError as fault:
        sys.exit(f"{fault.message}\n{fault.hint}")
