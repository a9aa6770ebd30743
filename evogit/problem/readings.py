"""The numbers of one finished trial, read by the host from what the trial left: hostile input, every byte of it.

Looked at in this order, and the first place that has the primary metric is the only one that counts: the evaluator's
output (alone, where one is declared), metrics.json, a JSON line on stdout, `name: value` lines after `---`, `METRIC
name=value` lines. It never guesses: a metric that is not a finite number is a crash that says so, and a metric that is
not declared is named, never returned.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from evogit.domain.problem import Problem
from evogit.domain.trial import Crash
from evogit.problem.crashes import clean, crash_of, lines_of, text_of

__all__ = ["Reading", "crash_of", "read"]


_FILE_MAX = 1 << 20  # bytes of a metrics.json
_DIGITS_MAX = 19  # of a whole number: beyond them it is no reading
_JSON_LINE_MAX = 64 << 10  # characters
_LINE_MAX = 400  # characters of a `name: value` line
_NAME_MAX = 64
_IGNORED_MAX = 20  # names
_SUCCESS = frozenset({"success", "succeeded"})
_NUMBER = re.compile(r"[-+]?(?:\d{1,19}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,6})?")

Values = Mapping[str, object]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. Exactly one of `metrics` and `crash` is set: a trial with a crash has no number."""

    metrics: dict[str, float] = {}  # declared ones only, each finite, the primary one always there
    source: str = ""  # evaluator, metrics.json, json-line, summary or metric-line
    crash: Crash | None = None
    ignored: tuple[str, ...] = ()  # what was found and not used, with why; 20 at most


class _Huge(str):
    """A whole number too long to be a reading, kept as its first digits."""


def read(
    problem: Problem, *, stdout: bytes, files: Callable[[str], bytes | None], evaluator_stdout: bytes | None = None, run_id: str
) -> Reading:
    """The declared metrics of a trial that ended well. Never raises for any bytes; costs a few ms a mebibyte.

    files: what the trial wrote. "metrics.json" is asked of its artifact directory, other paths of the problem's folder in
    its workspace. At most 1 MiB of a file and the last 1 MiB of an output are read. `run_id` is as `run_000003`.
    """
    primary = problem.primary.name
    notes: list[str] = []
    reported = _metrics_file(problem, files, run_id, notes)
    failed = _failure(reported)
    if failed is not None:
        return Reading(crash=failed)
    if problem.evaluate is not None:
        if evaluator_stdout is None:
            return Reading(crash=Crash(kind="no-metric", message="the evaluator did not run, and only its numbers count"))
        objects, others = _evaluator(evaluator_stdout, problem)
        failed = next((f for values in objects if (f := _failure(values)) is not None), None)
        if failed is not None:
            return Reading(crash=failed)
        sources = [("evaluator", values) for values in objects + others]
    else:
        sources = [("metrics.json", reported), *_printed(stdout, problem)]
    for source, values in sources:
        flat = _flat(values, primary)
        if primary in flat:
            return _reading(problem, flat, source, notes)
    seen = _names(value for _, value in sources)
    return Reading(crash=_missing(problem, seen, notes), ignored=tuple(notes[:_IGNORED_MAX]))


def _reading(problem: Problem, flat: Values, source: str, notes: list[str]) -> Reading:
    metrics: dict[str, float] = {}
    for metric in problem.metrics:
        if metric.name not in flat:
            continue
        number = _number(flat[metric.name])
        if isinstance(number, float):
            metrics[metric.name] = number
            continue
        message = f"{metric.name} in {source} is {number}, not a finite number"
        if metric is problem.primary:
            return Reading(crash=Crash(kind="bad-metric", message=message))
        notes.append(f"{metric.name}: {number}, not a finite number")
    declared = {metric.name for metric in problem.metrics}
    for name, value in flat.items():
        if len(notes) > _IGNORED_MAX:
            break
        if name not in declared and isinstance(_number(value), float):
            notes.append(f"{clean(name, 64)}: not declared")
    return Reading(metrics=metrics, source=source, ignored=tuple(notes[:_IGNORED_MAX]))


def _number(value: object) -> float | str:
    """A finite float, or in words what stands there instead."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Huge):
        return f"a whole number of {_DIGITS_MAX + 1} digits or more ({value}...)"
    if isinstance(value, (int, float)):
        number = float(value)
        return number if math.isfinite(number) else ("NaN" if math.isnan(number) else "infinite")
    if isinstance(value, str):
        return f"text ({clean(value, 40)!r})"
    return "a list" if isinstance(value, list) else "a table"


def _printed_number(text: str) -> object:
    """The value of a `name: value` line: a number, NaN and infinities as Python prints them, else the text itself."""
    word = text.strip()
    if _NUMBER.fullmatch(word):
        return float(word)
    if word.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return float(word)
    return word


def _metrics_file(problem: Problem, files: Callable[[str], bytes | None], run_id: str, notes: list[str]) -> Values:
    """The first metrics.json that holds an object."""
    paths = ["metrics.json", problem.metrics_file.replace("{run_id}", run_id), f"runs/{run_id}/metrics.json"]
    for path in dict.fromkeys(path for path in paths if path):
        data = files(path)
        if data is None:
            continue
        if len(data) > _FILE_MAX:
            notes.append(f"{path}: {len(data):,} bytes, more than 1 MiB")
            continue
        value = _json(data.decode("utf-8", "replace"))
        if isinstance(value, dict):
            return value
        notes.append(f"{path}: not a JSON object")
    return {}


def _json(text: str) -> object:
    """A JSON value, or None if it is none, is nested without end, or is otherwise made to hurt."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> int | _Huge:
    return int(digits) if len(digits.lstrip("-")) <= _DIGITS_MAX else _Huge(digits[:12])


_DECODER = json.JSONDecoder(parse_int=_integer)


def _flat(values: Values, primary: str) -> dict[str, object]:
    """Top-level keys over those under "metrics"; `val_metric` is another name of the primary metric."""
    inner = values.get("metrics")
    flat = {**inner, **values} if isinstance(inner, dict) else dict(values)
    if primary not in flat and "val_metric" in flat:
        flat[primary] = flat.pop("val_metric")
    return flat


def _failure(values: Values) -> Crash | None:
    status = values.get("status")
    if status is None or (isinstance(status, str) and status.strip().lower() in _SUCCESS):
        return None
    told = next((values[key] for key in ("error", "message", "error_type") if isinstance(values.get(key), str)), "")
    shown = clean(status, 60) if isinstance(status, str) else json.dumps(status)[:60] if isinstance(status, (int, float)) else "no text"
    return Crash(kind="status", message=clean(f"it reported status {shown}" + (f": {told}" if told else "")))


def _evaluator(output: bytes, problem: Problem) -> tuple[list[Values], list[Values]]:
    """What the evaluator printed, as JSON objects and as lines: JSON first, and no `---` is asked of it."""
    text = text_of(output)
    whole = _json(text.strip())
    (_, line), *others = _printed(output, problem)
    objects: list[Values] = [whole] if isinstance(whole, dict) else []
    return [*objects, line], [*(values for _, values in others), _pairs(lines_of(text))]


def _printed(output: bytes, problem: Problem) -> list[tuple[str, Values]]:
    lines = [line for line in lines_of(text_of(output)) if len(line) <= _JSON_LINE_MAX]
    return [("json-line", _json_line(lines, problem)), ("summary", _summary(lines, problem)), ("metric-line", _metric_lines(lines))]


def _json_line(lines: list[str], problem: Problem) -> Values:
    """The last line that is an object with the primary metric, else the last with any declared one."""
    second: Values = {}
    for line in reversed(lines):
        text = line.strip()
        if not (text.startswith("{") and text.endswith("}")):
            continue
        value = _json(text)
        if not isinstance(value, dict):
            continue
        flat = _flat(value, problem.primary.name)
        if problem.primary.name in flat:
            return value
        if not second and any(problem.metric(name) is not None for name in flat):
            second = value
    return second


def _summary(lines: list[str], problem: Problem) -> Values:
    """The `name: value` lines behind the last `---` that has the primary metric behind it before the next one."""
    best: Values = {}
    start: int | None = None
    for index, line in enumerate([*lines, "---"]):
        if line.strip() != "---":
            continue
        block = _pairs(lines[start:index]) if start is not None else {}
        best = block if problem.primary.name in block or not best else best
        start = index + 1
    return best


def _pairs(lines: Iterable[str]) -> Values:
    return dict(pair for line in lines if (pair := _pair(line, ":")) is not None)


def _metric_lines(lines: Iterable[str]) -> Values:
    words = (line.strip() for line in lines if len(line) <= _LINE_MAX)
    told = (line[len("METRIC") :] for line in words if line.startswith(("METRIC ", "METRIC\t")))
    return dict(pair for line in told if (pair := _pair(line, "=")) is not None)


def _pair(line: str, between: str) -> tuple[str, object] | None:
    if len(line) > _LINE_MAX:
        return None
    name, found, value = (part.strip() for part in line.partition(between))
    if not found or not 0 < len(name) <= _NAME_MAX or any(char.isspace() or char == "=" for char in name):
        return None
    return name, _printed_number(value)


def _names(values: Iterable[Values]) -> list[str]:
    seen: dict[str, None] = {}
    for one in values:
        inner = one.get("metrics")
        for name, value in [*(inner.items() if isinstance(inner, dict) else ()), *one.items()]:
            if isinstance(_number(value), float):
                seen[clean(str(name), 30)] = None
            if len(seen) >= 5:
                return list(seen)
    return list(seen)


def _missing(problem: Problem, seen: list[str], notes: list[str]) -> Crash:
    name = problem.primary.name
    found = f"; found instead: {', '.join(seen)}" if seen else f"; {notes[0]}" if notes else ""
    if problem.evaluate is not None:
        return Crash(kind="no-metric", message=clean(f"the evaluator printed no {name}{found}"))
    advice = f'print "METRIC {name}=<number>" or write it to $EVOGIT_ARTIFACT_DIR/metrics.json'
    return Crash(kind="no-metric", message=clean(f"it reported no {name}{found}; {advice}"))
