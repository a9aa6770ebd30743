"""What stands in a cell about a run: numbers with their noise, gains that say whether they mean anything, verdicts in letters and words. Pure."""

from __future__ import annotations

import calendar
import time

from evogit.domain.run import Run
from evogit.present import age, claim, clean, delta, dollars, number
from evogit.tui.book import Book, Gain
from evogit.tui.letters import WORDS, Letters, Line, verdict_of


def verdict(run: Run, letters: Letters) -> Line:
    """Letter and word."""
    kind = verdict_of(run)
    return [(f"{letters[kind]} {WORDS.get(kind, kind)}", kind)]


def standing(book: Book, run: Run) -> Line:
    """Its verdict in words, what the gain of a kept one is worth, and what it is among the others: "keep, certified, on the frontier"."""
    kind = verdict_of(run)
    line: Line = [("keep" if run.is_kept else WORDS.get(kind, kind), kind)]
    if worth := claim(run):
        line.append((f", {worth}", "quiet"))
    place_ = {"incumbent": ", the incumbent", "front": ", on the frontier"}.get(book.kind(run), "")
    return [*line, (place_, book.kind(run))] if place_ else line


def place(book: Book, run: Run, letters: Letters) -> Line:
    """What it is among the others: the incumbent, on the frontier, marked to be picked; a blank for most."""
    kind = book.kind(run)
    if run.commit in book.marked:
        return [(letters["mark"], "marked")]
    return [(letters[kind], kind)] if kind in ("incumbent", "front") else [(" ", "")]


def value(book: Book, run: Run, name: str, letters: Letters) -> Line:
    """Mean of a metric, of the primary one with its noise. A noise with a question mark is the campaign's: the run was read once."""
    mean, digits = run.mean(name), book.digits(name)
    if mean is None:
        return [(letters["dash"], "quiet")]
    noise, is_own = book.noise(run, name) if name == book.metric.name else (0.0, True)
    tail = f" {letters['plus-minus']}{number(noise, digits)}{'' if is_own else '?'}" if noise else ""
    return [(number(mean, digits), ""), (tail, "quiet")]


def gain(found: Gain | None, digits: int, letters: Letters) -> Line:
    """A difference, and what it means: an arrow up is better, one down worse, and what noise may have made is marked as such."""
    if found is None:
        return [("", "")]
    words = delta(found.delta, digits)
    if found.delta == 0:
        return [(f"{letters['about']} {words}", "quiet")]
    if found.is_noise:
        return [(f"{letters['about']} {words}", "quiet")]
    return [(f"{letters['better']} {words}", "good")] if found.is_better else [(f"{letters['worse']} {words}", "worse")]


def summary(run: Run, letters: Letters) -> Line:
    """What it changed, and why it has no number where it has none."""
    said = f"epoch {run.epoch}: {run.hypothesis}" if run.epoch and run.generation == 0 else run.summary
    line: Line = [(f"{letters['flag']} ", "warning")] if run.flags else []
    line.append((letters.plain(clean(said)), ""))
    why = "" if run.is_measured else run.crash or run.reason
    if run.judgements:
        why = f"{run.verdict.value} by {run.judged}"
    if why:
        line.append((f" {letters['dot']} {letters.plain(clean(why))}", "quiet"))
    return line


def cost(run: Run, letters: Letters) -> Line:
    """Dollars, never more certain than they are; nothing where nothing was paid."""
    if not run.cost_usd and not run.unpriced:
        return [(letters["dash"], "quiet")]
    return [(dollars(run.cost_usd) + ("+?" if run.unpriced else ""), "")]


def since(text: str, now: float) -> str:
    """Age of a moment (ISO 8601 UTC), "" for none."""
    then = seconds_of(text)
    return age(max(0.0, now - then)) if then else ""


def seconds_of(text: str) -> float:
    """ISO 8601 UTC as seconds since 1970, 0.0 for what is none."""
    try:
        return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0
