"""What a bare worker of Ray is given by value: how to have evogit in it, and an actor and a task that begin with that.

Ray's own way is a runtime environment: it starts the interpreter of every worker twice, and uses none of those that Ray starts ahead for each
driver. Without one a worker is there for half the price (0.35 s of a core in place of 0.7, Ray 2.60), and eight of them after 1.3 s in
place of 3.2, on two cores. So evogit's source travels as an argument, which Ray sends to each node once.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Seed = tuple[str, dict[str, str], bytes]  # digest of the archive, variables of the environment, the archive

LEFT_OUT = "__pycache__"  # a node's Python writes its own


def seed_of(env: dict[str, str]) -> Seed:
    """This evogit, and variables for workers to have. Its bytes depend on the source alone. 60 ms."""
    top = Path(__file__).resolve().parents[1]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(top.rglob("*")):
            if path.is_file() and LEFT_OUT not in path.parts and path.suffix != ".pyc":
                name = zipfile.ZipInfo(
                    f"{top.name}/{path.relative_to(top).as_posix()}"
                )  # of no moment: the same source is the same archive
                archive.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    data = packed.getvalue()
    return hashlib.sha256(data).hexdigest()[:20], env, data


def plant(seed: Seed) -> None:
    """Have evogit importable in this process. It lies in the folder of the node's Ray session, unpacked by whoever comes first."""
    import shutil
    import tempfile

    digest, env, data = seed
    if any(os.path.basename(place) == f"evogit-{digest}" for place in sys.path):
        return
    place = os.path.join(_session(), f"evogit-{digest}")
    if not os.path.isdir(place):
        draft = tempfile.mkdtemp(prefix=".evogit-", dir=os.path.dirname(place))
        os.chmod(draft, 0o755)  # a sandbox may run trials as another user
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(draft)
        try:
            os.rename(draft, place)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not os.path.isdir(place):
                raise
    sys.path.insert(0, place)
    os.environ.update(env)


def _session() -> str:
    """The folder that this node's Ray has for its session, which is its user's own; a new one where this Ray has none to tell."""
    import tempfile

    try:
        from ray._private.worker import _global_node

        return str(_global_node.get_session_dir_path())
    except (ImportError, AttributeError):
        return tempfile.mkdtemp(prefix="evogit-code-")


def shared(seed: Seed) -> Any:
    """A reference to the seed, so that Ray sends it to each node once."""
    import ray

    return ray.put(seed)


def seated(made_of: type) -> type:
    """A class for an actor on a bare worker: it is made with a seed and the arguments of `made_of`, plants the one, and passes all public
    methods on to one of `made_of`, which has to have been written as coroutines."""
    module, name = made_of.__module__, made_of.__name__

    def begin(self: Any, seed: Seed, *arguments: Any) -> None:
        plant(seed)
        self.own = getattr(importlib.import_module(module), name)(seed, *arguments)

    def passed_on(method: str) -> Callable[..., Any]:
        async def ask(self: Any, *arguments: Any) -> Any:
            return await getattr(self.own, method)(*arguments)

        ask.__name__ = method
        return ask

    methods = [n for n, what in vars(made_of).items() if inspect.iscoroutinefunction(what) and not n.startswith("_")]
    return type(name, (), {"__init__": begin, **{method: passed_on(method) for method in methods}})


@functools.cache
def task(of: str) -> Any:
    """The remote function that calls the function of that name in `ray_task` on a bare worker, with a seed before its arguments. Made once: Ray
    writes each one that is made into its tables."""
    import ray

    def work(seed: Seed, *arguments: Any) -> Any:
        plant(seed)
        return getattr(importlib.import_module("evogit.backends.ray_task"), of)(*arguments)

    work.__name__ = of
    by_value()
    return ray.remote(work)


def by_value() -> None:
    """Have Ray send what this module defines as it is, not by name: whoever gets it cannot import it yet."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
