"""Conjectures: what seems to help or to hurt, with the runs for and against, withdrawn when the evidence turns. It plans nothing.

Evidence on a topic is the believed gain of each run over its parent. The statistic is z = sum(gain) / sqrt(sum(variance + tau^2)), where
tau is the larger of one reading's noise and of the scatter between the topic's own gains: one lucky run does not make a rule.
"""

from __future__ import annotations

import math
from collections import deque

from evogit.domain.lore import Conjecture, Effect
from evogit.search.lesson import Lesson
from evogit.search.topics import in_words

NEWEST = 12  # evidences that count per topic: what was true of a long gone parent need not be true now
ENOUGH = 3  # runs
STANDS, FALLS = 1.64, 0.5  # one-sided 5 %; apart, so that one reading more does not flip a statement to and fro
KEYS = 2000
_WITHDRAWN = 50
_CEILING = 99.0  # z where gains agree exactly and nothing is noisy
_SCALE = 64  # newest gains that tell what size of gain is usual here

_Evidence = tuple[float, float, str]  # gain, its variance, run


class Conjectures:
    """The conjectures of one epoch. O(topics of the run) a run, at most 2000 topics with 12 evidences each."""

    def __init__(self) -> None:
        self._evidence: dict[str, deque[_Evidence]] = {}  # the topic touched last is last
        self._standing: dict[str, Conjecture] = {}
        self._withdrawn: dict[tuple[str, bool], Conjecture] = {}  # by topic and claim
        self._sigma = 0.0
        self._gains: deque[float] = deque(maxlen=_SCALE)

    def learn(self, lesson: Lesson) -> None:
        """Take in one run; without a parent or a number it is no evidence."""
        self._sigma = lesson.sigma
        belief = lesson.belief
        if belief is None or lesson.parent is None or not (math.isfinite(belief.gain) and math.isfinite(belief.gain_variance)):
            return
        self._gains.append(belief.gain)
        for key in lesson.topics:
            known = self._evidence.pop(key, None)
            evidence = self._evidence[key] = known if known is not None else deque(maxlen=NEWEST)
            evidence.append((belief.gain, max(belief.gain_variance, 0.0), lesson.run.label))
            self._weigh(key, evidence)
        while len(self._evidence) > KEYS:
            self._forget(next(iter(self._evidence)))

    def _weigh(self, key: str, evidence: deque[_Evidence]) -> None:
        z = statistic(evidence, self._sigma)
        held = self._standing.pop(key, None)
        if held is not None and (z if held.helps else -z) >= FALLS:
            self._standing[key] = _conjecture(key, held.helps, evidence, z)
            return
        if held is not None:
            self._withdraw(_conjecture(key, held.helps, evidence, z))
        if len(evidence) >= ENOUGH and abs(z) >= STANDS:
            self._withdrawn.pop((key, z > 0), None)
            self._standing[key] = _conjecture(key, z > 0, evidence, z)

    def _withdraw(self, fallen: Conjecture) -> None:
        self._withdrawn.pop((fallen.key, fallen.helps), None)
        self._withdrawn[fallen.key, fallen.helps] = fallen
        if len(self._withdrawn) > _WITHDRAWN:
            del self._withdrawn[next(iter(self._withdrawn))]

    def _forget(self, key: str) -> None:
        del self._evidence[key]
        self._standing.pop(key, None)

    # asking ----------------------------------------------------------------------------------------------------------

    def standing(self) -> list[Conjecture]:
        """Statements that the evidence bears now, the surest first."""
        return sorted(self._standing.values(), key=lambda c: (-abs(c.z), c.key))

    def withdrawn(self) -> list[Conjecture]:
        """Statements that stood once and do not now, with the evidence on which they fell, the latest last. At most 50."""
        return list(self._withdrawn.values())

    def effect(self, key: str) -> Effect:
        """What a change on this topic gains, shrunk towards none: the prior is N(0, sigma^2), or the usual size of a gain where nothing is noisy.

        A topic that nobody tried has the prior. O(1).
        """
        evidence = self._evidence.get(key, ())
        prior = self._sigma**2 or sum(g * g for g in self._gains) / max(1, len(self._gains))
        if not evidence or prior <= 0:
            return Effect(mean=0.0, variance=prior, n=len(evidence))
        scatter = _scatter(evidence, self._sigma) if len(evidence) >= ENOUGH else prior
        weights = [1 / (variance + max(scatter, 1e-9 * prior)) for _, variance, _ in evidence]
        precision = 1 / prior + sum(weights)
        return Effect(mean=sum(w * e[0] for w, e in zip(weights, evidence)) / precision, variance=1 / precision, n=len(evidence))


def statistic(evidence: deque[_Evidence], sigma: float) -> float:
    """Summed gain over its standard deviation, within +-99; 0.0 where nothing was gained or lost."""
    total = math.fsum(gain for gain, _, _ in evidence)
    variance = math.fsum(v for _, v, _ in evidence) + len(evidence) * _scatter(evidence, sigma)
    if not total:
        return 0.0
    return max(-_CEILING, min(_CEILING, total / math.sqrt(variance))) if variance > 0 else math.copysign(_CEILING, total)


def _scatter(evidence: deque[_Evidence], sigma: float) -> float:
    """tau squared: noise of a reading, or the variance between the gains where that is larger."""
    mean = math.fsum(gain for gain, _, _ in evidence) / len(evidence)
    between = math.fsum((gain - mean) ** 2 for gain, _, _ in evidence) / max(1, len(evidence) - 1)
    return max(sigma**2, between)


def _conjecture(key: str, helps: bool, evidence: deque[_Evidence], z: float) -> Conjecture:
    verb = "help" if helps else "hurt"
    return Conjecture(
        key=key,
        statement=f"{in_words(key)} {verb if key.startswith('change:') else verb + 's'}",
        helps=helps,
        for_=tuple(label for gain, _, label in evidence if gain and (gain > 0) is helps),
        against=tuple(label for gain, _, label in evidence if not gain or (gain > 0) is not helps),
        z=z,
    )
