"""The recorder tells which project files a trial imported, stays out of its way, and is read as a stranger's text."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.git.import_record import BYTES_CAP, NAMES_CAP, digest, foreign, read_imports, tracing_folder


def run(*args: str, cwd: Path, record: Path | None = None, path: tuple[Path, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, [tracing_folder(), *path])), **env}
    if record is not None:
        variables["EVOGIT_IMPORTS_FILE"] = str(record)
    return subprocess.run([sys.executable, *args], cwd=cwd, env=variables, capture_output=True, text=True, check=False)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def project(tmp_path) -> Path:
    root = tmp_path / "prøject"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg/__init__.py").write_text("from pkg import inner\n")
    (root / "pkg/inner.py").write_text("X = 1\n")
    (root / "pkg/unused.py").write_text("X = 1\n")
    (root / "train.py").write_text("import os, json, hypothesis\nimport pkg\nos.chdir('/')\n")
    return root


def test_the_project_files_that_were_imported_are_recorded_with_their_hashes(project, tmp_path):
    done = run("train.py", cwd=project, record=tmp_path / "imports")

    assert done.returncode == 0, done.stderr
    expected = {str(project / name): sha(project / name) for name in ("train.py", "pkg/__init__.py", "pkg/inner.py")}
    assert read_imports(tmp_path / "imports") == expected
    assert foreign(read_imports(tmp_path / "imports"), project) == []


def test_every_process_of_a_trial_adds_its_own(project, tmp_path):
    (project / "child.py").write_text("X = 1\n")
    (project / "spawn.py").write_text(
        "import multiprocessing, subprocess, sys\n"
        "def work():\n    import pkg.unused\n"
        "if __name__ == '__main__':\n"
        "    subprocess.run([sys.executable, 'child.py'], check=True)\n"
        "    p = multiprocessing.get_context('spawn').Process(target=work); p.start(); p.join()\n"
    )

    run("spawn.py", cwd=project, record=tmp_path / "imports")

    names = {os.path.basename(path) for path in read_imports(tmp_path / "imports")}
    assert names == {"spawn.py", "child.py", "__init__.py", "inner.py", "unused.py"}


def test_a_module_run_by_name_and_a_failing_script_are_recorded(project, tmp_path):
    (project / "fails.py").write_text("import pkg\nraise SystemExit(3)\n")

    by_name = run("-m", "pkg.unused", cwd=project, record=tmp_path / "by-name")
    failing = run("fails.py", cwd=project, record=tmp_path / "failing")

    assert by_name.returncode == 0 and str(project / "pkg/unused.py") in read_imports(tmp_path / "by-name")
    assert failing.returncode == 3 and str(project / "fails.py") in read_imports(tmp_path / "failing")


def test_a_sitecustomize_further_down_the_path_still_runs(project, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("import builtins; builtins.GREETING = 'hello'\n")

    done = run("-c", "import sitecustomize; print(GREETING, sitecustomize.__file__)", cwd=project, record=tmp_path / "i", path=(theirs,))

    assert done.stdout.split() == ["hello", str(theirs / "sitecustomize.py")]
    assert done.stderr == ""
    assert str(theirs / "sitecustomize.py") in read_imports(tmp_path / "i")


def test_a_path_that_is_not_utf8_is_recorded_too(project, tmp_path):
    odd = project / "odd\udcff"
    odd.mkdir()
    (odd / "mod.py").write_text("X = 1\n")

    run("-c", "import mod", cwd=project, record=tmp_path / "imports", path=(odd,))

    imports = read_imports(tmp_path / "imports")
    assert list(imports) == [str(odd / "mod.py")]
    assert len(digest(imports, project)) == 64


def test_nothing_is_written_or_loaded_unless_it_is_asked_for(project, tmp_path):
    done = run("-c", "import sys; print('json' in sys.modules, 'hashlib' in sys.modules)", cwd=project, record=tmp_path / "imports")
    quiet = run("train.py", cwd=project)

    assert done.stdout.split() == ["False", "False"]
    assert quiet.returncode == 0
    assert sorted(path.name.partition(".")[0] for path in tmp_path.iterdir()) == sorted(["imports", project.name])


def test_a_record_that_cannot_be_written_fails_no_trial(project, tmp_path):
    done = run("train.py", cwd=project, record=tmp_path / "no" / "such" / "folder")

    assert (done.returncode, done.stderr) == (0, "")
    assert read_imports(tmp_path / "no" / "such" / "folder") == {}


def test_what_a_stranger_writes_is_bounded_and_sifted(tmp_path):
    good = {"/a/b.py": "0" * 64}
    (tmp_path / "imports.1").write_text(json.dumps(good))
    (tmp_path / "imports.2").write_text(json.dumps({"/a/b.py": "1" * 64, "relative": "0" * 64, "/evil": "not a hash"}))
    (tmp_path / "imports.3").write_text("{not json")
    (tmp_path / "imports.4").write_bytes(b'{"/\xff": "x"}')
    (tmp_path / "imports.5").write_text(json.dumps(["/a"]))
    (tmp_path / "imports.6").write_bytes(b" " * (5 << 20))
    os.mkfifo(tmp_path / "imports.7")
    (tmp_path / "imports.8").symlink_to("imports.1")
    (tmp_path / "imports.9").mkdir()
    (tmp_path / "imports.10").write_text("[" * 100_000)
    (tmp_path / "imports.11").write_text('{"/nested": {"a": 1}, "/number": 3}')
    (tmp_path / "imports.txt").write_text(json.dumps({"/other": "0" * 64}))

    assert read_imports(tmp_path / "imports") == {"/a/b.py": "0" * 64 + "+" + "1" * 64}


def test_files_outside_the_checkout_are_foreign(tmp_path):
    imports = {f"{tmp_path}/slot/train.py": "0" * 64, f"{tmp_path}/slot-2/train.py": "0" * 64, "/home/me/pkg.py": "0" * 64}

    assert foreign(imports, tmp_path / "slot") == ["/home/me/pkg.py", f"{tmp_path}/slot-2/train.py"]


def test_a_digest_depends_on_the_code_and_not_on_the_slot(tmp_path):
    def imports(slot: str, value: str) -> dict[str, str]:
        return {f"{tmp_path}/{slot}/train.py": value * 64, f"{tmp_path}/{slot}/b.py": "0" * 64}

    same = digest(imports("s0", "1"), tmp_path / "s0")

    assert len(same) == 64
    assert digest(imports("s1", "1"), tmp_path / "s1") == same
    assert digest(imports("s1", "2"), tmp_path / "s1") != same
    assert digest(imports("s1", "1"), tmp_path / "elsewhere") == ""
    assert digest({}, tmp_path) == ""


def test_a_flood_of_names_is_no_record(tmp_path):
    (tmp_path / "imports.1").write_text(json.dumps({"/a/b.py": "0" * 64}))
    (tmp_path / "imports.2").write_text("{" + ",".join(f'"/{n:x}":""' for n in range(NAMES_CAP + 1)) + "}")

    assert read_imports(tmp_path / "imports") is None


def test_names_that_are_too_many_together_are_no_record(tmp_path):
    for file in range(3):
        names = {f"/{file}/{n}": "" for n in range(NAMES_CAP // 3 + 1)}
        (tmp_path / f"imports.{file}").write_text(json.dumps(names))

    assert read_imports(tmp_path / "imports") is None


def test_a_flood_of_bytes_is_no_record(tmp_path):
    for file in range(2):
        os.truncate(os.open(tmp_path / f"imports.{file}", os.O_CREAT | os.O_RDWR), BYTES_CAP // 2 + 1)

    assert read_imports(tmp_path / "imports") is None
