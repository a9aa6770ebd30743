"""The time that frozen code allows for training: whether the child keeps to it as its parent did, and counts it as its parent did.

Asked only where a frozen module names such a constant (`prepare.TIME_BUDGET`) or the host gives one (`EVOGIT_TRAIN_S`). Not sure of
anything but names: a schedule may use the budget as it likes, what ends a loop is looked at.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice

from evogit.search.tells.calls import Found
from evogit.search.tells.frozen import Frozen
from evogit.search.tells.naming import File, Node
from evogit.search.tells.spelling import DEEP

GIVEN = "EVOGIT_TRAIN_S"
_UNITS = frozenset((60.0, 3600.0, 1e3, 1e6, 1e9))  # by which seconds become minutes or milliseconds, and back
_CONVERTED = re.compile(r"(?:_|\b)(?:ns|us|ms|millis\w*|nanos\w*|micros\w*|minutes|hours|elapsed_time)\b")
_ENDS = (ast.Break, ast.Return, ast.Raise)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_MOST = 200  # places of one file that are looked at
_ROUNDS = 3  # a name made from a name made from a name
Files = Mapping[str, File]


def budgets(before: Files, after: Files, facts: Frozen) -> Iterator[tuple[str, Found]]:
    """Findings in `after`, each with its path."""
    if any(_is_given(file) for file in before.values()) and not any(_is_given(file) for file in after.values()):
        yield from _gone(after, f"no longer reads {GIVEN}, the time that the trial is given")
    limits = dict(facts.budgets)
    if not limits:
        return
    old, new = ({path: _clock(file, facts.budgets) for path, file in files.items()} for files in (before, after))
    lost = {clock.name for clock in old.values() if clock.name}
    if lost and not any(clock.name for clock in new.values()):
        yield from _gone(after, f"no longer uses {min(lost)}, the time that frozen code allows")
    elif any(clock.ends for clock in old.values()) and not any(clock.ends for clock in new.values()):
        yield from _gone(after, f"no longer ends a loop by {min(lost)}", strong=False)
    spent = {name for clock in old.values() for name in clock.spent}
    conditions = {key: tests for clock in old.values() for key, tests in clock.conditions().items()}
    for path, clock in new.items():
        yield from ((path, found) for found in clock.stretches())
        yield from ((path, found) for found in clock.miscounts())
        for key, tests in clock.conditions().items():
            if key in conditions and conditions[key] != tests:
                yield path, (clock.counted[key], "clock", "counts its time under another condition than its parent", False)
        if lost and not any(one.ends for one in new.values()):
            yield from ((path, found) for found in clock.own_ends(spent))


def _gone(after: Files, words: str, strong: bool = True) -> Iterator[tuple[str, Found]]:
    for path, file in after.items():
        if file.source.tree.body:
            first = file.source.tree.body[0]
            yield path, (Node(first, first, None), "budget", words, strong)
            return


def _is_given(file: File) -> bool:
    return any(item.node.value == GIVEN for item in file.texts)


@lru_cache(maxsize=32)
def _clock(file: File, limits: frozenset[tuple[str, float]]) -> Clock:
    """A parent is asked for again and again."""
    return Clock(file, dict(limits))


class Clock:
    """How one file uses the budget. Empty for a file that does not."""

    def __init__(self, file: File, limits: Mapping[str, float]) -> None:
        self._file = file
        self._limit = max(limits.values(), default=0.0)
        read = ((i, dotted) for i in file.loads if file.leaf(i.node) and (dotted := file.dotted(i.node)) in limits)
        found = [(item, dotted) for item, dotted in islice(read, _MOST) if not self._is_shown(item.node)]
        self._reads = {item.node: dotted for item, dotted in found}
        self._holders = {item.holder for item, _ in found}
        self._names: dict[ast.AST, set[str]] = {}  # statement -> names that it reads
        for item in file.loads if found else ():
            if isinstance(item.node, ast.Name):
                self._names.setdefault(item.holder, set()).add(item.node.id)
        self.name = min(self._reads.values(), default="")
        self._derived = self._made_from() if found else set()
        self.spent = self._spent() if found else set()
        self.ends = any(self._holds(test) for test in self._tests()) if found else False
        self.counted: dict[str, Node] = {}

    def _above(self, node: ast.AST) -> list[ast.AST]:
        return list(islice(self._file.source.above(node), DEEP))

    def _is_shown(self, node: ast.AST) -> bool:
        """True within an f-string or a `print`, which keep to nothing."""
        above = self._above(node)
        return not above or any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print" for n in above)

    def _holds(self, node: ast.AST) -> bool:
        """True if an expression has the budget in it, or a name that was made from it."""
        return any(n in self._reads or (isinstance(n, ast.Name) and n.id in self._derived) for n in ast.walk(node))

    def _made_from(self) -> set[str]:
        """Names that are compared with the budget or made from it: `left = TIME_BUDGET - spent`, `done = spent > TIME_BUDGET`."""
        known: set[str] = set()
        for _ in range(_ROUNDS):
            for item in self._file.assigns:
                if item.holder in self._holders or not known.isdisjoint(self._names.get(item.holder, ())):
                    known.update(_targets(item.node))
        return known

    def _spent(self) -> set[str]:
        """Names that stand against the budget in a comparison, a quotient or a difference, and those that they are made from."""
        found = {n.id for other in self._others() for n in ast.walk(other) if isinstance(n, ast.Name)} - self._derived
        for _ in range(_ROUNDS):
            for item in self._file.assigns:
                if not found.isdisjoint(_targets(item.node)):
                    found |= self._names.get(item.holder, set()) - self._file.meanings.keys()
        return found - self._derived

    def _others(self) -> Iterator[ast.AST]:
        """What stands against the budget."""
        for node in self._reads:
            child = node
            for above in self._above(node):
                if isinstance(above, ast.Compare):
                    yield from (n for n in (above.left, *above.comparators) if n is not child)
                elif isinstance(above, ast.BinOp) and isinstance(above.op, (ast.Div, ast.FloorDiv, ast.Sub)):
                    yield above.left if above.right is child else above.right
                if isinstance(above, (ast.stmt, ast.Compare)):
                    break
                child = above

    def _tests(self) -> Iterator[ast.AST]:
        """What decides that a loop goes on or ends: the test of a `while`, of an `if` with a `break`, an answer."""
        for node in self._file.source.nodes:
            if isinstance(node, ast.While) or isinstance(node, ast.If) and any(isinstance(n, _ENDS) for n in (*node.body, *node.orelse)):
                yield node.test
            elif isinstance(node, ast.Return) and isinstance(node.value, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
                yield node.value

    def _at(self, node: ast.AST) -> Node:
        """A finding's place: the statement, of a block the line alone."""
        holder = next((n for n in self._file.source.above(node) if isinstance(n, ast.stmt)), None)
        return Node(node, holder if holder is not None else node, None)

    def stretches(self) -> Iterator[Found]:
        """`TIME_BUDGET * 2`, `max(TIME_BUDGET, 590)`: more than frozen code allows."""
        for read, name in self._reads.items():
            child = read
            for above in self._above(read):
                other = _other(above, child)
                number = self._file.number(other)
                is_more = number is not None and not self._is_unit(number, above) and _grows(above, child, number)
                if is_more or (_is_max(above) and any((self._file.number(n) or 0) > self._limit for n in above.args)):
                    yield self._at(above), "budget", f"makes more of {name}", False
                if isinstance(above, (ast.stmt, ast.Compare)):
                    break
                child = above

    def miscounts(self) -> Iterator[Found]:
        """Seconds that are made fewer before they are held against the budget: `spent += (now - begun) / 2`."""
        for item in self._file.assigns:
            target = item.node.targets[0] if isinstance(item.node, ast.Assign) else item.node.target
            if isinstance(target, ast.Name) and target.id in self.spent and item.node.value is not None:
                is_less = isinstance(item.node, ast.AugAssign) and not isinstance(item.node.op, ast.Add)
                if is_less or self._shrinks(item.node.value):
                    yield item, "clock", f"changes {target.id}, which is held against {self.name}, by a number of its own", False
                elif isinstance(item.node.value, ast.Constant) and self._is_looped(item.node):
                    yield item, "clock", f"sets {target.id}, which is held against {self.name}, back in a loop", False
        for other in self._others():
            if self._shrinks(other):
                yield self._at(other), "clock", f"holds a part of its time against {self.name}", False

    def _shrinks(self, value: ast.AST) -> bool:
        """True for a half, a third, or all but a number: `x * 0.5`, `x / 2`, `x - 100`."""
        for node in ast.walk(value):
            if isinstance(node, ast.BinOp):
                left, right = self._file.number(node.left), self._file.number(node.right)
                if right is not None and self._is_unit(right, node) or left is not None and self._is_unit(left, node):
                    continue
                if isinstance(node.op, ast.Mult) and any(number is not None and number < 1 for number in (left, right)):
                    return True
                if right is not None and (
                    isinstance(node.op, (ast.Div, ast.FloorDiv))
                    and right > 1
                    or isinstance(node.op, ast.Sub)
                    and right > 0
                    or isinstance(node.op, ast.Pow)
                ):
                    return True
        return False

    def _is_unit(self, number: float, node: ast.AST) -> bool:
        """True where seconds become minutes, or nanoseconds seconds, and a name says so."""
        if number not in _UNITS and not (number and 1 / number in _UNITS):
            return False
        return _CONVERTED.search(self._file.statement(self._at(node))) is not None

    def _is_looped(self, node: ast.AST) -> bool:
        return any(isinstance(above, _LOOPS) for above in self._file.source.above(node))

    def conditions(self) -> dict[str, tuple[str, ...]]:
        """Statements that count time, and the conditions that they stand under, both as text."""
        found: dict[str, tuple[str, ...]] = {}
        for item in self._file.assigns:
            if isinstance(item.node, ast.AugAssign) and isinstance(item.node.target, ast.Name) and item.node.target.id in self.spent:
                key = self._file.statement(item)
                tests = [self._file.statement(item, n.test) for n in self._file.source.above(item.node) if isinstance(n, ast.If)]
                found[key], self.counted[key] = tuple(tests), item
        return found

    def own_ends(self, spent: set[str]) -> Iterator[Found]:
        """A loop that ends by a larger number of its own, where the parent held the same name against the budget."""
        for test in self._tests():
            for node in (n for n in ast.walk(test) if isinstance(n, ast.Compare) and len(n.comparators) == 1):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                number = max((self._file.number(n) or 0 for n in (node.left, *node.comparators)), default=0)
                if names & spent and number > self._limit > 0:
                    yield self._at(node), "budget", f"ends a loop at {number:g} where its parent kept to {self._limit:g}", True


def _targets(node: ast.AST) -> list[str]:
    """Plain names that an assignment gives a value."""
    return [target.id for target in (node.targets if isinstance(node, ast.Assign) else [node.target]) if isinstance(target, ast.Name)]


def _other(node: ast.AST, child: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.BinOp):
        return None
    return node.left if node.right is child else node.right


def _grows(node: ast.BinOp, child: ast.AST, number: float) -> bool:
    """True if the sum or product is more than the budget in it."""
    if isinstance(node.op, ast.Mult):
        return number > 1
    if isinstance(node.op, ast.Add):
        return number > 0
    if isinstance(node.op, (ast.Div, ast.FloorDiv)):
        return node.left is child and 0 < number < 1
    return isinstance(node.op, ast.Pow) or (isinstance(node.op, ast.Sub) and node.left is child and number < 0)


def _is_max(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "max"
