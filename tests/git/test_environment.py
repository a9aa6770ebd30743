"""Trials run with the problem's packages, their own slot's code and nothing of the user's environment."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Budget, Evaluate, Problem, Sandbox
from evogit.errors import ProblemError, UserError
from evogit.git import uv_project
from evogit.git.environment import Environment, base_env, importable, is_credential, prepare
from evogit.git.import_record import digest, foreign, read_imports, tracing_folder
from evogit.git.repository import Repository
from evogit.git.workspace import Workspace

UV = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
needs_uv = pytest.mark.skipif(not os.path.exists(UV), reason="uv is not installed")
OFFLINE = ["unshare", "-rn"] if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0 else []

SETUPTOOLS = (
    '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "labpkg"\nversion = "0.1"\n'
)
PLAIN = '[project]\nname = "plain"\nversion = "0.1"\nrequires-python = ">=3.10"\ndependencies = []\n'
BUILT = PLAIN.replace("plain", "labpkg") + '[build-system]\nrequires = ["uv_build>=0.5,<9"]\nbuild-backend = "uv_build"\n'
TRAIN = "import labpkg.model\nprint(labpkg.model.WIDTH)\n"


def problem(command: str = "python train.py", folder: str = "", **more) -> Problem:
    metric = Metric(name="loss", direction=Direction.MINIMIZE)
    return Problem(name="p", folder=folder, layout="evogit", goal="", mutable=("train.py",), command=command, metrics=(metric,), **more)


def git(folder: Path, *args: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *args], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, files: dict[str, str] | None = None) -> str:
    """Write those files, commit all there is, and return the tree's hash."""
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "files")
    return git(folder, "rev-parse", "HEAD^{tree}")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EVOGIT_CACHE", str(tmp_path / "the cäche"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    folder = tmp_path / "my prøject"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


@pytest.fixture
def slots(folder):
    """Opens workspaces by name, each at a tree; all are closed at the end."""
    opened: list[Workspace] = []

    def open_slot(name: str, tree: str) -> Workspace:
        opened.append(Workspace.open(Repository.open(folder), "nov20", name))
        opened[-1].materialise(tree)
        return opened[-1]

    yield open_slot
    for workspace in opened:
        workspace.close()


def run(environment: Environment, workspace: Workspace, what: Problem, *argv: str, **more: str) -> str:
    env = base_env(environment, workspace, what) | more
    done = subprocess.run(
        argv, cwd=workspace.folder(what.folder), env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def leave_everything_hostile(workspace: Workspace, record: Path) -> None:
    """What a candidate of bad will leaves in a slot for the next one."""
    root = workspace.root
    git(root, "init", "-q", "nested")
    for place in ("nested", ".", "src", "src/labpkg"):
        (root / place / "sitecustomize.py").write_text("raise SystemExit('owned by the last candidate')\n")
    frozen = root / "src/labpkg/model.py"
    before = frozen.stat()
    frozen.write_text(frozen.read_text().replace("WIDTH = ", "WIDTH =-"))
    os.utime(frozen, ns=(before.st_atime_ns, before.st_mtime_ns))
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(root / "src")], check=True)
    (workspace.home / ".config/git").mkdir(parents=True)
    (root / "src/labpkg/json.py").write_text("raise SystemExit('owned')\n")
    record.write_text("not a record")


@pytest.mark.parametrize("how", ["static path", *(pytest.param(how, marks=pytest.mark.slow) for how in ("finder hook", "flat layout"))])
def test_two_slots_with_an_editable_install_and_hostile_leftovers_run_their_own_commits_code(folder, slots, tmp_path, monkeypatch, how):
    config = tmp_path / "hostile gitconfig"
    config.write_text("[core]\n trustctime = false\n checkStat = minimal\n untrackedCache = true\n fsmonitor = true\n autocrlf = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    where = "" if how == "flat layout" else "src/"
    layout = '[tool.setuptools.packages.find]\nwhere = ["src"]\n' if where else '[tool.setuptools]\npackages = ["labpkg"]\n'
    if how == "finder hook":  # names that differ from folders cannot be put on a path
        layout = (
            '[tool.setuptools]\npackages = ["labpkg", "other"]\n[tool.setuptools.package-dir]\nlabpkg = "src/labpkg"\nother = "elsewhere"\n'
        )
    (folder / f"{where}labpkg").mkdir(parents=True)
    (folder / f"{where}labpkg/__init__.py").touch()
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/__init__.py").touch()
    (folder / f"{where}labpkg/model.py").write_text("WIDTH = 10\n")
    one = commit(folder, {"pyproject.toml": SETUPTOOLS + layout, "rp/toy/train.py": TRAIN})
    (folder / f"{where}labpkg/model.py").write_text("WIDTH = 20\n")
    two = commit(folder)
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-build-isolation",
        "--no-deps",
        "--prefix",
        str(venv),
    ]
    subprocess.run([*pip, "-e", str(folder)], check=True, cwd=tmp_path)
    (folder / f"{where}labpkg/model.py").write_text("WIDTH = 99\n")  # the user's checkout moves on
    toy = problem(folder="rp/toy")
    assert (how != "static path") == any(venv.rglob("__editable___labpkg_*_finder.py"))
    alone = subprocess.run([venv / "bin/python", "-c", TRAIN], cwd=tmp_path, capture_output=True, text=True, check=True)
    repo = Repository.open(folder)
    results: dict[tuple[str, int], tuple[str, str]] = {}
    for slot, tree in (("s0", one), ("s1", two)):
        workspace = slots(slot, tree)
        for turn in range(2):
            workspace.materialise(tree)
            environment = prepare(repo, toy, workspace)
            record = tmp_path / f"imports-{slot}-{turn}"
            width = run(environment, workspace, toy, "python", "train.py", EVOGIT_IMPORTS_FILE=str(record))
            imports = read_imports(record)

            assert environment.python == str(venv / "bin/python")
            assert foreign(imports, workspace.root) == []
            assert str(workspace.root / f"{where}labpkg/model.py") in imports
            results[slot, turn] = width, digest(imports, workspace.root)
            if where:
                leave_everything_hostile(workspace, tmp_path / f"imports-{slot}-{turn}.1")

    assert alone.stdout.strip() == "99"
    assert results["s0", 0] == results["s0", 1]
    assert results["s1", 0] == results["s1", 1]
    assert (results["s0", 0][0], results["s1", 0][0]) == ("10", "20")
    assert results["s0", 0][1] != results["s1", 0][1]


def test_nothing_above_a_workspace_is_a_git_repository(folder, slots, tmp_path):
    git(tmp_path, "init", "-q")  # the user's home folder may well be one
    workspace = slots("s0", commit(folder, {"sub/train.py": ""}))
    toy = problem(folder="sub")
    env = base_env(prepare(Repository.open(folder), toy, workspace), workspace, toy)

    for here in (workspace.root, workspace.root / "sub"):
        asked = subprocess.run(["git", "rev-parse", "--git-dir"], cwd=here, env=env, capture_output=True, text=True, check=False)

        assert asked.returncode == 128, asked.stdout
    assert not (workspace.root / ".git").exists()


@needs_uv
def test_a_uv_project_starts_without_network_and_without_touching_its_lock(folder, slots):
    tree = commit(folder, {"pyproject.toml": PLAIN, "train.py": "import sys; print(sys.prefix)\n"})
    workspace = slots("s0", tree)
    uv = problem("uv run train.py")
    said: list[str] = []

    environment = prepare(Repository.open(folder), uv, workspace, slot="s0", progress=said.append)
    prefix = run(environment, workspace, uv, *OFFLINE, "uv", "run", "train.py")
    again = prepare(Repository.open(folder), uv, workspace, slot="s0", progress=said.append)

    assert environment.kind == "uv"
    assert Path(prefix).parent == Repository.open(folder).cache / "envs"
    assert (environment.env["UV_NO_SYNC"], environment.env["UV_OFFLINE"]) == ("1", "1")
    assert workspace.changes() == []
    assert again == environment
    assert len(said) == 1 and said[0].startswith("s0: preparing")
    assert not any(stat.S_IMODE(os.stat(place).st_mode) & 0o222 for place, _, _ in os.walk(prefix))


@needs_uv
def test_two_slots_of_a_uv_project_each_import_their_own_package(folder, slots, tmp_path):
    one = commit(folder, {"pyproject.toml": BUILT, "src/labpkg/__init__.py": "", "src/labpkg/model.py": "WIDTH = 10\n", "train.py": TRAIN})
    two = commit(folder, {"src/labpkg/model.py": "WIDTH = 20\n"})
    (folder / "src/labpkg/model.py").write_text("WIDTH = 99\n")
    uv = problem("uv run train.py")
    widths = []
    for slot, tree in (("s0", one), ("s1", two)):
        workspace = slots(slot, tree)
        environment = prepare(Repository.open(folder), uv, workspace)
        # Without PYTHONPATH it is the editable install alone that decides.
        widths += [run(environment, workspace, uv, "uv", "run", "train.py", PYTHONPATH=value) for value in ("", str(tracing_folder()))]

    assert widths == ["10", "10", "20", "20"]


@needs_uv
def test_an_environment_is_made_anew_for_another_project_file_and_only_the_last_two_are_kept(folder, slots):
    uv = problem("uv run train.py")
    trees = [commit(folder, {"pyproject.toml": PLAIN.replace("0.1", f"0.{number}"), "train.py": ""}) for number in range(3)]
    repo = Repository.open(folder)
    workspace = slots("s0", trees[0])
    keys = []
    for tree in trees:
        workspace.materialise(tree)
        keys.append(prepare(repo, uv, workspace).key)

    assert len(set(keys)) == 3
    assert sorted(p.name for p in (repo.cache / "envs").iterdir() if p.is_dir() and p.name != "trash") == sorted(keys[1:])


@needs_uv
def test_a_half_made_environment_is_made_again(folder, slots):
    workspace = slots("s0", commit(folder, {"pyproject.toml": PLAIN, "train.py": "print('ran')\n"}))
    uv = problem("uv run train.py")
    repo = Repository.open(folder)
    environment = prepare(repo, uv, workspace)
    made = repo.cache / "envs" / environment.key
    made.with_suffix(".json").unlink()
    made.chmod(0o755)
    (made / "pyvenv.cfg").unlink()

    prepare(repo, uv, workspace)

    assert run(environment, workspace, uv, "uv", "run", "train.py") == "ran"


@needs_uv
def test_two_that_prepare_the_same_environment_make_it_once(tmp_path):
    project = tmp_path / "p"
    project.mkdir()
    (project / "pyproject.toml").write_text(PLAIN)
    made: list[bool] = []
    work = [
        threading.Thread(target=lambda: made.append(uv_project.sync(tmp_path / "envs", "k", project, project, [], lambda line: None)))
        for _ in "ab"
    ]

    for thread in work:
        thread.start()
    for thread in work:
        thread.join()

    assert sorted(made) == [False, True]


@needs_uv
def test_uvs_own_words_explain_why_it_failed(folder, slots, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    broken = PLAIN.replace("dependencies = []", 'dependencies = ["no-such-package-anywhere-0"]')
    workspace = slots("s0", commit(folder, {"pyproject.toml": broken, "train.py": ""}))

    with pytest.raises(UserError, match="no-such-package-anywhere-0"):
        prepare(Repository.open(folder), problem("uv run train.py"), workspace)


def test_a_missing_uv_is_one_line_with_a_hint(folder, slots, monkeypatch, tmp_path):
    workspace = slots("s0", commit(folder, {"pyproject.toml": PLAIN, "train.py": ""}))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(UserError) as caught:
        prepare(Repository.open(folder), problem("uv run train.py"), workspace)

    assert caught.value.hint == "pip install uv"


def test_options_of_uv_run_that_choose_packages_are_handed_on():
    words = [
        "uv",
        "run",
        "--extra",
        "gpu",
        "--group=dev",
        "--no-dev",
        "--env-file",
        "x",
        "-p",
        "3.12",
        "--",
        "train.py",
        "--extra",
        "not-ours",
    ]

    assert uv_project.sync_options(words) == ["--extra", "gpu", "--group", "dev", "--no-dev", "--python", "3.12"]
    with pytest.raises(ProblemError, match="--with"):
        uv_project.sync_options(["uv", "run", "--with", "torch", "train.py"])


def test_uv_is_found_in_any_command_and_its_project_at_or_above_the_folder(tmp_path):
    (tmp_path / "rp/toy").mkdir(parents=True)
    (tmp_path / "rp/pyproject.toml").touch()

    assert uv_project.uv_command(problem("python a.py", evaluate=Evaluate(command="uv run evaluate.py"))) == ["uv", "run", "evaluate.py"]
    assert uv_project.uv_command(problem("python uv.py")) == []
    assert uv_project.project_folder(tmp_path / "rp/toy", tmp_path) == tmp_path / "rp"
    assert uv_project.project_folder(tmp_path, tmp_path) is None


def test_the_nearest_virtual_environment_is_taken(folder, slots, monkeypatch, tmp_path):
    workspace = slots("s0", commit(folder, {"rp/toy/train.py": ""}))
    repo, toy = Repository.open(folder), problem(folder="rp/toy")
    found = [prepare(repo, toy, workspace).python]
    for venv in (folder / ".venv", folder / "rp/toy/.venv", tmp_path / "active"):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        if venv.name == "active":
            monkeypatch.setenv("VIRTUAL_ENV", str(venv))
        environment = prepare(repo, toy, workspace)
        found.append(environment.python)

        assert environment.path.split(os.pathsep)[0] == str(venv / "bin")
        assert {str(venv), str(tracing_folder())} <= set(environment.folders)

    assert found == [sys.executable, *(str(v / "bin/python") for v in (folder / ".venv", folder / "rp/toy/.venv", tmp_path / "active"))]


def test_a_trial_gets_what_is_listed_and_no_more(folder, slots, monkeypatch):
    workspace = slots("s0", commit(folder, {"train.py": "", "src/x.py": ""}))
    for name in (
        "ANTHROPIC_API_KEY",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "CUDA_SECRET",
        "SSH_AUTH_SOCK",
        "PYTHONHASHSEED",
        "ELSE",
        "GIT_DIR",
    ):
        monkeypatch.setenv(name, "leaks")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("LET_IN", "yes")
    toy = problem(sandbox=Sandbox(env=("LET_IN", "NOT_SET")), budget=Budget(cpus=3))

    env = base_env(prepare(Repository.open(folder), toy, workspace), workspace, toy)

    assert "leaks" not in env.values()
    assert (env["CUDA_VISIBLE_DEVICES"], env["LET_IN"], env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"]) == ("3", "yes", "3", "3")
    assert (env["PYTHONUNBUFFERED"], env["PYTHONDONTWRITEBYTECODE"], env["OMP_WAIT_POLICY"]) == ("1", "1", "passive")
    assert env["HOME"] == str(workspace.home)
    assert env["PYTHONPATH"].split(os.pathsep) == [str(tracing_folder()), str(workspace.root / "src"), str(workspace.root)]
    assert "NOT_SET" not in env and "PYTHONHASHSEED" not in env


def test_threads_are_the_budgets_unless_a_person_lets_their_own_setting_through(folder, slots, monkeypatch):
    workspace = slots("s0", commit(folder, {"train.py": ""}))
    for name, value in {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "active", "MKL_NUM_THREADS": "5"}.items():
        monkeypatch.setenv(name, value)
    toy = problem(sandbox=Sandbox(env=("OMP_NUM_THREADS", "OMP_WAIT_POLICY")), budget=Budget(cpus=3))

    env = base_env(prepare(Repository.open(folder), toy, workspace), workspace, toy)

    assert (env["OMP_NUM_THREADS"], env["OMP_WAIT_POLICY"], env["MKL_NUM_THREADS"]) == ("7", "active", "3")


def test_a_credential_is_refused_even_if_the_problem_asks_for_it(folder, slots):
    workspace = slots("s0", commit(folder, {"train.py": ""}))
    toy = problem(sandbox=Sandbox(env=("HF_TOKEN",)))

    with pytest.raises(ProblemError, match="HF_TOKEN"):
        base_env(prepare(Repository.open(folder), toy, workspace), workspace, toy)

    assert not is_credential("TOKENIZERS_PARALLELISM")
    assert all(
        map(is_credential, ["OPENAI_API_KEY", "WANDB_API_KEY", "github_token", "GOOGLE_APPLICATION_CREDENTIALS", "PGPASSWORD_SECRET"])
    )


def test_the_cache_of_a_recognised_layout_is_found_in_the_private_home(folder, slots, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.cache/autoresearch").mkdir(parents=True)
    (tmp_path / "home/.cache/autoresearch/data.bin").write_text("data")
    workspace = slots("s0", commit(folder, {"train.py": ""}))
    toy = Problem(**{name: getattr(problem(), name) for name in Problem.__struct_fields__} | {"layout": "autoresearch"})
    environment = prepare(Repository.open(folder), toy, workspace)

    text = run(
        environment,
        workspace,
        toy,
        "python",
        "-c",
        "print(open(__import__('os').path.expanduser('~/.cache/autoresearch/data.bin')).read())",
    )
    workspace.materialise(workspace.tree)

    assert text == "data"
    assert (tmp_path / "home/.cache/autoresearch/data.bin").read_text() == "data"


def test_modules_that_a_trial_could_not_import_are_named(folder, slots):
    tree = commit(
        folder,
        {"train.py": "", "mine.py": "", "pkg/__init__.py": "", "pkg/inner.py": "", "src/lib/__init__.py": "", "space/deep/mod.py": ""},
    )
    workspace = slots("s0", tree)
    environment = prepare(Repository.open(folder), problem(), workspace)
    there = {
        "os",
        "os.path",
        "json.decoder",
        "msgspec",
        "concurrent.futures",
        "mine",
        "pkg.inner",
        "lib",
        "space.deep.mod",
        "xml.etree.ElementTree",
        "sys",
    }
    absent = {"nowhere", "json.nowhere", "pkg.nowhere", "mine.inner", "os.nowhere", "space.deep.other", "not-a-name", "a..b"}

    first = importable(environment, there | absent, workspace.root)
    (workspace.root / "nowhere.py").touch()
    second = importable(environment, there | absent, workspace.root)

    assert first == absent
    assert second == absent - {"nowhere"}


def test_looking_for_a_submodule_does_not_run_its_package(folder, slots, monkeypatch, tmp_path):
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    package = next((venv / "lib").glob("python*")) / "site-packages/heavy"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (package / "inner.py").touch()
    workspace = slots("s0", commit(folder, {"train.py": ""}))
    environment = prepare(Repository.open(folder), problem(), workspace)

    assert importable(environment, {"heavy", "heavy.inner"}, workspace.root) == set()
    assert not (tmp_path / "ran").exists()


def test_an_interpreter_that_does_not_start_is_one_line(folder, slots):
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").write_text("#!/bin/sh\necho broken >&2; exit 3\n")
    (folder / ".venv/bin/python").chmod(0o755)
    workspace = slots("s0", commit(folder, {"train.py": ""}))

    with pytest.raises(UserError, match=r"\.venv/bin/python does not answer: broken"):
        prepare(Repository.open(folder), problem(), workspace)
