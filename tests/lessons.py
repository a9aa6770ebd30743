"""Made-up campaigns in the order of a ledger, and everything that a memory answers, as plain values that can be compared."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import msgspec

from builders import LOSS, PARAMS, commit_of, problem
from evogit.domain.change import Move
from evogit.domain.metric import Metric
from evogit.domain.plan import Forecast
from evogit.domain.problem import Budget, Problem, Search
from evogit.domain.run import Again, Run
from evogit.domain.trial import Crash, Measurement, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.search.memory import Memory
from evogit.stages.decide import decide, wants_more_seeds

EMITTERS = ("local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier", "contrarian", "recombinator", "anomaly_chaser")
KINDS = ("run", "run", "run", "run", "crash", "reject", "merge", "person", "judged", "replicate", "look", "look", "epoch", "late")
CHANGES = ("hyperparameter", "widen layers", "activation", "regularization", "optimizer", "gibberish", "")
FAULTS = (("ValueError", "shapes 3 and 4 do not match"), ("RuntimeError", "loss is not finite"), ("timeout", "killed after 60 s"))
GENES = (("LR", "lr"), ("WIDTH", "width"), ("DROPOUT", "dropout"), ("MOMENTUM", "momentum"), ("MYSTERY", ""))

Step = tuple[str, int]  # one of KINDS, and the seed of everything else about it


def unit_problem(unit: float = 1.0, min_delta: float = 0.0, floor: float = 0.0) -> Problem:
    """The toy with its primary metric in another unit; `min_delta` in the first one."""
    loss = Metric(name=LOSS.name, direction=LOSS.direction, min_delta=min_delta * unit)
    return problem(metrics=(loss, PARAMS), budget=Budget(seeds=(0, 1, 2, 3)), search=Search(floor=floor))


class Story:
    """A campaign that is judged as the loop judges one. `unit`: by what every reading of the primary metric is multiplied."""

    def __init__(self, toy: Problem, *, unit: float = 1.0, noise: float = 0.05, spoilt: tuple[float, ...] = ()) -> None:
        self.problem, self.unit, self.noise, self.spoilt = toy, unit, noise, spoilt
        self.memory = Memory(toy)
        self.lessons: list[Run | Again] = []
        self.truth: dict[str, float] = {}
        self._runs, self._epoch = 0, 0
        self._decide("0", (), random.Random(0), truth=1.0, emitter="baseline", generation=0)

    def tell(self, steps: Iterable[Step]) -> Story:
        """One lesson a step; a step that makes no sense now is passed over."""
        for kind, seed in steps:
            rng = random.Random(seed)
            if kind == "replicate":
                self._replicate(rng)
            elif kind == "look":
                self._look(rng)
            else:
                self._run(kind, rng)
        return self

    def _run(self, kind: str, rng: random.Random) -> None:
        self._runs += 1
        label, pool = str(self._runs), self.memory.pool()
        if kind == "epoch":
            self._epoch += 1
            self._decide(label, (), rng, truth=1.0, emitter="baseline", generation=0)
            return
        first = rng.choice(pool[:3]) if pool else next(iter(self.memory.by_commit.values()))
        others = [run for run in pool if run.commit != first.commit]
        parents = (first, rng.choice(others)) if kind == "merge" and others else (first,)
        moved = rng.sample(GENES, rng.choice((0, 1, 1, 2)))
        self._decide(
            label,
            tuple(run.commit for run in parents),
            rng,
            kind=kind,
            truth=self.truth[first.commit] - rng.choice((-0.3, -0.1, 0.0, 0.0, 0.1, 0.2)),
            emitter="person" if kind == "person" else rng.choice(EMITTERS),
            generation=1 + max(run.generation for run in parents),
            change=rng.choice(CHANGES),
            moves=tuple(Move(f"train.py:{name}", 1.0, rng.choice((0.5, 2.0)), role) for name, role in moved),
            lines=(rng.randrange(20), rng.randrange(5)),
            epoch=max(0, self._epoch - (kind == "late")),
            policy="sw-ucb",
            chance=rng.choice((0.02, 0.14, 0.88)),
            contrast=rng.choice((*self.memory.by_commit, "", "")),
            idea=rng.choice(("", "", "0123456789abcdef")),
            sources=f"sources {rng.randrange(30)}",
        )

    def _decide(self, label: str, parents: tuple[str, ...], rng: random.Random, *, truth: float, kind: str = "run", **more) -> None:
        commit, incumbent = commit_of(label), self.memory.incumbent
        self.truth[commit] = truth
        forecast = self.memory.forecast(parents)
        lines, standing = self._trials(commit, rng, kind, parents), self.memory.standing(parents[0] if parents else "")
        values = tuple(line.metrics[LOSS.name] for line in lines if line.metrics)
        measurement = Measurement(values={LOSS.name: values} if values else {}, trials=lines)
        said = decide(self.problem, measurement, standing, rejected="a gate" if kind == "reject" else "")
        verdict = Verdict.KEEP if kind == "judged" and values else said.verdict
        old = more.get("epoch", self._epoch) < self._epoch
        keeps = verdict is Verdict.KEEP and not old
        readings = {name: tuple(line.metrics[name] for line in lines if name in line.metrics) for name in (LOSS.name, PARAMS.name)}
        run = Run(
            **{
                "commit": commit,
                "label": label,
                "campaign": "toy",
                "parents": parents,
                "epoch": self._epoch,
                "seq": len(self.memory.by_commit),
                "verdict": verdict,
                "reason": said.reason,
                "near_miss": said.near_miss and verdict is not Verdict.KEEP,
                "agent": "offline",
                "summary": f"change {label}",
                "forecast": forecast if rng.random() < 0.8 else Forecast(mean=self.unit, spread=self.unit / 8),
                "incumbent": commit if keeps else incumbent.commit if incumbent else "",
                "decision": commit_of(f"decision {label}"),
                "trials": lines,
                "readings": {name: found for name, found in readings.items() if found},
                "seconds": sum(line.seconds for line in lines),
                "cost_usd": rng.choice((0.0, 0.01)),
                **more,
            }
        )
        self._take(run)

    def _trials(self, commit: str, rng: random.Random, kind: str, parents: tuple[str, ...]) -> tuple[TrialLine, ...]:
        """As many seeds as the rule buys; a baseline has them all."""
        if kind == "reject":
            return ()
        if kind == "crash":
            name, message = rng.choice(FAULTS)
            crash = Crash(kind=name, message=f"{message} ({rng.randrange(99)})", where=f"train.py:{rng.randrange(99)}")
            whole = (self._line(commit, 0, rng),) if rng.random() < 0.3 else ()
            broken = self._line(commit, 1, rng)
            return (*whole, msgspec.structs.replace(broken, status=Status.CRASH, metrics={}, crash=crash))
        standing, lines = self.memory.standing(parents[0] if parents else ""), []
        while not lines or not parents and len(lines) < 4 or wants_more_seeds(self.problem, _by_seed(lines), standing):
            lines.append(self._line(commit, len(lines), rng))
        return tuple(lines)

    def _line(self, commit: str, seed: int, rng: random.Random, purpose: str = "select") -> TrialLine:
        wild = rng.choice(self.spoilt) if self.spoilt and commit != commit_of("0") and rng.random() < 0.3 else None
        value = self.unit * (self.truth[commit] + rng.gauss(0.0, self.noise)) if wild is None else wild
        return TrialLine(
            id=f"{commit[:8]} {purpose} {seed}",
            time="2026-01-01T00:00:00Z",
            purpose=purpose,
            run=commit,
            seed=seed,
            status=Status.OK,
            metrics={LOSS.name: value, PARAMS.name: float(rng.randrange(50, 150))},
            seconds=rng.choice((0.5, 1.0, 2.0)),
        )

    def _replicate(self, rng: random.Random) -> None:
        of = rng.choice(list(self.memory.by_commit.values()))
        seed = 100 + self.memory.replicates[of.commit] if rng.random() < 0.9 else 0
        self._take(Again(of=of.commit, purpose="replicate", lines=(self._line(of.commit, seed, rng, "replicate"),)))

    def _look(self, rng: random.Random) -> None:
        certification = self.memory.certification
        test, wanted = certification.test(), certification.next_look()
        if test is None or wanted is None:
            return
        of, seed = wanted
        line = self._line(of, seed, rng, "certify")
        if of == test.against:
            self._take(Again(of=of, purpose="certify", lines=(line,), against=test.run))
            return
        look = Again(of=of, purpose="certify", lines=(line,), certified=False, against=test.against)
        seen = certification.preview(look, {seed: line.metrics[LOSS.name]})
        self._take(msgspec.structs.replace(look, certified=seen.is_certified))

    def _take(self, lesson: Run | Again) -> None:
        self.lessons.append(lesson)
        self.memory.take(lesson)


def _by_seed(lines: Iterable[TrialLine]) -> dict[int, float]:
    return {line.seed: line.metrics[LOSS.name] for line in lines}


# what a memory answers -----------------------------------------------------------------------------------------------


def picture(memory: Memory) -> dict[str, object]:
    """Every public answer by its name, exact to the last bit; runs by their labels, since a later certificate replaces their objects."""
    commits = list(memory.by_commit)
    certification, spread, portfolio = memory.certification, memory.spread, memory.portfolio
    seen = {
        "pool": _labels(memory.pool()),
        "incumbent": memory.incumbent.label if memory.incumbent else None,
        "baseline": memory.baseline.label if memory.baseline else None,
        "epoch": memory.epoch,
        "spread": (spread.std, spread.sigma, spread.freedom, spread.ruler, sorted(spread.seed_effects.items())),
        "beliefs": {commit: memory.belief(commit) for commit in commits},
        "prior": (memory.beliefs.parts, memory.beliefs.scales),
        "standing": {commit: memory.standing(commit) for commit in commits[-3:]},
        "gains": {run.label: memory.gain(run) for run in memory.by_commit.values()},
        "elites": _labels(memory.archive.elites()),
        "faults": memory.faults.signatures(),
        "risk": memory.faults.rate,
        "conjectures": memory.conjectures.standing(),
        "withdrawn": memory.conjectures.withdrawn(),
        "effects": {key: memory.conjectures.effect(key) for key in ("role:lr+", "role:lr-", "gene:train.py:LR+", "change:activation")},
        "closed": memory.dead_ends.closed(),
        "reopened": memory.dead_ends.reopened(),
        "tally": portfolio.tally(),
        "credits": {commit: portfolio.credit_of(commit) for commit in commits},
        "plateau": (portfolio.plateau, portfolio.is_plateau),
        "awake": portfolio.awake(EMITTERS),
        "over uniform": portfolio.verdict_over_uniform(),
        "test": certification.test(),
        "tests": {commit: certification.test(commit) for commit in commits},
        "next look": certification.next_look(),
        "status": {commit: certification.status(commit) for commit in commits},
        "frontier": (_labels(memory.frontier.runs), memory.frontier.points),
        "joined": sorted(sorted(pair) for pair in memory.joined),
        "contrasted": sorted(memory.contrasted),
        "tried": memory.tried,
        "near misses": _labels(memory.near_misses),
        "recent": _labels(memory.recent),
        "children": {commit: memory.children.get(commit, 0) for commit in commits},
        "replicates": {commit: memory.replicates.get(commit, 0) for commit in commits},
        "ideas": memory.ideas.all(),
    }
    return {name: plain(value) for name, value in seen.items()}


def plain(value: object) -> object:
    """Nouns as dicts, sets in order, and NaN equal to itself."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _labels(runs: Iterable[Run]) -> list[str]:
    return [run.label for run in runs]
