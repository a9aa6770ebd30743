"""File names that Python takes before, or instead of, what the ruler and the standard library mean. Pure text."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterable

from evogit.search.tells.frozen import module_name

CODE = (".py", ".pyi", ".so", ".pyd", ".pth", ".sh", ".toml", ".cfg", ".ini", ".yaml", ".yml")  # what is run, or says what is
_STARTED = frozenset(("sitecustomize", "usercustomize", "conftest"))
_READ = frozenset(
    ("pyproject.toml", "setup.cfg", "setup.py", "pytest.ini", "tox.ini", "uv.toml", "pip.conf", "pyvenv.cfg", "uv.lock", ".python-version")
)
_MODULES = (".py", ".pyi", ".so", ".pyd", ".pyc")
_COMPILED = (".pth", ".so", ".pyc", ".pyd", ".egg-link")


def shadowed(path: str, frozen: Iterable[str], imports: Iterable[str]) -> str:
    """What a file below the problem's folder stands in front of, in words; "" for none.

    frozen: import names of the problem's frozen modules. imports: top-level modules that frozen files import.
    """
    base = posixpath.basename(path)
    if base in _READ:
        return f"{base}, which decides how things are run"
    if base.endswith(_COMPILED) and not (base.endswith(".pth") and "/" in path):
        return f"{base}: compiled or loaded without being read"
    return shadowed_module(path, frozen, imports)


def shadowed_module(path: str, frozen: Iterable[str], imports: Iterable[str]) -> str:
    """The same of modules alone, source or compiled: which one Python would no longer find; "" for none."""
    if not path.endswith(_MODULES):
        return ""
    base = posixpath.basename(path)
    folder = posixpath.dirname(path).removesuffix("__pycache__").rstrip("/")
    bare = base if path.endswith((".py", ".pyi")) else base.partition(".")[0] + ".py"  # prepare.cpython-311-x86_64-linux-gnu.so
    name = module_name(posixpath.join(folder, bare))
    top = name.partition(".")[0]
    is_whole = top == name  # `json.py` or `json/__init__.py`, not `json/x.py`
    if name.rpartition(".")[2] in _STARTED:
        return f"{base}, which is imported without being asked for"
    if name in set(frozen):
        return f"the frozen module {name}"
    if is_whole and top in sys.stdlib_module_names:
        return f"the standard library's {top}"
    return f"the module {top}, which frozen files import" if is_whole and top in set(imports) else ""


def is_code(path: str) -> bool:
    """True for a file that is run, imported, or says what is."""
    return path.endswith(CODE)
