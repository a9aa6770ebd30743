"""Lab books of synthetic runs, written entry by entry."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec
import pygit2

from evogit.domain.metric import Direction
from evogit.domain.usage import Spent
from evogit.domain.verdict import Decision, Verdict
from evogit.git import ledger, snapshot
from evogit.git.history import History
from evogit.git.messages import Baseline, EntryMessage, RunMessage
from evogit.git.repository import Repository

TAG = "nov20"


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def state(history) -> dict[str, object]:
    """All that a history tells; how often it was told differently is no part of it."""
    return {name: value for name, value in vars(history).items() if name not in ("revision", "_repo")}


def empty(folder: Path) -> Repository:
    """A repository with one commit on main."""
    git(folder.parent, "init", "-q", "-b", "main", str(folder))
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    git(folder, "commit", "-q", "--allow-empty", "-m", "a problem")
    return Repository.open(folder)


def trial(run: str, seed: int, value: float | None, *, purpose: str = "select", cost: float = 0.0) -> bytes:
    line: dict[str, object] = {
        "v": 1,
        "id": f"{run[:8]}-{purpose}-{seed}",
        "time": "2026-11-20T01:02:03Z",
        "purpose": purpose,
        "run": run,
        "seed": seed,
    }
    line |= (
        {"status": "ok", "metrics": {"loss": value}}
        if value is not None
        else {"status": "crash", "crash": {"kind": "ValueError", "message": "no"}}
    )
    return json.dumps({**line, "seconds": 1.5, "cost_usd": cost, "from_the_future": [1]}).encode()


class Book:
    """Writes a lab book entry by entry, with a clock of its own."""

    def __init__(self, repo: Repository, *, direction: Direction = Direction.MINIMIZE, prefix: str = "") -> None:
        self.repo, self.direction, self.prefix = repo, direction, prefix
        self.base = git(repo.top, "rev-parse", "main")
        self.tip, self.incumbent, self.seq, self.time, self.number = self.base, "", 0, 1000, 0

    def fork(self, prefix: str) -> Book:
        other = Book(self.repo, direction=self.direction, prefix=prefix)
        other.__dict__.update({**self.__dict__, "prefix": prefix})
        return other

    def write(self, parents: tuple[str, ...], *, label: str = "", baseline: Baseline | None = None, **fields: object) -> str:
        label = label or f"{self.prefix}{self.number}"
        self.number += 1
        said = RunMessage(
            label=label, campaign=TAG, emitter="simplifier", agent="offline", summary=f"run {label}", baseline=baseline, **fields
        )
        self.time += 10
        return ledger.write_run(self.repo, tree=self.repo.tree_of(parents[0]), parents=parents, run=said, time=self.time)

    def decide(self, run: str, verdict: Verdict, values: tuple[float | None, ...], *, cost: float = 0.0, label: str = "") -> str:
        self.time += 10
        if verdict is Verdict.KEEP:
            self.incumbent = run
        self.tip = ledger.write_decision(
            self.repo,
            tip=self.tip,
            run=run,
            label=label or "1",
            incumbent=self.incumbent,
            seq=self.seq,
            campaign=TAG,
            decision=Decision(verdict=verdict, reason="because"),
            lines=[trial(run, seed, value, cost=cost) for seed, value in enumerate(values)],
            spent=Spent(usd=cost),
            time=self.time,
        )
        self.seq += 1
        return run

    def begin(self, value: float = 0.5, *, epoch: int = 0, base: str = "") -> str:
        baseline = Baseline(problem="rp/x", clone="ab12", metric="loss", direction=self.direction, epoch=epoch)
        return self.decide(self.write((base or self.base,), baseline=baseline), Verdict.KEEP, (value,))

    def add(self, verdict: Verdict, *values: float | None, parents: tuple[str, ...] = (), **fields: object) -> str:
        return self.decide(self.write(parents or (self.incumbent,), **fields), verdict, values)

    def entry(self, kind: str, **fields: object) -> str:
        self.time += 10
        other = str(fields.pop("other", ""))
        entry = EntryMessage(kind=kind, subject=kind, campaign=TAG, **fields)
        self.tip = ledger.write_entry(self.repo, tip=self.tip, other=other, entry=entry, time=self.time)
        return self.tip

    def person(self, *others: str) -> str:
        self.time += 10
        who = pygit2.Signature("Bo", "bo@example.org", self.time, 0)
        parents = [self.tip, *others]
        self.tip = str(self.repo.git.create_commit(None, who, who, "my own edit", self.repo.tree_of(self.tip), parents))
        return self.tip

    def read(self) -> History:
        history = History.at(self.repo, TAG, self.tip)
        snapshot.save(self.repo, history)
        kept = snapshot.load(self.repo, TAG)
        assert state(kept) == state(history)
        assert msgspec.msgpack.encode(kept.parts()) == msgspec.msgpack.encode(history.parts())  # 0 is not 0.0 for whoever prints it
        return history
