"""What a problem's frozen files tell about it: its modules, who reads the seed, who hands out the budget, who knows the answers.

Derived from their sources, so that no list of this problem's names has to be kept. Files that do not parse are left out.
"""

from __future__ import annotations

import ast
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping

import msgspec

from evogit.domain.problem import Problem
from evogit.search import families, syntax
from evogit.search.tells.naming import File

SEEDS = ("EVOGIT_SEED", "AUTORESEARCH_SEED")
HELD = frozenset(("val", "valid", "validation", "test", "eval", "dev", "holdout", "heldout"))
SECRET = frozenset(("val", "valid", "validation", "test", "holdout", "heldout", "label", "labels", "answers", "truth"))
_BUDGET = frozenset(("budget", "deadline"))  # in the name of a constant that says how long training may take
_MOST = frozenset(("max", "limit", "total", "train", "training"))  # one of these with one of the next
_UNITS = frozenset(
    ("seconds", "second", "secs", "sec", "s", "time", "minutes", "hours", "duration", "steps", "iters", "iterations", "epochs")
)
_FILE = re.compile(r"[\w./*-]*\.(?:npz?|bin|pt|pth|parquet|csv|tsv|json|jsonl|txt|gz|arrow|h5|hdf5|pkl|tar|zip)")
_DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a problem, by dotted names as a mutable file would import them: "task.batches"."""

    modules: frozenset[str] = frozenset()  # import names of its own frozen modules
    names: frozenset[str] = frozenset()  # base names of frozen files of code
    imports: frozenset[str] = frozenset()  # top-level modules that frozen files import
    seeds: frozenset[str] = frozenset()  # functions that read the trial's seed
    seeded: frozenset[tuple[str, int]] = frozenset()  # functions with an argument `seed`, and its position
    given: frozenset[str] = frozenset()  # all that they define and name, for who imports `*`
    budgets: frozenset[tuple[str, float]] = (
        frozenset()
    )  # constants that say how long training may take, and their value, 0 if that is unknown
    asked: frozenset[tuple[str, str]] = frozenset()  # keywords by which they ask a model for something: ("reduction", "none")
    handed: frozenset[str] = frozenset()  # generators: what hands out a budget, a batch at a time
    answers: frozenset[str] = frozenset()  # functions that know the answers
    ruled: frozenset[str] = frozenset()  # other functions that the ruler alone uses
    held_words: frozenset[str] = frozenset()  # what frozen calls name the held-out part by: "val"
    held_files: frozenset[str] = frozenset()  # base names of data files that are the ruler's by their name
    hidden: tuple[str, ...] = ()  # pieces of `[sandbox] hide`: a path with one of them is hidden
    loaders: frozenset[tuple[str, str]] = frozenset()  # package and stem of hidden files: ("sklearn", "digits")
    metrics: tuple[str, ...] = ()
    is_locked: bool = False  # an evaluator of its own counts, nothing that a candidate prints does
    has_network: bool = False
    cpus: int = 1  # that a trial may use


class _Module(msgspec.Struct, frozen=True):
    """One frozen module: what its definitions use, by dotted names."""

    name: str
    file: File
    defined: dict[str, ast.AST]
    used: dict[str, frozenset[str]]  # definition -> dotted names; "" is the module outside its definitions


def facts(problem: Problem, files: Mapping[str, str]) -> Frozen:
    """What `files` (path below the problem's folder -> text, the frozen ones) tell. About 5 ms for 300 lines. Raises nothing."""
    modules = [m for path, text in sorted(files.items()) if path.endswith(".py") and (m := _module(path, text)) is not None]
    hidden, loaders = _hidden(problem)
    answers, ruled = _answers(problem, modules, hidden)
    held_words, held_files = _held(modules)
    functions = [(f"{m.name}.{name}", node) for m in modules for name, node in m.defined.items() if not isinstance(node, ast.ClassDef)]
    return Frozen(
        modules=frozenset(m.name for m in modules),
        names=frozenset(posixpath.basename(path) for path in files),
        imports=frozenset(_tops(modules)),
        seeds=frozenset(dotted for dotted, node in functions if _says(node, SEEDS)),
        seeded=frozenset((dotted, at) for dotted, node in functions if (at := _seed_argument(node)) is not None),
        given=frozenset(f"{m.name}.{name}" for m in modules for name in (*m.defined, *_constants(m))),
        budgets=frozenset(
            (f"{m.name}.{name}", m.file.number(node) or 0.0) for m in modules for name, node in _constants(m).items() if _limits(name)
        ),
        asked=frozenset(pair for m in modules for pair in _asked(m)),
        handed=frozenset(dotted for dotted, node in functions if any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in ast.walk(node))),
        answers=frozenset(answers),
        ruled=frozenset(ruled),
        held_words=frozenset(held_words),
        held_files=frozenset(held_files),
        hidden=hidden,
        loaders=loaders,
        metrics=tuple(metric.name for metric in problem.metrics),
        is_locked=problem.evaluate is not None,
        has_network=problem.sandbox.network,
        cpus=problem.budget.cpus,
    )


def module_name(path: str) -> str:
    """How a file below the problem's folder is imported: "src/pkg/a.py" is "pkg.a", "pkg/__init__.py" is "pkg"."""
    bare = path.removeprefix("src/").rpartition(".")[0]
    return bare.removesuffix("/__init__").replace("/", ".")


def _module(path: str, text: str) -> _Module | None:
    source = syntax.read(text)
    if source is None:
        return None
    name = module_name(path)
    file = File(path, source)
    defined = {node.name: node for node in source.tree.body if isinstance(node, _DEFINED)}
    file.meanings |= {own: f"{name}.{own}" for own in defined}
    used: dict[str, set[str]] = {own: set() for own in ("", *defined)}
    spans = [(node.lineno, node.end_lineno, own) for own, node in defined.items()]
    for dotted, item in file.uses:
        line = item.node.lineno
        used[next((own for first, last, own in spans if first <= line <= last), "")].add(dotted)
    return _Module(name, file, defined, {own: frozenset(names) for own, names in used.items()})


def _tops(modules: Iterable[_Module]) -> Iterable[str]:
    for module in modules:
        for item in module.file.imports:
            if isinstance(item.node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in item.node.names)
            elif item.node.module and not item.node.level:
                yield item.node.module.partition(".")[0]


def _constants(module: _Module) -> dict[str, ast.AST]:
    """What a module names at its top: name -> expression."""
    found: dict[str, ast.AST] = {}
    for node in module.file.source.tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found[target.id] = node.value
    return found


def _limits(name: str) -> bool:
    """True for the name of a budget: `TIME_BUDGET`, `MAX_STEPS`."""
    found = frozenset(families.words(name))
    return not _BUDGET.isdisjoint(found) or not (_MOST.isdisjoint(found) or _UNITS.isdisjoint(found))


def _asked(module: _Module) -> Iterable[tuple[str, str]]:
    """Keywords with a text, of calls of what the module was handed itself: `model(x, reduction="none")`."""
    for item in module.file.calls:
        if isinstance(item.node.func, ast.Name) and item.node.func.id in module.file.binders:
            yield from ((k.arg, text) for k in item.node.keywords if k.arg and (text := module.file.text(k.value)))


def _says(node: ast.AST, texts: Iterable[str]) -> bool:
    wanted = tuple(texts)
    return any(isinstance(n, ast.Constant) and isinstance(n.value, str) and any(t in n.value for t in wanted) for n in ast.walk(node))


def _seed_argument(node: ast.AST) -> int | None:
    plain = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return next((at for at, argument in enumerate(plain) if argument.arg == "seed"), None)


def _hidden(problem: Problem) -> tuple[tuple[str, ...], frozenset[tuple[str, str]]]:
    """Of each hidden glob the longest part without a wildcard, and package and stem where it names a packaged data set."""
    pieces, loaders = [], set()
    for glob in problem.sandbox.hide:
        plain = [part for part in glob.split("/") if part and not any(c in part for c in "*?[")]
        if not plain:
            continue
        pieces.append(plain[-1])
        if len(plain) > 1:
            loaders.add((plain[0], plain[-1].partition(".")[0]))
    return tuple(pieces), frozenset(loaders)


def _answers(problem: Problem, modules: list[_Module], hidden: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Definitions that know the answers, and others that only the ruler reaches."""
    every = {f"{m.name}.{name}": node for m in modules for name, node in m.defined.items()}
    secret = {dotted for dotted in every if not SECRET.isdisjoint(families.words(dotted.rpartition(".")[2]))}
    if problem.evaluate is None:
        return {dotted for dotted in secret if not dotted.rpartition(".")[2].startswith(("evaluate", "score"))}, set()
    calls = {f"{m.name}.{name}" if name else m.name: used for m in modules for name, used in m.used.items()}
    ruler = _reach(calls, _entries(problem.evaluate.command, modules))
    others = _reach(calls, _entries(problem.evaluate.predict, modules)) - {d for d in secret if "label" in d or "answer" in d}
    alone = (ruler & every.keys()) - others
    knows = alone & secret | {dotted for dotted in every if hidden and _says(every[dotted], hidden)}
    own = {m.name for m in modules} & _entries(problem.evaluate.command, modules)
    return knows | secret | {d for d in alone if d.rpartition(".")[0] in own}, alone - knows


def _entries(command: str, modules: list[_Module]) -> set[str]:
    """Modules that a command starts, with all that they define."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return {m.name for m in modules if m.file.path in {posixpath.normpath(word) for word in words}}


def _reach(calls: Mapping[str, frozenset[str]], start: set[str]) -> set[str]:
    """Everything that some modules use, through frozen definitions."""
    waiting = [*start, *(name for name in calls if name.rpartition(".")[0] in start)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += calls.get(name, ())
    return found


def _held(modules: list[_Module]) -> tuple[set[str], set[str]]:
    """Words that frozen code hands to its loaders for the held-out part, and file names that say so."""
    words: set[str] = set()
    files: set[str] = set()
    for module in modules:
        for item in module.file.calls:
            given = [*item.node.args, *(k.value for k in item.node.keywords)]
            words |= {text for node in given if (text := module.file.text(node)) in HELD}
        for item in module.file.texts:
            text = item.node.value
            if isinstance(text, str) and len(text) < 200 and _FILE.fullmatch(text) and not HELD.isdisjoint(families.words(text)):
                files.add(posixpath.basename(text))
    return words, files
