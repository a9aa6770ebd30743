"""The state of a campaign and the next assignment, as a session is told them: a few lines of plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evogit.hooks.autonomy import Autonomy
from evogit.present import clean, number, plural, task_rows

if TYPE_CHECKING:
    from evogit.domain.run import Run
    from evogit.lab import Lab

FRONTIER = 4  # runs


def state(lab: Lab, wish: Autonomy | None) -> str:
    """The campaign at a glance, for the beginning of a session. Some 100 ms."""
    status, problem = lab.status(), lab.problem
    name, tag = status.metric.name, status.campaign
    lines = [f"evogit campaign {tag}, problem {status.problem}: {plural(status.runs, 'run')}; {name}, {status.metric.direction.value}"]
    if status.baseline is not None and status.incumbent is not None:
        noise = f", one standard deviation between seeds is {number(status.spread)}" if status.spread else ""
        lines.append(f"baseline: {_run(status.baseline, name)}; incumbent: {_run(status.incumbent, name)}{noise}")
        lines.append("frontier: " + "; ".join(_run(run, name) for run in lab.frontier()[:FRONTIER]))
        lines.append(
            f"next: `evogit next --tag {tag}` gives the assignment; edit; `evogit submit --tag {tag} -m TEXT` measures and records it"
        )
    else:
        lines.append(f"next: measure the baseline with `evogit baseline --tag {tag}`")
    lines.append(
        f"only {', '.join(problem.mutable)} may change{f' (in {problem.folder})' if problem.folder else ''}; evogit alone commits to {status.branch.removeprefix('refs/heads/')}"
    )
    if wish is not None and wish.campaign in ("", tag):
        lines.append(wish.words(status.runs))
    return "\n".join(lines)


def _run(run: Run, metric: str) -> str:
    return f"run {run.label} {number(run.mean(metric))} ({clean(run.summary)})"


def assignment(lab: Lab, wish: Autonomy, runs: int) -> str:
    """What to do instead of stopping. Raises EvogitError where the search has nothing."""
    task = lab.next()
    rows = "\n".join(f"{title}: {text}" for title, text in task_rows(task))
    return f"evogit: {wish.words(runs)}. The next assignment (`evogit next --tag {lab.tag}` shows all of it):\n{rows}"
