from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Evaluate, Problem
from evogit.problem.readings import Reading, read

PROBLEM = Problem(
    name="p",
    folder="",
    layout="evogit",
    goal="",
    mutable=("train.py",),
    command="python train.py",
    metrics=(Metric(name="val_loss", direction=Direction.MINIMIZE), Metric(name="params", direction=Direction.MINIMIZE)),
)
LOCKED = msgspec.structs.replace(PROBLEM, evaluate=Evaluate(command="python evaluate.py"))


def reading(stdout: str | bytes = b"", problem: Problem = PROBLEM, evaluator: str | bytes | None = None, **files: object) -> Reading:
    def data(value: object) -> bytes:
        return value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else json.dumps(value).encode()

    found = {name.replace("__", "/").replace("_json", ".json"): data(value) for name, value in files.items()}
    return read(
        problem, stdout=data(stdout), files=found.get, evaluator_stdout=None if evaluator is None else data(evaluator), run_id="run_000003"
    )


def values(result: Reading) -> tuple[str, dict[str, float]]:
    assert result.crash is None
    return result.source, result.metrics


def test_metrics_json_goes_before_everything_printed():
    stdout = '{"val_loss": 2}\n---\nval_loss: 3\nMETRIC val_loss=4\n'

    assert values(reading(stdout, metrics_json={"val_loss": 1, "params": 10})) == ("metrics.json", {"val_loss": 1.0, "params": 10.0})
    assert values(reading(stdout)) == ("json-line", {"val_loss": 2.0})
    assert values(reading(stdout.partition("\n")[2])) == ("summary", {"val_loss": 3.0})
    assert values(reading("METRIC val_loss=4\nMETRIC params = 5\n")) == ("metric-line", {"val_loss": 4.0, "params": 5.0})


def test_metrics_may_lie_under_metrics_and_in_the_runs_folder():
    assert values(reading(metrics_json={"status": "success", "metrics": {"val_loss": 1}})) == ("metrics.json", {"val_loss": 1.0})
    run = {"runs/run_000003/metrics.json": b'{"val_loss": 0.5}'}
    assert read(PROBLEM, stdout=b"", files=run.get, run_id="run_000003").metrics == {"val_loss": 0.5}
    named = msgspec.structs.replace(PROBLEM, metrics_file="out/{run_id}.json")
    assert read(named, stdout=b"", files={"out/run_000003.json": b'{"val_loss": 2}'}.get, run_id="run_000003").metrics == {"val_loss": 2.0}


def test_evolyths_metrics_are_read_from_the_top():
    names = ("score", "val_accuracy", "parameter_count", "model_bytes", "latency_ms")
    problem = msgspec.structs.replace(PROBLEM, metrics=tuple(Metric(name=n, direction=Direction.MAXIMIZE) for n in names))
    file = {
        "status": "success",
        "run_id": "x",
        "score": 0.28,
        "val_accuracy": 0.41,
        "parameter_count": 48778,
        "model_bytes": 9,
        "latency_ms": 1.5,
    }

    assert values(reading(problem=problem, metrics_json={**file, "train_s": 3}))[1] == {n: float(file[n]) for n in names}


def test_val_metric_is_the_primary_one():
    assert values(reading('{"val_metric": 2.6, "steps": 3}\nbye\n')) == ("json-line", {"val_loss": 2.6})


def test_the_last_line_with_the_primary_metric_counts():
    stdout = '{"val_loss": 3}\n{"val_loss": 2, "params": 7}\n{"params": 8}\n{"other": 1}\n{broken}\n'

    assert values(reading(stdout)) == ("json-line", {"val_loss": 2.0, "params": 7.0})


def test_the_summary_of_autoresearch_is_read_behind_its_rule():
    stdout = "val_loss: 9\nstep 1: loss: 4\n---\nval_loss:          0.997900\nparams:    5.03e1\npeak_vram_mb:     45060.2\nlabel: text\n"

    result = reading(stdout)

    assert values(result) == ("summary", {"val_loss": 0.9979, "params": 50.3})
    assert result.ignored == ("peak_vram_mb: not declared",)


def test_a_terminal_s_colours_and_progress_bars_do_not_hide_a_metric():
    assert values(reading("10%\r20%\r\x1b[1;32mMETRIC val_loss=1.5\x1b[0m\r\n"))[1] == {"val_loss": 1.5}


def test_only_the_evaluator_counts_where_one_is_declared():
    cheat = {"val_loss": 0.0}

    assert reading('{"val_loss": 0}', LOCKED, None, metrics_json=cheat).crash.kind == "no-metric"
    assert reading('{"val_loss": 0}', LOCKED, "nothing", metrics_json=cheat).crash.kind == "no-metric"
    for said in (
        '{"val_loss": 1, "params": 2}',
        '{\n  "val_loss": 1,\n  "params": 2\n}',
        "val_loss: 1\nparams: 2\n",
        "METRIC val_loss=1\nMETRIC params=2",
    ):
        assert values(reading('{"val_loss": 0}', LOCKED, said, metrics_json=cheat)) == ("evaluator", {"val_loss": 1.0, "params": 2.0})


def test_a_status_other_than_success_is_a_crash_whatever_else_is_said():
    for status in ("failed", "", 1, False, ["success"]):
        crash = reading('{"val_loss": 1}', metrics_json={"status": status, "val_loss": 1, "error": "no\nGPU"}).crash
        assert crash.kind == "status"
        assert crash.message.endswith("no GPU")
    assert reading("", LOCKED, '{"status": "failed", "val_loss": 1}').crash.kind == "status"
    assert reading("", LOCKED, '{"val_loss": 1}', metrics_json={"status": "failed"}).crash.kind == "status"
    for status in ("success", "Succeeded", None):
        assert reading(metrics_json={"status": status, "val_loss": 1}).metrics == {"val_loss": 1.0}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NaN", "NaN"),
        ("Infinity", "infinite"),
        ("-1e999", "infinite"),
        ('"0.5"', "text"),
        ("true", "true"),
        ("null", "null"),
        ("[1]", "a list"),
        ('{"a": 1}', "a table"),
        ("1" * 25, "20 digits"),
        ("1" * 900_000, "20 digits"),
    ],
)
def test_a_primary_metric_that_is_no_number_is_a_crash_that_quotes_it(text, found):
    crash = reading("METRIC val_loss=1", metrics_json=f'{{"val_loss": {text}}}').crash

    assert crash.kind == "bad-metric"
    assert "val_loss" in crash.message
    assert found in crash.message


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "0.5s", "97%", "1_000", "", "0x10", "1e9999", "one two", "1" * 30])
def test_a_printed_metric_that_is_no_number_is_a_crash_too(text):
    assert reading(f"METRIC val_loss={text}").crash.kind == "bad-metric"
    assert reading(f"---\nval_loss: {text}\n").crash.kind == "bad-metric"


def test_a_bad_secondary_metric_is_dropped_and_said():
    result = reading(metrics_json={"val_loss": 1, "params": "many"})

    assert values(result)[1] == {"val_loss": 1.0}
    assert result.ignored == ("params: text ('many'), not a finite number",)


def test_a_missing_primary_metric_names_what_was_there_and_what_to_print():
    crash = reading('{"params": 3}\n---\nval_los: 2\n').crash

    assert crash.kind == "no-metric"
    assert "params" in crash.message
    assert "val_los," in crash.message or "val_los;" in crash.message
    assert 'print "METRIC val_loss=<number>"' in crash.message


def test_a_broken_metrics_json_gives_way_to_what_was_printed():
    result = reading("METRIC val_loss=1", metrics_json="{")

    assert result.metrics == {"val_loss": 1.0}
    assert "metrics.json: not a JSON object" in result.ignored
    assert "1 MiB" in reading(metrics_json=b" " * (1 << 20) + b'{"val_loss": 1}').crash.message


def test_only_the_last_mebibyte_is_read():
    assert reading(b"METRIC val_loss=1\n" + b"x\n" * (1 << 19)).crash.kind == "no-metric"
    assert reading(b"x\n" * (1 << 20) + b"METRIC val_loss=1\n").metrics == {"val_loss": 1.0}


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b'{"a":' * 170_000,
        b"{}\n" * 100_000,
        b"---\n" * 100_000,
        b"a:1\n" * 100_000,
        b"METRIC val_loss" + b" " * 1_000_000 + b"x",
        b"METRIC a=" * 100_000,
        b"\x1b[" * 500_000,
        b'{"val_loss": 0.' + b"1" * 1_000_000,
        b"{" + b",".join(b'"m%d":1' % i for i in range(90_000)) + b"}",
        b"\xff" * 1_000_000,
        b'{"val_loss": 1, "val_loss": []}',
        b'{"\\ud800": 1}',
    ],
    ids=range(13),
)
@pytest.mark.timeout(10)
def test_a_flood_is_read_in_no_time_and_gives_a_crash(data):
    for result in (reading(data), reading(metrics_json=data), reading(b"", LOCKED, data)):
        assert result.crash is not None
        assert result.crash.message.isprintable()


def test_what_is_ignored_is_bounded():
    result = reading(metrics_json={"val_loss": 1, **{f"m{i}": i for i in range(1000)}})

    assert len(result.ignored) == 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["val_loss", "params", "metrics", "status", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [b"METRIC ", b"val_loss", b"=", b":", b"---\n", b"\n", b"\r", b"{", b"}", b'"', b"1e9", b"nan", b"\x1b[", b"\xff", b" ", b","]
)


@settings(max_examples=300)
@given(
    st.lists(PIECES | st.binary(max_size=8), max_size=30).map(b"".join), JSON.map(lambda v: json.dumps(v).encode()) | st.binary(max_size=40)
)
def test_whatever_a_trial_leaves_gives_finite_declared_metrics_or_a_crash(stdout, file):
    for result in (reading(stdout, metrics_json=file), reading(file + b"\n" + stdout), reading(b"", LOCKED, stdout + file)):
        assert (result.crash is None) == ("val_loss" in result.metrics)
        assert set(result.metrics) <= {"val_loss", "params"}
        assert all(type(v) is float and math.isfinite(v) for v in result.metrics.values())
        assert all(line.isprintable() for line in result.ignored)
        assert msgspec.json.decode(msgspec.json.encode(result), type=Reading) == result


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_arrives_as_python_prints_it_from_every_place(number):
    text = repr(number)

    for result in (
        reading(f"METRIC val_loss={text}"),
        reading(f"---\nval_loss: {text}\n"),
        reading(f'{{"val_loss": {text}}}'),
        reading(metrics_json=f'{{"val_loss": {text}}}'),
    ):
        assert result.metrics == {"val_loss": number}
