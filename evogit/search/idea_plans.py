"""From an idea in words to a plan: who carries it out, from which run, with which operators where the worker has no ears.

It understands types, the names of constants with a value (`LR = 0.003`), and words of direction about the source run. What
it does not understand it hands on: the description is the instruction, and a worker that reads acts on that.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable

import msgspec

from evogit.domain.change import Move, MoveValue
from evogit.domain.idea import Idea
from evogit.domain.plan import Aim, Plan
from evogit.domain.run import Run
from evogit.search import genes
from evogit.search.ideas import REPLICATE
from evogit.search.memory import Memory
from evogit.search.plans import mutate
from evogit.search.ranges import plausible

MOST_AIMS = 4

# The first pattern that the type holds, or else the description, names the role; each line also names what the offline agent does.
_ROLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"simplif|ablat|prun|smaller model|capacity_decrease|fewer param", "simplifier", ("remove_something", "neutralise", "halve_capacity")),
    (r"contrar|opposite|revers", "contrarian", ("reverse_change", "tune_far")),
    (r"schedul|warm-?up|cosine|annealing|cooldown", "optimizer_hacker", ("change_schedule",)),
    (r"optimi[sz]er|adam|sgd|rmsprop|lion\b|muon", "optimizer_hacker", ("swap_optimizer", "tune_optimizer")),
    (r"learning.rate|\blr\b|momentum|weight.decay|batch.?size|clip", "optimizer_hacker", ("tune_optimizer",)),
    (r"activation|gelu|relu|silu|swish", "architecture_mutator", ("swap_activation",)),
    (r"normali[sz]ation|\bnorm\b|batch.?norm|layer.?norm", "architecture_mutator", ("swap_norm",)),
    (r"pooling|\bpool\b", "architecture_mutator", ("swap_pooling",)),
    (r"initiali[sz]|\binit\b", "architecture_mutator", ("swap_init",)),
    (r"regulari[sz]|dropout|smoothing|augment", "architecture_mutator", ("insert_regulariser",)),
    (r"width|wider|narrow|hidden|channels|capacity", "architecture_mutator", ("change_width", "change_depth")),
    (r"depth|deeper|shallow|layer|block|residual", "architecture_mutator", ("change_depth", "change_width")),
    (r"architect|structur|model", "architecture_mutator", ("change_width", "swap_activation", "swap_norm", "change_depth")),
    (r"anomal|surpris|isolate", "anomaly_chaser", ("halve_step", "isolate_change")),
)
_PLAIN = ("local_tuner", ("tune_near", "tune_constant"))
_TUNING = frozenset({"hyperparameter", "tuning"})  # categories of what the plain role does

# What the words ask of the source run's own change. Order matters: "the same idea without the fault" mends, it leaves nothing out.
_WAYS: tuple[tuple[str, str], ...] = (
    (r"without the (fault|crash|error|bug)|smaller step|\bhalf\b|\bhalve\b", "half"),
    (r"\bopposite\b|\breverse\b|other way|other direction", "back"),
    (r"leave out|\bleaving out\b|take back|\bundo\b|\brevert\b|\bablate\b", "out"),
    (r"same (direction|change|way|move)|another step|twice as far|\bfurther\b", "further"),
)
_WAY_OPERATORS: dict[str, tuple[str, ...]] = {
    "half": ("halve_step", "isolate_change"),
    "back": ("reverse_change",),
    "out": ("reverse_change", "take_back"),
    "further": (),
}
_SETTING = re.compile(r"([A-Za-z_][\w.]*)\s*(?:=|:|\bto\b|\bof\b)?\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.%]*[A-Za-z%])")


# Numbers that words speak of without their name, by family; and which way words want them.
_SUBJECTS: dict[str, str] = {
    "lr": r"learning.rate|\blr\b|step size",
    "width": r"width|wider|narrower|hidden|channels",
    "depth": r"depth|deeper|shallower|layers",
    "batch": r"batch.?size",
    "dropout": r"dropout",
    "decay": r"weight.?decay|\bl2\b",
    "momentum": r"momentum",
    "steps": r"epochs|train longer|training steps|iterations",
}
_UP = re.compile(r"\b(increase|raise|larger|bigger|higher|more|up|wider|deeper|longer|double)\b")
_DOWN = re.compile(r"\b(decrease|lower|reduce|smaller|less|fewer|down|narrower|shallower|shorter|halve)\b")
_DIRECTED = 2.0  # the factor of a step of which the words say the direction alone


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was understood of an idea."""

    emitter: str
    operators: tuple[str, ...]
    way: str = ""  # what to do with the source's own change: "further", "back", "half", "out"; "" for none of them


def plan_for(memory: Memory, idea: Idea, rng: random.Random) -> Plan | None:
    """The plan that carries an idea out. None without a run that may be a parent (a baseline without a number).

    The parent is the idea's source where it may still be one (for a change taken back or halved: the run that it was made
    in), else the incumbent. `propensity` is 1: whoever chooses among ideas and emitters multiplies its own in.
    """
    understood, source = read(idea), memory.by_commit.get(idea.source)
    if idea.mutation_type == REPLICATE:
        return _replicate(memory, idea, source, rng) if source is not None else None
    parent = _parent(memory, understood.way, source)
    if parent is None:
        return None
    is_about = bool(understood.way) and source is not None and source.generation > 0
    named = _named(memory, parent, idea.description)
    aims = named or (_aims(understood.way, source) if is_about and source else _directed(memory, parent, idea.description))
    operators = () if named else _WAY_OPERATORS[understood.way] if is_about else understood.operators
    plan = mutate(
        memory,
        rng,
        understood.emitter,
        operators,
        idea.description,
        change=idea.mutation_type,
        parent=parent,
        contrast=source.commit if is_about and source else "",
        aims=aims,
    )
    return msgspec.structs.replace(plan, idea=idea.id) if plan is not None else None


def _replicate(memory: Memory, idea: Idea, source: Run, rng: random.Random) -> Plan:
    """The source measured once more, under a seed that it was not read under yet."""
    known = {seed for seed, _ in memory.spread.readings(source.commit)}
    seed = next((s for s in memory.problem.budget.seeds if s not in known), max(known, default=-1) + 1)
    return Plan(
        emitter="anomaly_chaser",
        parents=(source.commit,),
        replicate=True,
        seeds=(seed,),
        rng=rng.getrandbits(48),
        instruction=idea.description,
        contrast=source.commit,
        niche=REPLICATE,
        change=REPLICATE,
        forecast=memory.forecast((source.commit,)),
        idea=idea.id,
    )


def read(idea: Idea) -> Reading:
    """What role and which operators an idea speaks of, and what it wants done with its source's change. No operators: nobody can tell by rule."""
    kind, text = idea.mutation_type.casefold(), idea.description.casefold()
    way = next((way for pattern, way in _WAYS if re.search(pattern, text)), "")
    by_kind = next(((role, families) for pattern, role, families in _ROLES if re.search(pattern, kind)), None)
    by_text = [(role, families) for pattern, role, families in _ROLES if re.search(pattern, text)]
    is_plain = kind in _TUNING
    role = (by_kind or (by_text[0] if by_text and not is_plain else _PLAIN))[0]
    own = by_kind or (_PLAIN if is_plain and not by_text else (role, ()))
    families = (*_WAY_OPERATORS.get(way, ()), *(f for r, found in by_text if r == role or is_plain for f in found), *own[1])
    if way == "back":
        role = "contrarian"
    return Reading(emitter=role, operators=tuple(dict.fromkeys(families)), way=way)


def _parent(memory: Memory, way: str, source: Run | None) -> Run | None:
    pool = {run.commit for run in memory.pool()}
    wanted = memory.parent_of(source) if source is not None and way in {"back", "half"} and source.parents else source
    return wanted if wanted is not None and wanted.commit in pool else memory.incumbent


def _aims(way: str, source: Run) -> tuple[Aim, ...]:
    """The numbers that the source moved, moved as the words say."""
    step = _STEPS.get(way)
    if step is None:
        return ()
    aims = ((move.gene, _stepped(step, move)) for move in source.moves[:MOST_AIMS])
    return tuple(Aim(gene=gene, value=value) for gene, value in aims if value is not None)


def _directed(memory: Memory, parent: Run, text: str) -> tuple[Aim, ...]:
    """Numbers that the words name, by name or by kind, one step the way that they say; () where they say no way, both, or how far."""
    text = text.casefold()
    is_up = _UP.search(text) is not None
    if is_up == (_DOWN.search(text) is not None) or any(c.isdigit() for c in text):
        return ()
    spoken, kinds = set(re.findall(r"[a-z_]\w*", text)), {family for family, words in _SUBJECTS.items() if re.search(words, text)}
    found: list[Aim] = []
    for path, source in sorted(memory.sources(parent.commit).items()):
        for gene in genes.find(source, path) if path.endswith(".py") else ():
            if not _is_number(gene.value) or not gene.value or not (gene.short.casefold() in spoken or gene.family in kinds):
                continue
            value = plausible(gene.value * (_DIRECTED if is_up else 1 / _DIRECTED), gene.value, gene.value, gene.family)
            if value is not None:
                found.append(Aim(gene=f"{path}:{gene.name}", value=max(1, round(value)) if isinstance(gene.value, int) else value))
    return tuple(found[:MOST_AIMS])


def _stepped(step: Callable[[float, float], float], move: Move) -> int | float | None:
    """A new value for a number that moved: on the scale of its logarithm, near 1 on that of its distance from 1."""
    old, new = move.old, move.new
    if not (_is_number(old) and _is_number(new)) or old == new:
        return None
    if 0.5 <= min(old, new) and max(old, new) < 1:
        value = 1 - math.exp(step(math.log(1 - old), math.log(1 - new)))
    elif old * new > 0:
        value = math.copysign(math.exp(step(math.log(abs(old)), math.log(abs(new)))), old)
    else:
        value = step(old, new)
    base, other = (old, new) if abs(value - old) < abs(value - new) else (new, old)
    value = plausible(value, base, other, move.family)
    if value is None:
        return None
    value = round(value) if isinstance(old, int) and isinstance(new, int) else float(f"{value:.4g}")
    return None if value in (old, new) else value


_STEPS: dict[str, Callable[[float, float], float]] = {
    "further": lambda old, new: new + (new - old),
    "back": lambda old, new: old - (new - old),
    "half": lambda old, new: (old + new) / 2,
}


def _is_number(value: MoveValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _named(memory: Memory, parent: Run, text: str) -> tuple[Aim, ...]:
    """Constants of the parent that the words give a value to: `LR = 0.003`, `width to 64`."""
    settings = {name.casefold(): number for name, number in _SETTING.findall(text)}
    if not settings:
        return ()
    found: list[Aim] = []
    for path, source in sorted(memory.sources(parent.commit).items()):
        for gene in genes.find(source, path) if path.endswith(".py") else ():
            said = settings.get(gene.name.casefold()) or settings.get(gene.short.casefold())
            if said is None or not _is_number(gene.value):
                continue
            value = float(said)
            if value != gene.value and math.isfinite(value) and (not isinstance(gene.value, int) or value.is_integer()):
                found.append(Aim(gene=f"{path}:{gene.name}", value=int(value) if isinstance(gene.value, int) else value))
    return tuple(found[:MOST_AIMS])


def acted(plan: Plan, change: str) -> str:
    """The search role that a run belongs to: of an idea's, the one whose kind of change was made, whatever its words had let expect.

    change: the category that the worker gives its edit. A plan that is about another run's change stays with its role.
    """
    if not plan.idea or plan.contrast or plan.merge or plan.replicate:
        return plan.emitter
    kind = change.casefold()
    return next((role for pattern, role, _ in _ROLES if re.search(pattern, kind)), _PLAIN[0] if kind in _TUNING else plan.emitter)
