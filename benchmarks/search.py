"""Does the default policy search better? The same offline operators under several policies, at an equal number of trials.

    python benchmarks/search.py [--seeds 20] [--trials 120] [--noise 0.02] [--policies sw-ucb,greedy,...] [--landscapes smooth,...]

A candidate is a real training script, edited by the real emitters and the real offline agent; decisions are evogit's own.
In `smooth` and `deceptive` its loss is computed from its text, in `digits` it is trained (`landscapes.py`). `uniform`
draws emitters alike; `greedy` is a hill-climb: emitters alike, the incumbent is the only parent, lower is kept. Every
policy gets the same number of trials (readings, replicates included). Prints the truth of the incumbent (the simple
regret where the best possible is known) after shares of the trials, mean and 95 % interval over seeds, and how many
seeds of each policy were worse than the default's; asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
from landscapes import LANDSCAPES, Landscape

from evogit import registry
from evogit.agents.offline.agent import OfflineAgent
from evogit.domain.briefing import Briefing, Contrast
from evogit.domain.plan import Plan
from evogit.domain.problem import Budget, Decide, Problem
from evogit.domain.run import Again, Run
from evogit.domain.trial import Crash, Measurement, Status, TrialLine
from evogit.domain.verdict import Complexity, Verdict
from evogit.errors import WorkFailed
from evogit.policies.uniform import Uniform
from evogit.search import change, recheck
from evogit.search.memory import Memory
from evogit.search.recombine import resolve_conflict
from evogit.stages.choose import choose
from evogit.stages.decide import decide, wants_more_seeds


class Greedy(Uniform):
    """Emitters alike, and the incumbent as the only parent."""

    name = "greedy"

    def parent(self, memory: Memory, rng: random.Random) -> tuple[Run, float] | None:
        return (memory.incumbent, 1.0) if memory.incumbent is not None else None


class Campaign:
    """One campaign in process: no git, no job. `held[n]` is the text of the incumbent before trial n."""

    def __init__(self, policy: str, landscape: Landscape, number: int, *, trials: int) -> None:
        self.land_, self.trials = landscape, trials
        self.rng, self.dice = random.Random(f"{number}"), random.Random(f"{number} noise")
        rule = "greedy" if policy == "greedy" else ""
        self.problem = Problem(
            name="benchmark", folder="", layout="evogit", goal="", mutable=("train.py",), command="", metrics=landscape.metrics,
            budget=Budget(seeds=tuple(range(landscape.seeds))), decide=Decide(rule=rule),
        )  # fmt: skip
        self.texts: dict[str, str] = {}
        self.memory = Memory(self.problem, self)
        self.policy = Greedy() if policy == "greedy" else registry.find("policies", policy)()
        self.emitters = [registry.find("emitters", name)() for name in registry.names("emitters")]
        self.agent, self.seq = OfflineAgent(), 0
        self.held: list[str] = []

    def sources(self, commit: str) -> dict[str, str]:
        return {"train.py": self.texts[commit]}

    def run(self) -> list[str]:
        self.land(Plan(emitter="baseline", parents=(), seeds=(0,), rng=0), self.land_.text, "baseline", "")
        while len(self.held) < self.trials:
            if (wanted := recheck.due(self.memory)) is not None:
                self.again(wanted[0], *wanted[1])
                continue
            plan = choose(self.memory, self.emitters, self.policy, self.rng)
            if plan.replicate:
                self.again(plan.parents[0], 100 + self.memory.replicates[plan.parents[0]])
                self.memory.contrasted.add((plan.emitter, plan.contrast))
            else:
                self.candidate(plan)
        return self.held[: self.trials]

    def candidate(self, plan: Plan) -> None:
        start = self.texts[plan.parents[0]]
        if plan.merge:
            merged = resolve_conflict(self.ancestor(plan), start, self.texts[plan.parents[1]], random.Random(plan.rng))
            if merged is not None and change.sources_hash({"train.py": merged}) not in self.memory.tried:
                self.land(plan, merged, "recombination", "combined")
                return
        brief = Briefing(
            problem=self.problem, plan=plan, goal="", sources={"train.py": start}, parent=self.memory.by_commit[plan.parents[0]],
            contrast=self.contrast(plan), tried=frozenset(self.memory.tried),
        )  # fmt: skip
        try:
            proposal = self.agent.propose(brief, Path())
        except WorkFailed as error:
            self.land(plan, start, "", str(error), rejected=True)
            return
        self.land(plan, proposal.files["train.py"], proposal.change, proposal.summary)

    def contrast(self, plan: Plan) -> Contrast | None:
        run = self.memory.by_commit.get(plan.contrast)
        if run is None or not run.parents:
            return None
        return Contrast(run=run.label, before=self.sources(run.parents[0]), after=self.sources(run.commit), gain=self.memory.gain(run))

    def ancestor(self, plan: Plan) -> str:
        """Text of the newest run that both parents descend from."""
        lines = []
        for parent in plan.parents:
            seen, todo = set(), [parent]
            while todo:
                commit = todo.pop()
                if commit not in seen:
                    seen.add(commit)
                    todo.extend(self.memory.by_commit[commit].parents)
            lines.append(seen)
        return self.texts[max(lines[0] & lines[1], key=lambda c: self.memory.by_commit[c].seq)]

    def read(self, commit: str, seed: int, purpose: str = "select") -> TrialLine:
        """One trial: a reading, or a crash."""
        found = self.land_.read(self.texts[commit], seed, self.dice)
        crash = found if isinstance(found, Crash) else None
        self.held.append(self.texts[self.memory.incumbent.commit] if self.memory.incumbent else self.land_.text)
        return TrialLine(
            id=f"{len(self.held):016x}", time="", purpose=purpose, run=commit, seed=seed, seconds=1.0,
            status=Status.OK if crash is None else Status.CRASH, metrics={} if crash else found, crash=crash,
        )  # fmt: skip

    def land(self, plan: Plan, text: str, kind: str, summary: str, *, rejected: bool = False) -> None:
        """Measure, decide, remember."""
        commit = hashlib.sha1(f"{self.seq} {text}".encode()).hexdigest()
        self.texts[commit] = text
        parents = [self.memory.by_commit[p] for p in plan.parents]
        before = self.sources(plan.parents[0]) if parents else {"train.py": text}
        incumbent, primary = self.memory.incumbent, self.problem.primary.name
        standing = self.memory.standing(plan.parents[0] if parents else "")
        trials: list[TrialLine] = []
        values: dict[int, float] = {}
        weight = self.weight(text, trials)
        while not rejected and (not parents and len(trials) < 3 or not trials or wants_more_seeds(self.problem, values, standing, weight)):
            trials.append(self.read(commit, len(trials)))
            if trials[-1].crash is not None:
                break
            values[trials[-1].seed] = trials[-1].metrics[primary]
            weight = self.weight(text, trials)
        readings = {m.name: tuple(t.metrics[m.name] for t in trials if m.name in t.metrics) for m in self.problem.metrics}
        measured = Measurement(trials=tuple(trials), values={k: v for k, v in readings.items() if v})
        said = decide(self.problem, measured, standing, complexity=weight, rejected=summary if rejected else "")
        kept = said.verdict is Verdict.KEEP
        self.memory.learn(
            Run(
                commit=commit, label=str(self.seq), campaign="made-up", parents=plan.parents, seq=self.seq, epoch=0,
                generation=1 + max((p.generation for p in parents), default=-1), verdict=said.verdict, reason=said.reason,
                near_miss=said.near_miss, emitter=plan.emitter, agent="offline", change=kind, niche=plan.niche, summary=summary,
                forecast=plan.forecast, propensity=plan.propensity, policy=plan.policy, chance=plan.chance, contrast=plan.contrast,
                sources=change.sources_hash({"train.py": text}), moves=change.moves(before, {"train.py": text}),
                lines=change.line_delta(before, {"train.py": text}), readings=measured.values,
                incumbent=commit if kept or incumbent is None else incumbent.commit, decision=commit, trials=tuple(trials),
                seconds=float(len(trials)),
            )
        )  # fmt: skip
        self.seq += 1

    def weight(self, text: str, trials: list[TrialLine]) -> Complexity | None:
        """Lines and parameters against the incumbent's."""
        incumbent = self.memory.incumbent
        if incumbent is None:
            return None
        mine, theirs = trials[-1].metrics.get("params") if trials else None, incumbent.mean("params")
        lines = len(text.splitlines()) - len(self.texts[incumbent.commit].splitlines())
        return Complexity(lines=lines, params=mine / theirs - 1 if mine and theirs else None)

    def again(self, commit: str, seed: int) -> None:
        line = self.read(commit, seed, "replicate")
        metrics = () if line.crash else (line,)
        self.memory.learn_again(Again(of=commit, purpose="replicate", lines=metrics))


SHARES = (0.25, 0.5, 0.75, 1.0)


class Row(msgspec.Struct):
    """One policy on one landscape: for each seed the truth after each share of the trials."""

    policy: str
    truths: list[list[float]]
    seconds: float

    def cell(self, at: int) -> str:
        values = [row[at] for row in self.truths]
        return f"{statistics.fmean(values):.3f} +- {_half(values):.3f}"

    def less_than(self, other: Row) -> str:
        """How much lower this policy's truth is in the end, seed by seed, with its interval."""
        gaps = [b[-1] - a[-1] for a, b in zip(self.truths, other.truths)]
        return f"{statistics.fmean(gaps):+.3f} +- {_half(gaps):.3f}"


def _half(values: list[float]) -> float:
    """Half of the 95 % interval of their mean."""
    return 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def play(policy: str, name: str, number: int, trials: int, noise: float) -> list[float]:
    """One campaign; the truth of its incumbent after each share of the trials."""
    landscape = LANDSCAPES[name](noise)
    held = Campaign(policy, landscape, number, trials=trials).run()
    return [landscape.truth(held[max(0, round(share * trials) - 1)]) for share in SHARES]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first campaign: others than those that settings were chosen on")
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument(
        "--noise", type=float, default=0.02, help="standard deviation of one made-up reading; losses start 0.7 above the best"
    )
    parser.add_argument(
        "--policies", default="sw-ucb,thompson,uniform,greedy,topk,phases", help="the first is what the others are held against"
    )
    parser.add_argument("--landscapes", default="smooth,deceptive", help="of " + ", ".join(LANDSCAPES))
    parser.add_argument("--jobs", type=int, default=1, help="campaigns side by side")
    told = parser.parse_args()
    policies, numbers = told.policies.split(","), range(told.first, told.first + told.seeds)
    with ProcessPoolExecutor(told.jobs) as pool:
        for name in told.landscapes.split(","):
            print(f"{name}: {told.seeds} seeds, {told.trials} trials, noise {told.noise}; after {', '.join(f'{s:.0%}' for s in SHARES)}")
            first = None
            for policy in policies:
                began = time.perf_counter()
                made = [pool.submit(play, policy, name, n, told.trials, told.noise) for n in numbers]
                row = Row(policy=policy, truths=[m.result() for m in made], seconds=time.perf_counter() - began)
                first = first or row
                against = "" if row is first else f"  {first.policy} is lower by {first.less_than(row)}"
                print(f"  {policy:10} {'  '.join(map(row.cell, range(len(SHARES))))}{against}", flush=True)


if __name__ == "__main__":
    main()
