"""Candidate -> gates: what stops a candidate before it costs anything. It runs nothing but an import look-up.

Every refusal names its gate and says in one line what the person (or the model) should do about it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import msgspec

from evogit.domain.plan import Plan
from evogit.domain.problem import Problem
from evogit.domain.proposal import Candidate
from evogit.domain.trial import Status, TrialLine
from evogit.search import novelty, syntax
from evogit.search import tells as looks
from evogit.search.tells import Tell

LONGER = 1.3  # times its parent's time from which a trial is shown
SLACK_S = 10.0  # and at least so much more: a start takes its time


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a candidate is a reject."""

    gate: str  # "secret", "size", "frozen", "syntax", "paths", "tamper", "requires", "imports", "repeat", "novelty" or "smoke"
    reason: str


def validate(
    problem: Problem,
    candidate: Candidate,
    sources: Mapping[str, str],
    before: Mapping[str, str],
    twin: str,
    missing: Callable[[set[str]], set[str]],
    siblings: Callable[[], Iterable[tuple[str, Mapping[str, str]]]] = tuple,
    strayed: Iterable[str] = (),
    tells: Iterable[Tell] = (),
) -> Refusal | None:
    """The first gate that refuses, or None.

    sources, before: the candidate's and its parent's mutable files. twin: label of the run with the same sources, "" if
    none. missing: those of some top-level modules that the problem's environment cannot find. siblings: label and mutable
    files of measured children of the same parent; asked for only where no cheaper gate refuses. strayed: frozen files in which
    the candidate differs from the epoch's baseline. tells: what `tells_of` found.
    """
    return (
        _secret(candidate)
        or _size(candidate)
        or _frozen(candidate)
        or _strayed(strayed)
        or _paths(sources, before)
        or _conflict(candidate)
        or _parses(sources, before)
        or _keeps_required(problem, sources)
        or _tampers(candidate, tells)
        or _repeat(candidate, twin)
        or _near_repeat(candidate, sources, before, siblings)
        or _imports(sources, before, missing)
    )


def _secret(candidate: Candidate) -> Refusal | None:
    if not candidate.secrets:
        return None
    return Refusal(gate="secret", reason=f"{candidate.secrets[0]}, and history is for ever: read it from the environment, or leave it out")


def _size(candidate: Candidate) -> Refusal | None:
    if not candidate.large:
        return None
    return Refusal(gate="size", reason=f"adds more than 1 MiB of text, most of it in {candidate.large}: data has no place in the code")


def _frozen(candidate: Candidate) -> Refusal | None:
    if not candidate.stripped:
        return None
    more = f" and {len(candidate.stripped) - 1} more" if len(candidate.stripped) > 1 else ""
    return Refusal(gate="frozen", reason=f"edited {candidate.stripped[0]}{more}, which is not mutable; the edit is kept as stripped.patch")


def _paths(sources: Mapping[str, str], before: Mapping[str, str]) -> Refusal | None:
    """Names that some checkout cannot hold, or that git or a terminal would take for something else."""
    folded: dict[str, str] = {}
    for path in sorted(sources, key=lambda path: (path not in before, path)):
        twin = folded.setdefault(path.casefold(), path)
        if path in before:
            continue
        if twin != path:
            return Refusal(gate="paths", reason=f"{path!r} and {twin!r} differ by case alone, and some file systems know no case")
        if any(part.casefold().startswith(".git") for part in path.split("/")):
            return Refusal(gate="paths", reason=f"{path!r} is a name that git reads")
        if not path.isprintable():
            return Refusal(gate="paths", reason=f"{path!r} has characters that cannot be shown")
    return None


def _strayed(paths: Iterable[str]) -> Refusal | None:
    """Whatever way it came in: what a run is measured by is the baseline's, to the byte."""
    for path in paths:
        return Refusal(gate="frozen", reason=f"{path} is frozen, and differs from the epoch's baseline")
    return None


def _conflict(candidate: Candidate) -> Refusal | None:
    if not candidate.conflicts:
        return None
    return Refusal(gate="conflict", reason=f"the two parents conflict in {candidate.conflicts[0]} and no gene-by-gene choice was possible")


def _parses(sources: Mapping[str, str], before: Mapping[str, str]) -> Refusal | None:
    for path, text in sources.items():
        if path.endswith(".py") and before.get(path) != text and syntax.read(text) is None:
            try:
                ast.parse(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line = getattr(error, "lineno", None)
                what = (
                    "it is nested too deeply" if isinstance(error, (RecursionError, MemoryError)) else getattr(error, "msg", None) or error
                )
                return Refusal(gate="syntax", reason=f"{path}{f':{line}' if line else ''} is not Python: {what}")
    return None


def _keeps_required(problem: Problem, sources: Mapping[str, str]) -> Refusal | None:
    if not problem.requires:
        return None
    calls, imports, other = set(), set(), []
    for path, text in sources.items():
        tree = _tree(text) if path.endswith(".py") else None
        if tree is None:
            other.append(text)
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                calls.add(_name_of(node.func))
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                imports.update(_imported(node))
    for need in problem.requires:
        name = need.rstrip("( )")
        present = name in calls if "(" in need else name in imports or name in calls
        if not present and not any(need in text for text in other):
            return Refusal(gate="requires", reason=f"{need!r} is gone, and the problem requires it")
    return None


def tells_of(problem: Problem, sources: Mapping[str, str], before: Mapping[str, str], frozen: Mapping[str, str]) -> tuple[Tell, ...]:
    """What in a candidate's mutable files may give a cheat away, its parent's (`before`) left out. Pure, under 20 ms for 1,000 lines.

    frozen: the problem's frozen Python, path below its folder -> text.
    """
    if sources == before:
        return ()
    return looks.find(before, sources, facts_of(problem, frozen))


def facts_of(problem: Problem, frozen: Mapping[str, str]) -> looks.Frozen:
    """What a contract's frozen files tell; worked out once for the same files."""
    return _facts(msgspec.json.encode(problem), tuple(sorted(frozen.items())))


@lru_cache(maxsize=4)
def _facts(problem: bytes, frozen: tuple[tuple[str, str], ...]) -> looks.Frozen:
    """What one contract's frozen files tell: asked for at every candidate, worked out once."""
    return looks.facts(msgspec.json.decode(problem, type=Problem), dict(frozen))


def pace_of(problem: Problem, frozen: Mapping[str, str], mine: Iterable[TrialLine], parents: Iterable[TrialLine]) -> str:
    """What of a run's time may give a cheat away, "" for nothing: much longer than its parent's, where time is what both were given.

    Asked only where the problem declares `train_s` or a frozen file names a budget of time: elsewhere a larger network takes longer.
    """
    if not problem.budget.train_s and not facts_of(problem, frozen).budgets:
        return ""
    slowest, backends = _slowest(mine, None)
    usual, _ = _slowest(parents, backends)
    if not usual and problem.budget.train_s:
        usual, whose = 2 * problem.budget.train_s, f"train_s is {problem.budget.train_s:g}"
    else:
        whose = f"its parent's {usual:.0f} s"
    if not usual or slowest <= max(LONGER * usual, usual + SLACK_S):
        return ""
    return f"a trial took {slowest:.0f} s, {whose}: is the budget kept? (budget)"


def _slowest(lines: Iterable[TrialLine], backends: set[str] | None) -> tuple[float, set[str]]:
    """Seconds of the longest trial with numbers on some backends, None for all, and the backends."""
    found = [t for t in lines if t.status is Status.OK and t.purpose == "select" and (backends is None or t.backend in backends)]
    return max((t.seconds for t in found), default=0.0), {t.backend for t in found}


def is_trusted(plan: Plan) -> bool:
    """True for what a person made or asked for: shown with what was found, never refused for it."""
    return plan.replicate or plan.emitter in {"person", "baseline"}


def _tampers(candidate: Candidate, tells: Iterable[Tell]) -> Refusal | None:
    found = next((tell for tell in tells if tell.is_strong), None)
    if found is None or is_trusted(candidate.plan):
        return None
    return Refusal(gate="tamper", reason=f"{found.text}, which no honest change needs; `evogit run` measures it all the same, by hand")


def _repeat(candidate: Candidate, twin: str) -> Refusal | None:
    if not twin:
        return None
    return Refusal(gate="repeat", reason=f"the same code as run {twin}, formatting and comments aside")


def _near_repeat(
    candidate: Candidate,
    sources: Mapping[str, str],
    before: Mapping[str, str],
    siblings: Callable[[], Iterable[tuple[str, Mapping[str, str]]]],
) -> Refusal | None:
    """A person who insists is not refused, nor is a reading of what exists, nor a baseline."""
    if is_trusted(candidate.plan) or not candidate.parents:
        return None
    mine = novelty.tokens(before, sources)
    if not mine:
        return None
    label, far = novelty.nearest(mine, ((label, novelty.tokens(before, theirs)) for label, theirs in siblings()))
    if not label or far > novelty.NEAR:
        return None
    return Refusal(gate="novelty", reason=f"nearly the same edit as run {label} (distance {far:.2f}, a new one is above {novelty.NEAR:g})")


def _imports(sources: Mapping[str, str], before: Mapping[str, str], missing: Callable[[set[str]], set[str]]) -> Refusal | None:
    """Only modules that the parent did not import are looked up: what was importable yesterday costs nothing today."""
    if _import_lines(sources) == _import_lines(before):
        return None
    new = {m for p, t in sources.items() if p.endswith(".py") for m in top_level_imports(t)}
    new -= {m for p, t in before.items() if p.endswith(".py") for m in top_level_imports(t)}
    new -= {path.split("/")[0].removesuffix(".py") for path in sources}  # its own modules, which no environment has yet
    lost = missing(new) if new else set()
    if not lost:
        return None
    return Refusal(gate="imports", reason=f"imports {', '.join(sorted(lost))}, which the problem's environment does not have")


def _import_lines(files: Mapping[str, str]) -> set[str]:
    """Lines that could import something: where these are the same, no tree has to be walked."""
    return {line for path, text in files.items() if path.endswith(".py") for line in text.splitlines() if "import" in line}


def top_level_imports(text: str) -> set[str]:
    """Top-level names of absolute imports, those under `try:` left out (they have a path for where they are missing)."""
    tree = _tree(text)
    if tree is None:
        return set()
    guarded = {id(n) for t in ast.walk(tree) if isinstance(t, ast.Try) and t.handlers for b in t.body for n in ast.walk(b)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def _tree(text: str) -> ast.Module | None:
    """None for what this Python cannot read: a file that the parent had so already may be meant for another one."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        names |= {node.module, *(f"{node.module}.{n}" for n in names)}
    return names
