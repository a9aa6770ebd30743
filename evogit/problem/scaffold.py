"""`evogit init`: look at a folder with a training script, and write the evogit.toml that a person would have begun with.

It reads sources as text and syntax, and never runs or imports them. Every guess is said in one line, and what could not be
guessed is said too. It never overwrites a file.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import msgspec

from evogit.domain.metric import Direction, Metric
from evogit.errors import UserError
from evogit.problem import DiskFiles, layouts, load_from, sources
from evogit.problem.contract import FILE, GOALS

_SCRIPTS = ("train.py", "main.py", "run.py", "experiment.py", "train_eval.py", "training.py", "fit.py")
_FOLDERS = ("", "src", "scripts")
_RULERS = ("evaluate.py", "eval.py", "score.py", "predict.py")
_FROZEN = (
    "prepare",
    "data",
    "dataset",
    "datasets",
    "eval",
    "evaluate",
    "evaluation",
    "metrics",
    "score",
    "predict",
    "test",
    "tests",
    "utils",
)
_MODEL = re.compile(r"model|net|arch|layer|block|modul|optim|sched|attention|transformer|encoder|decoder|policy")
_SMOKE = ("smoke", "dry-run", "dry_run", "smoke-test", "smoke_test", "fast-dev-run", "fast_dev_run")
_SHORT = {
    "epochs": 1,
    "num-epochs": 1,
    "num_epochs": 1,
    "n-epochs": 1,
    "max-steps": 10,
    "max_steps": 10,
    "steps": 10,
    "num-steps": 10,
    "iters": 10,
}


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder looks like. `said` is one line a guess, for people."""

    name: str
    goal: str
    mutable: tuple[str, ...]
    command: str
    smoke: str = ""
    append: tuple[str, ...] = ()
    metrics: tuple[Metric, ...]
    metrics_file: str = ""
    timeout_s: float = 600.0
    gpus: int = 0
    seeds: tuple[int, ...] = (0,)
    said: tuple[str, ...] = ()


def guess(folder: Path) -> Guess:
    """Read the folder's sources and say what its problem seems to be. Raises UserError if nothing in it looks like training."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder", hint="name the folder that holds your training script: `evogit init DIR`")
    if layouts.layout_of(lambda name: (folder / name).is_file()):
        return _recognised(folder)
    said: list[str] = []
    script = _script(folder, said)
    source = sources.look(folder / script)
    if source.broken:
        said.append(f"{script} does not parse ({source.broken}): metrics and options were not looked for")
    metrics = _metrics(source, script, said)
    command = _command(folder, script, said)
    return Guess(
        name=_name(folder),
        goal=_goal(folder, said),
        mutable=_mutable(folder, script, source, said),
        command=command,
        smoke=_smoke(command, source, said),
        metrics=metrics,
        gpus=_gpus(source, said),
        seeds=_seeds(source, script, said),
        said=(*said, *_notes(folder)),
    )


def create(folder: Path) -> Guess:
    """Guess and write `folder`/evogit.toml. Raises UserError if there is one already, or the folder cannot be written."""
    path = folder / FILE
    if os.path.lexists(path):
        raise UserError(f"{path} exists already", hint="edit it, or remove it and run `evogit init` again; `evogit doctor` checks it")
    found = guess(folder)
    text = write(found)
    try:
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"{path} exists already", hint="edit it, or remove it and run `evogit init` again") from error
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", hint="check the folder's permissions and the disk") from error
    return found


def write(found: Guess) -> str:
    """evogit.toml for a guess, with every other section as a comment. `evogit.problem.load` reads it back."""
    lines = [
        "# What evogit may change, runs, and measures. Every key is in docs/problem.md; `evogit doctor` checks this file.",
        "",
        "[problem]",
        f"name = {_text(found.name)}",
        f"goal = {_text(found.goal)}  # what agents read"
        if found.goal
        else '# goal = "program.md"  # what agents read: write one, it helps',
        f"mutable = {_list(found.mutable)}  # globs; every other file is frozen",
        f"command = {_text(found.command)}  # run in this folder, in a clean checkout",
        f"smoke = {_text(found.smoke)}  # a gate before the real run"
        if found.smoke
        else f"# smoke = {_text(found.command + ' --smoke')}  # a gate before the real run",
    ]
    if found.append:
        lines.append(f"append = {_list(found.append)}  # added last; {{run_id}} becomes run_000003")
    if found.metrics_file:
        lines.append(f"metrics_file = {_text(found.metrics_file)}  # where the command writes its metrics.json")
    lines += ['# requires = ["evaluate("]  # calls or imports that a candidate must keep', *_EVALUATE]
    for index, metric in enumerate(found.metrics):
        lines += ["", "[[metric]]  # the first is the primary one: verdicts are about it" if index == 0 else "[[metric]]"]
        lines += [f"name = {_text(metric.name)}", f"direction = {_text(metric.direction.value)}"]
        if index == 0:
            lines.append(f"min_delta = {metric.min_delta}  # a gain not above it is no gain")
    lines += [
        "",
        "[budget]",
        "# train_s = 60  # told to the candidate as EVOGIT_TRAIN_S",
        f"timeout_s = {found.timeout_s:g}  # enforced, on everything it started",
        "# memory_mib = 4096",
        "cpus = 1",
        f"gpus = {found.gpus}",
        f"seeds = {list(found.seeds)}  # one trial each, as EVOGIT_SEED",
        "# usd_per_hour = 0.0  # counts towards --max-cost",
        *_REST,
    ]
    return "\n".join(lines) + "\n"


_EVALUATE = [
    "",
    "# [evaluate]  # the locked ruler: where it is set, its numbers alone count",
    '# predict = "python predict.py"  # the candidate, sandboxed, on inputs without labels',
    '# command = "python evaluate.py"  # from the base commit, scores the predictions',
]
_REST = [
    "",
    "# [data]  # one of: path; url and sha256; prepare. Mounted read-only, named by EVOGIT_DATA_DIR",
    '# path = "data"',
    "",
    "# [sandbox]",
    "# network = false",
    '# require = "bubblewrap"  # or "landlock", "none"; left out: the best that works here',
    '# hide = ["labels/**"]  # from training and prediction; the ruler sees it',
    '# read = ["~/datasets"]  # files and folders outside that trials may read',
    '# env = ["HF_HOME"]  # names let through',
    "",
    "# [decide]",
    "# simplicity = true",
    "",
    "# [search]",
    '# policy = ""',
    "",
    "# [holdout]  # only the host runs it",
    '# command = "python holdout.py"',
    "",
    "# [backend.NAME]  # options of a backend",
    "",
    '# [prices."model-id"]  # dollars per million tokens',
    "# input = 3.0",
    "# output = 15.0",
]


def _recognised(folder: Path) -> Guess:
    problem = load_from(DiskFiles(folder), "", top_name=_name(folder))
    said = f"recognised as an {problem.layout} layout: it works without an {FILE}; the file now says the same in words you can change"
    return Guess(
        name=problem.name,
        goal=problem.goal,
        mutable=problem.mutable,
        command=problem.command,
        smoke=problem.smoke,
        append=problem.append,
        metrics=problem.metrics,
        metrics_file=problem.metrics_file,
        timeout_s=problem.budget.timeout_s,
        said=(said,),
    )


def _script(folder: Path, said: list[str]) -> str:
    """The training script, below the folder."""
    named = [f"{base}/{name}" if base else name for base in _FOLDERS for name in _SCRIPTS]
    found = next((path for path in named if (folder / path).is_file()), None)
    if found is not None:
        said.append(f"training script: {found}, by its name")
        return found
    others = [
        path for base in _FOLDERS for path in sorted((folder / base).glob("*.py")) if not _is_frozen(path.stem) and path.stem != "setup"
    ]
    runnable = [path for path in others if path.name.startswith("train") or sources.look(path).is_script]
    best = (runnable or others)[:2]
    if not best:
        raise UserError(
            f"no Python training script in {folder.name or folder}",
            hint="write evogit.toml by hand: [problem] and [[metric]], see docs/problem.md",
        )
    path = best[0].relative_to(folder).as_posix()
    also = f" (not {best[1].relative_to(folder).as_posix()})" if len(best) > 1 else ""
    said.append(f"training script: {path}{also}, the first that runs when it is called")
    return path


def _is_frozen(stem: str) -> bool:
    return stem.startswith(("test_", "conftest", "__")) or any(part in _FROZEN for part in stem.lower().split("_"))


def _mutable(folder: Path, script: str, source: sources.Source, said: list[str]) -> tuple[str, ...]:
    base = Path(script).parent
    local = [base / f"{name.replace('.', '/')}.py" for name in source.imports]
    files = [
        path.as_posix() for path in local if (folder / path).is_file() and _MODEL.search(path.stem.lower()) and not _is_frozen(path.stem)
    ]
    chosen = [script, *(path for path in dict.fromkeys(files) if path != script)]
    if _is_frozen(Path(script).stem) and len(chosen) > 1:
        chosen.remove(script)
    left = sorted(path.name for path in folder.glob("*.py") if path.name not in chosen)
    frozen = f"; frozen: {', '.join(left[:5])}" if left else ""
    said.append(f"mutable: {', '.join(chosen)}{frozen}")
    return tuple(chosen)


def _command(folder: Path, script: str, said: list[str]) -> str:
    words = script if " " not in script else f"'{script}'"
    if (folder / "uv.lock").is_file():
        said.append("command: uv run, because there is a uv.lock")
        return f"uv run {words}"
    said.append(f"command: python {words}")
    return f"python {words}"


def _smoke(command: str, source: sources.Source, said: list[str]) -> str:
    flag = next((name for name in _SMOKE if name in source.flags), None)
    if flag is not None:
        said.append(f"smoke run: --{flag}, an option of the script")
        return f"{command} --{flag}"
    short = next((name for name in _SHORT if name in source.flags), None)
    if short is not None:
        said.append(f"smoke run: --{short} {_SHORT[short]}, the shortest run its options allow")
        return f"{command} --{short} {_SHORT[short]}"
    said.append("smoke run: none, the script has no --smoke, --dry-run or --epochs")
    return ""


def _metrics(source: sources.Source, script: str, said: list[str]) -> tuple[Metric, ...]:
    readable = bool(source.readable) and (any(map(sources.is_quality, source.readable)) or not any(map(sources.is_quality, source.printed)))
    ranked = sources.rank(source.readable if readable else source.printed)
    if not ranked:
        said.append(f'primary metric: val_loss, assumed; {script} prints none that evogit can read: print(f"METRIC val_loss={{value}}")')
        return (Metric(name="val_loss", direction=Direction.MINIMIZE),)
    metrics = tuple(Metric(name=name, direction=Direction.MINIMIZE if sources.is_cost(name) else Direction.MAXIMIZE) for name in ranked[:4])
    primary = metrics[0]
    said.append(
        f"primary metric: {primary.name}, {primary.direction.value}d" + (f"; also {', '.join(ranked[1:4])}" if len(ranked) > 1 else "")
    )
    if not readable:
        said.append(f'{script} prints {primary.name} in words that evogit does not read: add print(f"METRIC {primary.name}={{value}}")')
    return metrics


def _goal(folder: Path, said: list[str]) -> str:
    goal = next((name for name in GOALS if (folder / name).is_file()), "")
    said.append(f"goal: {goal}" if goal else "goal: none; a program.md with aim and limits makes agents better")
    return goal


def _seeds(source: sources.Source, script: str, said: list[str]) -> tuple[int, ...]:
    if source.reads_seed:
        said.append("seeds: 0, 1, 2, because the script reads its seed from the environment")
        return (0, 1, 2)
    said.append(f"seeds: only 0; let {script} read EVOGIT_SEED and noise can be told from gain")
    return (0,)


def _gpus(source: sources.Source, said: list[str]) -> int:
    if source.needs_gpu:
        said.append("gpus: 1, because the script asks for CUDA and never whether it is there")
        return 1
    return 0


def _notes(folder: Path) -> list[str]:
    found = [f"{name} is here: [evaluate] can lock the score (see the comment)" for name in _RULERS[:3] if (folder / name).is_file()][:1]
    needs = next((name for name in ("pyproject.toml", "requirements.txt", "environment.yml") if (folder / name).is_file()), None)
    if needs is not None:
        found.append(
            f"dependencies: {needs}; trials use the environment that `python` finds"
            + (" or uv prepares" if needs == "pyproject.toml" else "")
        )
    return found


def _name(folder: Path) -> str:
    return "".join(char for char in folder.resolve().name if char.isprintable()) or "problem"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(values: tuple[str, ...]) -> str:
    return f"[{', '.join(_text(value) for value in values)}]"
