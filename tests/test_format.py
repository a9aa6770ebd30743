"""FORMAT.md is the specification: its examples are read by the real readers, its tables name exactly the fields of the code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import evogit.git
from evogit import present
from evogit.domain.change import Move
from evogit.domain.flight import Flight, FlightState, JobRecord
from evogit.domain.metric import Direction, Metric
from evogit.domain.plan import Forecast, Plan
from evogit.domain.proposal import Candidate
from evogit.domain.review import Recommendation, Review
from evogit.domain.run import Run
from evogit.domain.trial import Crash, Status, TrialLine
from evogit.domain.usage import Call, Spent
from evogit.domain.verdict import Verdict
from evogit.git import archive, idea_notes, messages, notes, refs
from evogit.git.messages import Baseline, EntryMessage, RunMessage

TEXT = (Path(evogit.git.__file__).parent / "FORMAT.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [(found.group(1), found.group(2)) for found in FENCE.finditer(TEXT)]
METRIC = Metric(name="val_loss", direction=Direction.MINIMIZE)


def table(first_heading: str) -> list[str]:
    """First column of the table whose first heading is that, without the backticks."""
    _, found, rest = TEXT.partition(f"\n| {first_heading} |")
    assert found, first_heading
    rows = rest.split("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


def examples(tag: str) -> list[str]:
    return [body for name, body in EXAMPLES if name == tag]


def a_run() -> Run:
    """The run of the document's examples."""
    said = messages.parse_run(examples("run-commit")[0], "the example")
    entry = messages.parse_entry(examples("decision-commit")[0], "the example")
    trials = tuple(msgspec.json.decode(line, type=TrialLine) for line in entry.lines)
    shared = {name: getattr(said, name) for name in Run.__struct_fields__ if name in RunMessage.__struct_fields__}
    return Run(
        **{**shared, "hypothesis": ""},
        commit=entry.decides,
        parents=(said.contrast,),
        generation=2,
        epoch=0,
        seq=entry.seq,
        verdict=entry.verdict,
        reason=entry.reason,
        incumbent=entry.incumbent,
        decision="",
        trials=trials,
        readings={"val_loss": tuple(t.metrics["val_loss"] for t in trials)},
        seconds=round(sum(t.seconds for t in trials), 3),
        cost_usd=entry.spent.usd,
        spent=entry.spent,
        started="2026-11-20T01:01:59Z",
    )


def check_run(text: str) -> None:
    assert messages.build_run(messages.parse_run(text, "the example")) == text
    assert set(keys(text)) <= set(table("run trailer"))


def check_entry(text: str) -> None:
    entry = messages.parse_entry(text, "the example")
    assert messages.build_entry(entry) == text
    assert entry.kind in table("kind")
    assert set(keys(text)) <= set(table("entry trailer"))
    for line in entry.lines:
        assert msgspec.json.encode(msgspec.json.decode(line, type=TrialLine)) == line


def check_archive(text: str) -> None:
    tag, subject, found = archive.parse(text, "the example")
    assert archive.build(tag, subject, found) == text
    assert set(found) == {refs.branch(tag), refs.artifacts(tag), refs.tip(tag)}


def check_trial(text: str) -> None:
    assert msgspec.json.encode(msgspec.json.decode(text, type=TrialLine)) == text.strip().encode()


def check_review(text: str) -> None:
    known = msgspec.to_builtins(msgspec.json.decode(text, type=Review))
    head = {name: value for name, value in json.loads(text).items() if name not in known}
    assert msgspec.json.encode({**head, **known}) == text.strip().encode()
    assert notes.line_id(text.encode()) == head["id"]


def check_idea(text: str) -> None:
    assert msgspec.json.decode(text, type=Recommendation).description
    assert list(json.loads(text)) == table("idea field")
    assert notes.line_id(text.encode())


def check_ranking(text: str) -> None:
    ranking = idea_notes.decode_ranking(text.strip().encode())
    assert idea_notes.encode_ranking(ranking) == text.strip().encode()
    assert list(json.loads(text)) == table("ranking field")


def check_flight(text: str) -> None:
    told = json.loads(msgspec.json.encode(msgspec.json.decode(text, type=Flight)))
    assert {**told, **json.loads(text), "candidate": None} == {**told, "candidate": None}
    assert set(json.loads(text)["candidate"]) <= set(told["candidate"])


def check_job(text: str) -> None:
    assert msgspec.json.encode(msgspec.json.decode(text, type=JobRecord)) == text.strip().encode()


def check_call(text: str) -> None:
    assert msgspec.json.encode(msgspec.json.decode(text, type=Call)) == text.strip().encode()


def check_tsv(text: str) -> None:
    assert text.startswith(present.tsv([], METRIC))
    assert text.splitlines()[1].split("\t") == present.tsv_row(a_run(), METRIC)


def check_log(text: str) -> None:
    assert json.loads(text) == present.log_object(a_run())
    assert present.json_line(present.log_object(a_run())) == text.strip()


CHECKS: dict[str, Callable[[str], None]] = {
    "run-commit": check_run,
    "decision-commit": check_entry,
    "entry-commit": check_entry,
    "archive-commit": check_archive,
    "trial-line": check_trial,
    "review-line": check_review,
    "idea-line": check_idea,
    "ranking-line": check_ranking,
    "flight-json": check_flight,
    "job-line": check_job,
    "call-line": check_call,
    "results-tsv": check_tsv,
    "log-json": check_log,
    "text": lambda text: None,  # a drawing
}


def keys(text: str) -> list[str]:
    return re.findall(r"^(Evogit-[A-Za-z-]+): ", text, re.MULTILINE)


@pytest.mark.parametrize(("tag", "body"), EXAMPLES, ids=[f"{n}-{tag}" for n, (tag, _) in enumerate(EXAMPLES)])
def test_every_example_is_read_by_the_code_and_comes_back_the_same(tag, body):
    CHECKS[tag](body)


def test_every_kind_of_example_is_there():
    assert {tag for tag, _ in EXAMPLES} == set(CHECKS)


_TYPED = ("label", "forecast", "propensity", "chance", "policy", "moves", "lines", "baseline")


def test_the_trailers_of_runs_are_those_that_are_written():
    full = RunMessage(
        **{name: "x" for name in RunMessage.__struct_fields__ if name not in _TYPED},
        label="3",
        policy="uniform",
        chance=0.5,
        moves=(Move("train.py:LR", 0.1, 0.2, "lr"),),
        lines=(1, 1),
        forecast=Forecast(mean=1.0, spread=1.0),
        propensity=0.5,
        baseline=Baseline(problem="a", clone="ab12", metric="m", direction=Direction.MINIMIZE),
    )

    assert sorted(keys(messages.build_run(full))) == sorted(table("run trailer"))


def test_the_trailers_of_entries_are_those_that_are_written_and_read():
    fields = dict.fromkeys(EntryMessage.__struct_fields__, "x")
    fields |= {
        "verdict": Verdict.KEEP,
        "seq": 1,
        "gain": 1.0,
        "near_miss": True,
        "flags": ("train.py:42 replaces time.perf_counter (clock)", "a \u00fc text"),
        "spent": Spent(usd=1.0, calls=3, unpriced=1, input=5, output=4, cache_write=3, cache_read=2),
        "certified": True,
        "evidence": (21.5, 0.02, 1.0),
        "epoch": 1,
        "lines": (),
    }
    full = EntryMessage(**fields)

    written = messages.build_entry(full)

    assert sorted(keys(written)) == sorted(table("entry trailer"))
    assert messages.parse_entry(written, "it") == full


@pytest.mark.parametrize(
    ("heading", "struct", "head"),
    [
        ("trial field", TrialLine, ()),
        ("crash field", Crash, ()),
        ("review field", Review, ("v", "id", "time", "run")),
        ("recommendation field", Recommendation, ()),
        ("idea field", Recommendation, ("v", "id", "time", "by")),
        ("flight field", Flight, ()),
        ("plan field", Plan, ()),
        ("candidate field", Candidate, ()),
        ("job field", JobRecord, ()),
        ("call field", Call, ()),
    ],
)
def test_a_table_names_exactly_the_fields_of_the_code_in_their_order(heading, struct, head):
    assert table(heading) == [*head, *struct.__struct_fields__]


def test_the_log_has_exactly_the_documented_keys_in_their_order():
    assert table("log field") == list(present.log_object(a_run()))


def test_the_states_are_those_of_the_code():
    assert table("state") == [state.value for state in FlightState]


@pytest.mark.parametrize("words", [Status, Verdict, Direction])
def test_every_word_of_a_vocabulary_is_in_the_document(words):
    assert all(f"`{word.value}`" in TEXT for word in words)


def test_the_refs_are_those_that_the_code_writes():
    named = table("ref")

    assert refs.branch("<tag>") in named
    assert {refs.tip("<tag>"), refs.artifacts("<tag>"), notes.METRICS, notes.REVIEWS, notes.IDEAS} <= set(named)
    assert {refs.inflight("<tag>", "<clone>") + "<n>", refs.mark("<tag>", "<label>")} <= set(named)
