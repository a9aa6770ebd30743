"""What campaigns cost, summed from the ledger: models, the backend, and what each kept improvement came to. It asks no price.

What nobody knows is counted and told, never taken for zero. Only the sum by model opens artifacts, where calls stand one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from evogit.domain.report import Bill, Costs
from evogit.domain.run import Again, Run
from evogit.domain.usage import Call, Spent, spent
from evogit.git import artifacts
from evogit.git.history import History
from evogit.git.repository import Repository

WAYS = ("campaign", "agent", "emitter", "verdict", "model")
CALLS = "calls.jsonl"
_CALL = msgspec.json.Decoder(Call)


def costs(repo: Repository, histories: Iterable[History], by: str) -> Costs:
    """The bill of some campaigns in the lines that `by` (one of WAYS) asks for, the dearest first."""
    read = list(histories)
    name = read[0].tag if len(read) == 1 and by != "campaign" else ""
    if by == "model":
        return _by_model(repo, read, name)
    groups: dict[str, list[Run | Again]] = {}
    for history in read:
        for lesson in history.lessons():
            groups.setdefault(_group(lesson, by, history.tag), []).append(lesson)
    lines = [_sum(group, lessons) for group, lessons in groups.items()]
    return Costs(by=by, campaign=name, lines=_ranked(lines), total=_sum("total", (one for h in read for one in h.lessons())))


def _group(lesson: Run | Again, by: str, tag: str) -> str:
    if by == "campaign":
        return tag
    if isinstance(lesson, Again):
        return (getattr(lesson, by, "") if by != "verdict" else "") or lesson.purpose
    if by == "verdict":
        return lesson.verdict.value
    return getattr(lesson, by) if lesson.parents else "baseline"


class Sum:
    """A bill as it grows."""

    def __init__(self) -> None:
        self._runs = self._kept = self._readings = 0
        self._models, self._compute = Spent(), 0.0

    def take(self, lesson: Run | Again) -> None:
        """The next lesson of the ledger. 1 us."""
        if isinstance(lesson, Run):
            self._runs += 1
            self._kept += lesson.is_kept and bool(lesson.parents)
            self._compute += lesson.cost_usd - lesson.spent.usd
        else:
            self._readings += 1
            self._compute += sum(line.cost_usd for line in lesson.lines)
        if lesson.spent.calls:
            self._models += lesson.spent

    def bill(self, name: str) -> Bill:
        """What it comes to until now."""
        models = _even(self._models)
        return Bill(name=name, runs=self._runs, kept=self._kept, readings=self._readings, spent=models, compute_usd=round(self._compute, 9))


def _sum(name: str, lessons: Iterable[Run | Again]) -> Bill:
    total = Sum()
    for lesson in lessons:
        total.take(lesson)
    return total.bill(name)


def _even(models: Spent) -> Spent:
    """Without the dust of sums of dollars that binary fractions cannot hold."""
    return msgspec.structs.replace(models, usd=round(models.usd, 9))


def _by_model(repo: Repository, histories: list[History], name: str) -> Costs:
    calls: dict[str, list[Call]] = {}
    runs: dict[str, dict[str, bool]] = {}  # model -> run -> is it a kept improvement
    absent = 0
    for history in histories:
        for run in _paid(history):
            found = list(_calls_of(repo, history.tag, run))
            absent += not found
            for call in found:
                model = call.model or call.hand
                calls.setdefault(model, []).append(call)
                runs.setdefault(model, {})[run.commit] = run.is_kept and bool(run.parents)
    lines = [Bill(name=m, runs=len(runs[m]), kept=sum(runs[m].values()), spent=_even(spent(c))) for m, c in calls.items()]
    everyone = {commit: kept for of in runs.values() for commit, kept in of.items()}
    everything = Bill(name="total", runs=len(everyone), kept=sum(everyone.values()), spent=spent(c for cs in calls.values() for c in cs))
    return Costs(by="model", campaign=name, lines=_ranked(lines), total=everything, absent=absent)


def _paid(history: History) -> Iterator[Run]:
    """Runs on whose behalf a model was asked, each once."""
    paid = {(one.commit if isinstance(one, Run) else one.of): None for one in history.lessons() if one.spent.calls}
    return (history.by_commit[commit] for commit in paid)


def _calls_of(repo: Repository, tag: str, run: Run) -> Iterator[Call]:
    """Calls among a run's artifacts, those of its replicates included."""
    for path in artifacts.listing(repo, tag, run.commit):
        if path == CALLS or (path.startswith("replicate-") and path.endswith(f"/{CALLS}")):
            for line in (artifacts.read(repo, tag, run.commit, path) or b"").splitlines():
                yield _CALL.decode(line)


def _ranked(lines: Iterable[Bill]) -> tuple[Bill, ...]:
    return tuple(sorted(lines, key=lambda bill: (-bill.usd, -bill.spent.unpriced, bill.name)))
