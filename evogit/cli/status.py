"""`evogit status`: one campaign at a glance, and the commands that make sense next."""

from __future__ import annotations

import click

from evogit import sheets
from evogit.cli import forms, trust, watching
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.leaderboard import titled
from evogit.cli.page import GAP, Cell, Column, Page, cells
from evogit.domain.options import resuming
from evogit.domain.report import Status
from evogit.domain.run import Run
from evogit.present import clean, delta, dollars, duration, number, places, plural, short, status_object, std


@click.command("status", cls=Command)
@click.option("--watch", is_flag=True, help="Show it anew at each change, until the loop ends or Ctrl-C.")
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, metavar="S", help="How often to look, for --watch."
)
@forms.formats("One JSON object; with --watch one at each change.")
@click.pass_obj
def command(invocation: Invocation, watch: bool, interval: float, form: str) -> int | None:
    """Show a campaign at a glance, and what to do next."""
    lab = invocation.lab()

    def print_(status: Status) -> None:
        if not forms.put(form, lambda: [status_object(status)], lambda: sheets.status(status)):
            page = invocation.page()
            page.echo("\n".join(lines(status, page)))

    if not watch:
        print_(lab.status())
        return None
    page = invocation.page()
    if page.terminal and not form:
        return watching.redraw(lab, interval, lambda status, page: lines(status, page), invocation.page)
    return watching.repeat(lab, interval, print_, between="" if form == "json" else "\n")


def lines(status: Status, page: Page) -> list[str]:
    """The whole page."""
    parts = (_head, _best, _warnings, _flights, _emitters, _next)
    return [line for part in parts for line in part(status, page)]


def _head(status: Status, page: Page) -> list[str]:
    where = f" ({status.folder})" if status.folder and status.folder != status.problem else ""
    loop = f"{'paused' if status.is_paused else 'running'}, process {status.loop_pid}" if status.loop_pid else "not running"
    found: list[tuple[str, Cell]] = [
        ("problem", status.problem + where),
        ("campaign", [(status.campaign, "title"), (f"  {_branch(status)}", "quiet")]),
        ("loop", loop),
        *_runs(status, page),
        ("spent", ", ".join(_spent(status))),
    ]
    shown = [run for run in (status.baseline, status.incumbent) if run is not None]
    found += [
        (name, words)
        for name, say in (("ruler", trust.ruler), ("sandbox", trust.sandbox))
        if (words := next(filter(None, map(say, shown)), ""))
    ]
    if status.epoch:
        found.append(("epoch", f"{status.epoch}: runs before {_first(status)} are kept, and not compared"))
    others = [name for name in status.campaigns if name != status.campaign]
    if others:
        found.append(("others", ", ".join(others)))
    return page.table([Column(""), Column("", least=20, folds=True)], [[(name, "quiet"), cell] for name, cell in found])


def _runs(status: Status, page: Page) -> list[tuple[str, Cell]]:
    """The line of counts, or several where one has no room for it: a count that is cut away would look like none."""
    room = None if page.width is None else page.width - len("campaign") - GAP
    rows: list[list[tuple[str, str]]] = [[(f"{status.runs}  ", "title")]]
    for text, style in _counts(status, page):
        if room is not None and sum(cells(t) for t, _ in rows[-1]) + cells(text.rstrip()) > room:
            rows.append([])
        rows[-1].append((text, style))
    for row in rows:
        row[-1] = row[-1][0].rstrip(), row[-1][1]
    return [("" if i else "runs", row) for i, row in enumerate(rows)]


def _spent(status: Status) -> list[str]:
    words = [f"{duration(status.seconds)} of trials"]
    if status.known_usd or status.spent.unpriced:
        words.append(dollars(status.known_usd, status.spent.unpriced))
    if status.max_cost:
        words.append(f"{dollars(status.loop_usd)} of this loop's {dollars(status.max_cost)}")
    return words


def _first(status: Status) -> str:
    return f"run {status.baseline.label}" if status.baseline else "its baseline"


def _branch(status: Status) -> str:
    return status.branch.removeprefix("refs/heads/")


def _counts(status: Status, page: Page) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    for verdict in ("keep", "discard", "crash", "reject"):
        count = status.verdicts.get(verdict, 0) - status.baselines * (verdict == "keep")
        parts.append((f"{page.glyph(verdict)} {count} {verdict}   ", verdict if count else "quiet"))
    return [*parts, (plural(status.baselines, "baseline"), "quiet")] if status.baselines else parts


def _best(status: Status, page: Page) -> list[str]:
    name = status.metric.name
    rows: list[list[Cell]] = []
    base = status.baseline.mean(name) if status.baseline else None
    runs = [("baseline", status.baseline), ("best", status.incumbent)]
    shown = [(word, run) for word, run in runs if run is not None]
    digits = places([m for _, run in shown if (m := run.mean(name)) is not None], [status.spread])
    for word, run in shown:
        mean = run.mean(name)
        rows.append(
            [
                (word, "quiet"),
                (run.label, "title"),
                _value(run, name, digits, page),
                *_against(mean, base, status, digits),
                [(trust.mark(run, page), "warning"), (clean(run.summary), "")],
            ]
        )
        if status.baseline and status.incumbent and status.baseline.commit == status.incumbent.commit:
            break
    columns = [
        Column(""),
        Column("run", right=True),
        Column(titled(status.metric, page)),
        Column("vs baseline", right=True, optional=True),
        Column("summary", least=20),
    ]
    return ["", *page.table(columns, rows)] if rows else []


def _value(run: Run, name: str, digits: int, page: Page) -> Cell:
    spread = std(run.readings.get(name, ()))
    tail = f" {page.letter('±', '+-')}{number(spread, digits)}" if spread else ""
    return [(number(run.mean(name), digits), ""), (tail, "quiet")]


def _against(mean: float | None, base: float | None, status: Status, digits: int) -> list[Cell]:
    if mean is None or base is None or mean == base:
        return [""]
    share = f" ({(mean - base) / abs(base):+.0%})" if base else ""
    return [(delta(mean - base, digits) + share, "good" if status.metric.better(mean, base) else "worse")]


def _warnings(status: Status, page: Page) -> list[str]:
    """What deserves a look: a mark and what is the matter, below it what to do. Advice is folded where a table would cut it."""
    lines: list[str] = []
    for warning in status.warnings:
        first, *more = _folded(warning.message, page)
        lines += [f"  {page.paint('!', 'warning')} {first}", *(f"    {line}" for line in more)]
        lines += [f"    {page.paint(line, 'quiet')}" for line in _folded(warning.hint, page)]
    return ["", page.paint("warnings", "warning"), *lines] if lines else []


def _folded(text: str, page: Page) -> list[str]:
    import textwrap

    text = clean(text)
    return textwrap.wrap(text, max(page.width - 4, 24), break_on_hyphens=False) if page.width else [text] * bool(text)


def _flights(status: Status, page: Page) -> list[str]:
    if not status.in_flight:
        return []
    columns = [Column("in flight", right=True), Column("state"), Column("emitter"), Column("since", optional=True)]
    return ["", *page.table(columns, [[(f.run, "title"), f.state, (f.emitter, "name"), (f.since, "quiet")] for f in status.in_flight])]


def _emitters(status: Status, page: Page) -> list[str]:
    roles = {name: counts for name, counts in status.emitters.items() if name != "baseline"}
    if not roles:
        return []
    ranked = sorted(roles.items(), key=lambda item: (-item[1].get("keeps", 0), -item[1].get("runs", 0), item[0]))
    rows: list[list[Cell]] = [[(name, "name"), str(c.get("runs", 0)), str(c.get("keeps", 0))] for name, c in ranked]
    return ["", *page.table([Column("emitter"), Column("runs", right=True), Column("keeps", right=True)], rows)]


def _next(status: Status, page: Page) -> list[str]:
    """Commands worth typing now; each is complete, so that it can be pasted."""
    tag = f" --tag {status.campaign}"
    rows: list[tuple[str, str]] = []
    if status.in_flight and not status.loop_pid:
        places = dict.fromkeys(name for f in status.in_flight for name in f.backend.split("+"))
        rows.append((resuming(status.campaign, "+".join(places)), f"finish {plural(len(status.in_flight), 'run')} in flight"))
    elif not status.loop_pid:
        rows.append((f"evogit loop{tag} --max-runs 12", "search on" if status.runs else "begin"))
    elif status.is_paused:
        rows.append((f"evogit resume{tag}", "let the loop go on"))
    if status.runs:
        rows.append((f"evogit log{tag}", "the lineage"))
        rows.append((f"git log --graph --notes='evogit/*' {_branch(status)}", "the same in plain git"))
    best = status.incumbent
    if best is not None and (status.baseline is None or best.commit != status.baseline.commit):
        rows.append((f"evogit show {best.label}{tag}", "all about the best run"))
        rows.append(
            (
                f"git diff {short(status.baseline.commit) if status.baseline else short(best.parents[0])} {short(best.commit)}",
                "what it changed",
            )
        )
    return ["", page.paint("next", "quiet"), *page.table([Column(""), Column("", least=8)], [[c, (w, "quiet")] for c, w in rows], indent=2)]
