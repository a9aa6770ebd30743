"""Write a campaign of N runs into a repository, as fast as git takes it: `python benchmarks/make_history.py 10000 --repo /tmp/big`.

The campaign is made up, its shape is not: one-line mutations of a small training script, about 12 % keeps, crashes, rejects,
recombinations with two parents, 1-3 seeds, notes for metrics and reviews. Nothing is trained. One `git fast-import` stream
carries it all; every hash is computed here first, because decisions name their runs, and git stops if one of them is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from evogit.domain.metric import Direction
from evogit.domain.plan import Forecast
from evogit.domain.review import Branch, Recommendation, Review
from evogit.domain.trial import Crash, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.git import messages, notes, refs
from evogit.git.messages import Baseline, EntryMessage, RunMessage
from evogit.git.objects import fanout

EMITTERS = ("local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier", "contrarian", "recombinator", "anomaly_chaser")
CHANGES = ("hyperparameter", "optimizer", "architecture", "capacity_decrease", "reversal", "recombination", "re-measure")
CRASHES = (("ValueError", "loss is not finite"), ("RuntimeError", "shapes do not match"), ("timeout", "killed after 60 s"))
GENES = tuple(
    f"{part}_{name}"
    for part in ("STEM", "BODY", "HEAD", "OPT", "DATA")
    for name in ("WIDTH", "SCALE", "RATE", "DECAY", "DROPOUT", "WARMUP")
)
BEGAN = 1_790_000_000  # unix seconds
STEP_S = 37  # between two decisions
WHO = "evogit <evogit@localhost>"
TRAIN = "train.py"
NOTES_EVERY = 32  # runs a notes commit: evogit makes one a run, which takes git three quarters of the time of a stream

Genes = tuple[float, ...]


class Made(msgspec.Struct):
    """A run as it was made up: what a reader of the history must find again."""

    commit: str
    label: str
    parents: tuple[str, ...]
    verdict: Verdict
    values: tuple[float, ...]
    genes: Genes
    blob: str
    mean: float | None


def train_py(genes: Genes) -> bytes:
    """The mutable file: one gene a line, and a computation that runs without any library."""
    lines = "".join(f"{name} = {value!r}\n" for name, value in zip(GENES, genes))
    return f'"""A made-up training script. Edit the constants."""\n\nimport math\n\n{lines}\n{_BODY}'.encode()


_BODY = """
def loss():
    values = [value for name, value in sorted(globals().items()) if name.isupper()]
    return 0.05 + sum(math.log(abs(value) + 1e-9) ** 2 for value in values) / len(values)


if __name__ == "__main__":
    print(f"METRIC val_loss={loss():.6f}")
    print(f"METRIC params={int(abs(STEM_WIDTH * BODY_WIDTH * HEAD_WIDTH)) + 1}")
"""


def problem_files() -> dict[str, bytes]:
    """The base: a problem of twenty files, all at the top."""
    contract = """[problem]
name = "made-up"
goal = "program.md"
mutable = ["train.py"]
command = "python train.py"

[[metric]]
name = "val_loss"
direction = "minimize"

[[metric]]
name = "params"
direction = "minimize"

[budget]
timeout_s = 60
seeds = [0, 1, 2]
"""
    files = {"evogit.toml": contract.encode(), "program.md": b"# Lower val_loss.\n", TRAIN: train_py((1.0,) * len(GENES))}
    for n in range(17):
        text = f'"""Frozen module {n}."""\n\n' + "".join(f"VALUE_{n}_{k} = {n * k}\n" for k in range(30))
        files[f"frozen_{n:02}.py"] = text.encode()
    return files


class Stream:
    """A fast-import stream that knows the hash of every object that it sends."""

    def __init__(self, out: IO[bytes], files: dict[str, bytes]) -> None:
        self._out = out
        self.marks: dict[str, int] = {}  # commit -> mark: git knows a commit of this stream by its mark alone
        self.blobs = {path: _hash(b"blob", data) for path, data in files.items()}
        names = sorted(files)
        at = names.index(TRAIN)
        self._before = b"".join(_tree_entry(path, self.blobs[path]) for path in names[:at])
        self._after = b"".join(_tree_entry(path, self.blobs[path]) for path in names[at + 1 :])

    def blob(self, data: bytes) -> str:
        """Send a blob."""
        self._out.write(b"blob\ndata %d\n%s\n" % (len(data), data))
        return _hash(b"blob", data)

    def commit(self, ref: str, parents: tuple[str, ...], message: str, when: int, train: str, changes: dict[str, str]) -> str:
        """Send a commit whose tree is the base's with `train` as train.py. `changes` make it so from the first parent's tree."""
        tree = _hash(b"tree", self._before + _tree_entry(TRAIN, train) + self._after)
        stamp = f"{WHO} {when} +0000"
        lines = [f"tree {tree}", *(f"parent {p}" for p in parents), f"author {stamp}", f"committer {stamp}", "", message]
        made = _hash(b"commit", "\n".join(lines).encode())
        mark = self.marks.setdefault(made, len(self.marks) + 1)
        self._send(ref, parents, message, stamp, [f"M 100644 {blob} {path}" for path, blob in changes.items()], mark)
        return made

    def notes(self, ref: str, lines: dict[str, bytes], when: int) -> None:
        """Send notes of several runs as evogit lays them out (two levels of fan-out), in one commit."""
        changes = [f"M 100644 inline {fanout(run)}\ndata {len(data)}\n{data.decode()}" for run, data in lines.items()]
        self._send(ref, (), f"evogit: {len(lines)} runs\n", f"{WHO} {when} +0000", changes)

    def _send(self, ref: str, parents: tuple[str, ...], message: str, stamp: str, changes: list[str], mark: int = 0) -> None:
        text = message.encode()
        head = [
            f"commit {ref}",
            *([f"mark :{mark}"] if mark else []),
            f"author {stamp}",
            f"committer {stamp}",
            f"data {len(text)}\n{message}",
        ]
        head += [f"{'merge' if n else 'from'} :{self.marks[parent]}" for n, parent in enumerate(parents)]
        self._out.write(("\n".join([*head, *changes]) + "\n\n").encode())

    def reset(self, ref: str, commit: str) -> None:
        """Point a ref to a commit."""
        self._out.write(f"reset {ref}\nfrom :{self.marks[commit]}\n\n".encode())

    def artifacts(self, ref: str, run: str, files: dict[str, bytes], when: int) -> None:
        """Send a run's artifacts, one commit."""
        changes = [f"M 100644 inline {fanout(run)}/{path}\ndata {len(data)}\n{data.decode()}" for path, data in files.items()]
        self._send(ref, (), f"artifacts of {run[:10]}", f"{WHO} {when} +0000", changes)


class Campaign:
    """Makes runs up, one after another, and sends them."""

    def __init__(self, stream: Stream, tag: str, seed: int, base: str, *, artifacts: bool = False) -> None:
        self.stream, self.tag, self.rng, self.artifacts = stream, tag, random.Random(seed), artifacts
        self.branch, self.base = refs.branch(tag), base
        self.tip, self.when = base, BEGAN
        self.kept: list[Made] = []
        self.recent: list[Made] = []
        self._notes: dict[str, dict[str, bytes]] = {notes.METRICS: {}, notes.REVIEWS: {}}

    def runs(self, count: int) -> Iterator[Made]:
        """The baseline and `count` - 1 more."""
        for number in range(count):
            self.when += STEP_S
            made = self._baseline() if number == 0 else self._mutation(number)
            self.recent = [*self.recent[-20:], made]
            if number % NOTES_EVERY == 0 or number == count - 1:
                self._send_notes()
            yield made

    def _send_notes(self) -> None:
        for ref, lines in self._notes.items():
            if lines:
                self.stream.notes(ref, lines, self.when)
                lines.clear()

    def _baseline(self) -> Made:
        blob = self.stream.blobs[TRAIN]
        about = Baseline(problem="", clone="ab12", metric="val_loss", direction=Direction.MINIMIZE)
        said = RunMessage(label="0", campaign=self.tag, emitter="baseline", agent="noop", summary="the untouched problem", baseline=about)
        made = self._write(said, (self.base,), (1.0,) * len(GENES), blob, Verdict.KEEP, 1.0, {})
        made.parents = ()
        return made

    def _mutation(self, number: int) -> Made:
        rng, parent = self.rng, self._parent()
        other = rng.choice(self.kept) if len(self.kept) > 2 and rng.random() < 0.08 else parent
        emitter = rng.randrange(len(EMITTERS)) if other is parent else EMITTERS.index("recombinator")
        genes, summary = _mixed(parent, other) if other is not parent else _mutated(parent.genes, rng)
        parents = (parent.commit,) if other is parent else (parent.commit, other.commit)
        verdict = rng.choices((Verdict.KEEP, Verdict.DISCARD, Verdict.CRASH, Verdict.REJECT), (12, 70, 11, 7))[0]
        best = self.kept[-1].mean or 1.0
        target = 0.05 + (best - 0.05) * (1 - 0.5 / (len(self.kept) + 3)) if verdict is Verdict.KEEP else best * (1 + rng.random() * 0.2)
        blob = self.stream.blob(train_py(genes))
        said = RunMessage(
            label=str(number),
            campaign=self.tag,
            emitter=EMITTERS[emitter],
            agent="offline",
            summary=summary,
            hypothesis=f"If {summary}, the loss falls, because run {parent.label} was held back by it.",
            change=CHANGES[emitter],
            niche=CHANGES[emitter],
            forecast=Forecast(mean=best, spread=0.01),
            propensity=round(1 / len(EMITTERS), 6),
            sources=hashlib.sha256(blob.encode()).hexdigest(),
        )
        return self._write(said, parents, genes, blob, verdict, target, {TRAIN: blob})

    def _parent(self) -> Made:
        if self.rng.random() < 0.8:
            return self.kept[-1]
        return self.rng.choice([*self.kept[-12:], *(made for made in self.recent if made.values)])

    def _write(
        self, said: RunMessage, parents: tuple[str, ...], genes: Genes, blob: str, verdict: Verdict, target: float, changes: dict[str, str]
    ) -> Made:
        run = self.stream.commit(self.branch, parents, messages.build_run(said), self.when, blob, changes)
        lines = list(self._trials(run, verdict, target))
        values = tuple(line.metrics["val_loss"] for line in lines if line.metrics)
        mean = sum(values) / len(values) if values else None
        made = Made(run, said.label, parents, verdict, values, genes, blob, mean)
        encoded = [msgspec.json.encode(line) for line in lines]
        self._decide(made, encoded)
        if encoded:
            self._notes[notes.METRICS][run] = b"".join(line + b"\n" for line in encoded)
        self._notes[notes.REVIEWS][run] = self._review(made)
        if self.artifacts:
            self._artifact(made)
        return made

    def _trials(self, run: str, verdict: Verdict, target: float) -> Iterator[TrialLine]:
        rng = self.rng
        count = {Verdict.KEEP: 3, Verdict.DISCARD: rng.choice((1, 1, 2, 3)), Verdict.CRASH: 1, Verdict.REJECT: 0}[verdict]
        for seed in range(count):
            crash = Crash(kind=(c := rng.choice(CRASHES))[0], message=c[1], where="train.py:42") if verdict is Verdict.CRASH else None
            noise = (seed - (count - 1) / 2) * 1e-4 * target
            yield TrialLine(
                id=hashlib.sha256(f"{run}{seed}".encode()).hexdigest()[:16],
                time=_iso(self.when - STEP_S + seed),
                purpose="select",
                run=run,
                seed=seed,
                status=Status.CRASH if crash else Status.OK,
                metrics={} if crash else {"val_loss": target + noise, "params": float(rng.randrange(1000, 90000))},
                seconds=round(rng.uniform(2, 9), 3),
                peak_rss_mib=rng.randrange(200, 900),
                crash=crash,
                source="" if crash else "metric-line",
            )

    def _decide(self, made: Made, lines: list[bytes]) -> None:
        is_first = not self.kept
        best = None if is_first else self.kept[-1].mean
        gain = best - made.mean if best is not None and made.mean is not None else None
        about = messages.measured("val_loss", made.mean, best) if gain is not None and made.mean is not None else "did not measure"
        if made.verdict is Verdict.KEEP:
            self.kept.append(made)
        entry = EntryMessage(
            kind="decision",
            subject=f"{made.verdict.value} {made.label}: {'baseline' if is_first else about}",
            campaign=self.tag,
            decides=made.commit,
            verdict=made.verdict,
            incumbent=self.kept[-1].commit,
            seq=int(made.label),
            reason="baseline" if is_first else about,
            gain=gain,
            near_miss=gain is not None and -0.002 < gain <= 0,
            lines=tuple(lines),
        )
        changes = {TRAIN: made.blob} if made.verdict is Verdict.KEEP and not is_first else {}
        parents = (self.tip, made.commit)
        self.tip = self.stream.commit(self.branch, parents, messages.build_entry(entry), self.when, self.kept[-1].blob, changes)

    def _review(self, made: Made) -> bytes:
        kept = made.verdict is Verdict.KEEP
        review = Review(
            reviewer="heuristic",
            valid=bool(made.values),
            is_improvement=kept,
            branch_recommendation=Branch.CONTINUE if kept else Branch.FIX,
            confidence=0.5,
            observation=f"run {made.label} was a {made.verdict.value}.",
            next_belief="The same direction is worth a second look." if kept else "This direction is spent.",
            recommended_next_mutations=(Recommendation(mutation_type="hyperparameter", description="a smaller step the same way"),),
        )
        head = {"v": 1, "id": made.commit[:16], "time": _iso(self.when), "run": made.commit}
        return msgspec.json.encode({**head, **msgspec.to_builtins(review)}) + b"\n"

    def _artifact(self, made: Made) -> None:
        files = {"plan.json": b'{"emitter": "made-up"}\n'}
        files |= {f"trials/s{n}/train/stdout": f"METRIC val_loss={value}\n".encode() for n, value in enumerate(made.values)}
        self.stream.artifacts(refs.artifacts(self.tag), made.commit, files, self.when)


def make(repo: Path, count: int, tag: str, seed: int, *, artifacts: bool = False) -> Iterator[Made]:
    """Write the campaign into `repo`, created if absent; yields each run as it is sent. Raises ValueError if git refuses the stream."""
    files = problem_files()
    if not (repo / ".git").exists():
        subprocess.run(["git", "init", "-q", "-b", "main", str(repo)], check=True)
    marks = repo / ".git" / "made-marks"
    command = ["git", "-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", "--done", "--date-format=raw", f"--export-marks={marks}"]
    process = subprocess.Popen(command, cwd=repo, stdin=subprocess.PIPE, bufsize=1 << 20)
    stream = Stream(process.stdin, files)
    for data in files.values():
        stream.blob(data)
    base = stream.commit("refs/heads/main", (), "a made-up problem\n", BEGAN, stream.blobs[TRAIN], stream.blobs)
    campaign = Campaign(stream, tag, seed, base, artifacts=artifacts)
    yield from campaign.runs(count)
    stream.reset(refs.tip(tag), campaign.tip)
    process.stdin.write(b"done\n")
    process.stdin.close()
    if process.wait() != 0:
        raise ValueError(f"git fast-import stopped with code {process.returncode}; is {repo} a new folder?")
    if marks.read_text() != "".join(f":{mark} {commit}\n" for commit, mark in stream.marks.items()):
        raise ValueError("git made other commits than were foretold, so the decisions name runs that do not exist")
    marks.unlink()
    subprocess.run(["git", "reset", "-q", "--hard", "main"], cwd=repo, check=True)


def _mutated(genes: Genes, rng: random.Random) -> tuple[Genes, str]:
    at, factor = rng.randrange(len(genes)), rng.choice((0.5, 0.7, 1.4, 2.0))
    new = genes[at] * factor * (1 + rng.random() * 1e-6)
    return (*genes[:at], new, *genes[at + 1 :]), f"{GENES[at]} goes from {genes[at]:.4g} to {new:.4g}"


def _mixed(ours: Made, theirs: Made) -> tuple[Genes, str]:
    mixed = tuple(b if a == 1.0 else a for a, b in zip(ours.genes, theirs.genes))
    return (*mixed[:-1], mixed[-1] * 1.000001), f"combine runs {ours.label} and {theirs.label}"


def _hash(kind: bytes, data: bytes) -> str:
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(data), data), usedforsecurity=False).hexdigest()


def _tree_entry(path: str, blob: str) -> bytes:
    return b"100644 " + path.encode() + b"\0" + bytes.fromhex(blob)


def _iso(when: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=int, help="how many, the baseline included")
    parser.add_argument("--repo", type=Path, default=Path("made-history"), help="folder, created if absent")
    parser.add_argument("--tag", default="big", help="name of the campaign")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--artifacts", action="store_true", help="write artifacts too (one more commit a run)")
    asked = parser.parse_args()
    if asked.runs < 1:
        parser.error("at least one run")
    began = time.perf_counter()
    verdicts: dict[str, int] = {}
    for made in make(asked.repo, asked.runs, asked.tag, asked.seed, artifacts=asked.artifacts):
        verdicts[made.verdict.value] = verdicts.get(made.verdict.value, 0) + 1
    seconds = time.perf_counter() - began
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    print(f"{asked.runs} runs ({told}) on autoresearch/{asked.tag} in {asked.repo}: {seconds:.1f} s, {asked.runs / seconds:.0f} runs/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
