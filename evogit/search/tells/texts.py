"""Texts and tables that are written out: paths that a trial has no business with, names of hidden files, answers by the hundred."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator

from evogit.search import families
from evogit.search.tells.calls import Found
from evogit.search.tells.frozen import HELD, Frozen
from evogit.search.tells.naming import File, Node

TABLE = (200, 500)  # constants of one statement from which people see it, and from which it is refused
BLOB = (300, 800)  # characters of a text without a space, likewise
SHOWN = 60  # characters of a text in a finding
_SYSTEM = ("/proc", "/sys/", "/dev/fd", "/dev/std", "/dev/shm", "/dev/tty", "/dev/mem", "/run/", "/etc/")
_FINE = ("/dev/null",)
_IMPORTED = (
    "site-packages",
    "dist-packages",
    "sitecustomize",
    "usercustomize",
    "conftest.py",
    "__pycache__",
    "EVOGIT_IMPORTS_FILE",
    "pyvenv.cfg",
)
_PIECED = (ast.BinOp, ast.JoinedStr, ast.Subscript, ast.Call)
_CODE = (".py", ".pyi", ".so", ".pth", ".pyc", ".sh")
_PATH = re.compile(r"/[\w.@-]+(?:/[\w.@*-]*)+")
_HELD_FILE = re.compile(r"[\w./*{}-]*\.(?:npz?|bin|parquet|csv|tsv|jsonl?|gz|arrow|h5|pkl)")


def texts(file: File, facts: Frozen) -> Iterator[Found]:
    """Findings in constants, one a text."""
    for item in file.texts:
        value = item.node.value
        text = value if isinstance(value, str) else value.decode("latin-1")
        found = _of_text(text, facts)
        if found is not None:
            yield item, *found
    for item, node in _pieced(file):
        text = file.text(node)
        found = _of_text(text, facts) if text else None
        if found is not None:
            yield item, *found
    for statement, count in file.sizes.items():
        if count >= TABLE[0]:
            yield Node(statement, statement, None), "table", f"writes out {count} values", count >= TABLE[1]
    for item in file.calls:
        yield from _writes_code(file, facts, item)


def _pieced(file: File) -> Iterator[tuple[Node, ast.AST]]:
    """What is handed to a call or given to a name, where it is more than one constant."""
    for item in file.calls:
        yield from ((item, node) for node in item.node.args if isinstance(node, _PIECED))
    for item in file.assigns:
        if isinstance(getattr(item.node, "value", None), _PIECED):
            yield item, item.node.value


def _of_text(text: str, facts: Frozen) -> tuple[str, str, bool] | None:
    if len(text) >= BLOB[0] and not any(c.isspace() for c in text):
        return "table", f"holds {len(text):,} characters of packed text", len(text) >= BLOB[1]
    if len(text) > 4096 or not text:
        return None
    shown = repr(text[:SHOWN])
    if any(piece in text for piece in facts.hidden):
        return "answers", f"names {shown}, which [sandbox] hides", True
    if text.startswith(_SYSTEM) and not text.startswith(_FINE):
        return "files", f"names {shown}", True
    if any(word in text for word in _IMPORTED):
        return "shadow", f"names {shown}", True
    if text == ".git" or "/.git" in text or text.startswith(".git/"):
        return "files", f"names {shown}: a trial has no history", True
    if text.endswith("metrics.json") and not facts.is_locked:
        return "report", "names metrics.json, from which the score is read", True
    base = posixpath.basename(text)
    if base in facts.held_files:
        return "answers", f"names {shown}, a file that only frozen code reads", True
    if base in facts.names and base.endswith(_CODE):
        return "files", f"names the frozen file {base}", False
    if _HELD_FILE.fullmatch(text) and not HELD.isdisjoint(families.words(base)):
        return "answers", f"names {shown}", False
    if _PATH.fullmatch(text) and not text.startswith(_FINE):
        return "files", f"names the absolute path {shown}", False
    return ("files", f"names {shown}, outside its folder", False) if text.startswith(("../", "~/")) or text == ".." else None


def _writes_code(file: File, facts: Frozen, item: Node) -> Iterator[Found]:
    """`open("x.py", "w")`, `Path("x.py").write_text(...)`: code that appears while the trial runs."""
    call = item.node
    target = ""
    if file.callees.get(call) in ("builtins.open", "io.open") and call.args:
        mode = file.text(call.args[1]) if len(call.args) > 1 else next((file.text(k.value) for k in call.keywords if k.arg == "mode"), "")
        target = file.text(call.args[0]) if any(c in mode for c in "wax+") else ""
    elif isinstance(call.func, ast.Attribute) and call.func.attr in ("write_text", "write_bytes", "touch", "symlink_to", "hardlink_to"):
        target = next((file.text(n) for n in ast.walk(call.func.value) if file.text(n).endswith(_CODE)), "")
        if call.func.attr.endswith("link_to"):
            yield item, "files", f"makes a link ({call.func.attr})", True
    base = posixpath.basename(target)
    if base.endswith((".py", ".pyi", ".so", ".pyc", ".sh")) or base in facts.names:
        yield item, "shadow", f"writes {base}", True
