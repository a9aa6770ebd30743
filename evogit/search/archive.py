"""The best run of each kind of change: elites by category and size. It neither chooses parents nor judges anyone.

Categories are free text wherever a model names them, so they are read into a dozen families; with three sizes that makes 39 niches,
few enough to fill within some hundred runs.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from evogit.domain.problem import Problem
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search.lesson import Lesson

OTHER = "other"
SIZES = ("tiny", "small", "large")
TINY, SMALL = 2, 12  # lines added and removed: at most this many
_READ = 200  # characters of a category that are looked at; a model may write a novel

# A category belongs to the first family with a stem that begins one of its words: the most special families come first.
_STEMS: dict[str, tuple[str, ...]] = {
    "recombination": ("recombin", "merge", "crossover", "mix"),
    "simplification": ("simpl", "clean", "remov", "delet", "prun"),
    "normalization": ("norm", "batchnorm", "layernorm", "rmsnorm"),
    "activation": ("activ", "nonlinear", "relu", "gelu", "silu"),
    "initialisation": ("init",),
    "schedule": ("schedul", "warm", "anneal", "cosine", "cooldown"),
    "regularization": ("regulari", "dropout", "decay", "smooth"),
    "optimizer": ("optim", "momentum", "adam", "sgd"),
    "data": ("data", "augment", "preproc", "feature", "loss", "objective", "criterion"),
    "capacity": ("capacity", "width", "widen", "depth", "deepen", "layer", "units"),
    "architecture": ("archi", "attention", "residual", "pool", "convol", "model", "block", "head", "struct"),
    "hyperparameter": ("hyper", "tun", "learning", "lr", "batch", "constant", "number", "step"),
}
FAMILIES: tuple[str, ...] = (*_STEMS, OTHER)
_FAMILY_OF_ROLE = {
    "lr": "hyperparameter",
    "batch": "hyperparameter",
    "steps": "hyperparameter",
    "clip": "optimizer",
    "momentum": "optimizer",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "decay": "regularization",
    "dropout": "regularization",
    "smoothing": "regularization",
    "noise": "regularization",
    "width": "capacity",
    "depth": "capacity",
    "heads": "architecture",
    "pooling": "architecture",
    "activation": "activation",
    "norm": "normalization",
    "init": "initialisation",
    "initialiser": "initialisation",
    "loss": "data",
}


class Archive:
    """Elites of niches in one epoch. O(1) a run."""

    def __init__(self, problem: Problem) -> None:
        self._metric = problem.primary
        self._elites: dict[str, Run] = {}

    def learn(self, lesson: Lesson) -> None:
        """Take in one run; crashed ones, those without a number and baselines are no one's elite."""
        run, niche = lesson.run, self.niche_of(lesson.run)
        value = self._value(run)
        if not niche or value is None:
            return
        elite = self._elites.get(niche)
        if elite is None or self._metric.better(value, self._value(elite)):
            self._elites[niche] = run

    def _value(self, run: Run) -> float | None:
        """Plain mean of its readings of the primary metric; None where there is none to trust."""
        mean = None if run.verdict is Verdict.CRASH else run.mean(self._metric.name)
        return mean if mean is not None and math.isfinite(mean) else None

    def niche_of(self, run: Run) -> str:
        """`activation/tiny`; "" for a baseline, which changes nothing."""
        return "" if run.generation == 0 else f"{family(run)}/{size(run)}"

    def elite(self, niche: str) -> Run | None:
        """The best run of a niche, the earliest of equals; None while it is empty."""
        return self._elites.get(niche)

    @property
    def niches(self) -> int:
        """How many there can be."""
        return len(FAMILIES) * len(SIZES)

    def elites(self) -> list[Run]:
        """Every niche's elite, best first, the earliest of equals first. At most 39."""
        return sorted(self._elites.values(), key=lambda run: (-self._metric.gain(self._value(run), 0.0), run.seq))


def size(run: Run) -> str:
    """How much it changed of its first parent: "tiny", "small" or "large"."""
    lines = sum(run.lines)
    return "tiny" if lines <= TINY else "small" if lines <= SMALL else "large"


def family(run: Run) -> str:
    """The family of its change, one of `FAMILIES`: by its category, or by the first constant that it moved."""
    named = family_of(run.change)
    if named != OTHER:
        return named
    return next((_FAMILY_OF_ROLE[m.family] for m in run.moves if m.family in _FAMILY_OF_ROLE), OTHER)


@lru_cache(maxsize=1024)
def family_of(change: str) -> str:
    """The family of a category in free text: "widen layers" is capacity, gibberish is other."""
    words = re.findall("[a-z]+", change[:_READ].lower())
    return next((name for name, stems in _STEMS.items() if any(word.startswith(stems) for word in words)), OTHER)
