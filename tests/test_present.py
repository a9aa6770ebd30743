from __future__ import annotations

import csv
import io
import json
import math
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit import narrating, present
from evogit.domain import event as events
from evogit.domain.metric import Direction, Metric
from evogit.domain.run import Run
from evogit.domain.trial import Crash, Status, TrialLine
from evogit.domain.verdict import Verdict

LOSS = Metric(name="val_loss", direction=Direction.MINIMIZE)
KEYS = [
    "run", "commit", "parents", "campaign", "generation", "verdict", "judged", "certified", "emitter", "agent", "change", "summary",
    "hypothesis", "niche", "metrics", "arm", "seeds", "seconds", "cost_usd", "crash", "started", "reported", "sandbox", "flags",
]  # fmt: skip


def hash_of(number: int) -> str:
    return f"{number:040x}"


def line(seed: int, *, purpose: str = "select", arm: str = "", crash: Crash | None = None, rss: int = 1536) -> TrialLine:
    status = Status.CRASH if crash else Status.OK
    return TrialLine(
        id=f"t{seed}", time="", purpose=purpose, run=hash_of(1), seed=seed, arm=arm, status=status, crash=crash, peak_rss_mib=rss
    )


def run(
    number: int = 1, *, losses: tuple[float, ...] = (0.1, 0.2), incumbent: int = 1, verdict: Verdict = Verdict.KEEP, **more: object
) -> Run:
    fields: dict = {
        "commit": hash_of(number),
        "label": str(number),
        "campaign": "nov20",
        "parents": (hash_of(number - 1),) if number else (),
        "generation": number,
        "epoch": 0,
        "seq": number,
        "verdict": verdict,
        "reason": "",
        "emitter": "simplifier",
        "agent": "offline",
        "summary": "no dropout",
        "incumbent": hash_of(incumbent),
        "decision": hash_of(99),
        "readings": {"val_loss": losses} if losses else {},
        "trials": tuple(line(seed) for seed in range(len(losses))),
    }
    return Run(**{**fields, **more})


def test_the_log_object_has_the_promised_keys_in_the_promised_order():
    found = present.log_object(run())

    assert list(found) == KEYS
    assert found["metrics"] == {"val_loss": {"mean": pytest.approx(0.15), "std": pytest.approx(0.0707106781), "n": 2, "values": [0.1, 0.2]}}
    assert found["seeds"] == [0, 1]
    assert found["arm"] is None and found["crash"] is None and found["certified"] is None


def test_one_reading_has_a_standard_deviation_of_nought():
    assert present.log_object(run(losses=(0.1,)))["metrics"]["val_loss"]["std"] == 0.0


def test_seeds_and_arm_come_from_the_trials_that_entered_the_verdict():
    trials = (line(7, arm="wide"), line(7, arm="wide"), line(8, arm="wide"), line(9, purpose="replicate", arm="other"))

    found = present.log_object(run(trials=trials))

    assert found["seeds"] == [7, 8]
    assert found["arm"] == "wide"


def test_a_crash_says_why_in_the_log_object():
    crash = Crash(kind="ValueError", message="bad shape")

    found = present.log_object(run(losses=(), verdict=Verdict.CRASH, trials=(line(0, crash=crash),)))

    assert found["crash"] == "ValueError: bad shape"
    assert found["metrics"] == {}


@given(st.lists(st.floats(), max_size=4), st.text())
def test_no_number_and_no_text_makes_json_that_others_cannot_read(values, text):
    printed = present.json_line(present.log_object(run(losses=tuple(values), summary=text)))

    found = json.loads(printed, parse_constant=lambda word: pytest.fail(word))
    assert printed.isascii() and "\n" not in printed
    assert found["summary"] == text or not text.isprintable()
    assert len(found["metrics"].get("val_loss", {}).get("values", [])) == sum(map(math.isfinite, values))


@given(st.text())
def test_clean_text_is_one_line_without_control_characters(text):
    cleaned = present.clean(text)

    assert not any(present._is_control(c) for c in cleaned)
    assert present.clean(cleaned) == cleaned


def test_terminal_escapes_and_direction_marks_do_not_reach_a_terminal():
    assert present.clean("good\x1b[31m\u202e news\r\nhere\t!") == "good[31m news here !"


@pytest.mark.parametrize(
    "values, spreads, expected",
    [
        ([0.08123], [0.0021], 4),
        ([0.08123], [], 5),
        ([12.345], [], 2),
        ([24010.0, 48010.0], [], 0),
        ([0.0], [], 3),
        ([], [], 3),
        ([0.0000012], [], present.SCIENTIFIC),
        ([0.9], [1e-9], 6),
        ([97.4], [30.0], 0),
        ([math.nan, 0.08123], [math.inf, 0.0021], 4),
    ],
)
def test_places_follow_the_spread_and_else_the_size(values, spreads, expected):
    assert present.places(values, spreads) == expected


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300))
def test_every_finite_number_can_be_written_and_read_back_as_a_number(value, spread):
    digits = present.places([value], [spread])

    assert math.isfinite(float(present.number(value, digits)))
    assert math.isfinite(float(present.delta(value, digits)))


def test_a_delta_that_rounds_to_nothing_has_no_sign():
    assert present.delta(-0.00001, 3) == "0.000"
    assert present.delta(-0.012, 3) == "-0.012"
    assert present.delta(0.012, 3) == "+0.012"
    assert present.delta(None, 3) == present.number(math.nan, 3) == "-"


@pytest.mark.parametrize(
    "seconds, words", [(0.41, "0.4 s"), (42.2, "42 s"), (59.9, "1 min 00 s"), (200, "3 min 20 s"), (18120, "5 h 02 min")]
)
def test_durations_are_said_as_people_say_them(seconds, words):
    assert present.duration(seconds) == words


def test_a_standing_compares_with_the_parent_and_with_the_incumbent_of_its_time():
    history = [
        run(0, losses=(0.5,), incumbent=0),
        run(1, losses=(0.3,), incumbent=1),
        run(2, losses=(0.4,), incumbent=1, parents=(hash_of(0),), verdict=Verdict.DISCARD),
    ]

    found = present.standings(history, LOSS)[hash_of(2)]

    assert found.to_parent == pytest.approx(-0.1)
    assert found.to_incumbent == pytest.approx(0.1)
    assert found.trend == -1


def test_a_keep_is_compared_with_the_incumbent_that_it_replaced():
    history = [run(0, losses=(0.5,), incumbent=0), run(1, losses=(0.3,), incumbent=1)]

    found = present.standings(history, LOSS)

    assert found[hash_of(1)].to_incumbent == pytest.approx(-0.2)
    assert found[hash_of(1)].trend == 1
    assert found[hash_of(0)].to_incumbent is None


def test_runs_of_different_epochs_and_campaigns_are_not_compared():
    history = [run(0, incumbent=0), run(1, epoch=1), run(2, campaign="nov21", parents=())]

    found = present.standings(history, LOSS)

    assert all(s.to_incumbent is None and s.to_parent is None for s in found.values())


def test_results_tsv_is_what_notebooks_read():
    crash = run(2, losses=(0.7,), verdict=Verdict.CRASH, trials=(line(0, crash=Crash(kind="signal", message="x")),), summary="a\tb\nc")
    reject = run(3, losses=(), verdict=Verdict.REJECT)

    rows = list(csv.reader(io.StringIO(present.tsv([run(1), crash, reject], LOSS)), delimiter="\t"))

    assert rows[0] == ["commit", "val_loss", "memory_gb", "status", "description", "run", "emitter", "parents", "seeds"]
    assert rows[1][1:] == ["0.150000", "1.5", "keep", "no dropout", "1", "simplifier", "0000000", "0,1"]
    assert rows[2][:5] == ["0000000", "0.000000", "0.0", "crash", "a b c"]
    assert len(rows) == 3


def test_every_kind_of_event_has_words():
    assert set(narrating._EVENT_WORDS) == set(typing.get_args(events.Event))


@pytest.mark.parametrize("kind", typing.get_args(events.Event), ids=lambda kind: kind.__name__)
def test_an_event_is_one_clean_line_whatever_its_texts_hold(kind):
    samples = {"str": "a\nb\x1b[31m", "int": 3, "float": 0.5, "float | None": None, "tuple[str, ...]": ("0",), "tuple[float, ...]": (0.1,)}
    fields = {f.name: samples.get(f.type if isinstance(f.type, str) else "", {}) for f in msgspec.structs.fields(kind)}
    hints = {name: str(hint) for name, hint in kind.__annotations__.items()}
    event = kind(**{name: samples.get(hints.get(name, "str"), {"val_loss": 0.5}) for name in fields})

    printed = narrating.event_line(event)

    assert printed and printed.isprintable()
    assert json.loads(present.json_line(event))["event"] == kind.__struct_config__.tag


def test_a_verdict_says_better_or_worse_whichever_way_the_metric_goes():
    event = events.Decided(
        run="3", commit="c", verdict="discard", reason="", metric="val_loss", value=0.14, gain=-0.047, summary="GELU", emitter="contrarian", decided=1
    )  # fmt: skip

    assert narrating.event_line(event) == "run 3 discard: val_loss 0.1400, worse by 0.04700 [contrarian] GELU"


def test_hashes_are_shortened_and_labels_are_not():
    assert present.short(hash_of(1)) == "00000000"
    assert present.short("ab12/3") == "ab12/3"
