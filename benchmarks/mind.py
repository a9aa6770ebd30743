"""What one run costs the mind: choosing, deciding, reviewing and learning, after 100, 1,000 and 10,000 runs. Prints a table; asserts nothing.

    python benchmarks/mind.py [--runs 100,1000,10000] [--times 50] [--profile]

The history is made up, its shape is not: seven emitters, mutations of named constants in a script of about 150 lines, merges, crashes,
rejects, one to three seeds, keeps by the real rule, replicates, certification, ideas of reviewers. Nothing is trained and no git is
touched: sources come from a library in memory. Choosing asks all seven emitters under sw-ucb; reviewing is that of the offline
heuristics beside eight siblings; learning takes in the run. Wall time, one process, one thread.
"""

from __future__ import annotations

import argparse
import cProfile
import difflib
import hashlib
import pstats
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from evogit import registry
from evogit.domain.change import Move
from evogit.domain.metric import Direction, Metric
from evogit.domain.plan import Plan
from evogit.domain.problem import Budget, Problem
from evogit.domain.review import Review, ReviewBrief, Sibling
from evogit.domain.run import Again, Run
from evogit.domain.trial import Crash, Measurement, Status, TrialLine
from evogit.domain.verdict import Complexity, Verdict
from evogit.policies.sw_ucb import SlidingWindowUcb
from evogit.reviewers.heuristic import HeuristicReviewer
from evogit.search.memory import Memory
from evogit.stages.choose import choose
from evogit.stages.decide import decide, wants_more_seeds
from evogit.stages.review import review

BUDGET = 10.0  # ms a run, all steps together
STEPS = ("choose", "decide", "review", "learn")
SIBLINGS = 8
LOSS, PARAMS = Metric(name="loss", direction=Direction.MINIMIZE), Metric(name="params", direction=Direction.MINIMIZE)
ROLES = {"LR": "lr", "WIDTH": "width", "DROPOUT": "dropout", "MOMENTUM": "momentum", "DECAY": "decay", "BATCH": "batch", "DEPTH": "depth"}
START: dict[str, float] = {"LR": 0.1, "WIDTH": 64, "DROPOUT": 0.3, "MOMENTUM": 0.9, "DECAY": 0.01, "BATCH": 32, "DEPTH": 3}
CHANGES = ("hyperparameter", "optimizer", "architecture", "capacity_decrease", "regularization", "activation")
FAULTS = (("ValueError", "shapes do not match"), ("RuntimeError", "loss is not finite"), ("timeout", "killed after 60 s"))

LAYER = """
class Block{n}(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.act = nn.GELU()
        self.drop = nn.Dropout(p={p})
        self.down = nn.Linear(2 * width, width)

    def forward(self, x):
        h = self.norm(x)
        h = self.act(self.up(h))
        h = self.drop(h)
        return x + {scale} * self.down(h)

"""
SCRIPT = '''"""A made-up training script."""

import os

import torch
from torch import nn

SEED = int(os.environ.get("EVOGIT_SEED", "0"))
{constants}

{layers}

def main():
    torch.manual_seed(SEED)
    net = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)])
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
    for step in range(200):
        x = torch.randn(BATCH, WIDTH)
        loss = (net(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
        optimizer.step()
        scheduler.step()
    print(f"METRIC loss={{loss.item()}}")


if __name__ == "__main__":
    main()
'''


class Shelf:
    """The library: constants of every run; its text is written when somebody looks."""

    def __init__(self) -> None:
        self.genes: dict[str, dict[str, float]] = {}

    def sources(self, commit: str) -> Mapping[str, str]:
        genes = self.genes.get(commit)
        return {"train.py": written(tuple(genes.items()))} if genes is not None else {}


@lru_cache(maxsize=256)
def written(genes: tuple[tuple[str, float], ...]) -> str:
    """A script of about 150 lines with these constants."""
    constants = "\n".join(f"{name} = {value!r}" for name, value in genes)
    layers = "\n".join(LAYER.format(n=n, p=0.1 + n / 100, scale=0.5 + n / 10) for n in range(7))
    return SCRIPT.format(constants=constants, layers=layers)


class Campaign:
    """A made-up campaign. `run` tells one more run of it, timed where a clock is given."""

    def __init__(self, seed: int) -> None:
        self.shelf, self.rng = Shelf(), random.Random(seed)
        self.problem = Problem(
            name="made-up",
            folder="",
            layout="evogit",
            goal="",
            mutable=("train.py",),
            command="python train.py",
            metrics=(LOSS, PARAMS),
            budget=Budget(seeds=(0, 1, 2)),
        )
        self.memory = Memory(self.problem, self.shelf)
        self.truth: dict[str, float] = {}
        self.briefs: dict[str, list[Sibling]] = {}
        self.emitters = [registry.find("emitters", name)() for name in registry.names("emitters")]
        self.policy, self.reviewer = SlidingWindowUcb(), HeuristicReviewer()
        self._number = -1
        self._tell_baseline()

    def grow(self, runs: int) -> None:
        """Runs without their cost of choosing and reviewing: parents and emitters are drawn, everything else is as in `run`."""
        while self._number < runs:
            pool = self.memory.pool()
            emitter = self.rng.choice(self.emitters).name
            parents = tuple(r.commit for r in self.rng.sample(pool, 2 if emitter == "recombinator" and len(pool) > 1 else 1))
            self._carry_out(emitter, parents, self._values(), 0.14, None)

    def run(self, timed: Callable[[str, Callable[[], object]], object]) -> None:
        """One run as the loop makes it; each step of the mind goes through `timed`."""
        rng = random.Random(self._number)
        plan = timed("choose", lambda: choose(self.memory, self.emitters, self.policy, rng))
        assert isinstance(plan, Plan)
        self._carry_out(plan.emitter, plan.parents, self._values(), plan.chance, timed)

    def _values(self) -> tuple[str, float]:
        name = self.rng.choice(list(ROLES))
        return name, self.rng.choice((0.5, 0.8, 1.25, 2.0))

    def _tell_baseline(self) -> None:
        commit = self._next()
        self.shelf.genes[commit], self.truth[commit] = dict(START), 1.0
        lines = tuple(self._line(commit, seed) for seed in range(3))
        self.memory.learn(self._as_run(commit, "baseline", (), Verdict.KEEP, lines, (), (0, 0), 1.0, "baseline"))

    def _next(self) -> str:
        self._number += 1
        return hashlib.sha1(b"%d" % self._number).hexdigest()

    def _carry_out(self, emitter: str, parents: tuple[str, ...], change: tuple[str, float], chance: float, timed) -> None:
        commit, (name, factor), rng = self._next(), change, self.rng
        before = self.shelf.genes[parents[0]]
        old = before[name]
        new = max(1, round(old * factor)) if isinstance(old, int) else float(f"{old * factor:.6g}")
        self.shelf.genes[commit] = {**before, name: new}
        luck = rng.random()
        effect = rng.expovariate(1 / 0.02) if luck < 0.1 else -rng.expovariate(1 / 0.04) if luck < 0.7 else 0.0
        self.truth[commit] = self.truth[parents[0]] - effect
        moves = (Move(f"train.py:{name}", old, new, ROLES[name]),) if new != old else ()
        fate = rng.random()
        verdict, lines, reason = self._judge(commit, parents[0], fate, timed)
        run = self._as_run(commit, emitter, parents, verdict, lines, moves, (1, 1), chance, reason)
        if timed is not None:
            brief = self._brief(run)
            said = timed("review", lambda: review(self.reviewer, brief))
            timed("learn", lambda: self._learn(run, said))
        else:
            self.memory.learn(run)
        self._afterwards(run)

    def _judge(self, commit: str, parent: str, fate: float, timed) -> tuple[Verdict, tuple[TrialLine, ...], str]:
        if fate < 0.05:
            return Verdict.REJECT, (), "repeats a run"
        if fate < 0.12:
            kind, message = self.rng.choice(FAULTS)
            crash = Crash(kind=kind, message=f"{message} ({self.rng.randrange(9)})", where="train.py:12")
            return Verdict.CRASH, (self._line(commit, 0, crash),), message
        standing, weight = self.memory.standing(parent), Complexity(lines=self.rng.choice((-2, 0, 0, 3)))
        lines: tuple[TrialLine, ...] = ()

        def wants() -> bool:
            return not lines or wants_more_seeds(self.problem, {t.seed: t.metrics["loss"] for t in lines}, standing, weight)

        def whole() -> object:
            here = self.memory.standing(parent)
            wants()
            return decide(self.problem, Measurement(values=_readings(lines), trials=lines), here, complexity=weight)

        while wants():
            lines += (self._line(commit, len(lines)),)
        decision = timed("decide", whole) if timed is not None else whole()
        return decision.verdict, lines, decision.reason

    def _line(self, commit: str, seed: int, crash: Crash | None = None, purpose: str = "select") -> TrialLine:
        metrics = {"loss": self.truth[commit] + self.rng.gauss(0.0, 0.02), "params": float(self.rng.randrange(900, 1100))}
        return TrialLine(
            id=f"{commit[:8]} {purpose} {seed}",
            time="",
            purpose=purpose,
            run=commit,
            seed=seed,
            status=Status.CRASH if crash else Status.OK,
            metrics={} if crash else metrics,
            seconds=self.rng.uniform(50.0, 70.0),
            crash=crash,
        )

    def _as_run(self, commit, emitter, parents, verdict, lines, moves, changed, chance, reason) -> Run:
        incumbent = self.memory.incumbent
        known = [self.memory.by_commit[p] for p in parents]
        return Run(
            commit=commit,
            label=str(self._number),
            campaign="made-up",
            parents=parents,
            generation=1 + max(r.generation for r in known) if known else 0,
            epoch=0,
            seq=self._number,
            verdict=verdict,
            reason=reason,
            near_miss=verdict is Verdict.DISCARD and self.rng.random() < 0.1,
            emitter=emitter,
            agent="offline",
            change=self.rng.choice(CHANGES) if parents else "",
            summary=f"moves {moves[0].gene}" if moves else "a change",
            hypothesis="it may help",
            forecast=self.memory.forecast(parents[:1]),
            policy="sw-ucb" if parents else "",
            chance=chance,
            moves=moves,
            lines=changed,
            sources=hashlib.sha1(repr(self.shelf.genes[commit]).encode()).hexdigest(),
            incumbent=commit if verdict is Verdict.KEEP else incumbent.commit if incumbent else "",
            decision=commit,
            trials=lines,
            readings=_readings(lines),
            seconds=sum(t.seconds for t in lines),
        )

    def _afterwards(self, run: Run) -> None:
        """One more reading now and then, and two looks at a certificate after a keep."""
        if self.rng.random() < 0.05:
            seed = 100 + self.memory.replicates[run.commit]
            self.memory.learn_again(Again(of=run.commit, purpose="replicate", lines=(self._line(run.commit, seed, None, "replicate"),)))
        for _ in range(2 if run.is_kept else 0):
            test, wanted = self.memory.certification.test(), self.memory.certification.next_look()
            if test is None or wanted is None:
                return
            of, seed = wanted
            is_ancestor = of == test.against
            look = Again(
                of=of,
                purpose="certify",
                lines=(self._line(of, seed, None, "certify"),),
                certified=None if is_ancestor else False,
                against=test.run if is_ancestor else test.against,
            )
            self.memory.learn_again(look)

    # reviews ---------------------------------------------------------------------------------------------------------

    def _brief(self, run: Run) -> ReviewBrief:
        """As the loop makes it; the diffs are made here, outside the clock, as git makes them there."""
        parent = self.memory.by_commit[run.parents[0]]
        siblings = self.briefs.setdefault(parent.commit, [])
        diff = self._diff(parent.commit, run.commit)
        while len(siblings) < SIBLINGS:
            siblings.append(
                Sibling(label=str(len(siblings)), diff=self._odd_diff(parent.commit), gain=self.rng.gauss(0, 0.02), gain_sd=0.02)
            )
        crash = next((t.crash for t in run.trials if t.crash), None)
        return ReviewBrief(
            primary=LOSS,
            emitter=run.emitter,
            summary=run.summary,
            hypothesis=run.hypothesis,
            change=run.change,
            diff=diff,
            parent=parent.readings,
            child=run.readings,
            metrics=(LOSS, PARAMS),
            spread=self.memory.spread.std,
            forecast=run.forecast,
            crash=crash,
            rejected=run.reason if run.verdict is Verdict.REJECT else "",
            label=run.label,
            moves=run.moves,
            lines=run.lines,
            siblings=tuple(siblings),
            ruler=self.memory.standing(parent.commit).ruler,
        )

    def _odd_diff(self, parent: str) -> str:
        name, factor = self._values()
        genes = self.shelf.genes[parent]
        return _diff(self.shelf.sources(parent)["train.py"], written(tuple({**genes, name: genes[name] * factor}.items())))

    def _diff(self, a: str, b: str) -> str:
        return _diff(self.shelf.sources(a)["train.py"], self.shelf.sources(b)["train.py"])

    def _learn(self, run: Run, said: Review) -> None:
        self.memory.learn(run)
        self.memory.ideas.learn_review(run, said)


def _readings(lines: tuple[TrialLine, ...]) -> dict[str, tuple[float, ...]]:
    return (
        {name: tuple(t.metrics[name] for t in lines if name in t.metrics) for name in ("loss", "params")}
        if lines and lines[0].metrics
        else {}
    )


def _diff(a: str, b: str) -> str:
    return "".join(difflib.unified_diff(a.splitlines(True), b.splitlines(True), "a/train.py", "b/train.py"))


class Clock:
    """Seconds of each step of each run. A step that a run did not need (a crash is not decided) costs it nothing."""

    def __init__(self) -> None:
        self.spent: list[dict[str, float]] = []

    def begin(self) -> None:
        self.spent.append({})

    def __call__(self, step: str, do: Callable[[], object]) -> object:
        began = time.perf_counter()
        result = do()
        self.spent[-1][step] = self.spent[-1].get(step, 0.0) + time.perf_counter() - began
        return result

    def rows(self) -> Iterator[tuple[str, float, float]]:
        """(step, median, 90th percentile) in ms over the runs that had it; the last is the sum."""
        for step in STEPS:
            yield (step, *_middle([1e3 * run[step] for run in self.spent if step in run]))
        yield ("in all", *_middle([1e3 * sum(run.values()) for run in self.spent]))


def _middle(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values or [0.0])[0], (values or [0.0])[0]
    return statistics.median(values), statistics.quantiles(values, n=10, method="inclusive")[-1]


def main() -> None:
    """Grow one campaign and stop at each size to measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", default="100,1000,10000")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    campaign = Campaign(asked.seed)
    print(f"{'runs':>7}  " + "".join(f"{step:>18}" for step in (*STEPS, "in all")) + f"   median (p90), ms; budget {BUDGET:g} ms a run")
    for runs in sorted(int(n) for n in asked.runs.split(",")):
        campaign.grow(runs)
        clock, profile = Clock(), cProfile.Profile()
        for _ in range(asked.times):
            clock.begin()
            profile.enable() if asked.profile else None
            campaign.run(clock)
            profile.disable()
        found = list(clock.rows())
        word = "within" if found[-1][1] <= BUDGET else "ABOVE"
        print(f"{runs:7}  " + "".join(f"{f'{median:.2f} ({p90:.2f})':>18}" for _, median, p90 in found) + f"   {word} budget", flush=True)
        if asked.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(25)


if __name__ == "__main__":
    main()
