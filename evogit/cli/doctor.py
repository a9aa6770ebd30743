"""`evogit doctor`: what is wrong with the problem or the campaign, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from evogit import sheets
from evogit.cli import forms
from evogit.cli.command import Command
from evogit.cli.invocation import Invocation
from evogit.cli.page import Column, Page
from evogit.domain.report import Finding
from evogit.present import clean, plural

STYLE = {"ok": "good", "note": "quiet", "warning": "warning", "error": "bad"}


@click.command("doctor", cls=Command)
@click.option("--fix", is_flag=True, help="Mend what is safe to mend.")
@forms.formats("One JSON object a finding.")
@click.pass_obj
def command(invocation: Invocation, fix: bool, form: str) -> int:
    """Check the problem and the campaign; mend what is safe to mend.

    Exit code 1 if an error remains.
    """
    findings = invocation.lab().doctor(fix)
    if not forms.put(form, lambda: findings, lambda: sheets.objects("findings", findings)):
        page = invocation.page()
        page.echo("\n".join([*table(findings, page), "", verdict(findings)]))
    return 1 if remaining(findings) else 0


def table(findings: Sequence[Finding], page: Page) -> list[str]:
    """Lines of a table, a finding and what to do about it below one another."""
    columns = [Column(""), Column(""), Column("", least=24)]
    rows: list[list[str | tuple[str, str]]] = []
    for finding in findings:
        level = "fixed" if finding.fixed else finding.level
        rows.append([(level, STYLE.get(level, "good")), (finding.check, "name"), clean(finding.message)])
        if finding.fix and not finding.fixed and finding.level != "ok":
            rows.append(["", "", (f"{page.letter('→', '->')} {clean(finding.fix)}", "quiet")])
    return _wrapped(columns, rows, page)


def _wrapped(columns: list[Column], rows: list[list[str | tuple[str, str]]], page: Page) -> list[str]:
    """A finding is advice: it is folded where a table would cut it."""
    if page.width is None:
        return page.table(columns, rows)
    import textwrap

    room = page.width - max(len(r[0][0] if isinstance(r[0], tuple) else r[0]) for r in rows) - max(len(r[1][0]) for r in rows if r[1]) - 4
    folded: list[list[str | tuple[str, str]]] = []
    for level, check, words in rows:
        text, style = words if isinstance(words, tuple) else (words, "")
        for i, line in enumerate(textwrap.wrap(text, max(room, 24)) or [""]):
            folded.append([level if i == 0 else "", check if i == 0 else "", (line, style)])
    return page.table(columns, folded)


def remaining(findings: Sequence[Finding]) -> int:
    """How many errors nobody mended."""
    return sum(f.level == "error" and not f.fixed for f in findings)


def verdict(findings: Sequence[Finding], fix: str = "`evogit doctor --fix` mends what is safe") -> str:
    """The line below the table. `fix`: what mends the rest."""
    errors, warnings = remaining(findings), sum(f.level == "warning" and not f.fixed for f in findings)
    fixed = sum(f.fixed for f in findings)
    mended = f"; {fixed} mended" if fixed else ""
    if not errors and not warnings:
        return f"nothing is wrong{mended}"
    return f"{plural(errors, 'error')}, {plural(warnings, 'warning')}{mended}" + ("" if fixed else f"; {fix}")
