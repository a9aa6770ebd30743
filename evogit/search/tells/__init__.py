"""What gives a cheat away in the mutable files of a candidate, held against its parent's: pure, syntax only, a look and no proof.

Two strengths: strong findings are of what nobody needs honestly, the others are shown to people, who decide. Only what the
parent does not have counts. It never raises, for any text; a file that is no Python is looked at by its name alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from evogit.search import syntax
from evogit.search.tells.calls import Found, calls
from evogit.search.tells.frozen import Frozen, facts, module_name
from evogit.search.tells.naming import File
from evogit.search.tells.promises import promises
from evogit.search.tells.shadows import is_code, shadowed, shadowed_module
from evogit.search.tells.stores import stores
from evogit.search.tells.tell import Tell
from evogit.search.tells.texts import texts

__all__ = ["Frozen", "Tell", "facts", "find", "is_code", "shadowed", "shadowed_module"]

LARGE = 1 << 20  # characters of one source: longer ones are not read, and that is a finding
MOST = 50  # findings of one candidate


def find(before: Mapping[str, str], after: Mapping[str, str], about: Frozen) -> tuple[Tell, ...]:
    """What is in `after` and not in `before` (path -> text of the mutable files), strong findings first, then by place.

    before: {} for what has no parent. Under 20 ms for 1,000 lines that were not parsed yet, cached by text. Raises nothing.
    """
    changed = {path: text for path, text in after.items() if before.get(path) != text}
    if not changed:
        return ()
    own = frozenset(top for path in after for top in (module_name(path), module_name(path).partition(".")[0]))
    old, new = dict(_read(before, about)), dict(_read(after, about))
    known = Counter((tell.name, tell.statement) for path in before for tell in _alone(path, before[path], about, own))
    known.update((tell.name, tell.statement) for tell in _kept(old, old, about))
    found = [tell for path, text in changed.items() for tell in _alone(path, text, about, own)]
    found += [tell for path, text in after.items() if before.get(path) == text for tell in _alone(path, text, about, own)]
    found += _kept(old, new, about)
    found = [tell for tell in sorted(found, key=lambda t: (t.path, t.line)) if _is_new(tell, known)]
    found += [tell for path in after if before and path not in before for tell in _named(path, about)]
    unique = {(t.path, t.line, t.name): t for t in sorted(found, key=lambda t: t.is_strong)}
    return tuple(sorted(unique.values(), key=lambda t: (not t.is_strong, t.path, t.line, t.name))[:MOST])


def _is_new(tell: Tell, known: Counter[tuple[str, str]]) -> bool:
    """False, once for each time that the parent has the same statement: where it stands does not matter."""
    key = (tell.name, tell.statement)
    if known[key] > 0:
        known[key] -= 1
        return False
    return True


def _read(files: Mapping[str, str], about: Frozen) -> Iterator[tuple[str, File]]:
    for path, text in sorted(files.items()):
        if path.endswith((".py", ".pyi")) and (file := _file(path, text, about.given)) is not None:
            yield path, file


@lru_cache(maxsize=32)
def _file(path: str, text: str, given: frozenset[str]) -> File | None:
    source = syntax.read(text) if len(text) <= LARGE else None
    return File(path, source, given) if source is not None else None


@lru_cache(maxsize=64)
def _alone(path: str, text: str, about: Frozen, own: frozenset[str]) -> tuple[Tell, ...]:
    """What a look at one file tells."""
    if not path.endswith((".py", ".pyi")):
        return ()
    if len(text) > LARGE:
        words = f"has {len(text):,} characters, more than are looked at"
        return (Tell(path=path, line=0, name="table", says=words, is_strong=True, statement=""),)
    file = _file(path, text, about.given)
    if file is None:
        return ()
    return tuple(_told(file, [*calls(file, about), *stores(file, about, own), *texts(file, about)]))


def _kept(before: Mapping[str, File], after: Mapping[str, File], about: Frozen) -> list[Tell]:
    return [tell for path, found in promises(before, after, about) for tell in _told(after[path], [found])]


def _told(file: File, found: Iterable[Found]) -> Iterator[Tell]:
    for item, family, words, strong in found:
        line = getattr(item.node, "lineno", 0)
        yield Tell(path=file.path, line=line, name=family, says=words, is_strong=strong, statement=file.statement(item))


def _named(path: str, about: Frozen) -> Iterator[Tell]:
    what = shadowed(path, about.modules, about.imports)
    if what:
        yield Tell(path=path, line=0, name="shadow", says=f"is new and stands in front of {what}", is_strong=True, statement="")
