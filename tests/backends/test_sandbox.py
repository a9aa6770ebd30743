"""What a job in a room of bubblewrap can see and do: the jobs try it. Skipped where bubblewrap does not work."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from evogit.backends import bubblewrap, devices, processes, sandbox, syscalls
from evogit.backends.local import LocalBackend
from evogit.domain.trial import SANDBOXES, Status, View
from evogit.errors import UserError
from evogit.testing import output, run

TRY = """
import ctypes, errno, json, os, socket, sys
def attempt(do):
    try: return repr(do())
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) == -1: raise OSError(ctypes.get_errno(), "refused")
    return "allowed"
"""
PYTHONS = (sys.prefix, sys.base_prefix)


@pytest.fixture
def backend(backend):
    """The local backend, if bubblewrap works here."""
    if backend.level != "bubblewrap":
        pytest.skip(f"no bubblewrap: {sandbox.refusals()}")
    return backend


def told(backend, make, source: str, *arguments: str, **fields):
    """What a job printed as JSON."""
    outcome = run(backend, make(TRY + source, *arguments, **fields))
    assert outcome.status is Status.OK, output(outcome, "stderr")
    assert outcome.sandbox == "bubblewrap"
    return json.loads(output(outcome))


# what it sees


def test_a_job_sees_the_system_its_own_folders_and_nothing_else(backend, make, tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret"
    elsewhere.write_text("x")

    seen = told(
        backend,
        make,
        "print(json.dumps([os.listdir('/'), attempt(lambda: open(sys.argv[1]).read()), os.listdir('/tmp'), os.listdir('/dev/shm'), "
        "sorted(os.listdir('/etc')), [p for p in ('/home', '/run', '/sys', '/var', '/boot', '/srv', '/mnt') if os.path.exists(p)]]))",
        str(elsewhere),
    )

    assert seen[1] == "ENOENT"
    shown = [path.resolve() for path in (tmp_path, Path(sys.prefix), Path(sys.base_prefix))]
    assert set(seen[2]) <= {path.parts[2] for path in shown if path.is_relative_to("/tmp")}  # ways to its own folder and the interpreter
    assert not seen[3]
    assert set(seen[4]) <= {"passwd", "group", "hosts", "nsswitch.conf", *bubblewrap.ETC, "localtime", "ssl", "pki"}
    assert seen[5] == []


def test_a_job_reads_no_other_process_and_no_environment_but_its_own(backend, make):
    source = "print(json.dumps([[p for p in os.listdir('/proc') if p.isdigit()], attempt(lambda: open('/proc/1/environ').read()), open('/proc/1/cmdline').read()]))"

    pids, environ, command_line = told(backend, make, source)

    assert len(pids) <= 4
    assert environ == "EACCES" or set(environ.strip("'").replace("\\x00", " ").split()) <= {
        "PATH=/usr/bin:/bin",
        environ.strip("'").split("\\x00")[0],
    }
    assert str(os.getpid()) not in pids
    assert "--args" in command_line and "/work" not in command_line and "bind" not in command_line


def test_folders_are_read_only_writable_frozen_or_masked_as_the_view_says(backend, make, tmp_path):
    for name in ("readable", "writable", "all/masked"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "writable" / "evaluate.py").write_text("frozen")
    (tmp_path / "readable" / "labels").write_text("hidden")
    for path in (tmp_path / "writable").iterdir():
        path.chmod(0o666)
    source = """
top = sys.argv[1]
def write(path): open(f"{top}/{path}", "w").write("changed")
print(json.dumps({
    "readable": attempt(lambda: write("readable/file")), "new": attempt(lambda: write("readable/new")),
    "writable": attempt(lambda: write("writable/file")), "made": attempt(lambda: write("writable/made")),
    "frozen": attempt(lambda: write("writable/evaluate.py")), "gone": attempt(lambda: os.unlink(f"{top}/writable/evaluate.py")),
    "swapped": attempt(lambda: os.rename(f"{top}/writable/file", f"{top}/writable/evaluate.py")),
    "mode": attempt(lambda: os.chmod(f"{top}/writable/evaluate.py", 0o777)), "text": open(f"{top}/writable/evaluate.py").read(),
    "labels": attempt(lambda: open(f"{top}/readable/labels").read()), "masked": os.listdir(f"{top}/all/masked"),
    "unmask": attempt(lambda: os.mkdir(f"{top}/all/masked/x")), "read": open(f"{top}/readable/file").read()}))
"""
    view = View(
        writable=(str(tmp_path / "writable"),),
        readable=(str(tmp_path / "readable"), str(tmp_path / "all"), *PYTHONS),
        frozen=(str(tmp_path / "writable" / "evaluate.py"),),
        masked=(str(tmp_path / "readable" / "labels"), str(tmp_path / "all" / "masked")),
    )

    seen = told(backend, make, source, str(tmp_path), view=view)

    assert (seen["readable"], seen["new"], seen["unmask"]) == ("EROFS", "EROFS", "EROFS")
    assert (seen["writable"], seen["made"]) == ("None", "None")
    assert (seen["frozen"], seen["gone"], seen["swapped"], seen["mode"], seen["text"]) == ("EROFS", "EBUSY", "EBUSY", "EROFS", "frozen")
    assert (seen["labels"], seen["masked"], seen["read"]) == ("EACCES", [], "readable")
    assert (tmp_path / "writable" / "evaluate.py").read_text() == "frozen"


def test_a_mask_covers_what_a_folder_above_shows_and_what_is_shown_below_it_is_there(backend, make, tmp_path):
    for path in ("shown/cache/others/secret", "shown/cache/mine/file", "shown/file"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    view = View(readable=(str(tmp_path / "shown"), str(tmp_path / "shown/cache/mine"), *PYTHONS), masked=(str(tmp_path / "shown/cache"),))

    seen = told(
        backend,
        make,
        "print(json.dumps([sorted(os.path.join(a, f) for a, _, c in os.walk(sys.argv[1]) for f in c)]))",
        str(tmp_path / "shown"),
        view=view,
    )

    assert seen == [[str(tmp_path / "shown/cache/mine/file"), str(tmp_path / "shown/file")]]


def test_a_path_that_goes_through_a_link_is_shown_and_masked_at_both_places(backend, make, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "data").write_text("data")
    (tmp_path / "real" / "labels").write_text("labels")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    view = View(readable=(str(tmp_path / "link"), *PYTHONS), masked=(str(tmp_path / "link" / "labels"),))
    source = "print(json.dumps([attempt(lambda: open(f'{sys.argv[1]}/{place}/{name}').read()) for place in ('link', 'real') for name in ('data', 'labels')]))"

    assert told(backend, make, source, str(tmp_path), view=view) == ["'data'", "EACCES", "'data'", "EACCES"]


# what it can do


def test_a_job_is_nobody_and_can_become_no_more(backend, make):
    source = """
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps([os.getuid(), os.getgid(), os.getgroups(), [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    status["NoNewPrivs"], status["Seccomp"], attempt(lambda: os.setuid(0)) if os.getuid() else "EPERM"]))
"""

    user, group, groups, capabilities, no_new, seccomp, root = told(backend, make, source)

    expected = bubblewrap.user() if bubblewrap.user() >= 0 else os.getuid()
    assert (user, group) == (expected, expected if bubblewrap.user() >= 0 else os.getgid())
    assert groups in ([], [group])
    assert set(capabilities) == {"0" * 16}
    assert (no_new, seccomp, root) == ("1", "0" if syscalls.missing() else "2", "EPERM")


@pytest.mark.skipif(bool(syscalls.missing()), reason="no libseccomp")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
def test_calls_that_open_ways_out_are_refused(backend, make):
    calls = {
        "unshare user": (272, 0x10000000), "unshare mount": (272, 0x20000), "unshare time": (272, 0x80), "clone user": (56, 0x10000000 | 17),
        "setns": (308, 0, 0), "mount": (165, 0, 0, 0, 0, 0), "umount": (166, 0, 0), "pivot_root": (155, 0, 0), "chroot": (161, 0),
        "ptrace": (101, 16, 1), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "keyctl": (250, 0), "add_key": (248, 0, 0, 0, 0, 0),
        "bpf": (321, 0, 0, 0), "perf": (298, 0, 0, 0, 0, 0), "userfaultfd": (323, 0), "io_uring": (425, 1, 0), "kexec": (246, 0, 0, 0, 0),
        "handle": (304, 0, 0, 0), "module": (175, 0, 0, 0), "fsopen": (430, 0, 0), "personality": (135, 0x0400000), "pidfd_getfd": (438, 0, 0, 0),
        "reboot": (169, 0, 0, 0), "swapon": (167, 0, 0), "terminal": (16, 0, 0x5412, 0), "terminal, high bits set": (16, 0, (1 << 32) + 0x5412, 0),
    }  # fmt: skip
    source = f"print(json.dumps({{name: attempt(lambda: call(*map(ctypes.c_long, numbers))) for name, numbers in {calls!r}.items()}}))"

    assert set(told(backend, make, source).values()) == {"EPERM"}
    assert told(backend, make, "print(json.dumps(attempt(lambda: call(435, 0, 0))))") == "ENOSYS"  # clone3: the C library then takes clone


@pytest.mark.skipif(bool(syscalls.missing()), reason="no libseccomp")
def test_sockets_are_those_of_the_internet_and_of_files(backend, make):
    source = "print(json.dumps({f: attempt(lambda: socket.socket(f, socket.SOCK_STREAM if f < 3 else socket.SOCK_RAW).close()) for f in (1, 2, 10, 16, 15, 17, 38, 40)}))"

    seen = told(backend, make, source)

    assert [seen[name] for name in ("1", "2", "16")] == ["None"] * 3
    assert {seen[name] for name in ("15", "17", "38", "40")} == {"EPERM"}


def test_the_network_is_a_loopback_device_unless_it_is_declared(backend, make):
    source = """
inner = socket.create_server(("127.0.0.1", 0))
print(json.dumps([attempt(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()), [name for _, name in socket.if_nameindex()],
    attempt(lambda: socket.create_connection(inner.getsockname(), 5).close()), socket.gethostbyname("localhost"), socket.gethostname()]))
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])

        without = told(backend, make, source, port)
        declared = told(backend, make, source, port, network=True)

    assert without == ["ECONNREFUSED", ["lo"], "None", "127.0.0.1", "localhost"]
    assert declared[0] == "None"


def test_a_socket_of_a_service_outside_cannot_be_reached(backend, make, tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "socket"
    with socket.socket(socket.AF_UNIX) as service, socket.socket(socket.AF_UNIX) as abstract:
        service.bind(str(path))
        service.listen()
        abstract.bind(f"\0evogit-test-{os.getpid()}")
        abstract.listen()
        source = (
            "print(json.dumps([attempt(lambda: socket.socket(socket.AF_UNIX).connect(a)) for a in (sys.argv[1], '\\0' + sys.argv[2])]))"
        )

        assert told(backend, make, source, str(path), f"evogit-test-{os.getpid()}") == ["ENOENT", "ECONNREFUSED"]


def test_nobody_outside_can_be_killed_and_nobody_inside_outlives_its_supervisor(backend, make, witness, until):
    source = witness.hold + "\nos.fork(); os.setsid() if os.getpid() != os.getsid(0) else None\ntime.sleep(60)"
    handle = backend.start(make(source, witness.path))
    assert witness.hears() == b"here"
    with subprocess.Popen(["sleep", "60"]) as bystander:
        seen = told(backend, make, "print(json.dumps(attempt(lambda: os.kill(int(sys.argv[1]), 9))))", str(bystander.pid))
        bystander.kill()

    supervisor = int(os.readlink(Path(json.loads(handle)["folder"], "claim")).split()[0])
    os.kill(supervisor, signal.SIGKILL)

    assert seen == "ESRCH"
    until(witness.is_alone)  # before anybody asked for the outcome
    assert backend.collect(handle).status is Status.INFRASTRUCTURE


def test_a_fork_bomb_is_ended_and_named(backend, make, witness):
    source = witness.hold + "\nwhile True:\n try: os.fork()\n except OSError: time.sleep(0.1)"

    outcome = run(backend, make(source, witness.path, timeout_s=20))

    assert outcome.status is Status.CRASH
    assert "processes" in outcome.reason
    assert witness.is_alone()


def test_folders_of_memory_have_a_size(backend, make):
    source = "print(json.dumps([os.statvfs(p).f_blocks * os.statvfs(p).f_frsize >> 20 for p in ('/tmp', '/dev/shm')]))"

    tmp, shared = told(backend, make, source, memory_mib=64)

    assert 0 < tmp <= bubblewrap.TMP_BYTES >> 20
    assert shared == 64


def test_devices_of_gpus_are_there_only_for_who_asks_for_gpus(backend, make, monkeypatch, tmp_path):
    monkeypatch.setattr(bubblewrap, "GPU_DEVICES", ("ful*", "pts", "no-such-device"))  # a file and a folder that every machine has
    source = "print(json.dumps([os.path.exists('/sys/class'), attempt(lambda: open('/dev/full', 'w').close()), os.path.isdir('/dev/pts')]))"
    monkeypatch.setattr(devices, "found", lambda: [devices.Device("0")])
    monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))
    bubblewrap._system.cache_clear()

    arguments = " ".join(bubblewrap._system(False, True))
    with_gpus, without = told(backend, make, source, gpus=1), told(backend, make, source)

    assert "--dev-bind-try /dev/full /dev/full --dev-bind-try /dev/pts /dev/pts" in arguments and "no-such-device" not in arguments
    assert (with_gpus, without) == ([True, "None", True], [False, "None", True])
    assert "--dev-bind-try" not in bubblewrap._system(False, False)
    bubblewrap._system.cache_clear()


# which level


def test_a_level_is_what_ran_a_job_not_what_is_installed(tmp_path, monkeypatch, make):
    monkeypatch.setattr(sandbox, "_refusals", {})
    bubblewrap._namespaces.cache_clear()
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    backend = LocalBackend(tmp_path / "jobs")

    level = backend.level

    assert level != "bubblewrap"
    assert "No permissions to create new namespace" in sandbox.refusals()["bubblewrap"]
    with pytest.raises(UserError, match="No permissions to create new namespace"):
        backend.start(make("print(1)", require="bubblewrap"))
    assert not [folder for folder in backend.root.iterdir() if folder.is_dir()]
    assert run(backend, make("print(1)")).sandbox == level
    backend.close()
    bubblewrap._namespaces.cache_clear()


def test_what_does_not_exist_is_left_out_of_the_view(backend, make):
    job = make("print(1)")
    view = View(writable=(*job.view.writable, "/no/such/folder"), readable=(*job.view.readable, "relative", "/usr/../etc", "/nowhere\nx"))

    assert run(backend, msgspec.structs.replace(job, view=view)).status is Status.OK


def test_a_room_that_cannot_be_built_is_the_machines_fault_and_says_why(backend, make, monkeypatch):
    monkeypatch.setattr(bubblewrap, "texts", lambda network: {"/a\0b": "x"})  # as if the tree had lost a folder meanwhile

    outcome = run(backend, make("print(1)"))

    assert outcome.status is Status.INFRASTRUCTURE
    assert outcome.reason.startswith("the sandbox could not be set up: bwrap: ")


def test_a_weaker_level_can_be_asked_for_and_never_against_what_is_required(tmp_path, monkeypatch, make):
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")
    backend = LocalBackend(tmp_path / "jobs")

    outcome = run(backend, make("print(1)"))

    assert (backend.level, outcome.sandbox, backend.resources()["sandbox"]) == ("none", "none", "none")
    with pytest.raises(UserError, match='requires sandbox "landlock"') as caught:
        backend.start(make("print(1)", require="landlock"))
    assert "EVOGIT_SANDBOX" in caught.value.hint
    monkeypatch.setenv("EVOGIT_SANDBOX", "jail")
    with pytest.raises(UserError, match="no level"):
        backend.start(make("print(1)"))
    backend.close()


def test_without_the_program_the_reason_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sandbox, "_refusals", {})

    assert sandbox.best(lambda level: "refused") == "none"
    assert sandbox.refusals()["bubblewrap"] == "bubblewrap is not installed"
    message, hint = sandbox.warning()
    assert "without a sandbox" in message and "apt install bubblewrap" in hint
    with pytest.raises(UserError, match="bubblewrap is not installed"):
        sandbox.demand("bubblewrap", "none")
    sandbox.demand("", "none")
    assert SANDBOXES[0] == "none"


# what must go on working


def test_libraries_of_numbers_work_inside(backend, make):
    torch = pytest.importorskip("torch")
    source = """
import torch, torch.distributed as dist, torch.multiprocessing as mp
from torch.utils.data import DataLoader, TensorDataset
def worker(rank, path):
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    total = torch.ones(3) * rank
    dist.all_reduce(total)
    assert total.tolist() == [1.0] * 3
    dist.destroy_process_group()
if __name__ == "__main__":
    data = TensorDataset(torch.arange(64.0).reshape(64, 1))
    seen = sum(batch[0].sum().item() for batch in DataLoader(data, batch_size=8, num_workers=2))
    mp.spawn(worker, args=(__import__("os").path.abspath("rendezvous"),), nprocs=2)
    layer = torch.nn.Linear(1, 1); loss = layer(torch.ones(4, 1)).pow(2).mean(); loss.backward()
    print(seen, layer.weight.grad is not None)
"""
    site = str(Path(torch.__file__).parents[1])
    job = make(source, timeout_s=240)
    job = msgspec.structs.replace(
        job,
        view=View(writable=job.view.writable, readable=(*job.view.readable, site)),
        env={**job.env, "OMP_NUM_THREADS": "1", "HOME": job.cwd},
    )

    outcome = run(backend, job)

    assert outcome.status is Status.OK, output(outcome, "stderr")
    assert output(outcome) == "2016.0 True\n"


def test_the_record_of_a_job_names_its_level(backend, make):
    outcome = run(backend, make("pass"))

    assert json.loads(Path(outcome.folder, "outcome.json").read_text())["sandbox"] == "bubblewrap"
    assert json.loads(Path(outcome.folder, "job.json").read_text())["sandbox"] == "bubblewrap"
    assert processes.marked(f"EVOGIT_JOB={outcome.key}".encode()) == []


def test_a_job_that_asks_for_less_gets_less(backend, make):
    assert run(backend, make("pass", at_most="none")).sandbox == "none"
    assert run(backend, make("pass", at_most="bubblewrap")).sandbox == backend.level
