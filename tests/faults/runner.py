"""A campaign to be shot at: loops in processes of their own, a diary that trials keep outside of git, and what must hold afterwards.

It kills and looks; what was killed it never mends by itself. The diary is the witness: git's books are compared with what really ran.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from evogit.backends import processes
from evogit.domain.trial import TrialLine
from evogit.git import ledger, maintenance, notes, refs
from evogit.lab import Lab
from toys import TOML, TRAIN, evogit, make_toy

PATIENCE_S = 60.0
DIARY = '''\
"""One line when a trial begins, one when it has run to its end. A trial named by TOY_HOLD waits until somebody opens the gate."""

import atexit
import os


def write(word):
    line = "%s %s %s %d\\n" % (word, os.environ["EVOGIT_RUN"], os.environ["EVOGIT_SEED"], os.getpid())
    page = os.open(os.environ["TOY_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(page, line.encode())
    os.close(page)


write("begin")
atexit.register(write, "end")
if os.environ.get("TOY_HOLD") == os.environ["EVOGIT_RUN"]:
    open(os.environ["TOY_GATE"]).close()
'''
KEEPING_A_DIARY = TRAIN.replace("import math\n", "import diary  # noqa: F401\nimport math\n")
# Each run is better than the one before, whatever was changed: all seeds are measured, and every decision moves the files of a checkout.
EVER_BETTER = KEEPING_A_DIARY.replace(
    "    return 0.1 + bowl + 0.1 * DROPOUT + 0.05 * (MOMENTUM - 0.9) ** 2 + noise", '    return 1 / (1 + int(os.environ["EVOGIT_RUN"]))'
)
LETTING_THROUGH = TOML + '\n[sandbox]\nenv = ["TOY_LOG", "TOY_HOLD", "TOY_GATE"]\n'


def until(claim: Callable[[], object], seconds: float = PATIENCE_S, what: str = "") -> None:
    """Ask again and again until `claim()` is true."""
    pause, give_up_at = threading.Event(), time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < give_up_at, what or "it never came true"
        pause.wait(0.01)


class Shot:
    """One campaign `t1` in a repository of its own; started, nothing decided yet."""

    def __init__(
        self, where: Path, *, toml: str = LETTING_THROUGH, train: str = KEEPING_A_DIARY, diary: str = DIARY, aside: Path | None = None
    ) -> None:
        self.repo = make_toy(where, toml=toml, train=train, extra={"diary.py": diary})
        self.aside = aside or where.parent
        self.log, self.gate = self.aside / f"{where.name}.diary", self.aside / f"{where.name}.gate"
        os.mkfifo(self.gate)
        Lab.open(self.repo).start("t1")

    # doing -----------------------------------------------------------------------------------------------------------

    def env(self, *, fail: str = "", hold: str = "") -> dict[str, str]:
        """What a loop of ours is told. fail: a failpoint and its count; hold: the run whose trials wait for the gate."""
        told = {"TOY_LOG": str(self.log), "TOY_GATE": str(self.gate), "TOY_HOLD": hold, "EVOGIT_FAILPOINT": fail}
        return {name: value for name, value in told.items() if value}

    def loop(self, *args: str, fail: str = "", hold: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """`evogit loop` to its end."""
        return evogit(self.repo, "loop", "--tag", "t1", *args, env=self.env(fail=fail, hold=hold), check=check)

    def killed_at(self, point: str, *args: str, hold: str = "") -> None:
        """`evogit loop` to a failpoint, where it dies."""
        done = self.loop(*args, fail=point, hold=hold, check=False)

        assert done.returncode == -signal.SIGKILL, f"it never reached {point}:\n{done.stdout}\n{done.stderr}"

    def spawn(self, *args: str, hold: str = "", fail: str = "") -> subprocess.Popen[str]:
        """`evogit loop` beside us, in a process group of its own."""
        command = [sys.executable, "-m", "evogit.cli", "loop", "--tag", "t1", *args]
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.repo, env={**os.environ, **self.env(hold=hold, fail=fail)}, start_new_session=True, **out)

    def open_gate(self) -> int:
        """Let every trial that waits, now or later, go on; close the descriptor to shut it again."""
        return os.open(self.gate, os.O_RDWR)

    # looking ---------------------------------------------------------------------------------------------------------

    def diary(self, word: str) -> list[tuple[str, int]]:
        """(run, seed) of every line of the diary that begins with `word`, in the order of time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(run, int(seed)) for said, run, seed, _ in map(str.split, lines) if said == word]

    def lab(self) -> Lab:
        """The campaign read anew."""
        return Lab.open(self.repo, tag="t1")

    def in_flight(self) -> dict[str, str]:
        """Label -> state of every flight."""
        return {flight.run: flight.state for flight in self.lab().status().in_flight}

    def trials(self) -> list[TrialLine]:
        """Every trial line of the ledger, replicates and looks of certificates with them."""
        history = self.lab().campaign.history
        later = [*history.replicates.values(), *history.certifications.values()]
        return [line for run in history.runs for line in run.trials] + [line for lines in later for line in lines]

    def processes(self) -> list[int]:
        """What still runs on behalf of this campaign: loops, keepers, trials."""
        return processes.marked(f"TOY_LOG={self.log}".encode()) + processes.marked(f"HOME={os.environ['HOME']}".encode())

    # what must hold --------------------------------------------------------------------------------------------------

    def check(self, *, ran_again: int = 0) -> None:
        """The lab book is whole, nothing ran twice (but `ran_again` trials, whose own processes were killed), nothing is left over."""
        self.check_books()
        self.check_numbers()
        ended = self.diary("end")
        assert len(ended) == len(self.trials()), "a trial that ended is missing from the ledger, or ran again"
        assert len(self.diary("begin")) == len(ended) + ran_again
        self.check_nothing_left()

    def check_books(self) -> None:
        """git is content, the doctor is content, the refs agree. A repack that a loop left at work moves objects under fsck's hands: it ends first."""
        until(lambda: not maintenance.repack_runs(self.lab().repo), 120, "a repack did not end")
        said = subprocess.run(["git", "fsck", "--full"], cwd=self.repo, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert not [line for line in (said.stdout + said.stderr).splitlines() if line.startswith(("error", "missing", "broken", "bad"))]
        findings = self.lab().doctor()
        wrong = [f.message for f in findings if f.level in ("error", "warning") and "MiB are free" not in f.message]
        assert wrong == [], f"the doctor says: {wrong}"
        lab = self.lab()
        assert refs.read(lab.repo, refs.tip("t1")) == refs.read(lab.repo, refs.branch("t1"))

    def check_numbers(self) -> None:
        """Runs 0..N are decided, each once; a number without a run was a replicate's. Each trial line is there once."""
        lab = self.lab()
        history = lab.campaign.history
        decided = Counter(entry.decides for entry in ledger.walk(lab.repo, history.tip, campaign="t1") if entry.kind == "decision")
        assert set(decided.values()) == {1}
        numbers = [int(run.label) for run in history.runs]
        assert len(set(numbers)) == len(numbers) == len(decided)
        readings = [entry for entry in ledger.walk(lab.repo, history.tip, campaign="t1") if entry.kind in {"replicate", "certify"}]
        replicates = len(readings)
        reviews = {run.label: len(notes.read(lab.repo, notes.REVIEWS, run.commit)) for run in history.runs}
        assert set(reviews.values()) == {1}, f"reviews of a run: {reviews}"
        assert len(numbers) <= max(numbers) + 1 <= len(numbers) + replicates, "a number was lost"
        ids = Counter(line.id for line in self.trials())
        assert [line for line, count in ids.items() if count > 1] == []
        # A later reading of some run was in the air under a number that may have been given away again.
        done = Counter(self.diary("end"))
        done -= Counter((entry.label, json.loads(line)["seed"]) for entry in readings for line in entry.lines)
        for run in history.runs:
            mine = Counter((run.label, line.seed) for line in run.trials)
            ended = {key: count for key, count in done.items() if key[0] == run.label}
            assert mine == ended, f"run {run.label}: {run.verdict.value}, {run.reason}; trials of record {dict(mine)}, ended {ended}"

    def check_nothing_left(self) -> None:
        """No flight, no folder of a trial or a job, no process."""
        assert self.in_flight() == {}
        home = self.lab().repo.cache / "campaigns" / "t1"
        assert [p.name for top in ("jobs/local", "trials") for p in (home / top).iterdir() if p.is_dir()] == []
        until(lambda: self.processes() == [], 10, "a process was left behind")
