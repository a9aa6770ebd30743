"""What to try after a run: constants by name and value, parts by name, each with a priority. It claims no more than the numbers do."""

from __future__ import annotations

from evogit.domain.belief import Ruler
from evogit.domain.change import Move, MoveValue
from evogit.domain.review import Recommendation, ReviewBrief
from evogit.reviewers.heuristic.judgement import Judgement
from evogit.reviewers.heuristic.parts import Part, in_words, short_name
from evogit.search.ranges import plausible

MOST = 3
_MOST = 1e15  # beyond it a constant is a sentinel, and has no next value


def next_steps(brief: ReviewBrief, found: Judgement, parts: list[Part], responsible: Part | None) -> tuple[Recommendation, ...]:
    """At most MOST of them, the most wanted first."""
    ideas = [*_along(brief, found, parts, responsible), *_look_closer(brief, found, parts, responsible), *_tidy(brief, found)]
    return tuple(sorted(ideas, key=lambda idea: -idea.priority)[:MOST])


def _along(brief: ReviewBrief, found: Judgement, parts: list[Part], responsible: Part | None) -> list[Recommendation]:
    """Further where it helped, the other way where it hurt; nothing where nothing was seen."""
    if not found.gain or (found.gain < 0 and not found.is_clear):
        return []
    one = responsible or (parts[0] if len(parts) == 1 else None)
    helped = found.gain > 0
    priority = (0.7 if found.is_clear else 0.5) if helped else 0.5
    if one is not None and one.move is not None:
        to = step_on(one.move) if helped else step_back(one.move)
        if to is not None:
            return [_idea(brief, one.move, to, helped=helped, found=found, priority=priority)]
    what = one.name if one is not None else brief.summary or "the last change"
    if helped:
        step = "the same direction again, another step" if found.is_clear else "the same change, twice as far"
        return [
            Recommendation(mutation_type=_kind(brief), description=f"{step}: {what}", expected_benefit="the gain may go on", priority=0.6)
        ]
    benefit = "it moved the metric, the wrong way"
    return [Recommendation(mutation_type=_kind(brief), description=f"the opposite of: {what}", expected_benefit=benefit, priority=0.4)]


def _idea(brief: ReviewBrief, move: Move, to: MoveValue, *, helped: bool, found: Judgement, priority: float) -> Recommendation:
    start = move.new if helped else move.old
    verb = {1: "raise", -1: "lower"}[1 if to > start else -1]  # type: ignore[operator]
    how = f"the same direction: {verb} {short_name(move)} further" if helped else f"the opposite: {verb} {short_name(move)} instead"
    size = f"{abs(found.gain):.2g} of {brief.primary.name}"
    return Recommendation(
        mutation_type=_kind(brief),
        description=f"{how}: {in_words(start)} -> {in_words(to)} ({short_name(move)} = {in_words(to)})",
        expected_benefit=f"up to {size}, if the trend goes on" if helped else f"the step the other way lost {size}",
        priority=priority,
    )


def _look_closer(brief: ReviewBrief, found: Judgement, parts: list[Part], responsible: Part | None) -> list[Recommendation]:
    ideas = []
    this = f"run {brief.label}" if brief.label else "this run"
    if len(parts) > 1 and (found.is_clear or found.gain > 0):
        one = responsible or parts[0]
        rest = len(parts) - 1
        of = f"without the other {rest} parts of {this}" if rest > 1 else f"without the other part of {this}"
        why = "less code for the same gain" if found.gain > 0 else "the other parts may be worth having"
        what = f"isolate {one.name}: it alone, {of}" if found.gain > 0 else f"leave out {one.name}: the rest of {this} without it"
        kind = "anomaly" if found.gain > 0 else _kind(brief)
        ideas.append(Recommendation(mutation_type=kind, description=what, expected_benefit=why, priority=0.65 if responsible else 0.45))
    chance = found.p_gain
    if found.ruler is Ruler.NOISY and chance is not None and 0.2 <= chance <= 0.9:
        why = f"the probability of a gain is {chance:.2f}: another reading decides"
        ideas.append(
            Recommendation(mutation_type="replicate", description=f"replicate {this} under fresh seeds", expected_benefit=why, priority=0.6)
        )
    elif found.ruler is Ruler.UNKNOWN and found.gain > 0:
        why = "no noise is known yet, so a gain may be luck"
        ideas.append(
            Recommendation(mutation_type="replicate", description=f"replicate {this} under fresh seeds", expected_benefit=why, priority=0.6)
        )
    return ideas


def _tidy(brief: ReviewBrief, found: Judgement) -> list[Recommendation]:
    if found.is_clear or found.gain > 0:
        return []
    added, removed = brief.lines
    what, worth = brief.summary or "the last change", f"{added - removed} lines less" if added > removed else "less code"
    return [Recommendation(mutation_type="simplification", description=f"leave out: {what}", expected_benefit=worth, priority=0.3)]


def step_on(move: Move) -> MoveValue | None:
    """The value one such step beyond the new one: the same ratio again, or the same difference where there is no ratio. None without one."""
    return _step(move.old, move.new, move.family)


def step_back(move: Move) -> MoveValue | None:
    """The value one such step on the other side of the old one; None where there is none."""
    return _step(move.new, move.old, move.family)


def _step(start: MoveValue, end: MoveValue, family: str) -> MoveValue | None:
    if isinstance(start, (bool, str, tuple)) or isinstance(end, (bool, str, tuple)) or start == end:
        return None
    if not 0 < max(abs(start), abs(end)) < _MOST:
        return None
    to = plausible(end * (end / start) if start > 0 and end > 0 else end + (end - start), end, start, family)
    if to is None or abs(to) >= _MOST:
        return None
    if isinstance(start, int) and isinstance(end, int):
        whole = round(to) if round(to) != end else end + (1 if end > start else -1)
        return None if whole <= 0 < end else whole
    to = float(f"{to:.6g}")
    return to if to != end else None


def _kind(brief: ReviewBrief) -> str:
    return brief.change or "hyperparameter"
