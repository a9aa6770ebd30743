"""A briefing as plain values, for programs that read JSON, and as text. Pure.

`as_object` gives an object with these keys; numbers are in the metric's own unit, a run is null where there is none:

goal         text of the goal file
contract     problem, folder, mutable (globs), command, requires, metrics (name, direction, min_delta), constraints, train_s, timeout_s
assignment   emitter, instruction, change, niche, aims (gene, value), forecast (mean, spread, or null), merge
sources      path -> text of the mutable files to start from
parent       the run that is mutated
siblings     runs made from the same parent, newest first
contrast     null, or a past change to look at: run, gain, before and after (path -> text)
attempts     what this assignment was answered with before: refusal, files
lore         baseline, incumbent, spread, frontier, elites (niche, run), near_misses, conjectures, dead_ends, crashes, ideas, runs, left

A run has: run (its label), verdict, reason, emitter, change, summary, hypothesis, metrics (name -> mean), readings (of the
primary metric, by its name -> list), crash. It tells nothing that a candidate printed but the cleaned line of its crash.
"""

from __future__ import annotations

from typing import Any

from evogit.agents.packet import render
from evogit.domain.briefing import Briefing
from evogit.domain.problem import Problem
from evogit.domain.run import Run
from evogit.programs.speech import one_line


def as_object(briefing: Briefing) -> dict[str, Any]:
    """The briefing as values that JSON has. O(its size)."""
    plan, lore, contrast = briefing.plan, briefing.lore, briefing.contrast
    name = briefing.problem.primary.name

    def told(run: Run | None) -> dict[str, Any] | None:
        return None if run is None else _run(run, name)

    return {
        "goal": briefing.goal,
        "contract": _contract(briefing.problem),
        "assignment": {
            "emitter": plan.emitter,
            "instruction": plan.instruction,
            "change": plan.change,
            "niche": plan.niche,
            "aims": [{"gene": aim.gene, "value": aim.value} for aim in plan.aims],
            "forecast": {"mean": plan.forecast.mean, "spread": plan.forecast.spread} if plan.forecast else None,
            "merge": plan.merge,
        },
        "sources": dict(briefing.sources),
        "parent": told(briefing.parent),
        "siblings": [told(run) for run in briefing.siblings],
        "contrast": contrast
        and {"run": contrast.run, "gain": contrast.gain, "before": dict(contrast.before), "after": dict(contrast.after)},
        "attempts": [{"refusal": attempt.refusal, "files": dict(attempt.files)} for attempt in briefing.attempts],
        "lore": {
            "baseline": told(lore.baseline),
            "incumbent": told(lore.incumbent),
            "spread": lore.spread,
            "frontier": [told(run) for run in lore.frontier],
            "elites": [{"niche": niche, "run": told(run)} for niche, run in lore.elites],
            "near_misses": [told(run) for run in lore.near_misses],
            **{part: list(getattr(lore, part)) for part in ("conjectures", "dead_ends", "crashes", "ideas")},
            "runs": lore.runs,
            "left": lore.left,
        },
    }


def as_text(briefing: Briefing) -> str:
    """The packet that models are told, without what it says of our tools."""
    return render(briefing, by_tools=False).text


def _contract(problem: Problem) -> dict[str, Any]:
    return {
        "problem": problem.name,
        "folder": problem.folder,
        "mutable": list(problem.mutable),
        "command": problem.command,
        "requires": list(problem.requires),
        "metrics": [{"name": m.name, "direction": m.direction.value, "min_delta": m.min_delta} for m in problem.metrics],
        "constraints": list(problem.decide.constraints),
        "train_s": problem.budget.train_s,
        "timeout_s": problem.budget.timeout_s,
    }


def _run(run: Run, primary: str) -> dict[str, Any]:
    return {
        "run": run.label,
        "verdict": run.verdict.value,
        "reason": one_line(run.reason),
        "emitter": run.emitter,
        "change": run.change,
        "summary": run.summary,
        "hypothesis": run.hypothesis,
        "metrics": run.means,
        "readings": {primary: list(run.readings.get(primary, ()))},
        "crash": one_line(run.crash),
    }
