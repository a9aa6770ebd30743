"""Trials on a Ray cluster: two real nodes on loopback, the contract, and what befalls clusters and loops."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from evogit.backends import ray_driver, ray_seed, ray_terms
from evogit.backends.ray import RayBackend
from evogit.domain.trial import Status, View
from evogit.errors import BackendDown, UserError
from evogit.testing import BackendContract, Nodes, output, run
from loopback_ray import MISSING, Node, RayCluster, free_port, in_session
from toys import TOML, TRAIN, evogit, make_toy

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.skipif(bool(MISSING), reason=MISSING)]

# Two GPUs where there are none: their files, and what a driver would say of them.
FAKE_GPUS = """
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "evogit.backends.devices":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            module.DEV = {folder!r}
            module._from_driver = lambda: [module.Device(str(n), "NVIDIA H100 80GB HBM3") for n in range(2)]
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""
SAY = "import sys, time\nprint('begun', flush=True)\n"
LOOP = """
import sys, msgspec
from pathlib import Path
from evogit.backends.ray import RayBackend
from evogit.domain.trial import Job
backend = RayBackend(Path(sys.argv[1]), address=sys.argv[2], namespace=sys.argv[3])
print(backend.start(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)), flush=True)
backend.wait([], None)
__import__("signal").pause()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head with two CPUs, and a node with two CPUs and two GPUs that are none."""
    folder = tmp_path_factory.mktemp("gpus")
    for n in range(2):
        (folder / f"nvidia{n}").touch()
    (folder / "sitecustomize.py").write_text(FAKE_GPUS.replace("{folder!r}", repr(str(folder))))
    cluster = RayCluster()
    try:
        cluster.env["PYTHONPATH"] = str(folder)
        cluster.add("--num-gpus=2", '--resources={"accelerator_type:H100": 1, "spot": 4}')
        yield cluster.wait()
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def backend(cluster, tmp_path_factory):
    """One loop's connection, for all that need no other: a new one has cold workers, for seconds."""
    backend = RayBackend(tmp_path_factory.mktemp("ray") / "jobs", address=cluster.address)
    backend.resources()
    yield backend
    backend.close()


@pytest.fixture
def another(cluster, tmp_path, request):
    """`another()`: a loop with a clerk of its own."""
    made = []

    def another(**options) -> RayBackend:
        made.append(RayBackend(tmp_path / "jobs", **{"address": cluster.address, "namespace": request.node.name, **options}))
        return made[-1]

    yield another
    for backend in made:
        backend.close()


def begun(backend: RayBackend, handle: str) -> None:
    """Until the job has said something."""
    assert next(iter(backend.follow(handle)))[1].startswith(b"begun")


def start_loop(cluster, namespace, tmp_path, job) -> tuple[subprocess.Popen, str]:
    """A process that starts `job` and stays; the job's handle."""
    command = [sys.executable, "-c", LOOP, str(tmp_path / "jobs"), cluster.address, namespace]
    loop = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    loop.stdin.write(msgspec.json.encode(job))
    loop.stdin.close()
    handle = loop.stdout.readline().decode().strip()
    loop.stdout.close()
    return loop, handle


def lose_clerks(cluster) -> None:
    """Those of loops that are over as well: a process does not tell whose it is."""
    for pid in cluster.processes("ray::Clerk"):
        os.kill(pid, signal.SIGKILL)


def running(key: str) -> list[int]:
    """Processes of a job, those of its room left out."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if f"EVOGIT_JOB={key}".encode() in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                found += [int(name)] if b".py" in Path("/proc", name, "cmdline").read_bytes() else []
    return found


def test_no_cluster_is_ever_started_for_a_person(tmp_path, monkeypatch):
    if [name for name in filter(str.isdigit, os.listdir("/proc")) if _is_gcs(name)]:
        pytest.skip("a Ray cluster runs on this machine, and would be found")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    with pytest.raises(BackendDown, match="Ray") as down:
        RayBackend(tmp_path / "jobs").resources()

    assert "ray start --head" in down.value.hint


def _is_gcs(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return b"gcs_server" in Path("/proc", pid, "cmdline").read_bytes()
    return False


def worker_of(key: str, *nodes: Node) -> int:
    """The process of these nodes that a job's processes descend from, whatever sessions lie between; 0 if there is none."""
    ours = {pid for node in nodes for pid in in_session(node.process.pid)}
    for pid in running(key):
        while pid > 1 and pid not in ours:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if pid in ours:
            return pid
    return 0


class TestRayBackend(BackendContract):
    at = "from pathlib import Path; from evogit.backends.ray import RayBackend; backend = RayBackend(Path('{{root}}') / 'jobs', address='{address}')"
    overlap_s = 2.0  # a worker may have to start

    @pytest.fixture(autouse=True)
    def _at_the_cluster(self, cluster):
        self.recipe = self.at.format(address=cluster.address)

    @pytest.fixture
    def nodes(self, cluster, another):
        """The node with GPUs, which stays, and one more: each has spots for one trial."""
        extra = cluster.add('--resources={"spot": 4}')
        cluster.wait()

        def lose() -> None:
            extra.kill()
            cluster.nodes.remove(extra)

        yield Nodes(another(resources={"spot": 4}, cpus=0), 2, lose)
        if extra in cluster.nodes:
            lose()


# what a trial is given


def test_the_cluster_is_told_with_its_gpus_and_the_sandbox_of_its_nodes(backend):
    told = backend.resources()

    assert (told["nodes"], told["cpus"], told["slots"], told["gpus"], told["kinds"]) == (2, 4, 4, 2, ["H100"])
    assert told["sandbox"] in ("bubblewrap", "landlock", "none")


def test_trials_get_the_gpus_that_ray_gave_them_and_no_two_the_same(backend, make):
    source = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(60)"
    handles = [backend.start(make(source, gpus=1, gpu_kind="h100")) for _ in "ab"]

    told = [next(iter(backend.follow(handle))) for handle in handles]  # both run

    for handle in handles:
        backend.cancel(handle)
    assert sorted(told) == [("stdout", b"0\n"), ("stdout", b"1\n")]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"gpus": 1, "gpu_kind": "B200"}, "a trial asks for 1 x B200, and the Ray cluster has H100"),
        ({"gpus": 3}, "a trial asks for 1 CPU, 3 x GPU, and no node of the Ray cluster has that together"),
        ({"cpus": 300}, "a trial asks for 300 CPUs, and no node of the Ray cluster has that together"),
    ],
)
def test_what_no_node_has_is_refused_before_it_would_wait_for_ever(backend, make, asked, said):
    with pytest.raises(UserError, match=said) as refused:
        backend.start(make("", **asked))

    assert "[budget]" in refused.value.hint


def test_a_source_tree_is_sent_once_and_again_only_where_the_clerk_has_lost_it(backend, make, cluster, monkeypatch):
    job = make("print('from the tree')", tree="abc")
    sent: list[int] = []
    ask = backend._line.ask
    monkeypatch.setattr(
        backend._line, "ask", lambda verb, *told, **how: (verb == "start" and sent.append(len(told[3])), ask(verb, *told, **how))[1]
    )

    for n in range(2):
        assert output(run(backend, msgspec.structs.replace(job, key=f"{job.key}{n}"))) == "from the tree\n"
    lose_clerks(cluster)
    assert output(run(backend, msgspec.structs.replace(job, key=f"{job.key}2"))) == "from the tree\n"

    assert sent == [1, 0, 0, 1]


# output, ends


def test_output_is_told_while_the_job_runs(backend, make):
    handle = backend.start(make(SAY + "time.sleep(60)"))
    pieces = backend.follow(handle)

    assert next(pieces) == ("stdout", b"begun\n")

    backend.cancel(handle)
    assert list(pieces) == []
    assert backend.collect(handle).status is Status.CANCELLED


def test_a_job_that_was_cancelled_leaves_no_process_on_its_node(backend, make):
    job = make(
        SAY + "import subprocess; subprocess.Popen([sys.executable, 'main.py'] if len(sys.argv) < 2 else ['sleep', '60']); time.sleep(60)"
    )
    handle = backend.start(job)
    begun(backend, handle)

    backend.cancel(handle)

    assert backend.wait([handle], 30) == [handle]
    assert running(job.key) == []


def test_a_job_that_waits_for_its_turn_can_be_cancelled_and_a_person_hears_that_it_waits(backend, make, monkeypatch, until):
    monkeypatch.setattr("evogit.backends.patience.TOLD_S", 0.0)
    monkeypatch.setattr("evogit.backends.ray.LOOK_S", 0.2)
    backend._next_look = 0.0
    long = [backend.start(make(SAY + "time.sleep(60)", cpus=2)) for _ in "ab"]
    for handle in long:
        begun(backend, handle)
    waiting = backend.start(make("print('never')", cpus=2))
    told: list[tuple[str, str]] = []
    until(lambda: told.extend(backend.news() if backend.wait([waiting, *long], 0.2) == [] else []) or told, 30)

    backend.cancel(waiting)

    outcome = backend.collect(waiting)
    assert (outcome.status, outcome.reason) == (Status.CANCELLED, "cancelled before it began")
    assert told == [("a trial has waited 0 min in the queue of the Ray cluster", told[0][1])]
    assert "`ray status`" in told[0][1]
    monkeypatch.setattr("evogit.backends.patience.AGAIN_S", 0.0)
    assert backend.news() == []
    for handle in long:
        backend.cancel(handle)
        assert backend.collect(handle).status is Status.CANCELLED


# loops that come and go


def test_two_starters_of_one_key_run_it_once(another, make):
    job = make("import uuid; print(uuid.uuid4())")
    backends = [another(), another()]
    together = threading.Barrier(2)

    def start(backend):
        backend._line.ask("knows", job.key)
        together.wait()
        return backend.start(job)

    with ThreadPoolExecutor(2) as pool:
        handles = list(pool.map(start, backends))

    assert len(set(handles)) == 1
    assert len({output(backend.collect(handle)) for backend, handle in zip(backends, handles)}) == 1
    backends[0].forget(handles[0])


def test_a_later_loop_has_the_jobs_of_one_that_was_killed_and_warm_workers_for_its_own(cluster, make, tmp_path, another, request, until):
    # Those of the tests before may still be leaving.
    others = {title: set(cluster.processes(title)) for title in ("ray::Clerk", "ray::Foreman")}
    job = make(SAY + "time.sleep(4); print('survived')")
    loop, handle = start_loop(cluster, request.node.name, tmp_path, job)
    loop.kill()
    loop.wait()
    backend = another()

    found, quick, workers = backend.find(job.key), [], set()
    for _ in range(5):
        mine = make(SAY + "time.sleep(60)")
        quick.append(backend.start(mine))
        begun(backend, quick[-1])
        workers.add(worker_of(mine.key, *cluster.nodes))
        backend.cancel(quick[-1])
        backend.wait([quick[-1]], None)

    assert found == handle
    assert 0 < len(workers) < 5  # Ray starts a new one for each task of a loop that is gone
    assert output(backend.collect(handle)) == "begun\nsurvived\n"
    mine = {title: set(cluster.processes(title)) - before for title, before in others.items()}
    assert len(mine["ray::Clerk"]) == 1
    backend.close()
    assert mine["ray::Foreman"] & set(cluster.processes("ray::Foreman"))  # there are results that nobody has said are safe
    for one in (*quick, handle):
        backend.forget(one)
    backend.close()
    until(lambda: not any(ours & set(cluster.processes(title)) for title, ours in mine.items()), 60)


def test_workers_stand_by_for_the_trials_that_a_loop_expects_and_go_when_it_has_them(cluster, make, another, until):
    backend = another(cpus=0.25)  # room for sixteen: more than come soon
    backend.expect(12)
    first = backend.start(make(SAY + "time.sleep(60)"))

    until(lambda: cluster.processes("ray::evogit stands by"), 60)
    begun(backend, first)
    second = backend.start(make(SAY + "time.sleep(60)"))
    begun(backend, second)

    until(lambda: not cluster.processes("ray::evogit stands by"), 60)
    for handle in (first, second):
        backend.cancel(handle)
        backend.forget(handle)


def test_workers_run_the_evogit_that_was_sent_to_their_node(backend, make, cluster):
    run(backend, make("print('hello')"))

    sent = f"/evogit-{ray_seed.seed_of({})[0]}".encode()
    keepers = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = Path("/proc", name, "cmdline").read_bytes()
            keepers += [command] if b"evogit.backends.keeper" in command and str(cluster.folder).encode() in command else []
    assert keepers
    assert all(sent in command for command in keepers)


def test_a_driver_that_hangs_is_given_up_and_another_one_asked(another):
    backend = another()
    backend._line.ask("knows", "x")
    driver = backend._line._peer._process
    os.kill(driver.pid, signal.SIGSTOP)

    with pytest.raises(BackendDown, match="not answered for 1 s") as down:
        backend._line.ask("knows", "x", within_s=1)

    assert down.value.hint
    assert driver.poll() is not None
    assert backend._line.ask("knows", "x") is False


# clusters that fail


def test_a_clerk_that_is_lost_makes_jobs_infrastructure_and_ends_them(backend, make, cluster, until):
    job = make(SAY + "time.sleep(60)")
    handle = backend.start(job)
    begun(backend, handle)

    lose_clerks(cluster)

    assert backend.wait([handle], 60) == [handle]
    outcome = backend.collect(handle)
    assert (outcome.status, backend.find(job.key)) == (Status.INFRASTRUCTURE, handle)
    assert "knows nothing of it" in outcome.reason
    until(lambda: not running(job.key), 30)
    assert output(run(backend, make("print('goes on')"))) == "goes on\n"


@pytest.mark.slow
def test_trials_on_a_node_that_is_lost_run_elsewhere_and_end_once(cluster, make, tmp_path, another):
    """Two nodes have spots for trials; one is lost while all four run."""
    extra = cluster.add('--resources={"spot": 4}')
    cluster.wait()
    backend = another(resources={"spot": 1}, cpus=0)
    diary = tmp_path / "diary"
    diary.mkdir()
    os.mkfifo(diary / "fifo")
    (diary / "fifo").chmod(0o666)
    told = os.open(diary / "fifo", os.O_RDWR | os.O_NONBLOCK)
    source = (
        SAY
        + "say = open(sys.argv[1], 'w')\nfor word in ('begins', 'ends'):\n print(sys.argv[2], word, file=say, flush=True)\n time.sleep(4 if word == 'begins' else 0)"
    )
    jobs = [make(source, str(diary / "fifo"), str(n), view=View(readable=(str(diary), sys.prefix, sys.base_prefix))) for n in range(4)]
    handles = [backend.start(job) for job in jobs]
    for handle in handles:
        begun(backend, handle)
    lost = [job for job in jobs if worker_of(job.key, extra)]
    assert set(cluster.processes("ray::Clerk")) <= set(in_session(cluster.nodes[0].process.pid))  # the head's, which is not lost

    extra.kill()

    outcomes = [backend.collect(handle) for handle in handles]
    lines = os.read(told, 1 << 16).decode().splitlines()
    os.close(told)
    cluster.nodes.remove(extra)
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [(Status.OK, "")] * 4
    assert lost
    assert sorted(line for line in lines if "ends" in line) == [f"{n} ends" for n in range(4)]
    assert len(lines) == 8 + len(lost)
    assert [running(job.key) for job in jobs] == [[]] * 4
    for handle in handles:
        backend.forget(handle)


@pytest.mark.slow
def test_a_machine_outside_of_the_cluster_reaches_it_through_ray_s_client(cluster, make, another):
    backend = another(address=f"ray://127.0.0.2:{cluster.client_port}")
    job = make("import os, sys; open(sys.argv[1] + '/big', 'wb').write(os.urandom(3 << 20)); print('done')")

    outcome = run(backend, msgspec.structs.replace(job, argv=(*job.argv, job.artifact_dir)))

    assert (output(outcome), Path(job.artifact_dir, "big").stat().st_size) == ("done\n", 3 << 20)
    assert backend.resources()["nodes"] == 2
    backend.forget(json.dumps({"key": job.key, "folder": outcome.folder}))


# what a person can mend


@pytest.mark.parametrize("address", ["127.0.0.2:{}", "ray://127.0.0.2:{}", "auto"])
def test_a_cluster_that_is_not_there_is_said_within_seconds(tmp_path, make, address, monkeypatch):
    port = free_port("127.0.0.2")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.2:{port}")
    backend = RayBackend(tmp_path / "jobs", address=address.format(port))
    began = time.monotonic()

    with pytest.raises(BackendDown, match="nobody answers at .*: Connection refused") as down:
        backend.start(make(""))

    assert time.monotonic() - began < 20
    assert "ray start --head" in down.value.hint


def test_a_missing_extra_is_one_line(tmp_path, make, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ray'] = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(UserError, match="not installed") as missing:
        RayBackend(tmp_path / "jobs").resources()

    assert "pip install" in missing.value.hint


def test_other_versions_over_there_are_one_line():
    from ray._private.utils import check_version_info

    with pytest.raises(RuntimeError) as said:
        check_version_info({"ray_version": "2.9.0", "python_version": "3.8.1"}, "this process")

    failure = ray_driver.failure_of(said.value)

    assert failure.kind == "user"
    assert "\n" not in failure.message and "2.9.0" in failure.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"adress": "auto"}, "'adress' is no option"),
        ({"retries": "three"}, "retries: expected a whole number, got text"),
        ({"slots": 0}, "slots: expected a whole number >= 1"),
        ({"slots": "many"}, "slots"),
        ({"address": 6379}, "address: expected text"),
        ({"retries": -1}, "retries"),
        ({"placement": "PACK"}, "'PACK' is none"),
        ({"resources": {"spot": -1}}, "resources"),
    ],
)
def test_an_option_that_is_none_is_named(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        RayBackend(tmp_path, **options)


# terms


def test_a_kind_is_called_as_ray_calls_it(make):
    nodes = [{"GPU": 8.0, "accelerator_type:A100-80G": 1.0, "accelerator_type:A100": 1.0}, {"GPU": 1.0, "accelerator_type:T4": 1.0}]
    asked = {kind: ray_terms.terms_of(make("", gpus=1, gpu_kind=kind), ray_terms.Options()) for kind in ("a100", "80g", "t4", "H100", "")}

    settled = {kind: ray_terms.settled(terms, nodes).gpu_kind for kind, terms in asked.items()}

    assert settled == {"a100": "A100", "80g": "A100-80G", "t4": "T4", "H100": "H100", "": ""}


def test_numbers_of_a_command_line_are_numbers():
    options = ray_terms.options_of({"cpus": "0.5", "autoscaling": "true", "slots": "3"})

    assert (options.cpus, options.autoscaling, options.slots) == (0.5, True, 3)


def test_options_say_what_a_trial_takes(make):
    job = make("", cpus=4, memory_mib=1024)

    terms = ray_terms.terms_of(job, ray_terms.options_of({"cpus": 0, "resources": {"spot": 1}, "autoscaling": True}))

    assert terms.needs() == {"memory": float(1 << 30), "spot": 1.0}
    assert ray_terms.refusal(terms, []) == ("", "")
    assert ray_terms.refusal(msgspec.structs.replace(terms, autoscaling=False), [])[0].endswith("the Ray cluster has no node")


# whole campaigns


def problem(cluster: RayCluster, where: Path, **parts: str) -> Path:
    """A toy whose trials run on the cluster; its campaign `t1` has begun."""
    top = make_toy(where, toml=f'{TOML}\n[backend.ray]\naddress = "{cluster.address}"\n', **parts)
    evogit(top, "start", "t1")
    return top


def shipped(cache: Path) -> list[str]:
    """Keys of the jobs of campaign `t1` that are not home yet, or not forgotten."""
    with contextlib.suppress(FileNotFoundError):
        return [path.parent.name for path in cache.glob("evogit/*/campaigns/t1/jobs/ray/*/shipped.json")]
    return []


@pytest.mark.slow
def test_a_campaign_runs_on_ray_and_counts_nothing_twice_though_its_loop_is_killed(cluster, tmp_path, until):
    top = problem(cluster, tmp_path / "toy", train=TRAIN.replace("import random\n", "import random\nimport time\n\ntime.sleep(2)\n"))
    command = ["loop", "--tag", "t1", "--backend", "ray", "--workers", "2", "--seed", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "evogit.cli", *command], cwd=top, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as loop:
        until(lambda: any(map(running, shipped(Path(os.environ["XDG_CACHE_HOME"])))), 60)
        loop.kill()

    said = evogit(top, *command, "--max-runs", "2")

    runs = [json.loads(line) for line in evogit(top, "log", "--tag", "t1", "--json").stdout.splitlines()]
    shown = json.loads(evogit(top, "show", "0", "--tag", "t1", "--json").stdout)
    assert "its trials go on" in said.stdout + said.stderr
    assert [(t["seed"], t["attempt"], t["status"], t["backend"]) for t in shown["trials"]] == [(0, 1, "ok", "ray"), (1, 1, "ok", "ray")]
    assert len(runs) == 3 and all(run["metrics"]["val_loss"]["n"] for run in runs)
    assert shipped(Path(os.environ["XDG_CACHE_HOME"])) == []


# The last one: it leaves no cluster as it was.


@pytest.mark.slow
def test_a_cluster_that_dies_is_one_line_and_loops_go_on_when_it_is_back(cluster, make, tmp_path):
    backend = RayBackend(tmp_path / "jobs", address=cluster.address)
    handle = backend.start(make(SAY + "time.sleep(60)"))
    begun(backend, handle)

    cluster.end()
    with pytest.raises(BackendDown) as down:
        backend.wait([handle], None)
    with pytest.raises(BackendDown):
        backend.start(make("print('too early')"))

    assert down.value.hint
    cluster.restart()
    assert backend.wait([handle], 60) == [handle]
    assert backend.collect(handle).status is Status.INFRASTRUCTURE
    assert output(run(backend, make("print('goes on')"))) == "goes on\n"
    backend.close()
