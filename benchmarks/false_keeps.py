"""How many kept gains are false, by how much a campaign over-reports itself, and whether certificates hold. Prints tables; asserts nothing.

    python benchmarks/false_keeps.py [--campaigns 200] [--trials 100] [--world plain heavy drift] [--seed 0]

A campaign is a number of trials, calibration included. 60 % of candidates harm (exponential, mean 2 sigma), 30 % change nothing,
10 % help (exponential, mean 0.5, 1 or 3 sigma). Verdicts are those of `stages.decide`, memory is `search.Memory`; nothing is trained.
Worlds: plain (normal noise, sigma 1), heavy (in one reading of twenty, 10 sigma more or less), drift (over its campaign the metric gets
better by 2 sigma by itself). Certificates are measured with pairs of readings on top of the trials, after every keep.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Callable, Sequence

import msgspec

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Decide, Problem
from evogit.domain.run import Again, Run
from evogit.domain.trial import Measurement, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.search import recheck
from evogit.search.memory import Memory
from evogit.stages.decide import decide, wants_more_seeds

LOSS = Metric(name="loss", direction=Direction.MINIMIZE)
EFFECTS = (0.5, 1.0, 3.0)  # sigmas
DRIFT = 2.0  # sigmas over a campaign
CALIBRATION = 5  # readings of the baseline, where the rule needs to know the noise
ACCEPTS = (0.5, 0.75, 0.8)


class Rule(msgspec.Struct, frozen=True):
    """One way to keep."""

    name: str
    accept: float = 0.0
    is_refreshed: bool = False  # one fresh reading after each keep

    @property
    def title(self) -> str:
        accept = f" {self.accept:g}" if self.accept else ""
        return f"{self.name}{accept}{' + refresh' if self.is_refreshed else ''}"


RULES = (
    Rule("greedy"),
    Rule("confirm"),
    *(Rule("posterior", accept, is_refreshed) for accept in ACCEPTS for is_refreshed in (False, True)),
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one campaign. Gains in sigmas, positive is better."""

    keeps: int
    false_keeps: int
    gain: float  # true, of the last incumbent over the baseline
    excess: float  # reported minus true
    tests: int = 0
    certified: int = 0
    false_certified: int = 0
    pairs: int = 0


class World:
    """Readings of runs whose truth is known."""

    def __init__(self, name: str, seed: str, trials: int) -> None:
        self._name, self._trials = name, trials
        self.candidates, self._noise = random.Random(f"{seed}/candidates"), random.Random(f"{seed}/noise")
        self.loss: dict[str, float] = {}  # commit -> its true loss
        self.used = 0

    def read(self, commit: str) -> float:
        self.used += 1
        value = self.loss[commit] + self._noise.gauss(0.0, 1.0)
        if self._name == "heavy" and self._noise.random() < 0.05:
            value += self._noise.choice((-10.0, 10.0))
        return value - (DRIFT * self.used / self._trials if self._name == "drift" else 0.0)

    def gain(self, effect: float) -> float:
        """True gain of the next candidate; effect: mean of the real gains, 0 for a campaign in which nothing changes anything."""
        part, size = self.candidates.random(), self.candidates.expovariate(1.0)
        if not effect:
            return 0.0
        return -2.0 * size if part < 0.6 else 0.0 if part < 0.9 else effect * size


class Campaign:
    """A campaign from its baseline to its last trial."""

    def __init__(self, rule: Rule, world: World, effect: float, *, is_certified: bool = False) -> None:
        self.rule, self.world, self.effect, self.is_certified = rule, world, effect, is_certified
        settings = Decide(rule=rule.name, accept=rule.accept)
        self.problem = Problem(
            name="simulated", folder="", layout="evogit", goal="", mutable=("train.py",), command="true", metrics=(LOSS,), decide=settings,
            budget=Budget(seeds=tuple(range(CALIBRATION))),
        )  # fmt: skip
        self.memory = Memory(self.problem)
        self.truth: list[float] = []  # true gains of the keeps
        self.pairs = 0

    def run(self, trials: int) -> Outcome:
        self._baseline()
        while self.world.used < trials:
            self._candidate()
        memory, loss = self.memory, self.world.loss
        start, last = memory.baseline, memory.incumbent
        gain = loss[start.commit] - loss[last.commit]
        if self.rule.name == "posterior":
            reported = memory.belief(start.commit).mean - memory.belief(last.commit).mean
        else:
            reported = start.mean(LOSS.name) - last.mean(LOSS.name)
        return Outcome(
            keeps=len(self.truth),
            false_keeps=sum(gain <= 0 for gain in self.truth),
            gain=gain,
            excess=reported - gain,
            pairs=self.pairs,
            **self._certificates,
        )

    def certify(self) -> None:
        """All looks that the incumbent's test asks for; they cost no trial of the budget and teach this campaign nothing else."""
        chapter, used = self.memory.certification, self.world.used
        while (wanted := chapter.next_look()) is not None:
            commit, seed = wanted
            test = chapter.test()
            is_ancestor = commit == test.against
            line = self._line(commit, seed, self.world.read(commit), "certify")
            self.world.used = used
            other = test.run if is_ancestor else test.against
            again = Again(of=commit, purpose="certify", lines=(line,), certified=None if is_ancestor else False, against=other)
            chapter.learn(again, {seed: line.metrics[LOSS.name]})
            self.pairs += not is_ancestor
        test = chapter.test()
        if test is not None:
            loss = self.world.loss
            self._certificates["tests"] += 1
            self._certificates["certified"] += test.is_certified
            self._certificates["false_certified"] += test.is_certified and loss[test.against] - loss[test.run] <= 0

    def _baseline(self) -> None:
        self._certificates = {"tests": 0, "certified": 0, "false_certified": 0}
        commit = _hash("0")
        self.world.loss[commit] = 0.0
        count = CALIBRATION if self.rule.name == "posterior" else 1
        lines = tuple(self._line(commit, seed, self.world.read(commit)) for seed in range(count))
        self.memory.learn(self._run(0, commit, lines, Verdict.KEEP, commit))

    def _candidate(self) -> None:
        memory, parent = self.memory, self.memory.incumbent
        number, gain = len(memory.by_commit), self.world.gain(self.effect)
        commit = _hash(str(number))
        self.world.loss[commit] = self.world.loss[parent.commit] - gain
        standing, readings = memory.standing(parent.commit), {}
        while wants_more_seeds(self.problem, readings, standing):
            readings[len(readings)] = self.world.read(commit)
        lines = tuple(self._line(commit, seed, value) for seed, value in readings.items())
        measured = Measurement(values={LOSS.name: tuple(readings.values())}, trials=lines)
        verdict = decide(self.problem, measured, standing).verdict
        is_kept = verdict is Verdict.KEEP
        memory.learn(self._run(number, commit, lines, verdict, commit if is_kept else parent.commit, parent))
        if not is_kept:
            return
        self.truth.append(gain)
        if self.rule.is_refreshed and (wanted := recheck.due(memory)) is not None:
            line = self._line(commit, wanted[1][0], self.world.read(commit), "replicate")
            memory.learn_again(Again(of=commit, purpose="replicate", lines=(line,)))
        if self.is_certified:
            self.certify()

    def _line(self, commit: str, seed: int, value: float, purpose: str = "select") -> TrialLine:
        metrics = {LOSS.name: value}
        return TrialLine(
            id=f"{commit[:10]}{seed}", time="", purpose=purpose, run=commit, seed=seed, status=Status.OK, metrics=metrics, seconds=1.0
        )

    def _run(
        self, number: int, commit: str, lines: tuple[TrialLine, ...], verdict: Verdict, incumbent: str, parent: Run | None = None
    ) -> Run:
        return Run(
            commit=commit,
            label=str(number),
            campaign="simulated",
            parents=(parent.commit,) if parent else (),
            generation=parent.generation + 1 if parent else 0,
            epoch=0,
            seq=number,
            verdict=verdict,
            reason="",
            emitter="local_tuner" if parent else "baseline",
            agent="offline",
            summary="",
            incumbent=incumbent,
            decision="",
            trials=lines,
            readings={LOSS.name: tuple(line.metrics[LOSS.name] for line in lines)},
            seconds=float(len(lines)),
        )


def _hash(label: str) -> str:
    return hashlib.sha1(label.encode()).hexdigest()


# telling -------------------------------------------------------------------------------------------------------------


def interval(rows: Sequence[Sequence[float]], figure: Callable[[list[float]], float], again: int = 500) -> str:
    """A figure of the column sums, and its 95 % interval by bootstrap over campaigns (rows)."""
    rng, size = random.Random(0), len(rows)

    def of(chosen: Sequence[Sequence[float]]) -> float:
        return figure([sum(column) for column in zip(*chosen)])

    found = sorted(of(rng.choices(rows, k=size)) for _ in range(again))
    return f"{of(rows):6.2f} [{found[int(0.025 * again)]:5.2f}, {found[int(0.975 * again)]:5.2f}]"


def share(sums: list[float]) -> float:
    return sums[0] / sums[1] if sums[1] else 0.0


def campaigns(rule: Rule, world: str, effect: float, args: argparse.Namespace, *, is_certified: bool = False) -> list[Outcome]:
    """The same campaigns for every rule: candidates and noise come from the campaign's number."""
    made = (World(world, f"{args.seed}/{world}/{effect}/{n}", args.trials) for n in range(args.campaigns))
    return [Campaign(rule, each, effect, is_certified=is_certified).run(args.trials) for each in made]


def table(world: str, effect: float, args: argparse.Namespace) -> None:
    """Every rule in one world."""
    print(f"\n{world} world, real gains of {effect:g} sigma on average, {args.campaigns} campaigns of {args.trials} trials")
    print(f"{'rule':24} {'keeps':>6}  {'false keeps':20}  {'over-report':20}  {'true gain':20}  of greedy's")
    greedy: list[Outcome] = []
    for rule in RULES:
        found = campaigns(rule, world, effect, args)
        greedy = greedy or found
        cells = [
            interval([(o.false_keeps, o.keeps) for o in found], share),
            interval([(o.excess, 1) for o in found], share),
            interval([(o.gain, 1) for o in found], share),
            interval([(o.gain, g.gain) for o, g in zip(found, greedy)], share),
        ]
        print(f"{rule.title:24} {sum(o.keeps for o in found) / len(found):6.1f}  {'  '.join(cells)}", flush=True)


def certificates(world: str, effect: float, rule: Rule, args: argparse.Namespace) -> None:
    """Certification after every keep of one rule; effect 0 is an A/A campaign."""
    found = campaigns(rule, world, effect, args, is_certified=True)
    tests, certified = sum(o.tests for o in found), sum(o.certified for o in found)
    wrong = sum(o.certified > 0 for o in found) if not effect else sum(o.false_certified > 0 for o in found)
    words = f"{wrong} of {len(found)} campaigns certified {'anything' if not effect else 'something false'}"
    false = interval([(o.false_certified, o.certified) for o in found], share)
    pairs = sum(o.pairs for o in found) / max(tests, 1)
    name = "A/A" if not effect else f"{effect:g} sigma"
    print(
        f"{world:6} {name:10} {rule.title:24} {tests:5} tests {pairs:5.1f} pairs each {certified:5} certified, false {false}; {words}",
        flush=True,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--campaigns", type=int, default=200)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--world", nargs="+", default=["plain", "heavy", "drift"], choices=["plain", "heavy", "drift"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["keeps", "certificates"], default="")
    args = parser.parse_args()
    for world in args.world if args.only != "certificates" else ():
        for effect in EFFECTS:
            table(world, effect, args)
    if args.only != "keeps":
        print("\ncertificates, with pairs on top of the trials after every keep")
    for world in args.world if args.only != "keeps" else ():
        for effect in (0.0, *EFFECTS):
            for rule in (Rule("greedy"), Rule("posterior", 0.75, True)):
                certificates(world, effect, rule, args)


if __name__ == "__main__":
    main()
