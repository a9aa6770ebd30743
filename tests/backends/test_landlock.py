"""Landlock and namespaces, tried by programs that want out: as root or whoever runs the tests, and as an unprivileged user."""

from __future__ import annotations

import ast
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from evogit.backends import landlock, sandbox, syscalls
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Status, View
from evogit.testing import BackendContract, output, run

NOBODY = 65534
PACKAGE = Path(landlock.__file__).resolve().parents[1]
MODULES = ("__init__", "landlock", "namespaces", "privileges", "processes")

CONFINE = """
import json, os, sys
from evogit.backends import landlock
from evogit.backends.namespaces import Paths
told = json.loads(sys.argv[1])
paths = Paths(*(tuple(told[name]) for name in Paths._fields))
landlock.confine(
    paths, network=told["network"], has_namespaces=told["has_namespaces"],
    user=65534 if os.geteuid() == 0 else -1,
)
os.chdir(paths.writable[0])
os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", told["source"]], {"PATH": os.defpath})
"""

FILTER = """
import ctypes, sys
from evogit.backends import privileges
ctypes.CDLL(None).prctl(privileges.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
privileges.load_filter(bytes.fromhex({program!r}))
"""

TRY = """
import ctypes, json, os, shutil, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
def read(path):
    with open(path) as file: return file.read()
def write(path, text="x", mode="w"):
    with open(path, mode) as file: file.write(text)
said = []
for one in json.loads(ONES):
    try: said.append(repr(eval(one)))
    except OSError as error: said.append(type(error).__name__)
print(json.dumps(said))
"""

SUPPORT = landlock.probe(NOBODY if os.geteuid() == 0 else -1)
REFUSED = {"PermissionError", "FileNotFoundError", "OSError"}  # an OSError without a class of its own: "read-only file system"

pytestmark = pytest.mark.skipif(bool(SUPPORT.refusal), reason=f"Landlock does not work here: {SUPPORT.refusal}")


class Cell:
    """A place for one program: `mine` it may write, `data` it may read, `secret` is a folder of somebody else of the same user."""

    def __init__(self, top: Path, is_unprivileged: bool, has_namespaces: bool) -> None:
        self.has_namespaces = has_namespaces
        self.prefix = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"] if is_unprivileged else []
        pythons = map(os.path.realpath, (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"))
        self.python = next((path for path in pythons if self._runs(path)), sys.executable)
        (top / "code/evogit/backends").mkdir(parents=True)
        (top / "code/evogit/__init__.py").touch()
        for name in MODULES:
            shutil.copy(PACKAGE / f"backends/{name}.py", top / "code/evogit/backends")
        self.mine, self.data, self.secret = top / "mine", top / "data", top / "secret"
        for folder in (self.mine, self.data, self.secret):
            folder.mkdir()
            (folder / "file").write_text(f"of {folder.name}")
            if os.geteuid() == 0 and (is_unprivileged or folder == self.mine):
                for path in (folder, folder / "file"):
                    os.chown(path, NOBODY, NOBODY)
        subprocess.run(["chmod", "-R", "a+rX", str(top)], check=True)

    def _runs(self, python: str) -> bool:
        """True if that user may start it by himself; setpriv alone would still be root when it starts it."""
        source = "import os, sys; sys.exit(not os.access(sys.executable, os.X_OK))"
        return os.path.exists(python) and subprocess.call([*self.prefix, python, "-I", "-S", "-c", source], cwd="/") == 0

    def own(self, path: Path) -> None:
        """Give a file or folder to the user that the program runs as."""
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def start(self, source: str, before: str = "", **fields) -> subprocess.CompletedProcess:
        """Run a program in it to its end. before: what the process does until then."""
        base = os.path.dirname(os.path.dirname(self.python))
        told = {
            "readable": [str(self.data), base], "writable": [str(self.mine)], "frozen": [], "masked": [], "network": False,
            "has_namespaces": self.has_namespaces, "source": source,
        } | fields  # fmt: skip
        return subprocess.run(
            [*self.prefix, self.python, "-c", before + CONFINE, json.dumps(told)],
            cwd="/", env={"PYTHONPATH": str(self.mine.parent / "code")}, check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def run(self, source: str, **fields) -> str:
        """What a confined program printed; it fails the test if it ended badly."""
        ended = self.start(source, **fields)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def tries(self, *expressions: str, **fields) -> list[str]:
        """What became of each expression in a confined program: its value as text, or the name of its error."""
        return json.loads(self.run(f"ONES = {json.dumps(expressions)!r}\n{TRY}", **fields))

    def start_victim(self) -> subprocess.Popen:
        """A process of the same user outside."""
        return subprocess.Popen([*self.prefix, "sleep", "60"], cwd="/")


@pytest.fixture(params=["who runs the tests", "an unprivileged user"])
def is_unprivileged(request):
    if request.param == "an unprivileged user" and (os.geteuid() != 0 or not shutil.which("setpriv")):
        pytest.skip("root alone can start a program as somebody else")
    return request.param == "an unprivileged user"


@pytest.fixture(params=["namespaces", "files"])
def cell(request, is_unprivileged):
    if request.param == "namespaces" and SUPPORT.missing:
        pytest.skip(f"no namespaces here: {SUPPORT.missing}")
    with tempfile.TemporaryDirectory(prefix="cell-") as top:  # not below `tmp_path`, which is closed to other users
        yield Cell(Path(top).resolve(), is_unprivileged, request.param == "namespaces")


def test_a_program_runs_reads_its_data_and_writes_its_folders(cell):
    said = cell.tries(
        f"read('{cell.data}/file')",
        "write('new')",
        "os.mkdir('folder')",
        "os.rename('new', 'folder/new')",
        "read('folder/new')",
        "os.truncate('folder/new', 0)",
        "os.symlink('folder', 'link')",
        "shutil.rmtree('folder')",
        "write('/dev/shm/evogit-test')",
        "os.unlink('/dev/shm/evogit-test')",
        "write('/dev/null')",
        "len(read('/proc/self/status')) > 100",
        "len(os.urandom(8))",
    )

    assert said == ["'of data'", *["None"] * 2, "None", "'x'", *["None"] * 6, "True", "8"]


def test_worker_processes_talk_to_their_parent(cell):
    source = "import multiprocessing as m\npool = m.get_context('fork').Pool(2)\nprint(sum(pool.map(abs, [-1, 2])))\npool.terminate()"

    assert cell.run(source) == "3\n"


def test_files_of_other_trials_of_people_and_of_the_machine_are_not_there(cell):
    said = cell.tries(
        f"read('{cell.secret}/file')",
        f"os.listdir('{cell.secret}')",
        "os.listdir('/root')",
        "read('/etc/shadow')",
        "read('/etc/hostname')",
        "os.listdir('/')",
        f"os.listdir('{cell.data.parent}') == ['mine', 'data']",  # with namespaces the folders above are made anew
        f"read('{cell.mine}/../secret/file')",
        f"os.symlink('{cell.secret}/file', 'link') or read('link')",
        f"read('/proc/self/root{cell.secret}/file')",
        f"os.link('{cell.secret}/file', 'hard')",
        f"os.rename('{cell.secret}/file', 'stolen')",
    )

    assert {answer for number, answer in enumerate(said) if number != 6} <= REFUSED
    assert (cell.secret / "file").read_text() == "of secret"


def test_nothing_outside_of_its_folders_is_written(cell):
    said = cell.tries(
        f"write('{cell.data}/file')",
        f"write('{cell.data}/new')",
        f"os.unlink('{cell.data}/file')",
        f"os.truncate('{cell.data}/file', 0)",
        f"write('{cell.secret}/file')",
        f"os.truncate('{cell.secret}/file', 0)",
        "write('/usr/evogit')",
        "write('/proc/sys/kernel/hostname')",
        "os.mknod('device', 0o20600, os.makedev(1, 3))",
        "os.chroot('.')",
    )

    assert set(said) <= REFUSED
    assert (cell.data / "file").read_text() == "of data"
    assert (cell.secret / "file").read_text() == "of secret"


def test_with_namespaces_not_even_modes_and_times_outside_are_changed(cell):
    before = os.stat(cell.data / "file")

    said = cell.tries(f"os.chmod('{cell.data}/file', 0o777)", f"os.utime('{cell.data}/file', (1, 1))", f"os.chmod('{cell.secret}', 0)")

    if cell.has_namespaces:
        assert set(said) <= REFUSED
        after = os.stat(cell.data / "file")
        assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)


def test_no_process_outside_is_read_traced_or_signalled(cell):
    victim = cell.start_victim()
    try:
        said = cell.tries(
            f"os.kill({victim.pid}, signal.SIGKILL)",
            f"os.kill({victim.pid}, 0)",
            f"read('/proc/{victim.pid}/environ')",
            f"os.open('/proc/{victim.pid}/fd/0', os.O_RDONLY)",
            f"os.readlink('/proc/{victim.pid}/cwd')",
            f"os.listdir('/proc/{victim.pid}/root/root')",
            f"call('ptrace', 16, {victim.pid}, None, None)",
            f"read('/proc/{victim.pid}/mem')",
            f"write('/proc/{victim.pid}/oom_score_adj', '1000')",
        )

        assert set(said) <= REFUSED
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_no_privilege_is_left_or_comes_back(cell):
    said = cell.tries(
        "os.setuid(0)",
        "os.setresuid(0, 0, 0)",
        "call('mount', b'x', b'/tmp', b'tmpfs', 0, None)",
        "call('umount2', b'/proc', 2)",
        "[line.split()[1] for line in read('/proc/self/status').splitlines() if line.startswith(('CapEff', 'NoNewPrivs'))]",
    )

    assert set(said[2:4]) <= REFUSED
    assert os.geteuid() != 0 or set(said[:2]) <= REFUSED
    assert said[4] in ("['0000000000000000', '1']", "['0000000000000004', '1']")  # 4: to search folders and read files


def test_there_is_no_network(cell):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        datagrams.setblocking(False)
        port, udp = server.getsockname()[1], datagrams.getsockname()[1]

        said = cell.tries(
            f"socket.create_connection(('127.0.0.1', {port}), 2)",
            f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp})) and read('/nothing')",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
            "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).send(bytes(20))",
        )

        assert set(said[:3]) <= REFUSED | {"ConnectionRefusedError"}
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)


def test_an_abstract_socket_of_somebody_else_cannot_be_reached(cell):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0evogit-test-" + cell.mine.parent.name)
        server.listen()

        said = cell.tries(f"socket.socket(socket.AF_UNIX).connect('\\0evogit-test-{cell.mine.parent.name}')")

    assert said[0] in REFUSED | {"ConnectionRefusedError"}


def test_loopback_works_inside_where_there_are_namespaces(cell):
    said = cell.tries("[s := socket.create_server(('127.0.0.1', 0)), socket.create_connection(s.getsockname())]")

    assert said[0].startswith("[<socket.socket") if cell.has_namespaces else said == ["PermissionError"]


def test_a_declared_network_is_there(cell):
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = cell.tries(
            f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)", "len(read('/etc/hosts')) > 0", network=True
        )

    assert said[0].startswith("<socket.socket")
    assert said[1] == "True"


def test_a_masked_file_is_not_read_and_its_neighbours_are(cell):
    deep = cell.data / "a/b"
    deep.mkdir(parents=True)
    for name in ("labels", "inputs"):
        (deep / name).write_text(name)

    said = cell.tries(f"read('{deep}/inputs')", f"read('{cell.data}/file')", f"read('{deep}/labels')", masked=[f"{deep}/labels"])

    assert said[:2] == ["'inputs'", "'of data'"]
    assert said[2] in ("PermissionError", "''")


def test_a_masked_folder_is_not_read(cell):
    (cell.data / "labels/deep").mkdir(parents=True)
    (cell.data / "labels/deep/y").write_text("secret")

    said = cell.tries(f"read('{cell.data}/labels/deep/y')", f"read('{cell.data}/file')", masked=[str(cell.data / "labels")])

    assert (said[0] in REFUSED, said[1]) == (True, "'of data'")


def test_a_masked_file_in_a_writable_folder_stays_masked_whatever_is_done_to_it(cell):
    (cell.mine / "labels").write_text("secret")
    (cell.mine / "other").mkdir()
    cell.own(cell.mine / "labels")
    cell.own(cell.mine / "other")

    said = cell.tries(
        "read('labels')",
        "os.rename('labels', 'other/labels') or read('other/labels')",
        "os.link('labels', 'other/hard') or read('other/hard')",
        "os.symlink('../labels', 'other/soft') or read('other/soft')",
        "os.rename('labels', 'renamed') or read('renamed')",
        "read('file')",
        "write('new')",
        "write('other/new') or read('other/new')",
        masked=[str(cell.mine / "labels")],
    )

    assert set(said[:5]) <= REFUSED | {"''"}
    assert said[5:] == ["'of mine'", "None", "'x'"]


def test_with_namespaces_a_frozen_file_stays_as_it_is(cell):
    (cell.mine / "ruler.py").write_text("as it is")
    cell.own(cell.mine / "ruler.py")

    said = cell.tries(
        "write('ruler.py')",
        "os.truncate('ruler.py', 0)",
        "os.unlink('ruler.py')",
        "os.rename('file', 'ruler.py')",
        "os.chmod('ruler.py', 0o777)",
        "read('ruler.py')",
        "write('file', 'changed')",
        frozen=[str(cell.mine / "ruler.py")],
    )

    assert said[6] == "None"
    if cell.has_namespaces:
        assert set(said[:5]) <= REFUSED
        assert said[5] == "'as it is'"
        assert (cell.mine / "ruler.py").read_text() == "as it is"


def test_the_services_of_the_machine_are_covered_where_there_are_namespaces(cell):
    file = f"/tmp/{cell.mine.parent.name}-landlock"  # no name that somebody may have given a file of theirs

    said = cell.tries("os.listdir('/run')", "os.listdir('/tmp')", f"write({file!r})", f"os.path.exists({file!r})")

    assert said[0] in REFUSED
    if cell.has_namespaces:
        shown = [cell.mine.parent, Path(os.path.realpath(sys.base_prefix))]
        assert set(ast.literal_eval(said[1])) == {path.parts[2] for path in shown if path.is_relative_to("/tmp")}
        assert said[2:] == ["None", "True"]
    assert not os.path.exists(file)


def test_the_view_may_name_what_is_not_there_and_links(cell):
    (cell.mine.parent / "link").symlink_to(cell.data)

    said = cell.tries(
        f"read('{cell.data}/file')",
        f"read('{cell.data.parent}/link/file')",
        readable=[str(cell.mine.parent / "link"), "/no/such/folder", os.path.dirname(os.path.dirname(cell.python))],
        masked=["/no/such/file"],
        frozen=["/no/such/file"],
    )

    assert said == ["'of data'", "'of data'"]


def test_a_view_of_all_of_tmp_makes_nothing_in_it_writable(cell):
    said = cell.tries(
        "write('/tmp/evogit-test')",
        "write('new')",
        f"read('{cell.secret}/file')",
        readable=["/tmp", os.path.dirname(os.path.dirname(cell.python))],
    )

    assert (said[0] in REFUSED, said[1:]) == (True, ["None", "'of secret'"])


def refusing(number: int, *calls: int | str) -> str:
    """A filter, in hexadecimal, under which these system calls fail with that error: what the kernels of others do."""
    seccomp = pytest.importorskip("pyseccomp")
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for one in calls:
        rules.add_rule(seccomp.ERRNO(number), one)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read().hex()


@pytest.mark.parametrize("step", ["landlock_add_rule", "landlock_restrict_self", "capset", "mount"])
def test_a_step_that_the_kernel_refuses_is_an_error_and_never_less_confinement(cell, step):
    number = {"landlock_add_rule": 445, "landlock_restrict_self": 446}.get(step, step)

    ended = cell.start("print('it ran')", before=FILTER.format(program=refusing(errno.EPERM, number)))

    if step != "mount" or cell.has_namespaces:
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "Operation not permitted" in ended.stderr


def probe_under(program: str) -> list[str]:
    """What a process says that finds itself on a kernel with this filter."""
    source = FILTER.format(program=program) + "from evogit.backends import landlock\nprint(*landlock.probe(), sep='|')"
    return subprocess.check_output([sys.executable, "-c", source], cwd=PACKAGE.parent, text=True).strip().split("|")


def test_the_probe_says_that_namespaces_are_forbidden_as_in_most_containers():
    assert probe_under(refusing(errno.EPERM, "unshare")) == ["", "unshare: Operation not permitted"]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSYS, "this kernel has no Landlock"), (errno.EOPNOTSUPP, "Landlock is turned off in this kernel")]
)
def test_the_probe_says_why_there_is_no_landlock(number, words):
    assert probe_under(refusing(number, 444)) == [words, words]


def test_the_probe_sees_rules_that_are_taken_and_not_kept():
    assert probe_under(refusing(0, 446))[0] == "the kernel takes the rules and does not keep them"


# jobs of the local backend at this level


@pytest.fixture
def at_landlock(monkeypatch):
    monkeypatch.setenv("EVOGIT_SANDBOX", "landlock")


class TestLocalBackendAtLandlock(BackendContract):
    recipe = "from pathlib import Path; from evogit.backends.local import LocalBackend; backend = LocalBackend(Path('{root}') / 'jobs')"

    @pytest.fixture
    def backend(self, tmp_path, at_landlock):
        backend = LocalBackend(tmp_path / "jobs", slots=2)
        assert backend.resources()["sandbox"] == "landlock"
        yield backend
        backend.close()


def test_the_outcome_says_which_level_held_it(at_landlock, backend, make):
    assert run(backend, make("pass")).sandbox == "landlock"


def test_a_job_sees_its_view_and_nothing_else(at_landlock, backend, make, tmp_path):
    for name in ("mine", "other", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if os.geteuid() == 0:
        os.chown(tmp_path / "mine", NOBODY, NOBODY)
    source = """
import sys
for path in sys.argv[1:]:
    for mode in ("r", "w"):
        try:
            with open(path + "/file" + mode.strip("r"), mode): print("yes")
        except OSError: print("no")
"""
    view = View(writable=(str(tmp_path / "mine"),), readable=(str(tmp_path / "data"), sys.prefix, sys.base_prefix))

    outcome = run(backend, make(source, *(str(tmp_path / name) for name in ("mine", "data", "other")), view=view))

    assert output(outcome).split() == ["yes", "yes", "yes", "no", "no", "no"]


def test_a_call_that_no_trial_needs_is_refused(at_landlock, backend, make):
    if syscalls.missing():
        pytest.skip(syscalls.missing())
    source = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.unshare(0x10000000), ctypes.get_errno())"

    assert output(run(backend, make(source))) == f"-1 {errno.EPERM}\n"


def test_a_level_that_breaks_later_runs_nothing_and_blames_the_machine(at_landlock, backend, make, monkeypatch):
    run(backend, make("pass"))
    real = sandbox.confine
    broken = {"network": False, "has_namespaces": True, "devices": ["/dev/null/nowhere"]}
    monkeypatch.setattr(sandbox, "confine", lambda job, level: real(job, level) | {"fence": {"paths": {}, "terms": broken}})

    outcome = run(backend, make("print('it ran')"))

    assert (outcome.status, output(outcome)) == (Status.INFRASTRUCTURE, "")
    assert "the sandbox could not be set up" in outcome.reason


def test_an_unprivileged_user_runs_jobs_at_this_level():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("root alone can start a program as somebody else; the other tests are that test")
    with tempfile.TemporaryDirectory(prefix="cell-") as top:
        cell = Cell(Path(top).resolve(), True, True)
        shutil.rmtree(cell.mine.parent / "code")
        shutil.copytree(PACKAGE, cell.mine.parent / "code/evogit", ignore=shutil.ignore_patterns("__pycache__"))
        libraries = os.path.dirname(os.path.dirname(msgspec.__file__))
        source = """
import json, os, sys
from pathlib import Path
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Job, View
mine, secret, text = sys.argv[1:]
backend = LocalBackend(Path(mine, "jobs"))
view = View(readable=(os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))),))
Path(mine, "tree").mkdir()
job = Job(key="one", label="one", argv=(sys.executable, "-I", "-S", "-c", text, secret), cwd=mine + "/tree", source=mine + "/tree",
    artifact_dir=mine + "/artifacts", env={"PATH": os.defpath}, timeout_s=30.0, view=view)
handle = backend.start(job)
outcome = backend.collect(handle)
print(backend.level, outcome.status.value, outcome.reason, Path(outcome.folder, "stdout").read_text(), sep="|")
backend.close()
"""
        text = "import os, sys\ntry: os.listdir(sys.argv[1])\nexcept OSError: print('no', os.getuid(), end='')"
        env = {"PYTHONPATH": f"{cell.mine.parent}/code:{libraries}", "PATH": os.environ["PATH"], "EVOGIT_SANDBOX": "landlock"}
        if subprocess.call([*cell.prefix, cell.python, "-c", "import msgspec"], cwd="/", env=env, stderr=subprocess.DEVNULL):
            pytest.skip("no Python that everybody may use has msgspec")

        said = subprocess.check_output(
            [*cell.prefix, cell.python, "-c", source, str(cell.mine), str(cell.secret), text], cwd="/", env=env, text=True
        )

    assert said == f"landlock|ok||no {NOBODY}\n"
