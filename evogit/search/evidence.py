"""Which gains of the incumbent hold on fresh seeds: tests whose error is bounded over a whole campaign.

A test compares a run with its last certified ancestor (the baseline counts as one), a pair of readings a look, both under a
seed that nothing was ever selected on. Where the run is no better, the difference d of a pair is as likely -d as d, or tends
to be negative: the two readings could have been exchanged. Then 1 + tanh(b d / s) has a mean of at most 1 for every b and
s > 0, since tanh is odd and increasing, and so has the product over looks, and the average of products over several b. That
average is the e-value. Nothing is assumed of the noise: neither its size (s says only which gains are found fastest) nor its
tails. By Ville's inequality (1939) it ever reaches 1/a with probability a at most, whenever one looks and whenever one stops.
It is the bet on a symmetric difference of de la Pena (1999, exp(x)/cosh(x) = 1 + tanh(x)).

Tests share one budget by e-LOND (Xu & Ramdas, AISTATS 2024): test t is held against ALPHA * g(t) * (certified before it + 1),
with g(t) = t**-1.6 / zeta(1.6). That keeps the expected share of false certificates at ALPHA or below, however tests depend on
each other, and a campaign in which nothing is better certifies anything with probability ALPHA at most.

It measures nothing, and it never moves the incumbent.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import msgspec

from evogit.domain.problem import BELIEVERS, Problem
from evogit.domain.run import Again, Run
from evogit.search.noise import Spread

ALPHA = 0.05  # share of false certificates that is tolerated
MAX_LOOKS = 16  # pairs in a test; an e-value at most doubles with each
FRESH = 1_000_000  # seeds from here on are for certification
STREAK = 3  # certified gains in a row that earn a tag
_BETS = (0.5, 1.0, 2.0)  # b above: best for gains of about 0.5 to 4 standard deviations of one reading
_DECAY, _ZETA = 1.6, 2.2857656  # zeta(1.6): the levels' shares sum to 1
_LOST = -3.0  # what a run that crashed where its ancestor did not lost, in standard deviations of a difference
_OUTSIDE = 0.025  # on each side of the interval


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """One test as it stands. Gains are in the primary metric's unit, positive is better."""

    __test__ = False  # a noun of ours, nothing for pytest

    run: str  # full hash
    against: str  # full hash of the ancestor
    number: int  # 1, 2 ... in the order in which tests were begun
    level: float  # certified once 1 / e_value is at or below it
    looks: int = 0  # pairs that were read, those that gave no number included
    seeds: tuple[int, ...] = ()  # under which both gave a number
    e_value: float = 1.0
    effect: float | None = None  # mean gain over pairs; None before the first
    interval: tuple[float, float] | None = None  # 95 %, at any stopping time; None while there are too few pairs to bound both ends
    is_certified: bool = False
    is_over: bool = False  # certified, or what is left of MAX_LOOKS cannot change it any more


class Certification:
    """Tests of a campaign's epoch, folded from the ledger. O(1) a reading; asking costs O(keeps since the last certificate)."""

    def __init__(self, problem: Problem, spread: Spread | None = None) -> None:
        self._problem, self._spread = problem, spread or Spread()
        self._line: dict[str, str] = {}  # every incumbent -> the one before it, "" for the baseline
        self._is_provisional: dict[str, bool] = {}
        self._incumbent = ""
        self._scale = 0.0  # standard deviation of a difference, from before anything was read for the incumbent's test; 0.0 while unknown
        self._accounts: dict[tuple[str, str], _Account] = {}  # (run, against); in the order in which they were begun
        self._newest: dict[str, tuple[str, str]] = {}  # run -> the test of it that was begun last
        self._certified: dict[str, float] = {}  # run -> the mean gain that its certificate rests on
        self._last_seed = FRESH - 1
        self.streak = 0  # tests in a row that ended with a certificate

    # learning --------------------------------------------------------------------------------------------------------

    def follow(self, run: Run, before: Run | None) -> None:
        """The incumbent moved from `before` (None: `run` is a baseline) to `run`."""
        self._incumbent, self._scale = run.commit, math.sqrt(2.0) * self._spread.std
        if run.commit in self._line:
            return  # a person's verdict brought it back
        self._line[run.commit] = before.commit if before is not None and run.generation else ""
        self._is_provisional[run.commit] = self._spread.std > 0 and self._problem.decide.rule in BELIEVERS

    def learn(self, again: Again, readings: Mapping[int, float]) -> bool:
        """Take in a look: a reading of the ancestor (`again.certified` is None) or of the run (yes or no), `against` the other one.

        True if it ended the test; a "no" before that means "not yet".
        """
        key = _key(again)
        if not all(key):
            return False  # a look that does not say with what it is compared
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = self._fresh_account(key)
        self._newest[key[0]] = key
        self._last_seed = max([self._last_seed, *(line.seed for line in again.lines)])
        was_over = account.is_over
        account.enter(again, readings)
        if was_over or not account.is_over:
            return False
        self.streak = self.streak + 1 if account.is_certified else 0
        if account.is_certified:
            self._certified[key[0]] = account.effect or 0.0
        return True

    def preview(self, again: Again, readings: Mapping[int, float]) -> Test:
        """The test as it will stand once that look is learnt; nothing is learnt now."""
        key = _key(again)
        account = copy.deepcopy(self._accounts.get(key) or self._fresh_account(key))
        account.enter(again, readings)
        return account.report(key)

    def _fresh_account(self, key: tuple[str, str]) -> _Account:
        number = len(self._accounts) + 1
        level = ALPHA * number**-_DECAY / _ZETA * (len(self._certified) + 1)
        return _Account(self._problem, number, level, self._scale)

    # asking ----------------------------------------------------------------------------------------------------------

    def against(self, commit: str) -> str:
        """The last certified incumbent before that one, else the baseline; "" for a baseline, and for runs that never were incumbent."""
        before = self._line.get(commit, "")
        while before and before not in self._certified and self._line[before]:
            before = self._line[before]
        return before

    def test(self, run: str = "", against: str = "") -> Test | None:
        """The test of a run (default: the incumbent): the one begun last, else the one that its first look would begin. None for a baseline."""
        key = self._key_of(run, against)
        return (self._accounts.get(key) or self._fresh_account(key)).report(key) if key[1] else None

    def next_look(self, run: str = "", against: str = "") -> tuple[str, int] | None:
        """Which reading a test needs next: run and fresh seed, the ancestor's first. None for a baseline, or when the test is over."""
        key = self._key_of(run, against)
        if not key[1]:
            return None
        account = self._accounts.get(key)
        if account is None:
            return key[1], self._fresh_seed()
        if account.is_over:
            return None
        half = account.half_read()
        if half is None:
            return key[1], self._fresh_seed()
        seed, has_ancestor = half
        return key[0] if has_ancestor else key[1], seed

    def status(self, commit: str) -> str:
        """`certified`; `provisional`: kept by what is believed, and tested or waiting for it; `unconfirmed`: kept by plain comparison, or its test
        ended without a certificate. `baseline` for a baseline, "" for a run that never was incumbent nor tested.
        """
        if commit in self._certified:
            return "certified"
        account = self._accounts.get(self._newest.get(commit, ("", "")))
        if account is not None:
            return "unconfirmed" if account.is_over else "provisional"
        if commit not in self._line:
            return ""
        if not self._line[commit]:
            return "baseline"
        return "provisional" if self._is_provisional[commit] else "unconfirmed"

    def gain(self, commit: str) -> float | None:
        """Mean gain that a run was certified with, over its certified ancestor; None for a run that is not certified. O(1)."""
        return self._certified.get(commit)

    def _key_of(self, run: str, against: str) -> tuple[str, str]:
        run = run or self._incumbent
        if not against and run in self._newest:
            return self._newest[run]
        return run, against or self.against(run)

    def _fresh_seed(self) -> int:
        seed = self._last_seed + 1
        while seed in self._problem.budget.seeds:
            seed += 1
        return seed


class _Account:
    """What a test has won so far with each bet, and the pairs that it was won with."""

    def __init__(self, problem: Problem, number: int, level: float, scale: float) -> None:
        self._metric, self.number, self.level = problem.primary, number, level
        self._scale = scale  # standard deviation of a difference as it was known when the test was begun; 0.0: unknown
        self._squares = 0.0
        self._half: dict[int, tuple[bool, float | None]] = {}  # seed -> (is it the ancestor's, reading) where the other one is missing
        self._wealth = [1.0] * len(_BETS)
        self._gains: dict[int, float] = {}
        self._looks = 0
        self.is_certified = False

    @property
    def is_over(self) -> bool:
        left = MAX_LOOKS - self._looks
        return self.is_certified or left <= 0 or self._e_value * 2.0**left * self.level < 1.0

    @property
    def _e_value(self) -> float:
        return math.fsum(self._wealth) / len(self._wealth)

    @property
    def effect(self) -> float | None:
        """Mean gain over pairs that gave two numbers; None before the first."""
        gains = self._gains.values()
        return math.fsum(gains) / len(gains) if gains else None

    def half_read(self) -> tuple[int, bool] | None:
        """A seed under which one of the two was read, and whether that was the ancestor."""
        return next(((seed, is_ancestor) for seed, (is_ancestor, _) in self._half.items()), None)

    def enter(self, again: Again, readings: Mapping[int, float]) -> None:
        """A reading without a number is a crash: the run's counts against it, the ancestor's says nothing."""
        is_ancestor = again.certified is None
        for seed in dict.fromkeys(line.seed for line in again.lines):
            if self.is_over or seed in self._gains:
                continue
            reading, other = readings.get(seed), self._half.get(seed)
            if other is None or other[0] == is_ancestor:
                self._half[seed] = (is_ancestor, reading)
                continue
            del self._half[seed]
            ours, theirs = (other[1], reading) if is_ancestor else (reading, other[1])
            self._look(seed, ours, theirs)

    def _look(self, seed: int, ours: float | None, theirs: float | None) -> None:
        self._looks += 1
        if theirs is None:
            return
        if ours is None:
            self._bet(_LOST)
            return
        gain = self._gains[seed] = self._metric.gain(ours, theirs)
        self._squares += gain * gain
        # Without a known noise the bets are scaled by how large differences were, which says nothing of their signs.
        scale = self._scale or math.sqrt(self._squares / len(self._gains))
        self._bet(gain / scale if scale else 0.0)

    def _bet(self, x: float) -> None:
        self._wealth = [wealth * (1.0 + math.tanh(bet * x)) for wealth, bet in zip(self._wealth, _BETS, strict=True)]
        self.is_certified = self.is_certified or self._e_value * self.level >= 1.0

    def report(self, key: tuple[str, str]) -> Test:
        gains = list(self._gains.values())
        return Test(
            run=key[0],
            against=key[1],
            number=self.number,
            level=self.level,
            looks=self._looks,
            seeds=tuple(self._gains),
            e_value=self._e_value,
            effect=self.effect,
            interval=interval(gains, self._scale),
            is_certified=self.is_certified,
            is_over=self.is_over,
        )


def e_value(gains: list[float], scale: float) -> float:
    """Evidence that differences symmetric about their middle have it above 0: its mean is at most 1 if they have not. scale > 0, their unit."""
    return math.fsum(math.prod(1.0 + math.tanh(bet * gain / scale) for gain in gains) for bet in _BETS) / len(_BETS)


def interval(gains: list[float], scale: float) -> tuple[float, float] | None:
    """95 % interval of the gain, right at any stopping time: every value that `e_value` does not refuse. None if it has no ends yet.

    Six pairs are the fewest that can have one, since each at most doubles the evidence.
    """
    if scale <= 0 or len(gains) < math.log2(1.0 / _OUTSIDE):
        return None
    return _lower_end(gains, scale), -_lower_end([-gain for gain in gains], scale)


def _lower_end(gains: list[float], scale: float) -> float:
    """The greatest value that the evidence refuses from above, by bisection: `e_value` falls as the value rises."""
    high, step = max(gains), scale
    low = min(gains) - step
    while e_value([gain - low for gain in gains], scale) * _OUTSIDE < 1.0:
        step *= 2.0
        low -= step
    for _ in range(60):
        middle = (low + high) / 2.0
        if e_value([gain - middle for gain in gains], scale) * _OUTSIDE < 1.0:
            high = middle
        else:
            low = middle
    return low


def _key(again: Again) -> tuple[str, str]:
    """(run, ancestor) of a look's test."""
    return (again.against, again.of) if again.certified is None else (again.of, again.against)
