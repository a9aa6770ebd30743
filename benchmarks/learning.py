"""Does the portfolio find the one emitter in seven that pays? Simulated campaigns through the real memory, decide stage and policies.

    python benchmarks/learning.py [--campaigns 200] [--runs 150] [--policies sw-ucb,thompson,...] [--size 1.0] [--floor 0.02]

World: run noise of one sigma; 40 % of the payer's changes are real gains and 5 % of the other six emitters', of exponential
size with a mean of `--size` sigmas; of the rest, two in three harm (exponential, mean 2 sigmas) and one in three does
nothing. In the second world another emitter becomes the payer half-way. Every candidate is made from the incumbent and
decided as the loop decides. Regret is the number of real gains that always asking the payer would have found beyond those
expected of the emitters that were asked. The same campaign number means the same random numbers under every policy. No
trial runs, and nothing is certified. Prints means with intervals of 95 % over campaigns; asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from evogit.domain.metric import Direction, Metric
from evogit.domain.plan import Forecast
from evogit.domain.problem import Budget, Problem, Search
from evogit.domain.run import Run
from evogit.domain.trial import Measurement, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.policies.phases import Phases
from evogit.policies.sw_ucb import SlidingWindowUcb
from evogit.policies.thompson import Thompson
from evogit.policies.topk import TopK
from evogit.policies.uniform import Uniform
from evogit.search.memory import Memory
from evogit.stages.decide import decide, wants_more_seeds

EMITTERS = ("local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier", "contrarian", "recombinator", "anomaly_chaser")
POLICIES = (SlidingWindowUcb, Thompson, Uniform, Phases, TopK)
PAYS, DULL = 0.40, 0.05  # share of real gains
LOSS = Metric(name="loss", direction=Direction.MINIMIZE)
SEEDS = 5


class Result(NamedTuple):
    share: float  # of the runs that the payer of the time was given
    regret: float  # real gains not found
    gain: float  # true gain of the last incumbent over the baseline, sigmas


class Campaign:
    """One simulated campaign; `policy` is any with `chances`."""

    def __init__(self, policy, number: int, *, size: float, switch: bool, floor: float) -> None:
        self.policy, self.size, self.switch = policy, size, switch
        self.rng = random.Random(f"world {number}")
        self.payers = self.rng.sample(EMITTERS, 2)
        self.memory = Memory(
            Problem(
                name="simulated",
                folder="",
                layout="evogit",
                goal="",
                mutable=("train.py",),
                command="true",
                metrics=(LOSS,),
                budget=Budget(seeds=tuple(range(SEEDS))),
                search=Search(floor=floor),
            )
        )
        self.truth: dict[str, float] = {}

    def play(self, runs: int) -> Result:
        """Baseline with every seed, then one decided run after another."""
        self._record(0, "baseline", 0.0, Verdict.KEEP, self._lines(0, 0.0, range(SEEDS)), None, 1.0)
        given, regret = 0, 0.0
        for number in range(1, runs + 1):
            payer = self.payers[self.switch and number > runs // 2]
            emitter, chance = self._choose()
            given += emitter == payer
            regret += 0.0 if emitter == payer else PAYS - DULL
            self._run(number, emitter, chance, PAYS if emitter == payer else DULL)
        return Result(given / runs, regret, -self.truth[self.memory.incumbent.commit])

    def _choose(self) -> tuple[str, float]:
        chances = self.policy.chances(self.memory, self.memory.portfolio.awake(EMITTERS))
        [name] = self.rng.choices(list(chances), weights=list(chances.values()))
        return name, chances[name]

    def _run(self, number: int, emitter: str, chance: float, pays: float) -> None:
        parent = self.memory.incumbent
        truth, problem, standing = self.truth[parent.commit] - self._effect(pays), self.memory.problem, self.memory.standing(parent.commit)
        forecast, lines = self.memory.forecast((parent.commit,)), ()
        while not lines or wants_more_seeds(problem, {t.seed: t.metrics["loss"] for t in lines}, standing):
            lines += self._lines(number, truth, [len(lines)])
        decision = decide(problem, Measurement(values={"loss": _values(lines)}, trials=lines), standing)
        self._record(number, emitter, truth, decision.verdict, lines, forecast, chance)

    def _effect(self, pays: float) -> float:
        """Gain of one candidate, sigmas. Three numbers are drawn whatever happens, so that campaigns stay comparable."""
        luck, kind, size = self.rng.random(), self.rng.random(), self.rng.expovariate(1.0)
        if luck < pays:
            return self.size * size
        return -2.0 * size if kind < 2 / 3 else 0.0

    def _lines(self, number: int, truth: float, seeds: Sequence[int]) -> tuple[TrialLine, ...]:
        return tuple(
            TrialLine(
                id=f"{number}/{seed}",
                time="",
                purpose="select",
                run=_commit(number),
                seed=seed,
                status=Status.OK,
                metrics={"loss": truth + self.rng.gauss(0.0, 1.0)},
                seconds=60.0,
            )
            for seed in seeds
        )

    def _record(
        self,
        number: int,
        emitter: str,
        truth: float,
        verdict: Verdict,
        lines: tuple[TrialLine, ...],
        forecast: Forecast | None,
        chance: float,
    ) -> None:
        commit, parent = _commit(number), self.memory.incumbent
        self.truth[commit] = truth
        self.memory.learn(
            Run(
                commit=commit,
                label=str(number),
                campaign="simulated",
                parents=(parent.commit,) if parent else (),
                generation=parent.generation + 1 if parent else 0,
                epoch=0,
                seq=number,
                verdict=verdict,
                reason="",
                emitter=emitter,
                agent="simulated",
                change=emitter,
                summary="",
                forecast=forecast,
                policy=self.policy.name,
                chance=chance,
                incumbent=commit if verdict is Verdict.KEEP else parent.commit,
                decision=commit,
                trials=lines,
                readings={"loss": _values(lines)},
                seconds=60.0 * len(lines),
            )
        )


def _values(lines: Sequence[TrialLine]) -> tuple[float, ...]:
    return tuple(t.metrics["loss"] for t in lines)


def _commit(number: int) -> str:
    return hashlib.sha1(b"%d" % number).hexdigest()


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half of the 95 % interval)."""
    return statistics.fmean(values), 1.96 * statistics.stdev(values) / math.sqrt(len(values))


def main() -> None:
    """Play every policy in both worlds and print one row each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--campaigns", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first campaign: others than those that settings were chosen on")
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--policies", default=",".join(p.name for p in POLICIES))
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--floor", type=float, default=0.02)
    asked = parser.parse_args()
    numbers = range(asked.first, asked.first + asked.campaigns)
    print(f"{asked.campaigns} campaigns of {asked.runs} runs, gains of {asked.size:g} sigma, floor {asked.floor:g}")
    for switch in (False, True):
        print(
            f"\n{'a switch half-way' if switch else 'static':18} {'share of payer':>16} {'regret':>14} {'less than uniform':>19} {'true gain':>14}"
        )
        setting = {"size": asked.size, "switch": switch, "floor": asked.floor}
        base = [Campaign(Uniform(), n, **setting).play(asked.runs) for n in numbers]
        for policy in (p for p in POLICIES if p.name in asked.policies.split(",")):
            found = base if policy is Uniform else [Campaign(policy(), n, **setting).play(asked.runs) for n in numbers]
            share, regret, gain = (interval([r[i] for r in found]) for i in range(3))
            less = interval([b.regret - r.regret for b, r in zip(base, found)])
            print(
                f"{policy.name:18} {100 * share[0]:7.1f} +- {100 * share[1]:3.1f} % {regret[0]:7.1f} +- {regret[1]:3.1f}"
                f" {less[0]:12.2f} +- {less[1]:.2f} {gain[0]:7.2f} +- {gain[1]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
