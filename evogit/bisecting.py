"""Where a metric got worse: which keep, beyond noise. git bisects the branch; this says which of its commits are good.

A commit of the branch stands for its incumbent, so the question is asked of readings that exist, and of new ones only where noise
leaves it open and a person pays for them. It assumes, as every bisection does, that what got worse stayed worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

from evogit.domain.metric import Metric
from evogit.domain.run import Run
from evogit.errors import UnknownName, UserError
from evogit.git import bisect
from evogit.git.campaign import Campaign
from evogit.git.history import History
from evogit.git.repository import Repository
from evogit.present import number

CLEAR = 2.0  # standard errors by which a run is worse: bad
CLOSE = 1.0  # within so many it is no worse: good; between the two nobody knows
MOST = 8  # readings of one run, then it stays open


class Bisected(msgspec.Struct, frozen=True, kw_only=True):
    """What a bisection found. Numbers are means over all readings, in the metric's unit."""

    metric: str
    good: Run
    bad: Run
    good_value: float
    bad_value: float
    noise: float  # one standard deviation between readings of one run, 0.0 if none was ever seen
    culprit: Run | None  # the run that became the incumbent there; None where it stays open
    culprit_value: float | None = None
    before: Run | None = None  # the incumbent before it
    before_value: float | None = None
    how: str = ""  # kind of the entry: decision, judge, join
    suspects: tuple[Run, ...] = ()  # where it stays open: one of these
    asked: int = 0  # commits that git looked at
    is_mixed: bool = False  # after the culprit it was well again for a while, so that there may be others


def find(
    repo: Repository, campaign: Campaign, name: str, *, good: str = "", bad: str = "", measure: Callable[[str], None] | None = None
) -> Bisected:
    """Bisect from a good incumbent (default: the epoch's baseline) to a bad one (default: the incumbent of now).

    measure: reads the run of that label once more and takes it into the campaign; None: what is open is skipped.
    Raises UnknownName, and UserError where there is nothing to find.
    """
    metric, history = _metric(campaign, name), campaign.history
    line = _line(repo, history)
    first, last = history.find(good or "baseline"), history.find(bad or "incumbent")
    low, high = (_reached(history, line, run, metric) for run in (first, last))
    if low >= high:
        hint = "`--good` names the older one of the two, `--bad` the newer"
        raise UserError(f"run {last.label} was not the incumbent after run {first.label}", hint=hint)
    settle = _settler(history, metric, first, measure)
    settle(last)
    if _answer(history, metric, first, last) != bisect.BAD:
        values = f"{number(_mean(history, first, metric))} in run {first.label}, {number(_mean(history, last, metric))} in run {last.label}"
        hint = "name other ends with --good and --bad, or read them again with --measure"
        raise UserError(f"{metric.name} is not worse beyond noise: {values}", hint=hint)
    span = dict(line[low : high + 1])
    ask = bisect.ASK if measure is not None else bisect.SKIP

    def answers(given_up: str = "") -> Mapping[str, int]:
        known = {run: _answer(history, metric, first, history.by_commit[run]) for run in set(span.values())}
        codes = {run: code if code is not None else bisect.SKIP if run == given_up else ask for run, code in known.items()}
        return {commit: codes[incumbent] for commit, incumbent in span.items()}

    def measured(commit: str) -> Mapping[str, int]:
        settle(history.by_commit[span[commit]])
        return answers(given_up=span[commit])

    found = bisect.run(repo, line[low][0], line[high][0], answers(), measured)
    told = _told(history, metric, (first, last), line, found)
    codes, commits = answers(), list(span)
    after = commits[commits.index(found.first_bad) :] if found.first_bad in span else []
    return msgspec.structs.replace(told, is_mixed=any(codes[commit] == bisect.GOOD for commit in after))


def _settler(history: History, metric: Metric, good: Run, measure: Callable[[str], None] | None) -> Callable[[Run], None]:
    """What reads a run again until noise leaves nothing open, a reading gives no number, or it has MOST of them."""

    def settle(run: Run) -> None:
        while measure is not None and _answer(history, metric, good, run) is None:
            count = len(_values(history, run, metric))
            if count < MOST:
                measure(run.label)
            if len(_values(history, run, metric)) == count:
                return

    return settle


def _metric(campaign: Campaign, name: str) -> Metric:
    metric = campaign.problem.metric(name)
    if metric is None:
        known = ", ".join(m.name for m in campaign.problem.metrics)
        raise UnknownName(f"the problem has no metric {name!r}", hint=f"it has: {known}")
    return metric


def _line(repo: Repository, history: History) -> list[tuple[str, str]]:
    """(commit, incumbent after it) down the first parents, oldest first."""
    found, name = [], history.tip
    while name in history.incumbents:
        found.append((name, history.incumbents[name]))
        name = next(iter(repo.parents(name)), "")
    return found[::-1]


def _reached(history: History, line: list[tuple[str, str]], run: Run, metric: Metric) -> int:
    """Where on the line the run became the incumbent for the last time. Raises UserError if it cannot be an end."""
    if run.epoch != history.epoch:
        hint = "both ends have to be of the current epoch"
        raise UserError(f"run {run.label} belongs to epoch {run.epoch}, whose numbers are compared with nothing now", hint=hint)
    if not _values(history, run, metric):
        raise UserError(f"run {run.label} has no {metric.name}", hint="name one that has: `evogit leaderboard`")
    starts = [i for i, (_, incumbent) in enumerate(line) if incumbent == run.commit and (i == 0 or line[i - 1][1] != incumbent)]
    if not starts:
        raise UserError(
            f"run {run.label} was never the incumbent, so the branch never had its code",
            hint="`evogit log --verdict keep` lists those that were",
        )
    return starts[-1]


def _values(history: History, run: Run, metric: Metric) -> tuple[float, ...]:
    """All its readings: those that decided it, and the replicates."""
    later = (line.metrics[metric.name] for line in history.replicates.get(run.commit, ()) if metric.name in line.metrics)
    return (*run.readings.get(metric.name, ()), *later)


def _mean(history: History, run: Run, metric: Metric) -> float | None:
    values = _values(history, run, metric)
    return math.fsum(values) / len(values) if values else None


def noise(history: History, metric: Metric) -> float:
    """Standard deviation between readings of one run, pooled over the runs of this epoch that have two or more; 0.0 without."""
    squares, freedom = 0.0, 0
    for run in history.runs:
        values = _values(history, run, metric) if run.epoch == history.epoch else ()
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares += math.fsum((v - mean) ** 2 for v in values)
            freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else 0.0


def _answer(history: History, metric: Metric, good: Run, run: Run) -> int | None:
    """Is the run worse than the good one beyond noise? GOOD, BAD, SKIP where it has no number, None where noise leaves it open."""
    mine, theirs = _values(history, run, metric), _values(history, good, metric)
    if not mine:
        return bisect.SKIP
    loss = -metric.gain(math.fsum(mine) / len(mine), math.fsum(theirs) / len(theirs))
    error = noise(history, metric) * math.sqrt(1 / len(mine) + 1 / len(theirs))
    if loss > max(CLEAR * error, metric.min_delta):
        return bisect.BAD
    return bisect.GOOD if loss <= max(CLOSE * error, metric.min_delta) else None


def _told(history: History, metric: Metric, ends: tuple[Run, Run], line: list[tuple[str, str]], found: bisect.Found) -> Bisected:
    places = {commit: at for at, (commit, _) in enumerate(line)}
    at = places.get(found.first_bad, -1)
    culprit = history.by_commit[line[at][1]] if at >= 0 else None
    before = history.by_commit.get(line[at - 1][1]) if at > 0 else None
    suspects = dict.fromkeys(line[places[c]][1] for c in sorted(found.suspects, key=lambda c: places.get(c, 0)) if c in places)
    judged = culprit is not None and any(said.entry == found.first_bad for said in culprit.judgements)
    return Bisected(
        metric=metric.name,
        good=ends[0],
        bad=ends[1],
        good_value=_mean(history, ends[0], metric) or 0.0,
        bad_value=_mean(history, ends[1], metric) or 0.0,
        noise=noise(history, metric),
        culprit=culprit,
        culprit_value=_mean(history, culprit, metric) if culprit else None,
        before=before,
        before_value=_mean(history, before, metric) if before else None,
        how="judge"
        if judged
        else "decision"
        if culprit is not None and history.by_decision.get(found.first_bad) == culprit.commit
        else "join",
        suspects=tuple(history.by_commit[commit] for commit in suspects),
        asked=found.asked,
    )
