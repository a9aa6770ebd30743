"""The Python that trials use: which one it is, where it keeps its packages, which of them come from a checkout, what it can import.

It asks the interpreter itself, in a process of its own, once. It never imports anything of a candidate, and it refuses to guess
where the interpreter does not answer.
"""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import msgspec

from evogit.errors import UserError
from evogit.git.import_record import tracing_folder

_TIMEOUT_S = 60.0

# `__editable___*_finder` modules (setuptools) keep MAPPING, those of `editables` (hatch, pdm) `_redirections`.
_PROBE = """
import json, os, site, sys
places = []
for finder in sys.meta_path:
    module = sys.modules.get(getattr(finder, "__module__", ""))
    for table in (getattr(module, "MAPPING", None), getattr(finder, "_redirections", None)):
        for place in (table.values() if isinstance(table, dict) else ()):
            place = str(place)
            place = os.path.dirname(place) if os.path.basename(place) == "__init__.py" else place
            places.append(os.path.dirname(place))
try:
    import py_compile
    py_compile.compile(sys.argv[1], quiet=2)
except (ImportError, OSError):
    pass
print(json.dumps({
    "executable": sys.executable, "prefix": sys.prefix, "base_prefix": sys.base_prefix,
    "version": "%d.%d.%d" % sys.version_info[:3], "paths": [os.path.abspath(p) for p in sys.path[1:] if p], "places": places,
    "user_base": site.getuserbase() if site.ENABLE_USER_SITE else "",
}))
"""

# A parent package is not run to see whether a module lies in it (torch takes two seconds); one that makes modules as it runs
# has to be. What fails for any other reason than an import exists, and says so better when it is used.
_FIND = """
import importlib, json, sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
del sys.path[0]

def lies_there(name):
    top, *rest = name.split(".")
    spec = find_spec(top)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return False
        spec = PathFinder.find_spec(spec.name + "." + part, spec.submodule_search_locations)
    return spec is not None

def can_be_made(name):
    if find_spec(name.split(".")[0]) is None:
        return False
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    except BaseException:
        pass
    return True

missing = []
for name in json.load(sys.stdin):
    try:
        found = lies_there(name) or ("." in name and can_be_made(name))
    except (ImportError, ValueError, AttributeError):
        found = False
    if not found:
        missing.append(name)
sys.__stdout__.write(chr(30) + json.dumps(missing))
"""


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """What one Python says of itself. All paths are absolute."""

    executable: str
    prefix: str
    base_prefix: str
    version: str  # "3.11.7"
    paths: tuple[str, ...]  # where it finds modules when it starts
    places: tuple[str, ...]  # parents of packages that an editable install finds by a hook instead
    user_base: str  # "" where per-user packages are off


@lru_cache(maxsize=64)
def probe(python: str) -> Interpreter:
    """Ask `python` once in this process. Raises UserError if it does not answer. 50-100 ms, then nothing."""
    return msgspec.json.decode(_ask(python, _PROBE, "", str(tracing_folder() / "sitecustomize.py")), type=Interpreter)


def missing_modules(python: str, modules: set[str]) -> set[str]:
    """Those of `modules` (dotted names) that this Python cannot find by itself, without any project's folder on its path.

    One process; 60 ms, more where a package makes its modules as it runs. Raises UserError if Python does not answer.
    """
    if not modules:
        return set()
    answer = _ask(python, _FIND, msgspec.json.encode(sorted(modules)).decode())
    return set(msgspec.json.decode(answer.rpartition("\x1e")[2], type=list[str]))


def lies_below(folder: str | Path, module: str) -> bool | None:
    """True if `module` is a file or package below `folder`, False if its package is there without it, None if neither is."""
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    here = Path(folder)
    *parents, last = module.split(".")
    for number, part in enumerate([*parents, last]):
        # None while nothing but namespace folders was passed: those may go on elsewhere.
        elsewhere = None if number == 0 or not (here / "__init__.py").is_file() else False
        if (here / f"{part}.py").is_file() or (here / f"{part}.so").is_file() or any(here.glob(f"{part}.*.so")):
            return number == len(parents)
        here = here / part
        if not here.is_dir():
            return elsewhere
    return True if (here / "__init__.py").is_file() else None


def _ask(python: str, script: str, text: str, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        asked = subprocess.run(
            [python, "-c", script, *arguments], input=text, env=env, cwd="/", capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        is_late = isinstance(error, subprocess.TimeoutExpired)
        said = [f"not in {_TIMEOUT_S:g} s"] if is_late else (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        hint = "activate the environment that the problem needs, or make it anew"
        raise UserError(f"{python} does not answer: {''.join(said)}", hint=hint) from error
    return asked.stdout
