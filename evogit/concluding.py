"""What a campaign comes to, from its evidence alone: asked, tried, helped, failed, broke, cost, next. The same history says the same.

It draws no picture, asks no model and knows no run's files. A gain is given with its interval and with how well it is confirmed; where
the noise is not known, it says so and gives no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from evogit import present
from evogit.domain.belief import Ruler
from evogit.domain.idea import IdeaStatus
from evogit.domain.metric import Metric
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.search.memory import Memory
from evogit.search.topics import in_words

WIDE = 1.96  # standard deviations to either side of a believed gain: 95 % of it
NO_LOSER = "No kind of change lost often enough to say so."
MOST = 8  # entries of a list: a conclusion is read, not searched


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one category of change."""

    category: str
    runs: int = 0
    keeps: int = 0
    crashes: int = 0  # those that a gate refused are among them


class Helped(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the incumbent's lineage. Gains are in the primary metric's unit, positive is better."""

    run: str  # label
    summary: str
    category: str
    verdict: str
    gain: float | None  # over its first parent: believed where the noise is known, else as it was read
    interval: tuple[float, float] | None  # 95 %, of the belief; None while the noise is not known
    standing: str  # "certified", "provisional", "unconfirmed"; "" for a run that never was incumbent


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """What did not help, or is held to be so."""

    statement: str
    runs: tuple[str, ...]
    kind: str  # "dead end" or "conjecture"


class Broke(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, however often it struck."""

    fault: str
    runs: int
    first: str
    last: str


class CampaignConclusion(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, in the order in which it is read."""

    campaign: str
    question: str
    metric: Metric
    runs: int
    baseline: str  # label, "" before one has a number
    incumbent: str
    before: float | None  # primary metric of the baseline: believed where the noise is known, else as it was read
    after: float | None
    gain: float | None  # of the incumbent over the baseline
    interval: tuple[float, float] | None  # 95 %
    standing: str
    tried: tuple[Tried, ...]
    helped: tuple[Helped, ...]  # oldest first
    believed: tuple[Failed, ...]  # conjectures that something helps
    failed: tuple[Failed, ...]
    broke: tuple[Broke, ...]
    noise: float  # one standard deviation between seeds, 0.0 if unknown or none
    ruler: Ruler
    seconds: float
    cost_usd: float | None  # None where a part is not known
    known_usd: float  # the part that is
    unpriced: int  # calls of models whose price is not known
    next: tuple[str, ...]


def conclude(memory: Memory, runs: Sequence[Run], goal: str = "") -> CampaignConclusion:
    """The conclusion of a campaign. `runs`: all of them; those of older epochs count as tried and paid for only. O(runs); raises nothing.

    goal: text of the problem's goal file, "" if there is none. Queued ideas are named if `memory.ideas` was told of them.
    """
    metric, first, last = memory.problem.primary, memory.baseline, memory.incumbent
    before, after = _value(memory, first), _value(memory, last)
    moved = last is not None and first is not None and last.commit != first.commit
    gain = metric.gain(after, before) if moved and before is not None and after is not None else None
    known, unpriced = math.fsum(r.cost_usd for r in runs), sum(r.unpriced for r in runs)
    return CampaignConclusion(
        campaign=runs[-1].campaign if runs else "",
        question=question(goal, memory.problem.name),
        metric=metric,
        runs=len(runs),
        baseline=first.label if first and first.is_measured else "",
        incumbent=last.label if last else "",
        before=before,
        after=after,
        gain=gain,
        interval=_interval(memory, gain, *(b.variance for r in (first, last) if r and (b := memory.belief(r.commit)))),
        standing=memory.certification.status(last.commit) if last and moved else "",
        tried=_tried(runs),
        helped=_helped(memory),
        believed=tuple(_conjectures(memory, helps=True)),
        failed=tuple(_failed(memory)),
        broke=tuple(_broke(memory)),
        noise=memory.spread.std,
        ruler=memory.spread.ruler,
        seconds=math.fsum(r.seconds for r in runs),
        cost_usd=None if unpriced else known,
        known_usd=known,
        unpriced=unpriced,
        next=tuple(_next(memory))[:MOST],
    )


def question(goal: str, name: str) -> str:
    """First heading of the goal, else its first line, else the problem's name."""
    lines = [line.strip() for line in goal.splitlines() if line.strip()]
    heading = next((line for line in lines if line.startswith("#")), lines[0] if lines else name)
    return present.clean(heading.lstrip("#"))[:200] or name


def _value(memory: Memory, run: Run | None) -> float | None:
    if run is None:
        return None
    belief = memory.belief(run.commit) if memory.spread.ruler is Ruler.NOISY else None
    return belief.mean if belief is not None else run.mean(memory.problem.primary.name)


def _interval(memory: Memory, gain: float | None, *variances: float) -> tuple[float, float] | None:
    """Around a believed gain; two runs' variances are added, as if their beliefs were independent, which is the wider reading."""
    if gain is None or memory.spread.ruler is not Ruler.NOISY or not variances:
        return None
    half = WIDE * math.sqrt(sum(variances))
    return (gain - half, gain + half)


def _tried(runs: Iterable[Run]) -> tuple[Tried, ...]:
    tally: dict[str, list[int]] = {}
    for run in runs:
        if run.generation:
            counts = tally.setdefault(present.clean(run.change) or run.emitter, [0, 0, 0])
            counts[0] += 1
            counts[1] += run.is_kept
            counts[2] += run.verdict in (Verdict.CRASH, Verdict.REJECT)
    ranked = sorted(tally.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(Tried(category=name, runs=n, keeps=kept, crashes=bad) for name, (n, kept, bad) in ranked)


def _helped(memory: Memory) -> tuple[Helped, ...]:
    """First parents from the incumbent back to its baseline, the baseline left out."""
    steps: list[Helped] = []
    run, seen = memory.incumbent, set()
    while run is not None and run.parents and run.commit not in seen:
        seen.add(run.commit)
        belief = memory.belief(run.commit) if memory.spread.ruler is Ruler.NOISY else None
        gain = belief.gain if belief is not None else memory.gain(run)
        steps.append(
            Helped(
                run=run.label,
                summary=present.clean(run.summary),
                category=present.clean(run.change),
                verdict=run.verdict.value,
                gain=gain,
                interval=_interval(memory, gain, *([belief.gain_variance] if belief else [])),
                standing=memory.certification.status(run.commit),
            )
        )
        run = memory.parent_of(run)
    return tuple(reversed(steps))


def _conjectures(memory: Memory, *, helps: bool) -> Iterable[Failed]:
    """Those that stand, strongest first; several keys that rest on the same runs are one observation, told once, by the most special key."""
    told: set[tuple[str, ...]] = set()
    for one in sorted(memory.conjectures.standing(), key=lambda c: (-abs(c.z), c.key.startswith("change:"), c.key)):
        if one.helps is helps and one.for_ not in told:
            told.add(one.for_)
            yield Failed(statement=present.clean(one.statement), runs=one.for_, kind="conjecture")


def _failed(memory: Memory) -> Iterable[Failed]:
    ends = memory.dead_ends.closed()[:MOST]
    yield from (Failed(statement=present.clean(end.statement), runs=end.runs, kind="dead end") for end in ends)
    told = {end.runs for end in ends}
    yield from [one for one in _conjectures(memory, helps=False) if one.runs not in told][:MOST]


def _broke(memory: Memory) -> Iterable[Broke]:
    for fault in memory.faults.signatures()[:MOST]:
        of = fault.signature
        where = f" in {of.where}" if of.where else ""
        yield Broke(fault=present.clean(f"{of.kind}{where}: {of.message}"), runs=fault.count, first=fault.first, last=fault.last)


def _next(memory: Memory) -> Iterable[str]:
    """What would teach most now: first what makes the numbers trustworthy, then what people and reviewers asked for, then leads."""
    last = memory.incumbent
    if last is None:
        yield "measure the untouched code: `evogit baseline`"
        return
    if memory.spread.ruler is Ruler.UNKNOWN:
        yield "measure the noise, no gain can be told from luck without it: `evogit baseline --seeds 5`"
    elif last.parents and memory.certification.status(last.commit) != "certified":
        yield f"confirm run {last.label} on fresh seeds: `evogit certify {last.label}`"
    for idea, _, _ in memory.ideas.all(IdeaStatus.QUEUED)[: MOST // 2]:
        yield f"{present.clean(idea.mutation_type)}: {present.clean(idea.description)} (by {present.clean(idea.by)})"
    for one in sorted(memory.conjectures.standing(), key=lambda c: -abs(c.z))[:3]:
        if one.helps:
            yield f"more of {in_words(one.key)}: it helped in {_runs(one.for_)}"
    for miss in list(memory.near_misses)[: -3 - 1 : -1]:
        yield f"replicate run {miss.label}, a near miss: {present.clean(miss.summary)}"
    for opened in memory.dead_ends.reopened()[-2:]:
        yield f"{present.clean(opened.dead_end.statement)}: worth another try, {present.clean(opened.because)}"


# as Markdown -------------------------------------------------------------------------------------------------------------


def markdown(said: CampaignConclusion) -> str:
    """The conclusion as a document, its last line ended."""
    parts = [
        [f"# Conclusion of campaign {said.campaign}" if said.campaign else "# Conclusion", "", *_answer(said)],
        ["## What was tried", "", *_tried_lines(said)],
        ["## What helped", "", *_helped_lines(said)],
        ["## What did not", "", *_list((f"{_line(f.statement)} ({f.kind}; {_runs(f.runs)})" for f in said.failed), NO_LOSER)],
        ["## What broke", "", *_list(f"{_line(b.fault)} ({present.plural(b.runs, 'run')}, {_span(b)})" for b in said.broke)],
        ["## Noise and cost", "", *_noise(said)],
        ["## What to try next", "", *_list(map(_line, said.next))],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _answer(said: CampaignConclusion) -> list[str]:
    name = said.metric.name
    lines = [f"Question: {_line(said.question)}", f"Metric: {name}, {said.metric.direction.value}.", ""]
    if said.before is None or said.after is None:
        return [*lines, "Nothing was measured yet."]
    if said.gain is None:
        value = present.number(said.before)
        return [*lines, f"No change beat the baseline (run {said.baseline}, {name} {value}) in {present.plural(said.runs, 'run')}."]
    answer = (
        f"Run {said.incumbent} takes {name} from {present.number(said.before)} to {present.number(said.after)}: "
        f"better by {_gain(said.gain, said.interval)}{_word(said.standing)}."
    )
    return [*lines, answer]


def _tried_lines(said: CampaignConclusion) -> list[str]:
    if not said.tried:
        return ["Nothing beside the baseline."]
    rows = [f"| {_line(t.category)} | {t.runs} | {t.keeps} | {t.crashes} |" for t in said.tried]
    return ["| category | runs | kept | crashed or refused |", "|---|---|---|---|", *rows]


def _helped_lines(said: CampaignConclusion) -> list[str]:
    steps = [
        f"run {h.run}, {_line(h.summary)}: {_gain(h.gain, h.interval)}{_word(h.standing or 'not kept by itself')}" for h in said.helped
    ]
    beliefs = [f"{_line(b.statement)} (conjecture; {_runs(b.runs)})" for b in said.believed[:MOST]]
    head = [
        f"Steps from run {said.baseline} to run {said.incumbent}, each against its parent; a gain whose interval holds 0 may be luck.",
        "",
    ]
    return [*(head if steps and said.interval else []), *_list([*steps, *beliefs], "Nothing yet.")]


def _noise(said: CampaignConclusion) -> list[str]:
    spread = {
        Ruler.UNKNOWN: "The noise between seeds is not known: no run was measured under two seeds.",
        Ruler.EXACT: "Seeds change nothing: numbers are compared plainly.",
        Ruler.NOISY: f"One standard deviation between seeds is {said.noise:.3g} of {said.metric.name}.",
    }[said.ruler]
    paid = f" and cost {present.dollars(said.known_usd, said.unpriced)}" if said.known_usd or said.unpriced else ""
    return _list([spread, f"{present.plural(said.runs, 'run')} took {present.duration(said.seconds)} of trials{paid}."])


def _gain(gain: float | None, interval: tuple[float, float] | None) -> str:
    if gain is None:
        return "no number to compare with"
    return f"{gain:.3g}" + (f" (95 % from {interval[0]:.3g} to {interval[1]:.3g})" if interval else " (as it was read)")


def _word(standing: str) -> str:
    return f", {standing}" if standing else ""


def _span(broke: Broke) -> str:
    return f"run {broke.first}" if broke.first == broke.last else f"from run {broke.first} to run {broke.last}"


def _runs(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:MOST]) + (" ..." if len(labels) > MOST else "")
    return f"run{'s' * (len(labels) != 1)} {shown}"


def _list(items: Iterable[str], empty: str = "Nothing.") -> list[str]:
    return [f"- {item}" for item in items] or [empty]


def _line(text: str) -> str:
    """Text that cannot end a table's cell or begin a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")
