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

import importlib
import importlib.util
from typing import Any

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
    """The packet that models are told, where that module is here; else the same facts in fewer words."""
    if importlib.util.find_spec("evogit.agents.packet") is not None:
        return importlib.import_module("evogit.agents.packet").packet(briefing).text
    problem, plan = briefing.problem, briefing.plan
    name, parent = problem.primary.name, briefing.parent
    lines = ["# Goal", "", briefing.goal.strip(), "", "# Contract", ""]
    lines += [f"- only these files may change: {', '.join(problem.mutable)}; any other edit makes the run a reject"]
    lines += [f"- {problem.command} is run and measured; {m.name} is to {m.direction.value}" for m in problem.metrics]
    lines += [f"- keep {what}" for what in problem.requires]
    lines += ["", "# Tried from the same parent", ""]
    lines += [f"- {_in_words(run, name)}" for run in briefing.siblings] or ["- nothing yet"]
    if parent is not None:
        lines += ["", "# Parent", "", f"- {_in_words(parent, name)}"]
    for path, text in briefing.sources.items():
        lines += ["", f"## {path}", "", "```", text.rstrip("\n"), "```"]
    lines += ["", "# Assignment", "", f"As {plan.emitter}: {plan.instruction or plan.change or 'make one change'}"]
    lines += ["Make exactly one bounded change, and keep it simple."]
    lines += [f"An earlier answer was refused: {attempt.refusal}" for attempt in briefing.attempts]
    return "\n".join(lines) + "\n"


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


def _in_words(run: Run, primary: str) -> str:
    mean = run.mean(primary)
    number = f"{primary} {mean:.6g}" if mean is not None else one_line(run.crash or run.reason)
    return f"run {run.label}, {run.verdict.value}, {number}: {run.summary}"
