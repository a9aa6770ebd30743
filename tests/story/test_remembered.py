"""`evogit memory`: what is told of a campaign's memory is what its record says."""

from __future__ import annotations

import json

from evogit.lab import Lab
from toys import evogit


def test_what_is_remembered_names_runs_of_the_record_and_their_numbers(book):
    lines = [json.loads(line) for line in evogit(book, "memory", "--json", "--tag", "t1").stdout.splitlines()]

    lab = Lab.open(book, tag="t1")
    elites = [line for line in lines if line["kind"] == "elite"]
    assert elites and {line["kind"] for line in lines} <= {"elite", "near-miss", "conjecture", "dead-end", "withdrawn", "reopened"}
    for line in elites:
        run = lab.run(line["runs"][0])
        assert (line["value"], line["text"]) == (run.mean("val_loss"), run.summary)
    near = [line["runs"][0] for line in lines if line["kind"] == "near-miss"]
    assert near == [run.label for run in reversed(lab.runs()) if run.near_miss]


def test_a_kind_is_asked_for_alone_and_nothing_is_no_error(book):
    shown = evogit(book, "memory", "--kind", "elite", "-n", "1", "--tag", "t1")
    none = evogit(book, "memory", "--kind", "crash", "--tag", "t1")

    assert shown.stdout.splitlines()[0].startswith("elites:") and "more: --limit 0" in shown.stdout
    assert none.stdout == "" and "nothing of that kind is remembered" in none.stderr
