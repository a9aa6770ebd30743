"""Folders that are problems without an evogit.toml, because other tools laid them out so.

`autoresearch`: program.md, prepare.py, train.py.   `evolyth`: goal_prompt.md, train_eval.py, model.py, and perhaps an
rp_contract.json. The values are those tools' own defaults. Nothing else is recognised: two near misses make no problem.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable
from typing import Any

import msgspec

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Problem
from evogit.errors import ProblemError
from evogit.problem import contract, globs
from evogit.problem.contract import Files

CONTRACT = "rp_contract.json"


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """rp_contract.json. Unknown keys are other tools' business."""

    rp_id: str = ""
    mutable_file: str = "model.py"
    train_script: str = "train_eval.py"
    metrics_template: str = "runs/{run_id}/metrics.json"
    events_template: str = "runs/{run_id}/events.jsonl"
    summary_template: str = "runs/{run_id}/run_summary.md"
    run_args: tuple[str, ...] = ("--dataset", "synthetic")
    smoke_args: tuple[str, ...] = ("--dry-run", "--dataset", "synthetic")


def layout_of(exists: Callable[[str], bool]) -> str:
    """ "autoresearch", "evolyth" or "", from which names exist in the folder."""
    if all(exists(name) for name in ("program.md", "prepare.py", "train.py")):
        return "autoresearch"
    if exists("goal_prompt.md") and (exists(CONTRACT) or (exists("train_eval.py") and exists("model.py"))):
        return "evolyth"
    return ""


def recognise(files: Files, folder: str, name: str) -> Problem | None:
    """The problem that a recognised layout makes of a folder, or None. Raises ProblemError for a broken rp_contract.json."""
    layout = layout_of(lambda path: files.read(posixpath.join(folder, path)) is not None)
    if layout == "autoresearch":
        return _autoresearch(folder, name)
    return _evolyth(files, folder, name) if layout == "evolyth" else None


def _autoresearch(folder: str, name: str) -> Problem:
    return Problem(
        name=name,
        folder=folder,
        layout="autoresearch",
        goal="program.md",
        mutable=("train.py",),
        command="uv run train.py",
        metrics=(Metric(name="val_bpb", direction=Direction.MINIMIZE),),
        budget=Budget(timeout_s=600.0),
    )


def _evolyth(files: Files, folder: str, name: str) -> Problem:
    where = posixpath.join(folder, CONTRACT)
    text = files.read(where)
    options = _options(text, where) if text is not None else _Options()
    train = shlex.join(["python", options.train_script])
    problem = Problem(
        name=options.rp_id or name,
        folder=folder,
        layout="evolyth",
        goal="goal_prompt.md",
        mutable=(options.mutable_file,),
        command=f"{train} {shlex.join(options.run_args)}".rstrip(),
        smoke=f"{train} {shlex.join(options.smoke_args)}".rstrip(),
        append=("--run-id", "{run_id}"),
        metrics=tuple(
            Metric(name=metric, direction=Direction.MAXIMIZE if metric in ("score", "val_accuracy") else Direction.MINIMIZE)
            for metric in ("score", "val_accuracy", "parameter_count", "model_bytes", "latency_ms")
        ),
        metrics_file=options.metrics_template,
        events_file=options.events_template,
        summary_file=options.summary_template,
    )
    _check(options, problem, files, where)
    return problem


def _check(options: _Options, problem: Problem, files: Files, where: str) -> None:
    for key in ("mutable_file", "train_script", "metrics_template", "events_template", "summary_template"):
        path = getattr(options, key)
        broken = globs.fault(path)
        if broken:
            raise ProblemError(f"{where}: {key}", broken[0], fix=broken[1])
        if not key.endswith("_template"):
            contract.must_exist(problem, files, f"{where}: {key}", path)
    if not globs.is_mutable(problem, posixpath.join(problem.folder, options.mutable_file)) or options.mutable_file == options.train_script:
        raise ProblemError(f"{where}: mutable_file", f'"{options.mutable_file}" is what runs are judged by', fix="name the model's file")


def _options(text: bytes, where: str) -> _Options:
    try:
        raw: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(where, f"is not JSON: {str(error)[:120]}", fix="remove it, or mend it: its keys are all optional") from error
    if not isinstance(raw, dict):
        raise ProblemError(where, "expected a table", fix='write {} or {"mutable_file": "model.py"}')
    for key in ("run_args", "smoke_args"):
        if isinstance(raw.get(key), str):
            raw[key] = _words(raw[key], f"{where}: {key}")
    try:
        return msgspec.convert(raw, _Options)
    except msgspec.ValidationError as error:
        key, what, fix = contract.explain(str(error), raw)
        raise ProblemError(f"{where}: {key}", what, fix=fix) from error


def _words(text: str, where: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ProblemError(where, f"{str(error).lower()}", fix='write a list of words: ["--dataset", "synthetic"]') from error
