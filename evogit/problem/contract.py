"""evogit.toml as text -> a `Problem`, or one line that names file, key and fix.

It reads text only: which files exist is asked through `Files`, so that the same contract can be read from a disk and from
a commit. It never runs anything, and never fills a required key with a guess.
"""

from __future__ import annotations

import difflib
import math
import posixpath
import re
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from evogit.domain import constraint
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import OBJECTIVES, RULES, Budget, Data, Decide, Evaluate, Holdout, Price, Problem, Sandbox, Search
from evogit.domain.trial import SANDBOXES
from evogit.errors import ProblemError
from evogit.problem import command as commands
from evogit.problem import globs

FILE = "evogit.toml"
GOALS = ("program.md", "goal_prompt.md", "README.md")
_MOST = 1e15  # of anything: beyond it a budget is a slip of the keyboard
METRIC_NAME = re.compile(r"[^\s:=,;\"'`\\{}\[\]\x00-\x1f\x7f]{1,64}")
_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list", "object": "a table"}
_HEADERS = {"metric": "[[metric]]", "backend": "[backend.NAME]", "prices": '[prices."model-id"]'}


class Files(Protocol):
    """The files of a repository, on disk or in a commit. Paths are posix, from the repository's top."""

    def read(self, path: str) -> bytes | None:
        """Bytes of a regular file, or None if there is none."""

    def listing(self) -> list[str]:
        """All paths. Asked for only where an error message wants to name what exists."""


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mutable: tuple[str, ...]
    command: str
    name: str = ""
    goal: str = ""
    smoke: str = ""
    requires: tuple[str, ...] = ()
    append: tuple[str, ...] = ()
    frontier: tuple[str, ...] = ()
    metrics_file: str = ""


class _Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    problem: _Head
    evaluate: Evaluate | None = None
    metric: tuple[Metric, ...] = ()
    budget: Budget = Budget()
    data: Data = Data()
    sandbox: Sandbox = Sandbox()
    decide: Decide = Decide()
    search: Search = Search()
    holdout: Holdout | None = None
    backend: dict[str, dict[str, object]] = {}
    prices: dict[str, Price] = {}


_SECTIONS: dict[str, type] = {
    "problem": _Head,
    "evaluate": Evaluate,
    "metric": Metric,
    "budget": Budget,
    "data": Data,
    "sandbox": Sandbox,
    "decide": Decide,
    "search": Search,
    "holdout": Holdout,
}


def parse(text: bytes, files: Files, folder: str, name: str) -> Problem:
    """The problem that `text` describes. `folder` is "" for the repository's top; `name` serves if the file gives none.

    Raises ProblemError. Costs a few file look-ups.
    """
    where = posixpath.join(folder, FILE)
    contract = _convert(_toml(text, where), where)
    head = contract.problem
    problem = Problem(
        name=head.name or name,
        folder=folder,
        layout="evogit",
        goal=head.goal or first_goal(files, folder),
        mutable=head.mutable,
        command=head.command,
        smoke=head.smoke,
        append=head.append,
        requires=head.requires,
        evaluate=contract.evaluate,
        metrics=contract.metric,
        frontier=head.frontier,
        budget=contract.budget,
        data=contract.data,
        sandbox=contract.sandbox,
        decide=contract.decide,
        search=contract.search,
        holdout=contract.holdout,
        backend=contract.backend,
        prices=contract.prices,
        metrics_file=head.metrics_file,
    )
    check(problem, where)
    check_files(problem, files, where)
    return problem


def first_goal(files: Files, folder: str) -> str:
    """The file that agents read where none is named: the first of `GOALS` that exists, or ""."""
    return next((goal for goal in GOALS if files.read(posixpath.join(folder, goal)) is not None), "")


def check(problem: Problem, where: str) -> None:
    """Raise ProblemError for the first value that has the right type and makes no sense. Touches no file."""
    for key, what, fix in _faults(problem):
        raise ProblemError(f"{where}: {key}", what, fix=fix)
    for key, text in _commands(problem):
        if text or key == "problem.command":
            commands.split(text, f"{where}: {key}")


def check_files(problem: Problem, files: Files, where: str) -> None:
    """Raise ProblemError if a file that the contract names outright is not there, or may not be mutable."""
    frozen = globs.frozen_files(problem.goal, *(part.command for part in (problem.evaluate, problem.holdout) if part))
    if problem.goal:
        must_exist(problem, files, f"{where}: problem.goal", problem.goal)
    for index, glob in enumerate(problem.mutable):
        key = f"{where}: problem.mutable[{index}]"
        if glob in frozen or not globs.NEVER.isdisjoint(glob.lower().split("/")):
            raise ProblemError(key, f'"{glob}" is what runs are judged by, it cannot be mutable', fix="leave it out: it is frozen")
        if "*" not in glob and "?" not in glob:
            must_exist(problem, files, key, glob)
    for name, text in _commands(problem):
        if text and not commands.needs_shell(text):
            script = commands.script(commands.split(text))
            if script and not script.startswith("/") and not posixpath.normpath(script).startswith(".."):
                must_exist(problem, files, f"{where}: {name}", script)


def closest(word: str, known: Iterable[str]) -> str:
    """ "did you mean x?" or, where nothing is near, what there is."""
    options = sorted(known)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(options[:16])}"


def _toml(text: bytes, where: str) -> dict[str, Any]:
    try:
        return msgspec.toml.decode(text)
    except UnicodeDecodeError as error:
        raise ProblemError(where, f"is not UTF-8 (byte {error.start})", fix="save it as UTF-8") from error
    except ValueError as error:  # DecodeError is one, and so is a number of 5,000 digits
        raise ProblemError(where, f"is not TOML: {_one_line(str(error))}", fix="text needs quotes, a list needs [ ]") from error
    except RecursionError as error:
        raise ProblemError(where, "is nested too deeply", fix="write flat sections") from error


def _convert(raw: dict[str, Any], where: str) -> _Contract:
    _refuse_unknown(raw, where)
    if "problem" not in raw:
        raise ProblemError(f"{where}: problem", "is missing", fix="begin with a [problem] section: mutable and command are required")
    if not raw.get("metric"):
        raise ProblemError(f"{where}: metric", "is missing", fix='add [[metric]] with name = "val_loss" and direction = "minimize"')
    try:
        return msgspec.convert(raw, _Contract)
    except msgspec.ValidationError as error:
        key, what, fix = explain(str(error), raw)
        raise ProblemError(f"{where}: {key}", what, fix=fix) from error


def _refuse_unknown(raw: dict[str, Any], where: str) -> None:
    tables: list[tuple[str, Any, type]] = [("", raw, _Contract)]
    for name, kind in _SECTIONS.items():
        value = raw.get(name)
        if name == "metric" and isinstance(value, list):
            tables += [(f"metric[{i}].", one, kind) for i, one in enumerate(value)]
        else:
            tables.append((f"{name}.", value, kind))
    prices = raw.get("prices")
    if isinstance(prices, dict):
        tables += [(f'prices."{model}".', one, Price) for model, one in prices.items()]
    for prefix, table, kind in tables:
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        for key in table if isinstance(table, dict) else ():
            if key not in known:
                homes = [name for name, kind in _SECTIONS.items() if not prefix and key in kind.__struct_fields__]
                fix = f"it belongs under {_header(homes[0])}" if homes else closest(key, known)
                raise ProblemError(f"{where}: {prefix}{_one_line(key)}", "is not a key of evogit.toml", fix=fix)


def explain(message: str, raw: dict[str, Any]) -> tuple[str, str, str]:
    """msgspec's message in the user's words: (key, what is wrong, what to write)."""
    what, _, path = message.partition(" - at `$")
    key = path.rstrip("`").lstrip(".")
    if "[...]" in key:
        key = _which(key, raw)
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    if missing:
        return f"{key}.{missing.group(1)}", "is missing", f"add {missing.group(1)} = ... to {_header(key)}"
    if what.startswith("Invalid enum value"):
        value = what.partition("value ")[2]
        allowed = [direction.value for direction in Direction]
        return key, f"{value} is no direction", f"{closest(value.strip(chr(39)), allowed)} write {' or '.join(allowed)}"
    if key == "metric":
        return key, "expected a list of tables", "write [[metric]], with two pairs of brackets"
    types = re.fullmatch(r"Expected `(.+?)`, got `(.+?)`", what)
    if types:
        wanted = " or ".join(_WORDS.get(part.strip(), part.strip()) for part in types.group(1).split("|") if part.strip() != "null")
        found = _WORDS.get(types.group(2), types.group(2))
        return key, f"expected {wanted}, found {found}", f"write {wanted}" + (f" under {_header(key)}" if wanted == "a table" else "")
    return key, _one_line(what), "see docs/problem.md"


def _which(key: str, raw: dict[str, Any]) -> str:
    """msgspec hides the keys of open tables behind [...]: find the one that does not fit."""
    section, _, rest = key.partition("[...]")
    kind: Any = {"prices": Price}.get(section, dict)
    for name, value in raw.get(section, {}).items():
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return f'{section}."{_one_line(name)}"{rest}'
    return section


def _header(key: str) -> str:
    section = key.split(".")[0].split("[")[0]
    return _HEADERS.get(section, f"[{section}]")


def _faults(problem: Problem) -> Iterable[tuple[str, str, str]]:
    """(key, what, fix) of every value that makes no sense, in the order of the file."""
    if not problem.name.strip() or any(ord(char) < 32 for char in problem.name):
        yield "problem.name", "must be one line of text", 'for example name = "digits"'
    if not problem.mutable:
        yield "problem.mutable", "is empty: nothing could ever change", 'for example mutable = ["train.py"]'
    for index, glob in enumerate(problem.mutable):
        broken = globs.fault(glob)
        if broken:
            yield f"problem.mutable[{index}]", *broken
    for key, path in (("problem.goal", problem.goal), ("problem.metrics_file", problem.metrics_file)):
        broken = globs.fault(path) if path else None
        if broken:
            yield key, *broken
    if problem.evaluate is not None and not problem.evaluate.command.strip():
        yield "evaluate.command", "is empty", "write what scores the predictions, or remove [evaluate]"
    if problem.holdout is not None and not problem.holdout.command.strip():
        yield "holdout.command", "is empty", "write what scores on held-out data, or remove [holdout]"
    yield from _metric_faults(problem)
    yield from _budget_faults(problem.budget)
    yield from _data_faults(problem.data)
    if problem.sandbox.require and problem.sandbox.require not in SANDBOXES:
        yield "sandbox.require", f'"{problem.sandbox.require}" is no level', f"write one of {', '.join(SANDBOXES)}"
    for index, path in enumerate(problem.sandbox.read):
        if not path.startswith(("/", "~")) or path.rstrip("/") in ("", "~") or path.startswith(("/proc", "/sys", "/dev")):
            fix = 'an absolute path or one below ~, for example read = ["~/datasets"]'
            yield f"sandbox.read[{index}]", f"{path!a} cannot be shown to trials", fix
    for index, name in enumerate(problem.sandbox.env):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield f"sandbox.env[{index}]", f"{name!a} is no name of a variable", 'names only, for example env = ["HF_HOME"]'
    for key, value in (("decide.accept", problem.decide.accept), ("search.floor", problem.search.floor)):
        if not math.isfinite(value):
            yield key, f"{value} is no finite number", "write a number"
    yield from _decide_faults(problem)
    for model, one in problem.prices.items():
        for name in one.__struct_fields__:
            if not 0 <= (getattr(one, name) or 0) < _MOST:
                yield f'prices."{_one_line(model)}".{name}', f"{getattr(one, name)} is no price", "dollars per million tokens, 0 or more"


def _decide_faults(problem: Problem) -> Iterable[tuple[str, str, str]]:
    decide, names = problem.decide, [metric.name for metric in problem.metrics]
    if decide.rule and decide.rule not in RULES:
        yield "decide.rule", f"{decide.rule[:80]!a} is no rule", closest(decide.rule, RULES)
    if decide.objective and decide.objective not in OBJECTIVES:
        yield "decide.objective", f"{decide.objective[:80]!a} is no objective", closest(decide.objective, OBJECTIVES)
    if decide.rule == "pareto" and decide.objective not in ("", "pareto"):
        fix = f'remove one of them: rule = "pareto" is the rule posterior with objective = "pareto", {decide.objective} goes with another rule'
        yield "decide.rule", f'"pareto" and objective = "{decide.objective}" contradict each other', fix
    if decide.weights and decide.objective != "weighted":
        yield "decide.weights", "stand without their objective", 'add objective = "weighted" to [decide], or remove weights'
    if decide.objective == "weighted" and not set(decide.weights) - {names[0]}:
        fix = f"say what one unit of another metric is worth in units of {names[0]}: weights = {{ metric = 0.1 }}"
        yield "decide.weights", "are missing" if not decide.weights else "name the primary metric alone", fix
    for name, weight in decide.weights.items():
        if name not in names:
            yield f"decide.weights.{_one_line(name)}", "is no declared metric", closest(name, names)
        if not 0 <= weight < _MOST or (name == names[0] and weight == 0):
            yield (
                f"decide.weights.{_one_line(name)}",
                f"{weight:g} is no weight",
                "write a positive number; the direction is the metric's own",
            )
    for index, text in enumerate(decide.constraints):
        key = f"decide.constraints[{index}]"
        try:
            limit = constraint.parse(text)
        except ValueError as error:
            yield key, f"{_one_line(text)[:80]!a} {error}", 'for example "params <= 100k", with <, <=, > or >='
            continue
        if limit.metric not in names:
            yield key, f"{limit.metric[:80]!a} is no declared metric", closest(limit.metric, names)


def _metric_faults(problem: Problem) -> Iterable[tuple[str, str, str]]:
    names = [metric.name for metric in problem.metrics]
    for index, metric in enumerate(problem.metrics):
        key = f"metric[{index}]"
        if not METRIC_NAME.fullmatch(metric.name):
            yield f"{key}.name", f"{metric.name[:80]!a} is no metric's name", "1 to 64 characters without spaces, quotes, : = , ; [ ] { }"
        if metric.name in names[:index]:
            yield f"{key}.name", f'"{metric.name}" is declared twice', "give each metric its own name"
        if not math.isfinite(metric.min_delta) or metric.min_delta < 0:
            yield f"{key}.min_delta", f"{metric.min_delta} is no distance", "write 0.0 or more, in the metric's unit"
    for index, name in enumerate(problem.frontier):
        if name not in names:
            yield f"problem.frontier[{index}]", f'"{name}" is no declared metric', closest(name, names)


def _budget_faults(budget: Budget) -> Iterable[tuple[str, str, str]]:
    if not 0 < budget.timeout_s < _MOST:
        yield "budget.timeout_s", f"{budget.timeout_s:g} s is no limit", "seconds, more than 0"
    if not 1 <= budget.cpus < _MOST:
        yield "budget.cpus", f"{str(budget.cpus)[:20]} is no number of cores", "1 or more"
    for key, value in (
        ("train_s", budget.train_s),
        ("memory_mib", budget.memory_mib),
        ("gpus", budget.gpus),
        ("usd_per_hour", budget.usd_per_hour),
    ):
        if not 0 <= value < _MOST:
            yield f"budget.{key}", f"{str(value)[:20]} is no amount", "more than 0, or leave it out"
    if budget.train_s > budget.timeout_s:
        fix = "let timeout_s leave time to load and evaluate"
        yield "budget.train_s", f"{budget.train_s:g} s is beyond timeout_s ({budget.timeout_s:g} s)", fix
    if not budget.seeds:
        yield "budget.seeds", "is empty", "for example seeds = [0, 1, 2]"
    if len(set(budget.seeds)) != len(budget.seeds):
        yield "budget.seeds", "holds a seed twice", "each seed once: the same seed twice is no second reading"
    if any(not 0 <= seed < 2**32 for seed in budget.seeds):
        yield "budget.seeds", "holds a seed that generators refuse", "whole numbers from 0 to 4294967295"


def _data_faults(data: Data) -> Iterable[tuple[str, str, str]]:
    ways = [name for name in ("path", "url", "prepare") if getattr(data, name)]
    if len(ways) > 1:
        yield "data", f"comes {len(ways)} ways ({', '.join(ways)})", "keep one of path, url, prepare"
    if data.url and not data.sha256:
        yield "data.sha256", "is missing", "a download needs the sha256 of its bytes: `sha256sum FILE` prints it"
    if data.sha256 and not data.url:
        yield "data.sha256", "stands without a url", "add url, or remove sha256"
    if data.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", data.sha256):
        yield "data.sha256", "is no sha256", "64 hexadecimal digits: `sha256sum FILE` prints them"
    if data.url and not re.match(r"(?:https?|file)://\S+$", data.url):
        yield "data.url", f"{_one_line(data.url)!a} is no address", "begin with https://"


def _commands(problem: Problem) -> list[tuple[str, str]]:
    found = [("problem.command", problem.command), ("problem.smoke", problem.smoke)]
    if problem.evaluate is not None:
        found += [("evaluate.predict", problem.evaluate.predict), ("evaluate.command", problem.evaluate.command)]
    if problem.holdout is not None:
        found.append(("holdout.command", problem.holdout.command))
    return [*found, ("data.prepare", problem.data.prepare)]


def must_exist(problem: Problem, files: Files, where: str, path: str) -> None:
    """Raise ProblemError, with the nearest name as its fix, unless `path` below the problem's folder is a file."""
    if files.read(posixpath.normpath(posixpath.join(problem.folder, path))) is not None:
        return
    here = [local for local in (globs.below(problem.folder, p) for p in files.listing()) if local is not None]
    raise ProblemError(where, f"there is no file {path}", fix=closest(path, here) if here else "create it first")


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]
