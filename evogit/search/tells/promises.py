"""What the parent kept and the child does not: the seed it was given, one pass through the budget, the ruler's own number, its hands off the answers."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache

from evogit.search.tells.budgets import budgets
from evogit.search.tells.calls import Found
from evogit.search.tells.frozen import SEEDS, Frozen
from evogit.search.tells.naming import File, Node
from evogit.search.tells.reports import Report, measured_by, origins, reports, scales

_SEEDERS_NAMES = (
    "torch.manual_seed torch.cuda.manual_seed torch.cuda.manual_seed_all torch.random.manual_seed numpy.random.seed "
    "numpy.random.default_rng numpy.random.RandomState random.seed random.Random jax.random.PRNGKey jax.random.key "
    "tensorflow.random.set_seed keras.utils.set_random_seed lightning.seed_everything pytorch_lightning.seed_everything "
    "transformers.set_seed"
)
_SEEDERS = frozenset(_SEEDERS_NAMES.split())
_SPLITS = frozenset(("split", "subset", "part", "partition", "train"))
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
Files = Mapping[str, File]


def promises(before: Files, after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    """Findings in `after`, each with its path, that only a look at the parent's files makes one."""
    yield from _seeds(before, after, facts)
    yield from _answers(before, after, facts)
    yield from _handed(before, after, facts)
    yield from budgets(before, after, facts)
    yield from _imported(before, after, facts)
    if not facts.is_locked:
        yield from _reports(before, after, facts)
        yield from _asked(after, facts)


def _uses(files: Files) -> set[str]:
    return {dotted for file in files.values() for dotted, _ in file.uses}


def _calls(files: Files) -> Iterator[tuple[str, str, Node]]:
    for path, file in files.items():
        for item in file.calls:
            if dotted := file.callees.get(item.node):
                yield path, dotted, item


def _first(files: Files) -> Iterator[tuple[str, Node]]:
    """Where what is gone is told of: the first statement."""
    for path, file in files.items():
        if file.source.tree.body:
            yield path, Node(file.source.tree.body[0], file.source.tree.body[0], None)
            return


# seeds -----------------------------------------------------------------------------------------------------------------


def _seeds(before: Files, after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    given = any(not value for *_, value in _seeding(before, facts))
    own = {(dotted, value) for _, dotted, _, value in _seeding(before, facts) if value}
    still = any(not value for *_, value in _seeding(after, facts))
    for path, dotted, item, value in _seeding(after, facts):
        if value and given:
            yield path, (item, "seed", "uses a seed of its own where its parent used the one that it was given", not still)
        elif value and (dotted, value) not in own and (old := sorted(was for name, was in own if name == dotted)):
            yield path, (item, "seed", f"seeds {dotted} with {value}, its parent with {old[0]}: a seed may be picked for its luck", False)
    read, reads = _reads_seed(before, facts), _reads_seed(after, facts)
    if read and not reads:
        yield from ((path, (item, "seed", "no longer reads the seed that the trial is given", True)) for path, item in _first(after))
    elif read > reads and given:
        for path, dotted, item in _calls(after):
            if dotted in facts.seeds and isinstance(item.holder, ast.Expr) and item.holder.value is item.node:
                yield path, (item, "seed", f"drops the seed that {dotted} returns", False)


def _seeding(files: Files, facts: Frozen) -> Iterator[tuple[str, str, Node, str]]:
    """Calls that set a seed: path, name, call, and the seed where it is written out, else ""."""
    positions = dict(facts.seeded)
    for path, dotted, item in _calls(files):
        named = next((k.value for k in item.node.keywords if k.arg in ("seed", "a", "x")), None)
        at = positions.get(dotted)
        if dotted in _SEEDERS or at is not None:
            place = 0 if at is None else at
            node = named if named is not None else item.node.args[place] if len(item.node.args) > place else None
            if node is not None:
                number = files[path].number(node)
                yield (
                    path,
                    dotted,
                    item,
                    f"{number:g}" if number is not None else repr(node.value) if isinstance(node, ast.Constant) else "",
                )


def _reads_seed(files: Files, facts: Frozen) -> int:
    """How often files read the seed, by themselves or through a frozen function whose result they use."""
    own = sum(isinstance(i.node.value, str) and i.node.value in SEEDS for file in files.values() for i in file.texts)
    return own + sum(
        dotted in facts.seeds and not (isinstance(item.holder, ast.Expr) and item.holder.value is item.node)
        for _, dotted, item in _calls(files)
    )


# answers, budget -------------------------------------------------------------------------------------------------------


def _answers(before: Files, after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    known = _uses(before)
    for path, file in after.items():
        for dotted, item in file.uses:
            if dotted in facts.answers and dotted not in known:
                yield path, (item, "answers", f"uses {dotted}, which is the ruler's", True)
            elif dotted in facts.ruled and dotted not in known:
                yield path, (item, "answers", f"uses {dotted}, which only the ruler used", False)
    asked = {(dotted, text) for path, dotted, item in _calls(before) for text in _words(before[path], item)}
    for path, dotted, item in _calls(after):
        is_frozen = any(dotted.startswith(f"{module}.") for module in facts.modules)
        words = _words(after[path], item)
        for text in words if is_frozen else ():
            if text in facts.held_words and (dotted, text) not in asked:
                yield path, (item, "answers", f"asks {dotted} for {text!r}, the part that it is measured on", True)
        if is_frozen and facts.held_words and not words and any(name == dotted for name, _ in asked):
            yield path, (item, "answers", f"no longer writes out what it asks {dotted} for", False)
        yield from ((path, found) for found in _packaged(dotted, item, facts))


def _words(file: File, item: Node) -> list[str]:
    """Texts that a call is given, as far as they are written out."""
    return [text for n in (*item.node.args, *(k.value for k in item.node.keywords)) if (text := file.text(n))]


def _packaged(dotted: str, item: Node, facts: Frozen) -> Iterator[Found]:
    """Loaders of data sets that come with a package."""
    head, _, leaf = dotted.rpartition(".")
    for package, stem in facts.loaders:
        if head.partition(".")[0] == package and stem and stem in leaf:
            yield item, "answers", f"calls {dotted}, whose data [sandbox] hides", True
    for keyword in item.node.keywords:
        is_test = isinstance(keyword.value, ast.Constant) and (
            keyword.value.value is False if keyword.arg == "train" else keyword.value.value in ("test", "val", "validation")
        )
        if keyword.arg in _SPLITS and is_test and dotted.startswith(("torchvision.datasets.", "datasets.", "torchaudio.datasets.")):
            yield item, "answers", f"loads the held-out part of {leaf}", False


def _handed(before: Files, after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    """A frozen generator hands out the budget: asked twice, or in a loop, it hands it out twice."""
    count = Counter(dotted for _, dotted, _ in _calls(before) if dotted in facts.handed)
    looped = {dotted for file in before.values() for dotted in _in_loops(file, facts)}
    seen: Counter[str] = Counter()
    for path, dotted, item in _calls(after):
        if dotted in facts.handed:
            seen[dotted] += 1
            if seen[dotted] > count[dotted] > 0:
                yield path, (item, "budget", f"calls {dotted} {seen[dotted]} times, its parent {count[dotted]}", False)
    for path, file in after.items():
        for dotted, item in _in_loops(file, facts).items():
            if dotted not in looped and count[dotted]:
                yield path, (item, "budget", f"calls {dotted} in a loop", False)


@lru_cache(maxsize=32)
def _in_loops(file: File, facts: Frozen) -> dict[str, Node]:
    """Generators of the budget that are called in the body of a loop."""
    inside: dict[str, Node] = {}
    wanted = {item.node: dotted for item in file.calls if (dotted := file.callees.get(item.node, "")) in facts.handed}
    if not wanted:
        return inside
    where = {item.node: item for item in file.calls}
    for loop in (n for n in file.source.nodes if isinstance(n, _LOOPS)):
        for node in (n for statement in loop.body for n in ast.walk(statement)):
            if node in wanted:
                inside.setdefault(wanted[node], where[node])
    return inside


def _imported(before: Files, after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    """Names that the parent took from a frozen module, and the child makes itself."""
    for path, file in after.items():
        old = before.get(path)
        if old is None:
            continue
        taken = {name: dotted for name, dotted in old.source.known.items() if dotted.rpartition(".")[0] in facts.modules}
        for item in file.stores:
            name = getattr(item.node, "id", "") or getattr(item.node, "name", "")
            if name in taken and name not in file.source.known and item.function is None:
                yield path, (item, "patch", f"makes its own {name}, which its parent took from {taken[name].rpartition('.')[0]}", True)


# reports ---------------------------------------------------------------------------------------------------------------


def _reports(before: Files, after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    had = {path: _found(file, facts) for path, file in before.items()}
    rulers = {name for path, found in had.items() for name in _measured(before[path], found, facts)}
    has = {path: _found(file, facts) for path, file in after.items()}
    for path, found in has.items():
        yield from ((path, told) for told in _told(found, bool(before), any(had.values()), bool(rulers)))
        for item, value, name in origins(after[path], found) if before else ():
            if rulers and not measured_by(after[path], value, facts):
                yield path, (item, "report", f"makes {name}, which is printed as a score, by itself", True)
            elif scales(item, value, name):
                yield path, (item, "report", f"changes {name}, which is printed as a score", False)
    if rulers and not any(_measured(after[path], found, facts) for path, found in has.items()):
        still = {dotted for _, dotted, _ in _calls(after)} & rulers
        name = min(rulers)
        words = (
            f"no longer prints what {name} measures, where that is seen" if still else f"no longer calls {name}, which measured its score"
        )
        yield from ((path, (item, "report", words, not still)) for path, item in _first(after))


@lru_cache(maxsize=32)
def _found(file: File, facts: Frozen) -> list[Report]:
    """A parent is asked for again and again."""
    return list(reports(file, facts))


def _told(found: list[Report], has_parent: bool, had: bool, is_measured: bool) -> Iterator[Found]:
    for report in found:
        if report.is_constant:
            yield report, "report", "prints a number as the score that it did not measure", True
        elif has_parent:
            scaled = any(isinstance(value, (ast.BinOp, ast.IfExp)) for value in report.values)
            words = "changes the number that it prints as the score" if scaled and had else "prints a score in another place"
            yield report, "report", words, bool(scaled and is_measured)


def _measured(file: File, found: list[Report], facts: Frozen) -> set[str]:
    """Frozen functions whose number is printed."""
    values = [value for report in found for value in report.values] + [value for _, value, _ in origins(file, found)]
    return {name for value in values if (name := measured_by(file, value, facts))}


def _asked(after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    """`loss * 0.9 if reduction == "none" else loss`: a model that knows when it is measured."""
    for path, file in after.items() if facts.asked else ():
        for node in file.source.nodes:
            if isinstance(node, ast.Compare) and len(node.comparators) == 1:
                for one, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
                    name = one.id if isinstance(one, ast.Name) else one.attr if isinstance(one, ast.Attribute) else ""
                    if (name, file.text(other)) in facts.asked:
                        words = f"treats {name}={file.text(other)!r} apart, which is how it is asked when it is measured"
                        yield path, (Node(node, node, None), "report", words, False)
