"""A run told from beginning to end, as lines of pieces: what was expected, what came of it, what was made of that. Pure; it reads nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len

from evogit.domain.report import RunDetail
from evogit.domain.review import Review
from evogit.domain.run import Run
from evogit.domain.sight import Sight
from evogit.domain.trial import TrialLine
from evogit.present import clean, dollars, duration, number, places, plural, short, std
from evogit.tui import cells
from evogit.tui.book import Book
from evogit.tui.letters import Letters, Line
from evogit.tui.widgets.paper import folded

NAME = 12  # cells of a field's name
READING = 1000  # from here on attempts are those of a later reading
_SEED, _METRIC = 19, 12  # cells of a trial's seed and status, and of each metric
_COSTS = {"time": 11, "memory": 10}
_LATER = {"replicate": "read later", "certify": "certificate", "smoke": "smoke"}


def story(sight: Sight, book: Book, letters: Letters, width: int) -> list[Line]:
    """All of it, a section after the other; what is not there has no heading."""
    detail = sight.detail
    sections = [
        ("", _head(detail, book, letters, width)),
        ("prediction and outcome", _outcome(detail, book, letters, width)),
        ("numbers", _numbers(detail, book, letters, width)),
        ("review", [line for review in detail.reviews for line in _review(review, letters, width)]),
        ("next ideas", _ideas(detail.reviews, letters, width)),
        ("plan", _prose(detail.plan, letters, width)),
        ("what it rests on", _grounds(detail.run, letters, width)),
        ("cannot be shown", [piece for words in sight.unread for piece in _prose(words, letters, width, ink="warning")]),
    ]
    lines: list[Line] = []
    for title, body in sections:
        if body:
            lines += [[], [(title, "title")]] if title else []
            lines += body
    return lines


def _head(detail: RunDetail, book: Book, letters: Letters, width: int) -> list[Line]:
    run, kind = detail.run, book.kind(detail.run)
    said: Line = [(f"{letters[kind]} run {run.label}", kind), ("  ", ""), (letters.plain(clean(run.summary)), "title")]
    lines = folded(said, width, 2)
    verdict = cells.standing(book, run)
    if run.reason or run.crash:
        verdict.append((f": {letters.plain(clean(run.crash or run.reason))}", ""))
    found: list[tuple[str, Line]] = [("verdict", verdict)]
    found += [
        ("judged", [(f"{j.verdict.value} by {clean(j.by)}, was {j.was.value}: {clean(j.reason)}", "warning")]) for j in run.judgements
    ]
    if run.hypothesis:
        found.append(("hypothesis", [(letters.plain(clean(run.hypothesis)), "")]))
    found += [("parent" if i == 0 else "and", _parent(run, parent, book, letters)) for i, parent in enumerate(detail.parents)]
    by = f" / {run.agent}" + (f", {clean(run.change)}" if run.change else "") + (f", niche {clean(run.niche)}" if run.niche else "")
    found.append(("by", [(run.emitter, "name"), (letters.plain(by), "quiet")]))
    took = duration(run.seconds) + (f", {dollars(run.cost_usd, run.unpriced)}" if run.cost_usd or run.unpriced else "")
    found.append(("took", [(took, ""), (f", started {run.started[:16].replace('T', ' ')} UTC", "quiet")]))
    found.append(("commit", [(run.commit if width >= NAME + 40 else short(run.commit), "quiet")]))
    return [*lines, *fields(found, width)]


def _parent(run: Run, parent: Run, book: Book, letters: Letters) -> Line:
    line: Line = [(f"{parent.label}", "name"), (f" {short(parent.commit)}  ", "quiet")]
    line += cells.value(book, parent, book.metric.name, letters)
    gain = cells.gain(book.gain(run, parent), book.digits(book.metric.name), letters)
    return [*line, ("  here ", "quiet"), *gain] if gain[0][0] else line


def fields(found: Sequence[tuple[str, Line]], width: int) -> list[Line]:
    """Names on the left, what they say folded beside them."""
    lines: list[Line] = []
    for name, said in found:
        for i, line in enumerate(folded(said, max(10, width - NAME))):
            lines.append([((name if i == 0 else "").ljust(NAME), "quiet"), *line])
    return lines


def _prose(text: str, letters: Letters, width: int, ink: str = "") -> list[Line]:
    from evogit.present import clean_lines

    return [piece for line in clean_lines(text.strip()) for piece in folded([(letters.plain(line), ink)], width)] if text.strip() else []


# prediction and outcome -------------------------------------------------------------------------------------------------


def _outcome(detail: RunDetail, book: Book, letters: Letters, width: int) -> list[Line]:
    """Forecast, readings and parent on one scale, and how far apart they are in words."""
    run, name = detail.run, book.metric.name
    readings, mean = run.readings.get(name, ()), run.mean(name)
    parent = detail.parents[0].mean(name) if detail.parents and detail.parents[0].epoch == run.epoch else None
    noise, _ = book.noise(run, name)
    rows: list[tuple[str, float, float, str, tuple[float, ...]]] = []
    if run.forecast:
        rows.append(("forecast", run.forecast.mean, run.forecast.spread, "name", ()))
    if mean is not None:
        rows.append(("outcome", mean, noise, book.kind(run), readings))
    if parent is not None:
        rows.append(("parent", parent, book.noise(detail.parents[0], name)[0], "quiet", ()))
    if len(rows) < 2:
        return []
    lines = _strips(rows, book.digits(name), letters, width)
    if run.forecast and mean is not None:
        lines += folded([(" " * NAME, ""), (_surprise(run, mean, noise, book), "")], width, NAME)
    return lines


def _strips(rows: list[tuple[str, float, float, str, tuple[float, ...]]], digits: int, letters: Letters, width: int) -> list[Line]:
    """A line a row: a bar of one standard deviation around a mean, each reading a point."""
    ends = [value for _, mean, spread, _, points in rows for value in (mean - spread, mean + spread, *points)]
    low, high = min(ends), max(ends)
    texts = [f"{number(mean, digits)} {letters['plus-minus']}{number(spread, digits)}" for _, mean, spread, _, _ in rows]
    room = max(10, min(60, width - NAME - max(map(len, texts)) - 3))

    def at(value: float) -> int:
        return round((value - low) / (high - low) * (room - 1)) if high > low else room // 2

    lines: list[Line] = []
    for (name, mean, spread, ink, points), text in zip(rows, texts):
        bar = [" "] * room
        first, last = at(mean - spread), at(mean + spread)
        for x in range(first, last + 1):
            bar[x] = letters["across"]
        if last > first:
            bar[first], bar[last] = letters["bar-left"], letters["bar-right"]
        for value in points:
            bar[at(value)] = letters["point"]
        bar[at(mean)] = letters["front" if name == "outcome" else "keep"] if letters.unicode else "O"
        lines.append([(name.ljust(NAME), "quiet"), ("".join(bar), ink), (f"  {text}", "")])
    return lines


def _surprise(run: Run, mean: float, noise: float, book: Book) -> str:
    """How far the outcome is from the forecast, in words."""
    assert run.forecast is not None
    spread = math.hypot(run.forecast.spread, noise)
    if spread <= 0 or not math.isfinite(spread):
        return ""
    z = book.metric.gain(mean, run.forecast.mean) / spread
    if abs(z) < 1:
        return f"as predicted: {abs(z):.1f} standard deviations away"
    return f"{abs(z):.1f} standard deviations {'better' if z > 0 else 'worse'} than predicted"


# numbers ------------------------------------------------------------------------------------------------------------------


def _numbers(detail: RunDetail, book: Book, letters: Letters, width: int) -> list[Line]:
    """A line a trial, those that came later too; then mean and spread of those that it was judged by."""
    trials = (*detail.run.trials, *detail.extra_trials)
    if not trials:
        return []
    names = [m.name for m in book.metrics if any(m.name in t.metrics for t in trials)]
    each = max(1, (width - _SEED) // _METRIC)
    tables = [names[i : i + each] for i in range(0, len(names), each)] or [[]]
    lines: list[Line] = []
    for some in tables:
        lines += [[]] * bool(lines)
        lines += _table(detail.run, trials, some, letters, width, is_last=some is tables[-1])
    judged = sum(t.purpose == "select" for t in trials)
    if later := len(trials) - judged:
        words = f"the verdict is of the {plural(judged, 'reading')} above; {plural(later, 'later reading')} changed no verdict"
        lines += folded([(words, "quiet")], width)
    return lines


def _costs(room: int) -> tuple[str, ...]:
    """What each trial took, as far as there is room beside its metrics; the run's time stands above as well, and goes first."""
    both = _COSTS["time"] + _COSTS["memory"]
    return ("time", "memory") if room >= both else ("memory",) if room >= _COSTS["memory"] else ()


def _table(run: Run, trials: Sequence[TrialLine], names: Sequence[str], letters: Letters, width: int, *, is_last: bool) -> list[Line]:
    """A line a trial with some of the metrics, then mean and spread of those that the run was judged by. The last one has the rest of a trial."""
    costs = _costs(width - _SEED - _METRIC * len(names)) if is_last else ()
    digits = {name: _digits([t.metrics[name] for t in trials if name in t.metrics]) for name in names}
    head = f"{'seed':<9}{'status':<10}" + "".join(f"{name[:11]:>{_METRIC}}" for name in names) + "".join(f"{c:>{_COSTS[c]}}" for c in costs)
    lines: list[Line] = [[(head, "quiet")]]
    for trial in trials:
        lines += _trial(trial, digits, costs, _noted(trial, letters) if is_last else "", width)
    if names and sum(t.purpose == "select" for t in trials) > 1:
        means = "".join(f"{number(run.mean(name), digits[name]):>{_METRIC}}" for name in names)
        spreads = "".join(f"{number(std(run.readings.get(name, ())), digits[name]):>{_METRIC}}" for name in names)
        lines += [[(f"{'mean':<{_SEED}}", "quiet"), (means, "title")], [(f"{letters['plus-minus']:<{_SEED}}", "quiet"), (spreads, "quiet")]]
    return lines


def _digits(values: list[float]) -> int:
    return places(values, [] if all(float(v).is_integer() for v in values) else [std(values)])


def _noted(trial: TrialLine, letters: Letters) -> str:
    """What is to be said of a trial beside its numbers, "" for most."""
    attempt = trial.attempt % READING
    notes = [_LATER.get(trial.purpose, ""), clean(trial.arm), f"attempt {attempt}" if attempt > 1 else ""]
    if trial.crash:
        where = f" at {clean(trial.crash.where)}" if trial.crash.where else ""
        notes.append(f"{clean(trial.crash.kind)}: {clean(trial.crash.message)}{where}")
    return letters.plain(", ".join(note for note in notes if note))


def _trial(trial: TrialLine, digits: dict[str, int], costs: Sequence[str], note: str, width: int) -> list[Line]:
    """A trial's line; its note goes below where it does not fit beside."""
    ink = "" if trial.status.value == "ok" and trial.crash is None else "crash"
    numbers = "".join(f"{number(trial.metrics.get(name), d):>{_METRIC}}" for name, d in digits.items())
    said = {"time": duration(trial.seconds), "memory": f"{trial.peak_rss_mib} MiB" if trial.peak_rss_mib else "-"}
    line: Line = [(f"{trial.seed:<9}", "title"), (f"{trial.status.value:<10}", ink), (numbers, "")]
    line.append(("".join(f"{said[cost]:>{_COSTS[cost]}}" for cost in costs), "quiet"))
    if not note:
        return [line]
    if sum(cell_len(text) for text, _ in line) + 2 + cell_len(note) <= width:
        return [[*line, (f"  {note}", ink or "quiet")]]
    return [line, *([(" " * 9, ""), *piece] for piece in folded([(note, ink or "quiet")], max(10, width - 9)))]


# review -------------------------------------------------------------------------------------------------------------------


def _review(review: Review, letters: Letters, width: int) -> list[Line]:
    claims = "valid" if review.valid else "not valid"
    better = "an improvement" if review.is_improvement else "no improvement"
    head: Line = [(clean(review.reviewer), "name"), (f": {claims}, {better}, ", "")]
    head.append((f"{review.branch_recommendation.value.replace('_', ' ')}, confidence {review.confidence:.2f}", "quiet"))
    found: list[tuple[str, str]] = [("saw", review.observation), ("believes", review.next_belief)]
    if review.conclusion is not None:
        found.append((review.conclusion.value, review.because))
    found += [("because of", review.responsible), ("stand-in", review.fallback)]
    lines = [*folded(head, width), *fields([(n, [(letters.plain(clean(text)), "")]) for n, text in found if text], width)]
    scores = "  ".join(f"{name} {value:.2f}" for name, value in review.scores.items())
    return [*lines, *fields([("scores", [(scores, "quiet")])], width)] if scores else lines


def _ideas(reviews: Sequence[Review], letters: Letters, width: int) -> list[Line]:
    lines: list[Line] = []
    for review in reviews:
        for each in review.recommended_next_mutations:
            said: Line = [
                (f"{letters['bullet']} ", "key"),
                (f"{clean(each.mutation_type)}: ", "name"),
                (letters.plain(clean(each.description)), ""),
            ]
            lines += folded([*said, (f"  {each.priority:.2g}", "quiet")], width, 2)
    return lines


def _grounds(run: Run, letters: Letters, width: int) -> list[Line]:
    """How far its numbers are to be believed."""
    found: list[tuple[str, Line]] = []
    if run.reported:
        found.append(("ruler", [(f"self-reported ({clean(run.reported)}): the candidate's own word, no evaluator's", "warning")]))
    elif run.is_measured:
        found.append(("ruler", [("an evaluator of the problem's own", "")]))
    if run.sandboxes:
        held = ", ".join(run.sandboxes)
        is_bare = "none" in run.sandboxes
        found.append(("sandbox", [(f"{held}: its code could do what you can do" if is_bare else held, "warning" if is_bare else "")]))
    found += [("flag", [(f"{letters['flag']} {letters.plain(clean(flag))}", "warning")]) for flag in run.flags]
    return fields(found, width)
