"""`evogit show`: all that is known about one run, or one of its artifacts raw."""

from __future__ import annotations

import sys
import textwrap

import click

from evogit import sheets
from evogit.cli import complete, forms, trust
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Cell, Column, Page
from evogit.domain.problem import Problem
from evogit.domain.report import RunDetail
from evogit.domain.review import Review
from evogit.domain.run import Run
from evogit.domain.trial import TrialLine
from evogit.present import (
    clean,
    clean_lines,
    delta,
    detail_object,
    dollars,
    duration,
    number,
    places,
    plural,
    short,
    size,
    std,
)

MEASURE = 100  # cells a line of prose may take
READING = 1000  # from here on attempts are those of a later reading: FORMAT.md
_LATER = {"replicate": "read later", "certify": "certificate", "smoke": "smoke"}


@click.command("show", cls=Command)
@click.argument("run", shell_complete=complete.runs)
@click.option("--file", "path", metavar="PATH", shell_complete=complete.files, help="Print this artifact, byte for byte, and nothing else.")
@forms.formats("One JSON object.")
@click.pass_obj
def command(invocation: Invocation, run: str, path: str | None, form: str) -> None:
    """Show all about one run: plan, numbers, diff, review, files."""
    lab = invocation.lab()
    if path is not None:
        sys.stdout.buffer.write(lab.artifact(run, path))
        sys.stdout.flush()
        return
    read, detail = lab.read_by(run), lab.show(run)
    if not forms.put(form, lambda: [detail_object(detail)], lambda: sheets.trials(detail.run, detail.extra_trials, lab.problem.metrics)):
        page = invocation.page()
        page.show([*_of_reading(run, read, page), *lines(detail, lab.problem, page)])


def _of_reading(label: str, read: list[str], page: Page) -> list[str]:
    """What a number was that no run has: readings of runs take numbers from the same row."""
    if not read:
        return []
    said = f"{label} was a reading of run {' and of run '.join(read)}, not a run; its numbers are among those of run {read[0]}"
    return [page.paint(line, "quiet") for line in page.fold(said)] + [""]


def lines(detail: RunDetail, problem: Problem, page: Page) -> list[str]:
    """The whole story of a run, a section a verb."""
    sections = [
        ("", _head(detail, problem, page)),
        ("plan", _prose(detail.plan, page)),
        ("numbers", _numbers(detail, problem, page)),
        ("review", [line for review in detail.reviews for line in _review(review, page)]),
        ("diff", ["  " + line for line in page.diff(detail.diff)]),
        ("files", _files(detail, page)),
    ]
    return _joined(sections, page)


def verdict_lines(detail: RunDetail, problem: Problem, page: Page) -> list[str]:
    """The part of it that a run ends with: verdict, numbers, review."""
    reviews = [line for review in detail.reviews for line in _review(review, page)]
    return _joined([("", _head(detail, problem, page)), ("numbers", _numbers(detail, problem, page)), ("review", reviews)], page)


def _joined(sections: list[tuple[str, list[str]]], page: Page) -> list[str]:
    found: list[str] = []
    for title, body in sections:
        if body:
            found += ["", page.paint(title, "title")] if title else []
            found += body
    return found


def _head(detail: RunDetail, problem: Problem, page: Page) -> list[str]:
    run, verdict = detail.run, detail.run.verdict.value
    title = f"{page.paint(f'{page.glyph(verdict)} run {run.label}', verdict)}  {page.paint(clean(run.summary), 'title')}"
    by = f"{run.emitter}, carried out by {run.agent}" + (f" ({run.change})" if run.change else "")
    near = ", a near miss" if run.near_miss else ""
    found: list[tuple[str, Cell]] = [
        ("verdict", [(verdict + near, verdict), (f": {clean(run.reason)}" if run.reason else "", "")]),
        ("commit", run.commit),
        ("campaign", f"{run.campaign}, generation {run.generation}"),
        ("parents", "; ".join(_parent(run, p, problem) for p in detail.parents) or "the base"),
        ("emitter", by),
    ]
    optional = [
        ("hypothesis", clean(run.hypothesis)),
        ("niche", run.niche),
        ("forecast", f"{number(run.forecast.mean)} {page.letter('±', '+-')} {number(run.forecast.spread)}" if run.forecast else ""),
        *(("judged", clean(f"{j.verdict.value} by {j.by}, {j.time}, was {j.was.value}: {j.reason}")) for j in run.judgements),
        ("idea", run.idea),
        ("crash", clean(run.crash)),
        ("ruler", trust.ruler(run)),
        ("sandbox", trust.sandbox(run)),
        ("started", run.started),
        ("took", duration(run.seconds) + (f", {dollars(run.cost_usd, run.unpriced)}" if run.cost_usd or run.unpriced else "")),
    ]
    found += [(name, text) for name, text in optional if text]
    found += [("flags" if i == 0 else "", [(clean(flag), "warning")]) for i, flag in enumerate(run.flags)]
    return [title, *_fields(found, page)]


def _fields(found: list[tuple[str, Cell]], page: Page) -> list[str]:
    """Names on the left; a value that is too long is folded, not cut. Of several segments the first keeps its style."""
    rows: list[list[Cell]] = []
    for name, cell in found:
        segments = [(cell, "")] if isinstance(cell, str) else [cell] if isinstance(cell, tuple) else cell
        folded: list[Cell] = list(textwrap.wrap("".join(text for text, _ in segments), _measure(page) - 14))
        word, style = segments[0]
        if style and isinstance(folded[0], str) and folded[0].startswith(word):
            folded[0] = [(word, style), (folded[0][len(word) :], "")]
        rows += [[(name if i == 0 else "", "quiet"), part] for i, part in enumerate(folded)]
    return page.table([Column(""), Column("", least=20)], rows, indent=2)


def _parent(run: Run, parent: Run, problem: Problem) -> str:
    name = problem.primary.name
    mine, theirs = run.mean(name), parent.mean(name)
    change = f", here {delta(mine - theirs, places([theirs]))}" if mine is not None and theirs is not None else ""
    return f"{parent.label} {short(parent.commit)} ({name} {number(theirs)}{change})"


def _measure(page: Page) -> int:
    return min(page.width or MEASURE, MEASURE)


def _prose(text: str, page: Page) -> list[str]:
    if not text.strip():
        return []
    return [
        part
        for line in clean_lines(text.strip())
        for part in textwrap.wrap(line, _measure(page) - 2, initial_indent="  ", subsequent_indent="  ") or [""]
    ]


def _numbers(detail: RunDetail, problem: Problem, page: Page) -> list[str]:
    trials = (*detail.run.trials, *detail.extra_trials)
    if not trials:
        return []
    digits = {m.name: places([t.metrics[m.name] for t in trials if m.name in t.metrics]) for m in problem.metrics}
    columns = [
        Column("seed", right=True),
        Column("status"),
        *(Column(m.name, right=True, optional=i > 1) for i, m in enumerate(problem.metrics)),
    ]
    columns += [Column("time", right=True), Column("memory", right=True), Column("from", optional=True), Column("", least=12)]
    rows = [_trial_row(trial, digits, page) for trial in trials]
    judged = sum(t.purpose == "select" for t in trials)
    if judged > 1:
        rows += _summary_rows(detail.run, digits, page)
    table, said = page.table(columns, rows, indent=2), ""
    if later := len(trials) - judged:
        means = f"mean and {page.letter('±', '+-')} are" if judged > 1 else "the verdict is"
        said = f"{means} of the {plural(judged, 'reading')} that it was judged by; {plural(later, 'later reading')} changed no verdict"
    return [*table, *(page.paint(line, "quiet") for line in _prose(said, page))]


def _trial_row(trial: TrialLine, digits: dict[str, int], page: Page) -> list[Cell]:
    numbers: list[Cell] = [number(trial.metrics.get(name), d) for name, d in digits.items()]
    attempt = trial.attempt % READING
    notes = [_LATER.get(trial.purpose, ""), trial.arm, f"attempt {attempt}" if attempt > 1 else ""]
    if trial.crash:
        notes.append(f"{trial.crash.kind}: {clean(trial.crash.message)}" + (f" at {trial.crash.where}" if trial.crash.where else ""))
    status: Cell = (trial.status.value, "" if trial.status.value == "ok" and not trial.crash else "crash")
    memory = f"{trial.peak_rss_mib} MiB" if trial.peak_rss_mib else "-"
    tail: list[Cell] = [duration(trial.seconds), memory, (trial.source, "quiet"), (", ".join(n for n in notes if n), "quiet")]
    return [(str(trial.seed), "title"), status, *numbers, *tail]


def _summary_rows(run: Run, digits: dict[str, int], page: Page) -> list[list[Cell]]:
    means: list[Cell] = [(number(run.mean(name), d), "title") for name, d in digits.items()]
    spreads: list[Cell] = [(number(std(run.readings.get(name, ())), d), "quiet") for name, d in digits.items()]
    empty: list[Cell] = ["", "", "", ""]
    return [[("mean", "quiet"), "", *means, *empty], [(page.letter("±", "+-"), "quiet"), "", *spreads, *empty]]


def _review(review: Review, page: Page) -> list[str]:
    claims = ["valid" if review.valid else "not valid", "an improvement" if review.is_improvement else "no improvement"]
    head = f"{review.reviewer}: {', '.join(claims)}, {review.branch_recommendation.value}, confidence {review.confidence:.2f}"
    found: list[tuple[str, Cell]] = [("saw", clean(review.observation)), ("believes", clean(review.next_belief))]
    if review.conclusion is not None:
        found.append((review.conclusion.value, clean(review.because)))
    found += [("next", f"{n.mutation_type}: {clean(n.description)}") for n in review.recommended_next_mutations]
    if review.fallback:
        found.append(("stand-in", clean(review.fallback)))
    return [*_prose(head, page), *_fields([(name, text) for name, text in found if text], page)]


def _files(detail: RunDetail, page: Page) -> list[str]:
    rows: list[list[Cell]] = [[clean(path), (size(count), "quiet")] for path, count in sorted(detail.files.items())]
    table = page.table([Column("", least=20), Column("", right=True)], rows, indent=2)
    hint = f"  print one with: evogit show {detail.run.label} --file PATH"
    return [*table, page.paint(hint, "quiet")] if rows else []
