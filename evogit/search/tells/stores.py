"""Writes to what is not the candidate's own: modules, frozen functions, the environment, the list of modules, the import path."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evogit.search.tells.calls import Found
from evogit.search.tells.frozen import Frozen
from evogit.search.tells.naming import OWN, File, Node

# Modules that a measurement rests on: nobody replaces a part of them to train a network.
_MEASURING_NAMES = (
    "time datetime builtins json math random os io importlib statistics pathlib subprocess codecs threading gzip pickle signal "
    "numpy glob csv hashlib struct zlib tempfile shutil inspect operator functools itertools collections __main__"
)
MEASURING = frozenset(_MEASURING_NAMES.split())
_TORCH = (
    "torch.nn.functional",
    "torch.manual_seed",
    "torch.load",
    "torch.save",
    "torch.Tensor",
    "torch.tensor",
    "torch.utils.data",
    "torch.Generator",
)
_SETTINGS = frozenset(("backends", "config", "_dynamo", "_inductor", "rcParams", "options"))
_LISTS = ("sys.modules", "sys.meta_path", "sys.path_hooks", "sys.path_importer_cache")
_CHANGES_NAMES = (
    "append insert extend update pop popitem setdefault remove clear __setitem__ __delitem__ __iadd__ __ior__ setattr __setattr__"
)
_CHANGES = frozenset(_CHANGES_NAMES.split())
_SYS = {"stdout": False, "stderr": False, "argv": False, "ps1": False, "setrecursionlimit": False, "dont_write_bytecode": False}
_INNER = frozenset(("__code__", "__globals__", "__defaults__", "__kwdefaults__", "__builtins__", "__bases__", "__closure__"))
_SETTERS = frozenset(("builtins.setattr", "builtins.delattr", "object.__setattr__", "type.__setattr__"))
_OURS = ("EVOGIT_", "AUTORESEARCH_", "ACR_")
_LOADERS = frozenset(("PATH", "HOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONWARNINGS"))


_DEVICES = frozenset(
    ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
)
_THREADS = frozenset(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"))


def stores(file: File, facts: Frozen, own: frozenset[str]) -> Iterator[Found]:
    """Every write of such a kind. own: names of the candidate's own modules, which are its to change."""
    for item in file.stores:
        node = item.node
        if isinstance(node, ast.Attribute):
            yield from _attribute(file, facts, own, item, file.dotted(node), node.attr)
        elif isinstance(node, ast.Subscript):
            yield from _entry(file, facts, own, item, file.dotted(node.value), node.slice)
        else:
            yield from _name(file, facts, item, getattr(node, "id", "") or getattr(node, "name", ""))
    for item in file.calls:
        yield from _call(file, facts, own, item)


def _attribute(file: File, facts: Frozen, own: frozenset[str], item: Node, dotted: str, attr: str) -> Iterator[Found]:
    if attr in _INNER:
        yield item, "patch", f"replaces {attr}", True
    elif dotted:
        yield from ((item, *found) for found in _replaced(file, facts, own, item, dotted))


def _replaced(file: File, facts: Frozen, own: frozenset[str], item: Node, dotted: str) -> Iterator[tuple[str, str, bool]]:
    """Family, words and strength of a write to a dotted name."""
    head = dotted.partition(".")[0]
    if _is_frozen(dotted, facts):
        yield "patch", f"replaces {dotted}, which is frozen", True
    elif head in MEASURING:
        yield "clock" if head in {"time", "datetime"} else "patch", f"replaces {dotted}", True
    elif head == "sys":
        yield from _of_sys(file, item, dotted)
    elif head == "torch" and dotted.startswith(_TORCH):
        yield "patch", f"replaces {dotted}", True
    elif "." in dotted and head not in own and _SETTINGS.isdisjoint(dotted.split(".")):
        yield "patch", f"replaces {dotted}", False


def _of_sys(file: File, item: Node, dotted: str) -> Iterator[tuple[str, str, bool]]:
    name = dotted.removeprefix("sys.").partition(".")[0]
    if name == "path":
        from_here = "__file__" in file.statement(item, item.holder if not hasattr(item.holder, "body") else None)
        yield "shadow", "changes where modules are imported from", not from_here
    elif dotted.startswith(_LISTS):
        yield "patch", f"changes {'.'.join(dotted.split('.')[:2])}", True
    else:
        yield "hooks" if name.endswith("hook") else "patch", f"replaces {dotted}", _SYS.get(name, True)


def _entry(file: File, facts: Frozen, own: frozenset[str], item: Node, owner: str, key: ast.AST) -> Iterator[Found]:
    """`owner[key] = ...`"""
    if owner in ("os.environ", "os.environb"):
        yield from ((item, *found) for found in _variable(file.text(key), file.text(getattr(item.holder, "value", None)), facts))
    elif owner.endswith(".__dict__"):
        name = owner.removesuffix(".__dict__") + "." + (file.text(key) or "a name that is not written out")
        if not name.startswith(f"{OWN}.") or _is_frozen(file.meanings.get(file.text(key), ""), facts):
            yield from ((item, *found) for found in _replaced(file, facts, own, item, name))
    elif owner.startswith("sys."):
        yield from ((item, *found) for found in _of_sys(file, item, owner))


def _variable(name: str, value: str, facts: Frozen) -> Iterator[tuple[str, str, bool]]:
    """value: what it is set to, "" for what is not written out."""
    if name.startswith(_OURS):
        yield "seed" if name.endswith("SEED") else "environment", f"sets {name}, which the host gives", True
    elif name in _LOADERS or name.startswith("LD_"):
        yield "environment", f"sets {name}, which decides what is run", True
    elif name in _DEVICES:
        yield "environment", f"sets {name}, by which the host says what devices are its own", False
    elif name in _THREADS and not (value.isascii() and value.isdigit() and len(value) < 6 and int(value) <= facts.cpus):
        yield "environment", f"sets {name}{f' to {value[:20]}' if value else ''}, where a trial has {facts.cpus}", False
    elif not name:
        yield "environment", "sets a variable whose name is not written out", False


def _name(file: File, facts: Frozen, item: Node, name: str) -> Iterator[Found]:
    """A name that a frozen module gave is bound to something else: strong where the whole file sees it."""
    meant = file.meanings.get(name, "")
    if meant and _is_frozen(meant, facts) and meant not in facts.modules and name in file.source.known:
        yield item, "patch", f"gives {name}, which is {meant}, another value", item.function is None
    elif name in ("__builtins__",):
        yield item, "patch", "replaces __builtins__", True


def _call(file: File, facts: Frozen, own: frozenset[str], item: Node) -> Iterator[Found]:
    call = item.node
    callee = file.callees.get(call, "")
    is_setter = callee in _SETTERS or (isinstance(call.func, ast.Attribute) and call.func.attr in ("__setattr__", "__delattr__"))
    if is_setter and len(call.args) > 1:
        owner, name = file.dotted(call.args[0]), file.text(call.args[1])
        if name in _INNER:
            yield item, "patch", f"replaces {name}", True
        elif owner:
            yield from (
                (item, *found) for found in _replaced(file, facts, own, item, f"{owner}.{name or 'a name that is not written out'}")
            )
    elif callee.startswith(("os.environ.", "os.environb.")) and callee.rpartition(".")[2] in _CHANGES:
        is_default = callee.endswith(".setdefault")
        one = (file.text(call.args[0]), file.text(call.args[1]) if len(call.args) > 1 else "") if call.args else ("", "")
        for name, value in [one] if call.args and not callee.endswith(".update") else _keys(file, call):
            if not (is_default and name in _DEVICES | _THREADS):  # the host has set these
                yield from ((item, family, words, strong and not is_default) for family, words, strong in _variable(name, value, facts))
    elif callee.startswith("sys.") and callee.rpartition(".")[2] in _CHANGES:
        yield from ((item, *found) for found in _of_sys(file, item, callee.rpartition(".")[0]))
    elif callee.endswith((".__dict__.update", ".__dict__.setdefault", ".__dict__.pop")) and not callee.startswith(OWN):
        yield from (
            (item, *found) for found in _replaced(file, facts, own, item, callee.rpartition(".")[0].removesuffix(".__dict__") + ".__dict__")
        )


def _keys(file: File, call: ast.Call) -> list[tuple[str, str]]:
    """Names that `os.environ.update(...)` sets, and the values."""
    given = [(keyword.arg or "", file.text(keyword.value)) for keyword in call.keywords]
    for argument in call.args:
        pairs = zip(argument.keys, argument.values) if isinstance(argument, ast.Dict) else [(None, None)]
        given += [(file.text(key), file.text(value)) for key, value in pairs]
    return given


def _is_frozen(dotted: str, facts: Frozen) -> bool:
    """True for what a frozen module holds, and for that module."""
    return any(dotted == module or dotted.startswith(f"{module}.") for module in facts.modules)
