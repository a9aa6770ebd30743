"""How far a number is to be believed, in words: who reported it, what held its trials, what was found in its files."""

from __future__ import annotations

from collections.abc import Sequence

from evogit.cli.page import Page
from evogit.domain.run import Run


def ruler(run: Run) -> str:
    """Who reported a run's numbers where that was the run itself; "" for an evaluator's, and where there are none."""
    return f"self-reported ({run.reported}): the candidate's own word, no evaluator's" if run.reported else ""


def sandbox(run: Run) -> str:
    """What held a run's trials; "" if nothing ran."""
    held = ", ".join(run.sandboxes)
    return f"{held}: its code could do what you can do" if "none" in run.sandboxes else held


def notes(runs: Sequence[Run], page: Page) -> list[str]:
    """Lines to stand above a table of runs: what is to be known before its numbers are believed. [] if nothing is."""
    told = [r for r in runs if r.reported]
    bare = [r for r in runs if "none" in r.sandboxes]
    read, held = [r for r in runs if r.readings], [r for r in runs if r.sandboxes]
    lines = [f"self-reported{_some(told, read)}: the candidates' own word; with [evaluate] they cannot print their numbers"] if told else []
    lines += [f"sandbox none{_some(bare, held)}: trials could do what you can do"] if bare else []
    if any(r.flags for r in runs):
        lines.append(f"{_letter(page)} something in its files may give a cheat away: evogit show RUN")
    return [page.paint(part, "warning") for line in lines for part in _folded(line, page)]


def _folded(line: str, page: Page) -> list[str]:
    import textwrap

    return textwrap.wrap(line, page.width) if page.width else [line]


def mark(run: Run, page: Page) -> str:
    """What stands before the summary of a run that was flagged, "" for others."""
    return f"{_letter(page)} " if run.flags else ""


def _letter(page: Page) -> str:
    return page.letter("\N{BLACK FLAG}", "!")


def _some(some: Sequence[Run], runs: Sequence[Run]) -> str:
    """Which runs, where it is not all of them."""
    return "" if len(some) == len(runs) else f" (runs {', '.join(r.label for r in some[:8])}{' ...' if len(some) > 8 else ''})"
