"""The environment of trials: an interpreter with the problem's packages, prepared once by the host, and the variables of one trial.

It refuses to hand on anything of the user's environment that was not asked for, credentials even if they were, and it never lets
an editable install of the user's checkout win over the code of the workspace.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evogit.domain.problem import Problem
from evogit.errors import ProblemError, UserError
from evogit.git import uv_project
from evogit.git.import_record import tracing_folder
from evogit.git.interpreter import Interpreter, lies_below, missing_modules, probe
from evogit.git.workspace import Workspace
from evogit.keys import is_credential

if TYPE_CHECKING:
    from evogit.git.repository import Repository

_LET_THROUGH = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "LD_LIBRARY_PATH")
_LET_THROUGH_PREFIXES = ("CUDA", "NVIDIA", "HIP_", "ROCR_")

# Where recognised layouts keep data that is prepared once, below the user's ~/.cache.
_CACHES = {"autoresearch": ("autoresearch",)}

_found: set[tuple[str, str]] = set()  # (environment key, module) that can be imported; what is missing may be installed meanwhile


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the trials of one slot run with."""

    kind: str  # "uv", "venv" or "host"
    python: str  # absolute path of the interpreter
    path: str  # PATH
    env: dict[str, str]  # variables that make tools find it
    key: str  # equal keys: equal packages
    roots: tuple[str, ...] = ()  # folders of the workspace that come first on PYTHONPATH, where they exist
    top: str = ""  # of the workspace that it was prepared in: below it lie `roots`
    folders: tuple[str, ...] = ()  # folders that a sandbox has to show, read-only


def prepare(
    repo: Repository, problem: Problem, workspace: Workspace, *, slot: str = "", progress: Callable[[str], None] | None = None
) -> Environment:
    """The environment for `problem` in a materialised workspace; built only if there is none for these project files yet.

    `uv sync` runs build code of the tree that is materialised, with the network: materialise the base, not a candidate. The
    workspace equals its tree again afterwards. Raises UserError (uv missing or failing, no interpreter), ProblemError.
    Costs 1-2 ms where it exists, one start of Python the first time in a process. `slot` only names it in progress lines.
    """
    words = uv_project.uv_command(problem)
    folder = workspace.folder(problem.folder)
    project = uv_project.project_folder(folder, workspace.root) if words else None
    if project is None:
        return _of_host(repo, problem, workspace, uses_uv=bool(words))
    options = uv_project.sync_options(words)
    key = uv_project.environment_key(project, workspace.root, options)
    envs = repo.cache / "envs"
    say = progress or (lambda line: None)
    try:
        made = uv_project.sync(envs, key, project, workspace.root, options, lambda line: say(f"{slot}: {line}" if slot else line))
    except OSError as error:
        raise UserError(
            f"{envs}: {error.strerror or error}", hint="free or grant it, or name another folder: EVOGIT_CACHE=/some/folder"
        ) from error
    if made:
        workspace.materialise(workspace.tree)
    interpreter = probe(str(envs / key / "bin" / "python"))
    uv = os.path.dirname(uv_project.find_uv())
    return _environment("uv", interpreter, repo, problem, workspace, uv_project.settings(envs / key), key=key, programs=[uv])


def of_this_machine(repo: Repository, problem: Problem, workspace: Workspace) -> Environment:
    """An interpreter that is here already, nothing prepared: for a place that brings the problem's packages itself. Raises UserError."""
    return _of_host(repo, problem, workspace, uses_uv=False)


def importable(environment: Environment, modules: set[str], cwd: str | Path) -> set[str]:
    """Those of `modules` (dotted names) that a trial in `cwd` could NOT import.

    What the workspace holds is looked up there each time; the rest in the interpreter, in one process (60 ms), and what was found
    is remembered for this environment. Raises UserError if the interpreter does not answer.
    """
    unsure: set[str] = set()
    missing: set[str] = set()
    for module in modules:
        places = [lies_below(root, module) for root in (cwd, *environment.roots)]
        answer = next((place for place in places if place is not None), None)
        if answer is None and (environment.key, module) not in _found:
            unsure.add(module)
        elif answer is False:
            missing.add(module)
    absent = missing_modules(environment.python, unsure)
    _found.update((environment.key, module) for module in unsure - absent)
    return missing | absent


def base_env(environment: Environment, workspace: Workspace, problem: Problem) -> dict[str, str]:
    """All variables of a trial but those that tell it its run: built from an allow-list, nothing is inherited.

    HOME is the workspace's own, and so are the folders that modules come from, wherever the environment was prepared: the ruler
    stands in another checkout than the candidate. Raises ProblemError if `[sandbox] env` asks for a credential.
    """
    env = {name: os.environ[name] for name in sorted(_allowed(problem)) if name in os.environ}
    env.setdefault("LANG", "C.UTF-8")
    env.setdefault("TERM", "dumb")
    roots = [workspace.root / os.path.relpath(root, environment.top or workspace.root) for root in environment.roots]
    env |= environment.env
    for name, value in _computing(problem).items():
        env.setdefault(name, value)
    env |= {
        "PATH": environment.path,
        "PYTHONPATH": os.pathsep.join([str(tracing_folder()), *(str(root) for root in roots if root.is_dir())]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(workspace.home),
        "USER": "evogit",
        "LOGNAME": "evogit",
        "GIT_CEILING_DIRECTORIES": str(workspace.root.parent),
    }
    _link_caches(workspace, problem)
    return env


def _computing(problem: Problem) -> dict[str, str]:
    """How libraries of numbers use the CPUs, where the problem does not ask for a person's own words on it."""
    threads = str(max(1, problem.budget.cpus))
    return {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


def _allowed(problem: Problem) -> set[str]:
    for name in problem.sandbox.env:
        if is_credential(name):
            what = f"{name} looks like a credential, and candidates never get one"
            raise ProblemError("evogit.toml: [sandbox] env", what, fix=f"take {name} out; prepare what it is needed for with [data]")
    prefixed = {name for name in os.environ if name.startswith(_LET_THROUGH_PREFIXES) and not is_credential(name)}
    return {*_LET_THROUGH, *prefixed, *problem.sandbox.env}


def _of_host(repo: Repository, problem: Problem, workspace: Workspace, *, uses_uv: bool) -> Environment:
    """An interpreter that exists already. Nothing is installed."""
    kind, python = next(_interpreters(repo, problem))
    interpreter = probe(python)
    env: dict[str, str] = {}
    programs: list[str] = []
    if kind == "venv":
        env["VIRTUAL_ENV"] = interpreter.prefix
    if interpreter.user_base:
        env["PYTHONUSERBASE"] = interpreter.user_base  # HOME is another one, the user's packages are not
    else:
        env["PYTHONNOUSERSITE"] = "1"
    if uses_uv:
        env |= {"UV_PYTHON": python, "UV_NO_SYNC": "1", "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"}
        programs.append(os.path.dirname(uv_project.find_uv()))
    key = hashlib.sha256(f"{interpreter.executable}\0{interpreter.version}\0{interpreter.prefix}".encode("utf-8", "surrogateescape"))
    return _environment(kind, interpreter, repo, problem, workspace, env, key=key.hexdigest()[:24], programs=programs)


def _interpreters(repo: Repository, problem: Problem) -> Iterator[tuple[str, str]]:
    """Virtual environments in the order of preference, then our own Python."""
    active = os.environ.get("VIRTUAL_ENV", "")
    for venv in (Path(active) if active else None, repo.top / problem.folder / ".venv", repo.top / ".venv"):
        if venv is not None and (venv / "bin" / "python").exists():
            yield "venv", str(venv / "bin" / "python")
    yield "host", sys.executable


def _environment(
    kind: str,
    interpreter: Interpreter,
    repo: Repository,
    problem: Problem,
    workspace: Workspace,
    env: dict[str, str],
    *,
    key: str,
    programs: list[str],
) -> Environment:
    own = [os.path.dirname(interpreter.executable), *programs]
    path = dict.fromkeys([*own, *os.environ.get("PATH", os.defpath).split(os.pathsep)])
    roots = dict.fromkeys([*_import_roots(problem, workspace), *_redirected(interpreter, repo, workspace)])
    shown = [interpreter.prefix, interpreter.base_prefix, *own, *interpreter.paths, str(tracing_folder())]
    shown += [os.path.join(interpreter.user_base, name) for name in ("lib", "bin") if interpreter.user_base]  # beside them lies much else
    checkouts = _checkouts(repo)
    folders = dict.fromkeys(
        f for f in shown if f and os.path.isdir(f) and (_is_packages(f) or not any(_below(f, top) for top in checkouts))
    )
    return Environment(
        kind=kind,
        python=interpreter.executable,
        path=os.pathsep.join(folder for folder in path if folder),
        env=env,
        key=key,
        roots=tuple(roots),
        top=str(workspace.root),
        folders=tuple(folders),
    )


def _import_roots(problem: Problem, workspace: Workspace) -> list[str]:
    folder = workspace.folder(problem.folder)
    return [str(folder / "src"), str(folder), str(workspace.root / "src")]


def _redirected(interpreter: Interpreter, repo: Repository, workspace: Workspace) -> Iterator[str]:
    """Folders of the user's checkout from which this Python imports (editable installs), as they lie in the workspace."""
    for place in (*interpreter.paths, *interpreter.places):
        for top in _checkouts(repo):
            below = _below(place, top)
            if below is not None and not _is_packages(place):
                yield str(workspace.root / below)


def _checkouts(repo: Repository) -> list[str]:
    """Work trees that a person may have installed from: the one we were opened in, and the main one."""
    main = [repo.common.parent] if repo.common.name == ".git" else []
    return list(dict.fromkeys(os.path.realpath(folder) for folder in (repo.top, *main)))


def _below(place: str, top: str) -> str | None:
    """`place` relative to `top`, "" for `top` itself, None if it lies elsewhere."""
    real = os.path.realpath(place)
    return "" if real == top else real[len(top) + 1 :] if real.startswith(top + os.sep) else None


def _is_packages(folder: str) -> bool:
    """True for a virtual environment's own folders, which may lie in the checkout without being part of it."""
    here = Path(folder)
    return (
        "site-packages" in here.parts or "dist-packages" in here.parts or any((up / "pyvenv.cfg").is_file() for up in (here, *here.parents))
    )


def _link_caches(workspace: Workspace, problem: Problem) -> None:
    for name in _CACHES.get(problem.layout, ()):
        source, target = Path.home() / ".cache" / name, workspace.home / ".cache" / name
        if source.is_dir() and not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            workspace.give(target.parent)
            target.symlink_to(source)
