"""Runs first in every Python process of a trial: notes, at its end, which files of the project were really imported.

Standard library only, any Python 3, and nothing is imported before the end. It refuses to be in the way: it runs the `sitecustomize`
that it stands in front of, and a record that cannot be written is left out. It proves nothing against a candidate that
forges it; it shows an honest one that ran code of another checkout.
"""

import os
import sys


def _hand_over() -> None:
    """Run the next `sitecustomize` on the path, as if this one were not there."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = [folder for folder in sys.path if os.path.abspath(folder or ".") != here]
    spec = sys.modules["_frozen_importlib_external"].PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    module = sys.modules["_frozen_importlib"].module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _installed():
    """Folders of the interpreter and its packages, each with a closing slash."""
    folders = {os.path.dirname(os.__file__), os.path.dirname(os.path.abspath(__file__))}
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        folders.update(os.path.join(prefix, name) for name in ("lib", "lib64", "bin"))
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)


def _project_files(cwd: str):
    installed = _installed()
    found = set()
    for module in list(sys.modules.values()):
        # Python takes `__file__` away from a script before it ends; its loader still knows.
        file = getattr(module, "__file__", None) or getattr(getattr(module, "__loader__", None), "path", None)
        if not isinstance(file, str) or file.startswith("<"):
            continue
        path = os.path.realpath(os.path.join(cwd, file))
        parts = path.split(os.sep)
        if not path.startswith(installed) and "site-packages" not in parts and "dist-packages" not in parts:
            found.add(path)
    return found


def _hash(path: str) -> str:
    import hashlib

    while not os.path.isfile(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)  # a module inside a zip file: the archive stands for it
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _write(target: str, cwd: str) -> None:
    import json

    record = {}
    for path in _project_files(cwd):
        try:
            record[path] = _hash(path)
        except OSError:
            record[path] = ""  # gone since: still worth knowing
    name = f"{target}.{os.getpid()}"
    while os.path.lexists(name):  # another program in the same process, after an exec
        name += "x"
    try:
        with open(name + ".part", "x") as file:
            json.dump(record, file)
        os.rename(name + ".part", name)
    except OSError:
        pass


if os.environ.get("EVOGIT_IMPORTS_FILE"):
    import atexit

    atexit.register(_write, os.path.abspath(os.environ["EVOGIT_IMPORTS_FILE"]), os.getcwd())
_hand_over()
