"""`scripts/run_experiment.py`: any command, run as a trial would be. Real processes throughout."""

from __future__ import annotations

import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "run_experiment.py"
HOLD = "import os, signal, sys, time; os.open('{fifo}', os.O_WRONLY)\n"
LONG_S = 120


def command(*words: str, python: str = "python", options: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, str(SCRIPT), *options, "--", python, *words]


def run(folder: Path, source: str, *options: str, **more) -> subprocess.CompletedProcess[bytes]:
    """Run Python source as an experiment in a folder, to its end."""
    return subprocess.run(command("-c", source, options=options), cwd=folder, capture_output=True, check=False, timeout=LONG_S, **more)


@contextmanager
def running(folder: Path, source: str, *options: str):
    """An experiment that runs; killed at the end if it still does."""
    process = subprocess.Popen(
        command("-c", source, options=options), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LONG_S)


def told(folder_line: bytes) -> Path:
    """The folder that a line on stderr names at its end."""
    return Path(os.fsdecode(folder_line.rpartition(b", in ")[2].strip()))


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def folder(tmp_path) -> Path:
    """A plain folder, in no git repository."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def repo(folder) -> Path:
    """A git repository with one commit."""
    git(folder, "init", "-q")
    (folder / "train.py").write_text("print('train')\n")
    (folder / ".gitignore").write_text("ignored/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


class Witness:
    """A FIFO that processes hold open: its end is the proof that all of them are gone."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.hold = HOLD.format(fifo=path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def is_left_alone(self, seconds: float = 30.0) -> bool:
        """True once nobody holds it."""
        poll = select.poll()
        poll.register(self.fd, select.POLLHUP)
        return bool(poll.poll(seconds * 1000))


@pytest.fixture
def witness(tmp_path):
    witness = Witness(tmp_path / "witness")
    yield witness
    os.close(witness.fd)


# output and how it ends


def test_output_comes_while_the_command_runs_and_ctrl_c_ends_its_whole_tree_and_is_waited_for(folder, witness):
    tree = (
        f"import subprocess\nsubprocess.Popen(['python', '-c', {witness.hold!r} + 'os.setsid(); print(1, flush=True); time.sleep(300)'])\n"
    )
    with running(folder, tree + witness.hold + "time.sleep(300)", "--no-sandbox") as process:
        first = process.stdout.readline()

        process.send_signal(signal.SIGINT)

        assert process.wait(LONG_S) == 128 + signal.SIGINT
        assert witness.is_left_alone(0)
        assert first == b"1\n"


def test_the_second_ctrl_c_leaves_at_once_and_the_command_does_not_stay(folder, witness):
    stubborn = "signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True)); print('here', flush=True)\nwhile True: time.sleep(1)"
    with running(folder, witness.hold + stubborn, "--no-sandbox") as process:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"told\n"

        process.send_signal(signal.SIGTERM)

        assert process.wait(LONG_S) == 128 + signal.SIGTERM
        assert witness.is_left_alone()


def test_a_command_does_not_outlive_a_runner_that_is_killed(folder, witness):
    with running(folder, witness.hold + "print('here', flush=True); time.sleep(300)", "--no-sandbox") as process:
        assert process.stdout.readline() == b"here\n"

        process.kill()

        assert witness.is_left_alone()


def test_a_reader_that_goes_away_ends_the_command(folder, witness):
    with running(folder, witness.hold + "print('here', flush=True)\nwhile True: os.write(1, b'x' * 65536)", "--no-sandbox") as process:
        assert process.stdout.readline() == b"here\n"

        process.stdout.close()

        assert process.wait(LONG_S) == 128 + signal.SIGPIPE
        assert witness.is_left_alone(0)
        process.stdout = None


@pytest.mark.parametrize(
    ("source", "options", "code", "words"),
    [
        ("raise SystemExit(7)", (), 7, b""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", (), 139, b"killed by SIGSEGV"),
        ("import time; time.sleep(300)", ("--timeout", "0.01"), 124, b"ran past its 0.6 s"),
        ("import time; hog = bytearray(400 << 20); time.sleep(300)", ("--memory", "150"), 137, b"150 MiB"),
    ],
)
def test_the_exit_code_is_the_commands_own_or_says_why_it_has_none(folder, source, options, code, words):
    done = run(folder, source, *options)

    assert done.returncode == code
    assert words in done.stderr


def test_a_command_that_is_not_there_is_named(folder):
    done = subprocess.run(command(python="no-such-program"), cwd=folder, capture_output=True, check=False, timeout=LONG_S)

    assert (done.returncode, done.stdout) == (127, b"")
    assert done.stderr.endswith(b"evogit: command not found: no-such-program\n")


def test_large_output_of_any_bytes_arrives_whole_and_each_stream_in_its_order(folder):
    source = """
import os, random
for n in range(300):
    piece = random.Random(n).randbytes(70_000)
    for stream in (1, 2) if n % 10 == 0 else (1,):
        view = memoryview(piece)
        while view:
            view = view[os.write(stream, view):]
"""
    done = run(folder, source)

    import random

    pieces = [random.Random(n).randbytes(70_000) for n in range(300)]
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(b"".join(pieces)).digest()
    assert done.stderr.endswith(b"".join(pieces[::10]))


# the folder


def test_a_nested_folder_runs_in_a_copy_of_the_work_tree_as_it_stands(repo):
    (repo / "train.py").write_text("WIDTH = 'changed'\n")
    (repo / "inner").mkdir()
    (repo / "inner" / "untracked.txt").write_text("new")
    (repo / "ignored").mkdir()
    (repo / "ignored" / "large.bin").write_text("large")
    before = git(repo, "status", "--porcelain"), git(repo, "count-objects"), git(repo, "for-each-ref")
    source = """
import os, sys
sys.path.insert(0, "..")
from train import WIDTH
open("made.txt", "w").write("made")
open("../train.py", "w").write("spoilt")
print(WIDTH, sorted(os.listdir()), sorted(os.listdir("..")), os.path.exists("../.git"))
"""
    done = run(repo / "inner", source)

    assert done.stdout == b"changed ['made.txt', 'untracked.txt'] ['.gitignore', 'inner', 'train.py'] False\n"
    assert b"it wrote 2 files (inner/made.txt, train.py)" in done.stderr
    assert (told(done.stderr) / "inner" / "made.txt").read_text() == "made"
    assert (repo / "train.py").read_text() == "WIDTH = 'changed'\n"
    assert (git(repo, "status", "--porcelain"), git(repo, "count-objects"), git(repo, "for-each-ref")) == before


def test_outside_of_git_all_files_are_there_and_our_own_log_is_none_of_them(folder):
    (folder / "data").mkdir()
    (folder / "data" / "x.bin").write_bytes(b"\0x")
    (folder / "link").symlink_to("data/x.bin")
    source = "import os; print(sorted(os.listdir()), open('link', 'rb').read())"
    with open(folder / "run.log", "wb") as log:
        done = subprocess.run(command("-c", source), cwd=folder, stdout=log, stderr=log, check=False, timeout=LONG_S)

    assert done.returncode == 0
    assert (folder / "run.log").read_bytes().endswith(b"['data', 'link'] b'\\x00x'\n")


@pytest.mark.parametrize("options", [(), ("--no-sandbox",)], ids=["sandbox", "no sandbox"])
def test_in_place_what_it_writes_and_removes_stays_so_and_our_own_log_is_left_alone(repo, options):
    source = """
import os
import re
os.remove("train.py")
os.makedirs("out", exist_ok=True)
open("out/model.bin", "wb").write(b"weights")
open("run.log", "a").write("theirs")
"""
    with open(repo / "run.log", "wb") as log:
        words = command("-c", source, options=("--in-place", *options))
        done = subprocess.run(words, cwd=repo, stdout=log, stderr=log, check=False, timeout=LONG_S)

    assert done.returncode == 0
    assert (repo / "out" / "model.bin").read_bytes() == b"weights"
    assert os.stat(repo / "out" / "model.bin").st_uid == os.geteuid()
    assert not (repo / "train.py").exists()
    assert (repo / "run.log").read_text().endswith(f"evogit: it wrote 1 file (out/model.bin), in {repo}\n")


def test_names_that_are_no_utf8_go_in_and_come_out(repo):
    (repo / os.fsdecode(b"tracked-\xff.txt")).write_text("1")
    git(repo, "add", "-A")
    (repo / os.fsdecode(b"new-\xfe.txt")).write_text("2")
    source = "import os; print(sorted(os.listdir(b'.'))); open(b'made-\\xfd.txt', 'w').write('3')"

    done = run(repo, source)

    assert done.stdout == b"[b'.gitignore', b'new-\\xfe.txt', b'tracked-\\xff.txt', b'train.py']\n"
    assert (told(done.stderr) / os.fsdecode(b"made-\xfd.txt")).read_text() == "3"
    assert b"made-\\udcfd.txt" in done.stderr


def test_two_at_once_have_a_copy_each(folder):
    (folder / "note").write_text("as it was")
    source = "import sys, time; open('note', 'w').write('spoilt'); print(1, flush=True); time.sleep(300)"
    with running(folder, source) as first:
        assert first.stdout.readline() == b"1\n"

        second = run(folder, "print(open('note').read())")

        assert second.stdout == b"as it was\n"


def test_artifacts_are_kept_and_it_is_said_where(folder):
    done = run(folder, "import os; open(os.environ['EVOGIT_ARTIFACT_DIR'] + '/model.bin', 'wb').write(b'weights')")

    assert b"evogit: 1 artifact (model.bin), in " in done.stderr
    assert (told(done.stderr) / "model.bin").read_bytes() == b"weights"


# what a trial has


def test_the_problems_budget_holds_and_what_is_hidden_from_trials_is_hidden(repo):
    contract = '[problem]\nmutable = ["train.py"]\ncommand = "python train.py"\n[budget]\ntimeout_s = 1\n'
    contract += '[[metric]]\nname = "loss"\ndirection = "minimize"\n[sandbox]\nhide = ["labels.txt"]\n'
    (repo / "evogit.toml").write_text(contract)
    (repo / "labels.txt").write_text("secret")
    source = "import os, time\ntry: print(repr(open('labels.txt').read()))\nexcept OSError: print('hidden')\ntime.sleep(300)"

    done = run(repo, source)

    assert done.returncode == 124
    assert b"ran past its 1 s" in done.stderr
    if b"without a sandbox" not in done.stderr:
        assert b"secret" not in done.stdout


def test_only_what_is_asked_for_of_the_environment_goes_in(folder):
    source = "import os; print(os.environ.get('WIDTH'), os.environ.get('MY_TOKEN'), os.environ['HOME'] != os.path.expanduser('~root'))"

    done = run(folder, source, "--env", "WIDTH=64=4", env={**os.environ, "MY_TOKEN": "sesame"})

    assert done.stdout == b"64=4 None True\n"


@pytest.mark.skipif(shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is None, reason="uv is not installed")
def test_uv_run_gets_an_environment_that_was_synced_before(folder):
    (folder / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "0.1"\nrequires-python = ">=3.10"\ndependencies = []\n')
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    words = command("run", "python", "-c", "import sys; print(sys.prefix)", python="uv")
    done = subprocess.run(words, cwd=folder, capture_output=True, check=False, timeout=LONG_S, env={**os.environ, "PATH": path})

    assert done.returncode == 0, done.stderr
    assert "/envs/" in done.stdout.decode()


# what is to be mended first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--backend", "nowhere", "--", "true"), "no backend is called 'nowhere'"),
        (("--gpu", ":2", "--", "true"), "names no kind of GPU"),
        (("--gpu", "H100", "--", "true"), "a trial asks for 1 x H100"),
        (("--option", "colour=red", "--", "true"), "unexpected keyword argument 'colour'"),
        (("--timeout", "0", "--", "true"), "is no number of minutes above 0"),
        (("--env", "WIDTH", "--", "true"), "is not NAME=VALUE"),
        (("--cloud-spec", "x.yaml", "--", "true"), "go with --backend cloud-run"),
        (("--address", "auto", "--", "true"), "--address goes with --backend ray"),
        (("--memory", "99999999999999999999", "--", "true"), "is no whole number above 0 that a machine has"),
        (("--option", "slots=many", "--", "true"), "[backend.local] slots: expected a whole number, got text"),
        (("--option", "slots=0", "--", "true"), "[backend.local] slots: expected a whole number >= 1"),
        (("--backend", "cloud-run", "--option", "poll_s=fast", "--", "true"), "poll_s: expected a number, got text"),
        (("--backend", "cloud-run", "--option", "env=x", "--", "true"), "env: expected a table, got text"),
        (("--backend", "local"), "no command"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said_in_words_and_is_code_2(folder, words, said):
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}

    done = subprocess.run([sys.executable, str(SCRIPT), *words], cwd=folder, capture_output=True, text=True, check=False, env=env)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options, is_traced", [((), False), (("--debug",), True)])
def test_a_bug_of_a_backend_is_one_line_and_its_trace_is_there_for_who_asks(folder, tmp_path, options, is_traced):
    plugin = tmp_path / "plugin"
    (plugin / "faulty-1.0.dist-info").mkdir(parents=True)
    (plugin / "faulty-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (plugin / "faulty-1.0.dist-info" / "entry_points.txt").write_text("[evogit.backends]\nfaulty = faulty:Faulty\n")
    (plugin / "faulty.py").write_text("class Faulty:\n    def __init__(self, root):\n        raise ZeroDivisionError('a bug')\n")
    env = {**os.environ, "PYTHONPATH": f"{plugin}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, str(SCRIPT), "--backend", "faulty", *options, "--", "true"]

    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)

    assert (done.returncode, "Traceback" in done.stderr) == (1, is_traced)
    assert "ZeroDivisionError: a bug" in done.stderr


@pytest.mark.parametrize("is_in_checkout", [True, False])
def test_a_python_that_lacks_evogit_is_told_in_one_line_what_to_install(folder, is_in_checkout):
    script = SCRIPT if is_in_checkout else Path(shutil.copy(SCRIPT, folder / "run_experiment.py"))

    done = subprocess.run([sys.executable, "-I", "-S", str(script), "--", "true"], cwd=folder, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "pip install -e" in done.stderr
    assert ("msgspec" if is_in_checkout else "No module named 'evogit'") in done.stderr


def test_a_checkout_that_is_not_installed_runs_where_its_dependencies_are(folder):
    env = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}  # -S: no .pth file there makes evogit importable

    done = subprocess.run([sys.executable, "-S", str(SCRIPT), "--", "echo", "ran"], cwd=folder, capture_output=True, check=False, env=env)

    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr


def test_the_reference_has_every_option_and_invents_none():
    reference = (SCRIPT.parent.parent / "docs" / "reference.md").read_text()
    table = reference.partition("## Any command")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`-[^|]*) \|", table, flags=re.MULTILINE)

    shown = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True).stdout

    described = {option for cell in cells for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", cell)}
    assert described == set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", "\n".join(re.findall(r"^  (-\S.*?)(?:  |$)", shown, re.MULTILINE))))
