"""What scripts read: `--tsv` and `--porcelain`, whose columns never move. A failure of the long table below breaks somebody's script."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.conftest import LOSS, PARAMS, sample_runs
from evogit import sheets
from evogit.cli.group import COMMANDS, evogit

METRICS = ["val_loss", "val_loss.std", "val_loss.n", "params", "params.std", "params.n"]
RUN = "run commit parents generation epoch verdict near_miss certified judged emitter agent change seeds seconds cost_usd started vs_best vs_parent crash reason summary"
# Version 1. A column may be added behind the last one; nothing else may change while this number stays.
PORCELAIN = {
    "runs": RUN,
    "found": f"{RUN} where",
    "trials": "run seed purpose attempt status arm seconds peak_rss_mib cost_usd source backend sandbox time crash",
    "metrics": "metric before after change floor",
    "status": "field value",
    "costs": "name runs kept readings calls unpriced input output cache_write cache_read models_usd compute_usd known_usd cost_usd per_kept_usd",
    "emitters": "emitter runs keeps rate low high share chance",
    "hypervolume": "run seq hypervolume",
    "memory": "kind key runs count value text",
    "ideas": "id status run from source by mutation_type description expected_benefit priority time",
    "tags": "name run commit subject",
    "campaigns": "tag is_archived age_s subject bars",
    "pruned": "tag action why",
    "findings": "level check fixed message fix",
    "holdout": "run verdict certified validation held_out gap looks time waits note",
}
READS = {
    "log": "runs",
    "leaderboard": "runs",
    "frontier": "runs",
    "lineage 6": "runs",
    "mark": "runs",
    "search gelu": "found",
    "show 6": "trials",
    "diff 6": "metrics",
    "status": "status",
    "cost": "costs",
    "memory": "memory",
    "doctor": "findings",
    "prune": "campaigns",
}


def test_the_columns_of_version_1_are_these():
    assert sheets.VERSION == 1
    assert {name: " ".join(columns) for name, columns in sheets.COLUMNS.items()} == PORCELAIN


@pytest.mark.parametrize("line", READS)
def test_a_table_begins_with_its_version_its_name_and_its_columns_and_every_row_has_them_all(invoke, line):
    done = invoke(*line.split(), "--porcelain")

    assert done.exit_code == 0, done.output
    first, second, *rows = done.stdout.splitlines()
    name = READS[line]
    assert first == f"# evogit porcelain 1 {name}"
    columns = second.removeprefix("# ").split("\t")
    assert columns[: len(PORCELAIN[name].split())] == PORCELAIN[name].split()
    assert {len(row.split("\t")) for row in rows} <= {len(columns)}
    assert rows or line == "prune"


@pytest.mark.parametrize("line", READS)
def test_tab_separated_values_have_a_header_and_whole_values(invoke, line):
    done = invoke(*line.split(), "--tsv")

    head, *rows = done.stdout.splitlines()
    assert head.split("\t")[: len(PORCELAIN[READS[line]].split())] == PORCELAIN[READS[line]].split()
    assert {len(row.split("\t")) for row in rows} <= {len(head.split("\t"))}


def test_a_run_is_told_in_whole_numbers_and_hashes_as_json_tells_it(invoke):
    head, *rows = (line.split("\t") for line in invoke("log", "--tsv").stdout.splitlines())
    told = {row[0]: dict(zip(head, row)) for row in rows}
    objects = {o["run"]: o for o in map(json.loads, invoke("log", "--json").stdout.splitlines())}

    assert head[-6:] == METRICS
    for label, one in told.items():
        metrics = objects[label]["metrics"]
        assert one["commit"] == objects[label]["commit"]
        assert one["parents"] == ",".join(objects[label]["parents"])
        assert one["val_loss"] == (repr(metrics["val_loss"]["mean"]) if metrics else "")
        assert one["seeds"] == ",".join(map(str, objects[label]["seeds"]))
    assert told["4"]["crash"].startswith("RuntimeError: mat1")
    assert float(told["6"]["vs_best"]) == pytest.approx(-0.01223, abs=1e-5)


@given(
    st.lists(
        st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), st.integers(), st.text(), st.just("a\u2028\U000e0001b")),
        min_size=1,
        max_size=6,
    )
)
def test_no_value_breaks_a_line_and_every_text_comes_back(values):
    sheet = sheets.Sheet("any", tuple(f"c{i}" for i in range(len(values))), [values])

    for lines, head in ((list(sheets.tsv(sheet)), 1), (list(sheets.porcelain(sheet)), 2)):
        assert len(lines) == head + 1
        assert len(lines[-1].split("\t")) == len(values)
        assert len(lines[-1].splitlines()) <= 1
    for value, written in zip(values, list(sheets.porcelain(sheet))[-1].split("\t")):
        assert value is not None or written == sheets.MISSING
        if isinstance(value, str):
            assert read_back(written) == value


def read_back(text: str) -> str:
    """What docs/reference.md says that a reader of the porcelain does."""
    found, rest = "", text
    while rest:
        head, back, rest = rest.partition("\\")
        found += head
        if back:
            size = {"u": 5, "U": 9}.get(rest[0], 1)
            code, rest = rest[:size], rest[size:]
            found += chr(int(code[1:], 16)) if code[0] in "uU" else {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[code]
    return found


def test_the_last_form_that_is_given_counts(invoke):
    assert invoke("log", "--tsv", "--json").stdout.startswith("{")
    assert invoke("log", "--json", "--porcelain").stdout.startswith("# evogit porcelain 1")


def test_every_command_with_a_table_for_people_has_one_for_scripts():
    with_json = {name for name in COMMANDS if any("--json" in p.opts for p in evogit.get_command(None, name).params)}
    with_tsv = {name for name in COMMANDS if any("--tsv" in p.opts for p in evogit.get_command(None, name).params)}

    # What runs trials tells events; what does one thing, or writes one text, has no rows.
    assert with_json - with_tsv == {
        "init", "start", "loop", "run", "baseline", "certify", "context", "conclude", "next", "submit", "judge", "pick", "bisect", "replay",
        "pause", "resume", "stop", "cancel", "measure",
    }  # fmt: skip
    assert sheets.runs(sample_runs(), (LOSS, PARAMS)).columns[-6:] == tuple(METRICS)
