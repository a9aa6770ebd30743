"""Jobs that travel: what is packed is the same bytes again, what comes back lies where it would have lain, and nobody writes elsewhere."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit import removal, strangers
from evogit.backends import devices, homing, order, outpost, parcel
from evogit.backends.order import Ground, Order, order_of, rewritten
from evogit.domain.trial import Job, Outcome, Status, View
from evogit.errors import BackendDown
from evogit.folders import SKIPPED
from evogit.testing import output

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..", *SKIPPED) and len(name.encode()) < 200
)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.tuples(st.binary(max_size=200), st.booleans()), max_size=6)


def plant(top: Path, tree: dict[tuple[str, ...], tuple[bytes, bool]]) -> None:
    """Files of a tree, those that lie below another file left out."""
    top.mkdir()
    for parts, (data, is_program) in tree.items():
        path = top.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if is_program else 0o644)
        except OSError:
            continue


def contents(top: Path) -> dict[str, tuple[str, bytes, bool]]:
    """Everything below a folder: kind, bytes or target, whether it is a program."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path).encode(), False)
        elif path.is_dir():
            found[name] = ("folder", b"", False)
        else:
            found[name] = ("file", path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
    return found


def forged(*entries: tuple[str, bytes, str | bytes]) -> bytes:
    """A parcel as a stranger could write it: (name, kind of entry, bytes of a file or target of a link)."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, said in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if isinstance(said, bytes):
                entry.size = len(said)
                tar.addfile(entry, io.BytesIO(said))
            else:
                entry.linkname = said
                tar.addfile(entry)
    return zlib.compress(sink.getvalue())


class Carrier:
    """Ships jobs to "another machine", which is this one: other folders, and nothing known but the order and the parcels."""

    def __init__(self, folder: Path) -> None:
        self.parcels: dict[str, bytes] = {}
        self.folder, self.heard = folder, []

    def keep(self, hint: str, make) -> str:
        data = make()
        self.parcels[parcel.digest(data)] = data
        return parcel.digest(data)

    def carry(self, job: Job, **how) -> bytes:
        told = order_of(job, self.keep)
        travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Order)
        return outpost.carry_out(travelled, self.parcels.__getitem__, hear=lambda *piece: self.heard.append(piece), **how)

    def run(self, job: Job) -> Outcome:
        return homing.take_home(self.carry(job), job, self.folder / "jobs" / job.key, "far")


@pytest.fixture
def carrier(tmp_path):
    return Carrier(tmp_path)


# parcels


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_the_same_files_are_the_same_bytes_whoever_made_them_and_when(tmp_path_factory, tree):
    top = tmp_path_factory.mktemp("parcels")
    plant(top / "a", tree)
    plant(top / "b", dict(reversed(tree.items())) if len({p[0] for p in tree}) == len(tree) else tree)
    for path in (top / "b").rglob("*"):
        os.utime(path, (1, 1))

    first = parcel.pack(top / "a")

    assert parcel.pack(top / "b") == first
    parcel.unpack(first, top / "c")
    assert contents(top / "c") == contents(top / "a")
    assert parcel.pack(top / "c") == first


def test_caches_and_what_leads_out_stay_at_home(tmp_path):
    top = tmp_path / "top"
    plant(top, {("kept", "train.py"): (b"x", False), (".git", "HEAD"): (b"x", False), ("kept", "__pycache__", "a.pyc"): (b"x", False)})
    (top / "inside").symlink_to("kept/train.py")
    (top / "up").symlink_to("kept/../../elsewhere")
    (top / "absolute").symlink_to("/etc/passwd")
    (top / "outside").symlink_to("../elsewhere")
    os.mkfifo(top / "fifo")

    parcel.unpack(parcel.pack(top), tmp_path / "there")

    assert sorted(contents(tmp_path / "there")) == ["inside", "kept", "kept/train.py"]


@pytest.mark.parametrize(
    "entries",
    [
        [("../out", tarfile.REGTYPE, b"x")],
        [("a/../../out", tarfile.REGTYPE, b"x")],
        [("/{out}", tarfile.REGTYPE, b"x")],
        [("..", tarfile.DIRTYPE, "")],
        [("a", tarfile.DIRTYPE, ""), ("a/..", tarfile.REGTYPE, b"x")],
        [("link", tarfile.SYMTYPE, ".."), ("link/out", tarfile.REGTYPE, b"x")],
        [("link", tarfile.SYMTYPE, "/{out}")],
        [("a/b/c", tarfile.DIRTYPE, ""), ("r", tarfile.DIRTYPE, ""), ("e", tarfile.SYMTYPE, "a/b/l/../../../out"), ("a/b/l", tarfile.SYMTYPE, "../../r")],
        [("d", tarfile.SYMTYPE, "."), ("d/../../out", tarfile.REGTYPE, b"x")],
    ],
    ids=["up", "up-from-within", "absolute", "the-folder-above", "a-folder's-parent", "through-a-link", "absolute-link", "textual-link", "dots-after-a-link"],
)  # fmt: skip
def test_a_parcel_that_names_a_place_outside_is_refused_and_nothing_lies_there(tmp_path, entries):
    told = [(name.replace("{out}", str(tmp_path / "out")[1:]), kind, said) for name, kind, said in entries]
    told = [(name, kind, said.replace("{out}", str(tmp_path / "out")[1:]) if isinstance(said, str) else said) for name, kind, said in told]

    with pytest.raises(ValueError, match="outside"):
        parcel.unpack(forged(*told), tmp_path / "in")

    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert not [path for path in (tmp_path / "in").rglob("*") if path.is_symlink() and not path.resolve().is_relative_to(tmp_path / "in")]


def test_devices_fifos_and_hard_links_are_never_made(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")

    parcel.unpack(
        forged(("null", tarfile.CHRTYPE, ""), ("disk", tarfile.BLKTYPE, ""), ("pipe", tarfile.FIFOTYPE, ""), ("hard", tarfile.LNKTYPE, str(secret)), ("ok", tarfile.REGTYPE, b"x")),
        tmp_path / "in",
    )  # fmt: skip

    assert list(contents(tmp_path / "in")) == ["ok"]


def test_a_file_replaces_a_link_and_is_not_written_through_it(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "in" / "name").symlink_to("../secret")

    parcel.unpack(forged(("name", tarfile.REGTYPE, b"theirs")), tmp_path / "in")

    assert (tmp_path / "secret").read_text() == "mine"
    assert (tmp_path / "in" / "name").read_bytes() == b"theirs"


@pytest.mark.parametrize("data", [b"", b"nonsense", zlib.compress(b"no archive"), zlib.compress(b"x" * 2000)[:-9]])
def test_bytes_that_are_no_parcel_are_one_clear_refusal(tmp_path, data):
    with pytest.raises(ValueError, match="cannot be opened"):
        parcel.unpack(data, tmp_path / "in")


# orders


def test_paths_are_called_there_what_they_are_called_there(tmp_path):
    home = tmp_path / "home"
    job = Job(
        key="k", label="l", argv=("python", f"{home}/checkout/main.py", f"--out={home}/artifacts", "--lr=0.1", f"{home}/checkouts/other"),
        cwd=f"{home}/checkout/sub", source=f"{home}/checkout", artifact_dir=f"{home}/artifacts", timeout_s=1, data=f"{home}/data",
        env={"PYTHONPATH": f"{home}/checkout/src:{order.TRACING}", "VIRTUAL_ENV": f"{home}/no-such", "HOME": f"{home}/w/home", "X": "y"},
        view=View(
            writable=(f"{home}/w",), readable=("/usr/lib", f"{home}/data"), frozen=(f"{home}/checkout/eval.py",),
            masked=(f"{home}/checkout/secret.csv", "/somewhere/else"),
        ),
    )  # fmt: skip
    ground = Ground(source="/far/s", artifacts="/far/a", writable=("/far/w0",), data="/far/d", tracing="/far/t")

    there = rewritten(Order(job=job, source="", data="d"), ground, os.defpath)

    assert there.argv == ("python", "/far/s/main.py", "--out=/far/a", "--lr=0.1", f"{home}/checkouts/other")
    assert (there.cwd, there.source, there.artifact_dir, there.data) == ("/far/s/sub", "/far/s", "/far/a", "/far/d")
    assert (there.env["PYTHONPATH"], there.env["HOME"], there.env["X"]) == ("/far/s/src:/far/t", "/far/w0/home", "y")
    assert "VIRTUAL_ENV" not in there.env
    assert there.view.writable == ("/far/w0",)
    assert {"/usr/lib", "/far/d", sys.prefix} <= set(there.view.readable)
    assert (there.view.frozen, there.view.masked) == (("/far/s/eval.py",), ("/far/s/secret.csv",))


@pytest.mark.parametrize(
    ("own", "found"), [("/usr/bin:/bin", "/usr/bin:/bin"), ("/no/such/bin:/bin", "/bin:/sbin:/usr/bin"), ("", "/sbin:/usr/bin")]
)
def test_the_other_machine_s_path_is_added_where_some_of_the_job_s_own_is_not_there(make, own, found):
    job = make("", env={"PATH": own})

    there = rewritten(Order(job=job, source=""), Ground(source="/s", artifacts="/a", writable=("/w",), data=""), "/sbin:/usr/bin")

    assert there.env["PATH"] == found


def test_a_tree_is_packed_once_and_what_a_job_has_worked_in_each_time(make, carrier):
    asked: list[str] = []
    known: dict[str, str] = {}

    def keep(hint: str, pack) -> str:
        asked.append(hint)
        return known.setdefault(hint, carrier.keep(hint, pack)) if hint else carrier.keep(hint, pack)

    order_of(make("", tree="abc"), keep)
    order_of(make("", tree=""), keep)

    assert asked == ["tree-abc", ""]


def test_data_that_is_too_much_to_send_is_refused_before_it_is_read(make, carrier, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big").write_bytes(b"x" * 2000)
    monkeypatch.setattr(order, "DATA_CAP", 1000)

    with pytest.raises(ValueError, match="travel"):
        order_of(make("", data=str(tmp_path / "data")), carrier.keep)

    assert order_of(make("", data=str(tmp_path / "data")), carrier.keep, data_at="/there").data == ""


# there and back


def test_what_a_job_leaves_lies_where_it_would_have_lain_here(make, carrier):
    source = """
import os, sys
here = os.getcwd()
open("written.txt", "w").write("new"); open("kept.py", "a").write("# changed"); os.remove("gone.py")
os.makedirs("runs/deep"); open("runs/deep/metrics.json", "w").write("{}")
os.remove(os.path.join(sys.argv[1], "model.bin")); open(os.path.join(sys.argv[1], "score"), "w").write("1")
print("in", here); print("at", os.path.abspath(sys.argv[1]), file=sys.stderr)
"""
    job = make(source)
    job = msgspec.structs.replace(job, argv=(*job.argv, job.artifact_dir))
    checkout, artifacts = Path(job.source), Path(job.artifact_dir)
    (checkout / "gone.py").write_text("x")
    (checkout / "kept.py").write_text("x")
    artifacts.mkdir()
    (artifacts / "model.bin").write_bytes(b"\0")

    outcome = carrier.run(job)

    assert (outcome.status, outcome.backend, outcome.reason) == (Status.OK, "far", "")
    assert sorted(contents(checkout)) == ["kept.py", "main.py", "runs", "runs/deep", "runs/deep/metrics.json", "written.txt"]
    assert (checkout / "kept.py").read_text() == "x# changed"
    assert sorted(contents(artifacts)) == ["score"]
    assert output(outcome) == f"in {checkout}\n"
    assert output(outcome, "stderr") == f"at {artifacts}\n"
    assert {data for stream, data in carrier.heard if stream == "stdout"} == {f"in {checkout}\n".encode()}


def test_data_and_what_earlier_jobs_left_are_there(make, carrier, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "words").write_text("alpha")
    job = make("import os, sys; print(open(os.environ['D'] + '/words').read(), open(sys.argv[1] + '/model').read())")
    job = msgspec.structs.replace(job, argv=(*job.argv, job.artifact_dir), data=str(data), env={**job.env, "D": str(data)})
    Path(job.artifact_dir).mkdir()
    Path(job.artifact_dir, "model").write_text("weights")

    assert output(carrier.run(job)) == "alpha weights\n"


def test_frozen_and_masked_files_are_so_there_too(make, carrier):
    if outpost.level() != "bubblewrap":
        pytest.skip("no sandbox here that keeps them")
    source = """
for name in ("frozen.py", "hidden.csv"):
    try: print(name, open(name, "a" if "frozen" in name else "r").read() and "read")
    except OSError as error: print(name, "kept")
"""
    job = make(source)
    for name in ("frozen.py", "hidden.csv"):
        Path(job.source, name).write_text("x")
    view = msgspec.structs.replace(job.view, frozen=(f"{job.source}/frozen.py",), masked=(f"{job.source}/hidden.csv",))

    outcome = carrier.run(msgspec.structs.replace(job, view=view))

    assert output(outcome) == "frozen.py kept\nhidden.csv kept\n"


def test_records_of_imports_come_home_and_name_files_of_home(make, carrier, tmp_path):
    records = tmp_path / "records"
    records.mkdir()
    job = make("import helper; print(helper.__file__)")
    Path(job.source, "helper.py").write_text("x = 1")
    env = {**job.env, "PYTHONPATH": order.TRACING, "EVOGIT_IMPORTS_FILE": str(records / "imports.json"), "EVOGIT_IMPORTS_ROOTS": job.source}
    view = View(writable=(str(records),), readable=(*job.view.readable, order.TRACING))

    outcome = carrier.run(msgspec.structs.replace(job, env=env, view=view))

    assert output(outcome) == f"{job.source}/helper.py\n"
    kept = {path.name: path.read_text() for path in records.iterdir()}
    assert kept and all(name.startswith("imports.json") for name in kept)
    assert any(f"{job.source}/helper.py" in text for text in kept.values())


def test_what_is_beyond_the_cap_is_named_and_not_sent(make, carrier):
    source = "import sys; d = sys.argv[1]; open(d + '/small', 'w').write('s'); open(d + '/large', 'wb').write(bytes(5000)); open('huge', 'wb').write(bytes(9000))"
    job = make(source, artifact_cap=2000)

    outcome = carrier.run(msgspec.structs.replace(job, argv=(*job.argv, job.artifact_dir)))

    assert sorted(contents(Path(job.artifact_dir))) == ["small"]
    assert not Path(job.source, "huge").exists()
    told = msgspec.json.decode(Path(outcome.folder, "left_out.json").read_bytes())
    assert told == [{"path": "large", "bytes": 5000}, {"path": "source/huge", "bytes": 9000}]


def test_taking_home_may_be_killed_and_repeated(make, carrier, tmp_path):
    job = make("open('new', 'w').write('1'); import os; os.remove('old'); print('done')")
    Path(job.source, "old").write_text("x")
    result, folder = carrier.carry(job), tmp_path / "jobs" / job.key

    first = homing.take_home(result, job, folder, "far")
    (folder / "outcome.json").unlink()  # as if it had been killed just before the last step
    Path(job.source, "old").write_text("x")
    second = homing.take_home(result, job, folder, "far")

    assert first == second == homing.collected(folder)
    assert not Path(job.source, "old").exists()


def test_a_result_that_is_none_is_the_other_machine_s_fault(make, tmp_path):
    for n, result in enumerate(
        (b"", b"nonsense", forged(("stdout", tarfile.REGTYPE, b"x")), forged(("outcome.json", tarfile.REGTYPE, b"{}")))
    ):
        outcome = homing.take_home(result, make(""), tmp_path / f"job{n}", "far")

        assert outcome.status is Status.INFRASTRUCTURE, result
        assert "cannot be read" in outcome.reason


@pytest.mark.parametrize(
    "name", ["artifacts/../../out", "source/../out", "artifacts//{out}", "w0/../../out", "w7/out", "elsewhere", "../out"]
)
def test_a_result_writes_nowhere_but_in_the_job_s_own_folders(make, tmp_path, name):
    job = make("", view=View(writable=(str(tmp_path / "mine" / "w"),)), artifact_dir=str(tmp_path / "mine" / "a"))
    (tmp_path / "mine" / "w").mkdir(parents=True)
    ended = msgspec.json.encode(homing.lost(job.key, "", Status.OK))
    result = forged((name.replace("{out}", str(tmp_path / "out")), tarfile.REGTYPE, b"x"), ("outcome.json", tarfile.REGTYPE, ended))

    homing.take_home(result, job, tmp_path / "job", "far")

    assert not [path for path in tmp_path.rglob("*") if path.name in ("out", "elsewhere")]


def test_a_result_removes_nothing_outside(make, tmp_path):
    job = make("")
    (tmp_path / "precious").write_text("x")
    Path(job.source, "way").symlink_to(tmp_path)
    gone = msgspec.json.encode(
        {"source/": ["../../precious", "way/precious", str(tmp_path / "precious")], "w0/": ["precious"], "": ["precious"]}
    )
    ended = msgspec.json.encode(homing.lost(job.key, "", Status.OK))

    homing.take_home(forged(("gone.json", tarfile.REGTYPE, gone), ("outcome.json", tarfile.REGTYPE, ended)), job, tmp_path / "job", "far")

    assert (tmp_path / "precious").exists()


def test_a_place_that_cannot_be_written_is_told_in_one_line(make, carrier, tmp_path):
    job = make("print(1)")
    result = carrier.carry(job)
    (tmp_path / "jobs").write_text("a file where a folder should be")

    with pytest.raises(BackendDown, match="cannot be kept"):
        homing.take_home(result, job, tmp_path / "jobs" / job.key, "far")


# the other machine


def test_a_parcel_that_cannot_be_had_is_the_machine_s_fault_and_nothing_runs(make):
    told = order_of(make("print(1)"), lambda hint, pack: "0" * 32)

    def fetch(digest: str) -> bytes:
        raise FileNotFoundError(2, "no such parcel")

    result = outpost.carry_out(told, fetch)

    assert b"no such parcel" in zlib.decompress(result)


def test_a_cached_parcel_is_fetched_once_and_a_spoiled_one_again(tmp_path):
    fetched = []
    get = outpost.cached(tmp_path / "cache", lambda digest: fetched.append(digest) or b"bytes")
    name = parcel.digest(b"bytes")

    assert [get(name), get(name)] == [b"bytes", b"bytes"]
    (tmp_path / "cache" / name).write_bytes(b"spoiled")

    assert get(name) == b"bytes"
    assert fetched == [name, name]


def test_cancelling_ends_the_job_there(make, carrier):
    job = make("import time; print('begun', flush=True); time.sleep(60)")

    result = carrier.carry(job, is_cancelled=lambda: bool(carrier.heard))

    assert homing.take_home(result, job, carrier.folder / "job", "far").status is Status.CANCELLED


def test_a_job_gets_the_gpus_that_its_process_was_given(make, carrier, tmp_path, monkeypatch):
    for n in range(4):
        (tmp_path / f"nvidia{n}").touch()
    monkeypatch.setattr(devices, "DEV", str(tmp_path))
    monkeypatch.setattr(devices, "_from_driver", lambda: [devices.Device(str(n), "NVIDIA H100 80GB HBM3") for n in range(4)])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    outcome = carrier.run(make("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])", gpus=2))

    assert output(outcome) == "2,3\n"


OUTPOST = """
import sys, msgspec
from evogit.backends import outpost
from evogit.backends.order import Order
order, parcels = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=tuple[Order, dict[str, bytes]])
outpost.carry_out(order, parcels.__getitem__, hear=lambda *piece: print(piece, flush=True))
"""


@pytest.mark.parametrize("victim", ["the process", "its helper"])
def test_jobs_end_with_the_process_that_carries_them_out(make, carrier, witness, tmp_path, monkeypatch, until, victim):
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    job = make(
        witness.hold + "print('begun', flush=True); time.sleep(60)", witness.path, view=View()
    )  # the witness is no folder of the job's
    told = order_of(job, carrier.keep)
    far = subprocess.Popen([sys.executable, "-c", OUTPOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    far.stdin.write(msgspec.msgpack.encode((told, carrier.parcels)))
    far.stdin.close()
    far.stdout.readline()
    keeper = int(Path(f"/proc/{far.pid}/task/{far.pid}/children").read_text().split()[0])

    os.kill(far.pid if victim == "the process" else keeper, 9)

    assert witness.hears(30) == b"here"
    assert witness.hears(30) == b""
    far.kill()
    far.wait()
    far.stdout.close()
    assert list(tmp_path.glob(f"{outpost.ROOT}*"))

    def swept() -> bool:  # what the watcher of the job still wrote meanwhile is left to the next sweep
        outpost._sweep(tmp_path)
        return not list(tmp_path.glob(f"{outpost.ROOT}*"))

    until(swept)


def test_a_folder_whose_process_lives_is_not_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root = outpost._held_root()

    outpost._sweep(tmp_path)

    assert Path(root).exists()


def test_processes_that_begin_at_once_do_not_sweep_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def begin(_: int) -> str:
        outpost._sweep(tmp_path)
        return outpost._held_root()

    with ThreadPoolExecutor(4) as pool:
        roots = list(pool.map(begin, range(200)))

    assert sorted(root for root in roots if not Path(root, ".lock").exists()) == []


# what a stranger leaves there


def left(source: str, make, carrier, **more) -> tuple[Outcome, Job]:
    """A job that leaves what this source makes below `a`, its artifacts."""
    job = make(f"import os, sys; a = sys.argv[1]\n{source}", **more)
    job = msgspec.structs.replace(job, argv=(*job.argv, job.artifact_dir))
    return carrier.run(job), job


@pytest.mark.parametrize(("name", "levels"), [("d" * 250, 20), ("d", 1100)], ids=["longer than a path", "deeper than Python recurses"])
@pytest.mark.parametrize("top", ["a", "'.'"])
def test_folders_that_are_too_deep_stay_there_and_fail_no_job(make, carrier, name, levels, top):
    source = f"""
open(a + "/model", "w").write("weights")
d = os.open({top}, os.O_RDONLY)
for n in range({levels}):
    os.mkdir({name!r}, dir_fd=d)
    d, before = os.open({name!r}, os.O_RDONLY, dir_fd=d), d
    os.close(before)
"""

    outcome, job = left(source, make, carrier)

    assert (outcome.status, outcome.reason) == (Status.OK, "")
    assert Path(job.artifact_dir, "model").read_text() == "weights"
    for folder in (job.artifact_dir, job.source):
        removal.discard(Path(folder, name))


def test_names_of_any_bytes_come_home_and_go_as_others_do(make, carrier):
    odd = "os.fsencode(a) + b'/odd\\xff'"
    first, job = left(f"open({odd}, 'w').write('1'); os.mkdir(os.fsencode(a) + b'/\\xfe')", make, carrier)
    second = carrier.run(
        msgspec.structs.replace(
            job, key="second", argv=(sys.executable, "-c", f"import os, sys; a = sys.argv[1]; os.remove({odd})", job.artifact_dir)
        )
    )

    assert [first.status, second.status] == [Status.OK, Status.OK]
    assert os.listdir(os.fsencode(job.artifact_dir)) == [b"\xfe"]


def test_a_name_of_any_bytes_that_is_too_large_is_named_and_not_sent(make, carrier):
    outcome, _ = left("open(os.fsencode(a) + b'/\\xff', 'wb').write(bytes(5000))", make, carrier, artifact_cap=2000)

    assert outcome.status is Status.OK
    assert msgspec.json.decode(Path(outcome.folder, "left_out.json").read_bytes()) == [{"path": "?", "bytes": 5000}]


def test_a_file_where_a_folder_stands_at_home_is_a_crash_of_the_job_and_no_fault_of_the_machine(make, carrier):
    job = make("import os, sys; os.rmdir(sys.argv[1] + '/x'); open(sys.argv[1] + '/x', 'w').close()")
    Path(job.artifact_dir, "x").mkdir(parents=True)

    outcome = carrier.run(msgspec.structs.replace(job, argv=(*job.argv, job.artifact_dir)))

    assert outcome.status is Status.CRASH
    assert outcome.reason == "what it left cannot be brought home: artifacts/x: is a directory"


def test_what_cannot_be_packed_is_the_job_s_crash_with_what_it_printed(make, carrier, monkeypatch):
    monkeypatch.setattr(strangers, "MOST", 20)

    outcome, _ = left("[open(f'{a}/{n}', 'w').close() for n in range(30)]; print('said')", make, carrier)

    assert (outcome.status, outcome.reason) == (Status.CRASH, "what it left cannot be brought home: more than 20 files and folders")
    assert output(outcome) == "said\n"


def test_files_without_number_take_their_share_of_what_is_sent(make, carrier):
    outcome, job = left("[open(f'{a}/{n}', 'w').close() for n in range(100)]", make, carrier, artifact_cap=20 << 10)

    assert outcome.status is Status.OK
    assert len(os.listdir(job.artifact_dir)) == 20


def test_a_flood_of_records_is_not_brought_home(make, carrier, tmp_path, monkeypatch):
    monkeypatch.setattr(outpost, "RECORD_CAP", 5000)
    records = tmp_path / "records"
    records.mkdir()
    source = "import os; r = os.environ['EVOGIT_IMPORTS_FILE']; [open(f'{r}.{n}', 'wb').write(bytes(1000)) for n in range(10)]"
    job = make(source, view=View(writable=(str(records),)))

    carrier.run(msgspec.structs.replace(job, env={**job.env, "EVOGIT_IMPORTS_FILE": str(records / "imports.json")}))

    assert len(os.listdir(records)) == 5
