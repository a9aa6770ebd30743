"""Functions that an honest training script has no use for, and those that a person may want to have a look at.

Names as they stand in the standard library and in well-known packages. A name counts wherever it is read, called or handed on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evogit.search.tells.frozen import Frozen
from evogit.search.tells.naming import File, Node

Found = tuple[Node, str, str, bool]  # where, family, words, is strong

# Family -> names. "os.exec*" is every name that begins so; a module alone is everything in it.
STRONG = {
    "hooks": (
        "atexit sys.settrace sys.setprofile sys.addaudithook sys.monitoring threading.settrace* threading.setprofile* weakref.finalize"
        " signal.raise_signal signal.pthread_kill sys.exitfunc"
    ),
    "process": (
        "os._exit os.fork* os.exec* os.spawn* os.posix_spawn* os.system os.popen os.kill os.killpg os.abort os.setsid os.setpgid os.setpgrp"
        " os.dup os.dup2 os.pidfd_open os.unshare os.setns pty subprocess asyncio.create_subprocess_exec asyncio.create_subprocess_shell"
    ),
    "code": (
        "builtins.exec builtins.eval builtins.compile runpy code codeop marshal types.CodeType types.FunctionType imp"
        " importlib.util.spec_from_file_location importlib.util.spec_from_loader importlib.util.module_from_spec importlib.machinery"
        " _imp zipimport pkgutil.get_importer"
    ),
    "native": "ctypes _ctypes cffi",
    "frames": (
        "sys._getframe sys._current_frames inspect.currentframe inspect.stack inspect.trace inspect.getouterframes inspect.getinnerframes"
        " gc.get_objects gc.get_referrers gc.get_referents"
    ),
    "patch": "unittest.mock mock __main__",
    "environment": "os.putenv os.unsetenv site sitecustomize usercustomize resource.setrlimit resource.prlimit",
    "files": "os.symlink os.link os.mkfifo os.mknod os.chroot os.chown os.lchown os.setuid os.setgid os.setresuid os.mount os.memfd_create",
}
NETWORK = (
    "socket socketserver urllib.request http.client http.server requests httpx aiohttp ftplib smtplib poplib imaplib telnetlib paramiko"
    " websocket websockets xmlrpc urllib3 asyncio.open_connection asyncio.start_server asyncio.open_unix_connection grpc zmq"
)
FLAGGED = {
    "hooks": "signal.signal signal.alarm signal.setitimer signal.sigaction threading.Thread threading.Timer _thread",
    "process": "multiprocessing.Process multiprocessing.Pool concurrent.futures.ProcessPoolExecutor torch.multiprocessing.spawn os.nice",
    "code": (
        "pickle.load pickle.loads dill cloudpickle base64 binascii codecs.decode zlib.decompress lzma.decompress bz2.decompress"
        " importlib.reload builtins.breakpoint cProfile.run* profile.run* pdb.run* bdb timeit.timeit timeit.repeat timeit.Timer"
    ),
    "native": "torch.ops.load_library torch.classes.load_library torch.utils.cpp_extension numpy.ctypeslib",
    "files": (
        "os.remove os.unlink os.rename os.replace os.rmdir os.removedirs os.chmod os.chdir os.fchdir os.open os.fdopen os.write os.pipe"
        " shutil.rmtree shutil.move fcntl mmap os.path.expanduser pathlib.Path.home tempfile.gettempdir os.ftruncate os.truncate"
    ),
    "network": "torch.hub huggingface_hub datasets.load_dataset urllib.urlopen wandb",
    "frames": "sys.__stdout__ sys.__stderr__ sys.stdout.buffer sys.modules.values sys.modules.items sys.modules.copy",
    "environment": "os.sched_setaffinity os.setpriority sysconfig.get_paths os.environb",
}
LOOKED_INTO = frozenset(
    ("f_globals", "f_locals", "f_back", "f_builtins", "tb_frame", "gi_frame", "cr_frame", "__globals__", "__subclasses__")
)
WHOLE = frozenset(
    ("os", "sys", "builtins", "subprocess", "ctypes", "importlib", "marshal")
)  # modules of which any name may be one of these
_ASKS = frozenset(("getattr", "hasattr", "setattr", "delattr", "isinstance", "vars", "dir", "help", "reload"))
_UNPICKLES = {("torch.load", "weights_only"): False, ("numpy.load", "allow_pickle"): True}
_BY_NAME = frozenset(("builtins.__import__", "importlib.import_module", "importlib.__import__"))
_STARRED = frozenset(("os", "sys", "time", "builtins", "subprocess", "ctypes", "signal", "atexit", "socket", "importlib", "inspect", "gc"))


def _table() -> tuple[dict[str, tuple[str, bool]], list[tuple[str, str, bool]], frozenset[str]]:
    exact: dict[str, tuple[str, bool]] = {}
    begun: list[tuple[str, str, bool]] = []
    for names, strong in ((FLAGGED, False), ({**STRONG, "network": NETWORK}, True)):
        for family, line in names.items():
            for name in line.split():
                if name.endswith("*"):
                    begun.append((name[:-1], family, strong))
                exact[name.rstrip("*")] = (family, strong)
    return exact, begun, frozenset(name.partition(".")[0] for name in exact)


_EXACT, _BEGUN, _HEADS = _table()
_GRAVE = {name.partition(".")[0] for name, (_, strong) in _EXACT.items() if strong}
_IMPORTED = frozenset(name for name, (_, strong) in _EXACT.items() if strong and "." not in name) - {"socket", "requests", "code"}


def calls(file: File, facts: Frozen) -> Iterator[Found]:
    """Every use of a name of the tables, and what is imported or looked up by a name that is not written out."""
    for dotted, item in file.uses:
        known = known_as(dotted)
        if known is not None:
            family, strong = known
            yield item, family, f"uses {dotted}", strong and not (family == "network" and facts.has_network)
        elif dotted.partition(".__dict__")[0] in WHOLE and ".__dict__" in dotted:
            yield item, "code", f"looks into {dotted}", True
    for item in file.imports:
        yield from _imports(item)
    for item in file.calls:
        yield from _unwritten(file, facts, item)
        yield from _unpickles(file, item)
        yield from _threads(file, facts, item)
    yield from _handed_on(file)
    for item in file.loads:
        if isinstance(item.node, ast.Attribute) and item.node.attr in LOOKED_INTO:
            yield item, "frames", f"looks into {item.node.attr}", True


def known_as(dotted: str) -> tuple[str, bool] | None:
    """Family and strength of a name, found by its longest beginning that a table has."""
    if dotted.partition(".")[0] not in _HEADS:
        return None
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        found = _EXACT.get(".".join(parts[:end]))
        if found is not None:
            return found
    return next(((family, strong) for start, family, strong in _BEGUN if dotted.startswith(start)), None)


def _imports(item: Node) -> Iterator[Found]:
    if isinstance(item.node, ast.Import):
        names = [alias.name for alias in item.node.names]
    else:
        names = [item.node.module or ""]
        if item.node.names[0].name == "*" and item.node.module in _STARRED:
            yield item, "code", f"imports every name of {item.node.module}", True
    for name in names:
        if name in _IMPORTED or name == "unittest.mock":
            yield item, _EXACT[name][0], f"imports {name}", True


def _unwritten(file: File, facts: Frozen, item: Node) -> Iterator[Found]:
    """Names that only a run tells: strong of modules that are all danger, shown of those with a name in the tables, fine of `torch.optim`."""
    call = item.node
    callee = file.callees.get(call, "")
    if callee in _BY_NAME and call.args:
        name = file.text(call.args[0])
        known = known_as(name) if name else None
        if not name:
            yield item, "code", "imports a module whose name is not written out", True
        elif known is not None:
            yield item, known[0], f"imports {name}", known[1]
    elif callee == "builtins.getattr" and len(call.args) > 1:
        owner = file.dotted(call.args[0])
        if not file.text(call.args[1]) and (owner.partition(".")[0] in _GRAVE | WHOLE or owner in facts.modules):
            yield item, "code", f"reads a name of {owner} that is not written out", owner in WHOLE


def _unpickles(file: File, item: Node) -> Iterator[Found]:
    callee = file.callees.get(item.node, "")
    for keyword in item.node.keywords:
        asked = _UNPICKLES.get((callee, keyword.arg or ""))
        if asked is not None and isinstance(keyword.value, ast.Constant) and keyword.value.value is asked:
            yield item, "code", f"calls {callee} with {keyword.arg}={asked}, which runs what a file says", False


def _threads(file: File, facts: Frozen, item: Node) -> Iterator[Found]:
    if file.callees.get(item.node) == "torch.set_num_threads" and item.node.args:
        asked = file.number(item.node.args[0])
        if asked is None or asked > facts.cpus:
            what = "threads by the machine" if asked is None else f"{asked:g} threads"
            yield item, "environment", f"takes {what}, where a trial has {facts.cpus}", False


def _handed_on(file: File) -> Iterator[Found]:
    """A module of `WHOLE` as a value, `f(os)` or `for m in (os,)`: what is done with it there is not followed."""
    fine = {value for item in file.assigns if item.function is not None or item.holder.col_offset == 0 for value in _values(item.node)}
    for item in file.calls:
        if item.node.args and isinstance(item.node.func, (ast.Name, ast.Attribute)):
            called = item.node.func.id if isinstance(item.node.func, ast.Name) else item.node.func.attr
            if called in _ASKS:
                fine.add(item.node.args[0])
    for item in file.loads:
        if item.node not in fine and file.leaf(item.node) and (dotted := file.dotted(item.node)) in WHOLE:
            yield item, "code", f"hands on the module {dotted}", False


def _values(node: ast.AST) -> list[ast.AST]:
    """What an assignment gives to names, which are followed."""
    value = getattr(node, "value", None)
    return [*value.elts] if isinstance(value, ast.Tuple) else [value] if value is not None else []
