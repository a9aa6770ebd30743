"""Contract suites: every built-in hand passes them, and authors of plugins subclass them. Needs pytest.

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def backend(self, tmp_path):
            ...

They test what the seam promises and nothing of how it is kept. A promise that a place cannot keep is switched off by a class
attribute, which is thus on record.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from evogit.domain.plan import Plan
from evogit.domain.review import Review, ReviewBrief
from evogit.domain.trial import Crash, Job, Outcome, Status, View
from evogit.seams import Backend, Emitter, Reviewer
from evogit.search.memory import Memory

MakeJob = Callable[..., Job]


def run(backend: Backend, job: Job) -> Outcome:
    """Start a job, wait for it, collect it."""
    handle = backend.start(job)
    backend.wait([handle], None)
    return backend.collect(handle)


def output(outcome: Outcome, name: str = "stdout") -> str:
    """What the job said."""
    return Path(outcome.folder, name).read_text(encoding="utf-8")


def job_maker(folder: Path, python: str = sys.executable) -> MakeJob:
    """`make(source, *arguments, **fields of Job)`: a job that runs Python source in a folder of its own below `folder`.

    It may see and change all of `folder`, whoever a sandbox makes it run as, and read the interpreter.
    """
    count = iter(range(10_000))
    (folder / "artifacts").mkdir(exist_ok=True)
    (folder / "artifacts").chmod(0o777)
    view = View(writable=(str(folder),), readable=tuple(dict.fromkeys((sys.prefix, sys.base_prefix))))

    def make(source: str, *arguments: str, **fields) -> Job:
        key = f"{random.Random(str(folder)).getrandbits(64):016x}{next(count):08x}"
        checkout = folder / "checkout" / key
        checkout.mkdir(parents=True)
        checkout.chmod(0o777)
        (checkout / "main.py").write_text(source, encoding="utf-8")
        told = {
            "key": key, "label": f"job {key}", "argv": (python, "main.py", *arguments), "cwd": str(checkout),
            "source": str(checkout), "env": {"PATH": os.defpath, "PYTHONUTF8": "1"}, "timeout_s": 60.0,
            "artifact_dir": str(folder / "artifacts" / key), "view": view,
        }  # fmt: skip
        return Job(**{**told, **fields})

    return make


class Nodes(NamedTuple):
    """Machines of which a test may take one away."""

    backend: Backend  # its jobs run on these alone
    jobs: int  # with so many at once, one runs on the node that is lost
    lose: Callable[[], None]  # takes that node away at once, with all that runs there


class BackendContract:
    """Subclass, and give a `backend` fixture, and `nodes` where some can be lost. Jobs are programs for the interpreter `python`."""

    python = sys.executable
    recipe = ""  # Python source that makes an equal `backend` in another process; {root} is filled in. "" skips re-attaching
    keeps_memory_limit = True
    overlap_s = 0.6  # how long two parallel jobs sleep, so that one surely starts before the other ends

    @pytest.fixture
    def make(self, tmp_path) -> MakeJob:
        """A maker of jobs."""
        return job_maker(tmp_path, self.python)

    @pytest.fixture
    def nodes(self) -> Nodes:
        """Nodes that can be lost."""
        pytest.skip("this backend has no nodes that a test could take away")

    # how a job ends

    def test_exit_code_zero_is_ok(self, backend, make):
        outcome = run(backend, job := make("print('done')"))

        assert (outcome.status, outcome.exit_code, outcome.reason) == (Status.OK, 0, "")
        assert outcome.key == job.key
        assert outcome.backend == backend.name
        assert outcome.seconds > 0
        assert outcome.started.endswith("Z")

    @pytest.mark.parametrize("code", [1, 3, 255])
    def test_another_exit_code_is_a_crash_that_names_it(self, backend, make, code):
        outcome = run(backend, make(f"raise SystemExit({code})"))

        assert (outcome.status, outcome.exit_code) == (Status.CRASH, code)
        assert str(code) in outcome.reason

    @pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGTERM"])
    def test_death_by_a_signal_is_a_crash_that_names_it(self, backend, make, name):
        outcome = run(backend, make(f"import os, signal; os.kill(os.getpid(), signal.{name})"))

        assert (outcome.status, outcome.exit_code) == (Status.CRASH, None)
        assert name in outcome.reason

    def test_a_command_that_does_not_exist_is_a_crash_that_names_it(self, backend, make):
        outcome = run(backend, make("", argv=("no-such-command-anywhere", "--flag")))

        assert outcome.status is Status.CRASH
        assert "no-such-command-anywhere" in outcome.reason

    def test_a_job_that_runs_past_its_time_is_a_timeout(self, backend, make):
        outcome = run(backend, make("import time; print('begun', flush=True); time.sleep(60)", timeout_s=0.8))

        assert (outcome.status, outcome.exit_code) == (Status.TIMEOUT, None)
        assert 0.7 < outcome.seconds < 20
        assert "0.8 s" in outcome.reason
        assert output(outcome) == "begun\n"

    def test_a_job_above_its_memory_is_told_from_a_crash(self, backend, make):
        if not self.keeps_memory_limit:
            pytest.skip("this backend keeps no memory limit")
        outcome = run(backend, make("import time; hog = bytearray(400 << 20); time.sleep(60)", memory_mib=150, timeout_s=30))

        assert outcome.status is Status.MEMORY
        assert outcome.reason

    def test_cancel_ends_a_running_job(self, backend, make):
        handle = backend.start(make("import time; time.sleep(60)"))

        backend.cancel(handle)
        backend.cancel(handle)

        assert backend.wait([handle], 30) == [handle]
        assert backend.collect(handle).status is Status.CANCELLED

    def test_cancel_changes_nothing_about_a_job_that_has_ended(self, backend, make):
        handle = backend.start(make("print('done')"))
        backend.wait([handle], None)

        backend.cancel(handle)

        assert backend.collect(handle).status is Status.OK

    # what a job gets, and what it leaves

    def test_the_environment_is_the_given_one_and_nothing_is_inherited(self, backend, make, monkeypatch):
        monkeypatch.setenv("EVOGIT_TEST_SECRET", "must not leak")
        given = {"PATH": os.defpath, "PYTHONUTF8": "1", "EMPTY": "", "WITH SPACE": "a=b\nc", "GREEK": "αβγ"}

        outcome = run(backend, make("import os, json; print(json.dumps(dict(os.environ)))", env=given))

        seen = msgspec.json.decode(output(outcome), type=dict[str, str])
        assert {name: seen.get(name) for name in given} == given
        assert "EVOGIT_TEST_SECRET" not in seen

    def test_arguments_pass_through_no_shell(self, backend, make):
        arguments = ("two words", "$HOME", "*", "", "ünï\u2028code", "a'b\"c\\", "--")

        outcome = run(backend, make("import sys, json; print(json.dumps(sys.argv[1:]))", *arguments))

        assert tuple(msgspec.json.decode(output(outcome))) == arguments

    def test_a_job_starts_in_its_folder_with_nothing_to_read(self, backend, make):
        job = make("import os, sys; print(os.path.exists('main.py'), repr(sys.stdin.read()))")

        assert output(run(backend, job)) == "True ''\n"

    def test_stdout_and_stderr_are_kept_apart_to_the_byte(self, backend, make):
        outcome = run(backend, make("import os; os.write(1, bytes(range(256))); os.write(2, 'ärger\\n'.encode())"))

        assert Path(outcome.folder, "stdout").read_bytes() == bytes(range(256))
        assert output(outcome, "stderr") == "ärger\n"

    def test_output_above_its_cap_keeps_the_beginning_and_the_end(self, backend, make):
        outcome = run(backend, make("for i in range(200_000): print('line', i)", output_cap=20_000))

        lines = output(outcome).splitlines()
        assert Path(outcome.folder, "stdout").stat().st_size < 21_000
        assert (lines[0], lines[-1]) == ("line 0", "line 199999")

    def test_artifacts_come_back_text_binary_large_or_none(self, backend, make, tmp_path):
        folder = str(tmp_path / "artifacts" / "shared")
        source = """
import os, sys
folder = sys.argv[1]
open(f"{folder}/metrics.json", "w").write('{"loss": 1}')
os.makedirs(f"{folder}/grüße/deep")
open(f"{folder}/grüße/deep/noise.bin", "wb").write(bytes(range(256)) * 40_000)
open(f"{folder}/empty", "w").close()
"""

        full, empty = run(backend, make(source, folder, artifact_dir=folder)), run(backend, make("pass"))

        artifacts = Path(full.folder, "artifacts")
        assert (artifacts / "metrics.json").read_text() == '{"loss": 1}'
        assert (artifacts / "grüße/deep/noise.bin").read_bytes() == bytes(range(256)) * 40_000
        assert (artifacts / "empty").read_bytes() == b""
        assert list(Path(empty.folder, "artifacts").iterdir()) == []

    def test_what_a_job_wrote_into_its_folder_and_removed_from_it_is_seen_there(self, backend, make):
        source = (
            "import os; open('metrics.json', 'w').write('{}'); os.unlink('main.py'); os.makedirs('runs/a'); open('runs/a/x', 'w').close()"
        )

        job = make(source)
        run(backend, job)

        left = sorted(path.relative_to(job.source).as_posix() for path in Path(job.source).rglob("*") if path.is_file())
        assert left == ["metrics.json", "runs/a/x"]

    def test_output_is_followed_while_the_job_runs(self, backend, make):
        source = """
import os, sys, time
print("begun", flush=True)
print("aside", file=sys.stderr, flush=True)
time.sleep(60)
"""
        handle = backend.start(make(source))

        heard: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        for stream, data in backend.follow(handle):
            heard[stream] += data
            if heard == {"stdout": b"begun\n", "stderr": b"aside\n"}:
                backend.cancel(handle)
        assert heard == {"stdout": b"begun\n", "stderr": b"aside\n"}
        assert backend.collect(handle).status is Status.CANCELLED

    def test_output_of_a_job_that_has_ended_is_followed_to_its_end(self, backend, make):
        handle = backend.start(make("import os; os.write(1, bytes(range(256)) * 1000)"))
        backend.wait([handle], None)

        assert b"".join(data for _, data in backend.follow(handle)) == bytes(range(256)) * 1000

    # handles

    def test_the_same_key_never_runs_twice(self, backend, make):
        job = make("import uuid; print(uuid.uuid4())")

        first, second = backend.start(job), backend.start(job)
        backend.wait([first], None)
        third = backend.start(job)
        backend.wait([second, third], None)

        assert len({output(backend.collect(handle)) for handle in (first, second, third)}) == 1
        assert backend.collect(first) == backend.collect(first)

    def test_a_job_is_found_by_its_key_from_its_start_until_it_is_forgotten(self, backend, make):
        job = make("print('found')")
        before = backend.find(job.key)

        handle = backend.start(job)

        assert before == ""
        assert backend.find(job.key) == handle or not backend.finds_again
        backend.wait([handle], None)
        backend.forget(handle)
        assert backend.find(job.key) == ""

    def test_jobs_run_side_by_side(self, backend, make):
        source = f"import time; print(time.time()); time.sleep({self.overlap_s}); print(time.time())"

        handles = [backend.start(make(source)) for _ in range(2)]
        for handle in handles:
            backend.wait([handle], None)

        (a, b), (c, d) = ([float(t) for t in output(backend.collect(h)).split()] for h in handles)
        assert max(a, c) < min(b, d)

    def test_wait_gives_up_when_the_time_is_over_and_names_only_what_ended(self, backend, make):
        short, long = backend.start(make("pass")), backend.start(make("import time; time.sleep(60)"))

        assert backend.wait([], None) == []
        assert backend.wait([short, long], None) == [short]
        assert backend.wait([long], 0.05) == []
        assert backend.wait([long], 0) == []
        backend.cancel(long)
        assert backend.wait([long], None) == [long]

    def test_a_job_outlives_the_process_that_started_it(self, backend, make, tmp_path):
        if not self.recipe:
            pytest.skip("no recipe for another process")
        job = make("import time; time.sleep(0.5); print('survived')")
        program = f"""
import sys, msgspec
from evogit.domain.trial import Job
{self.recipe.format(root=str(tmp_path))}
print(backend.start(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)), flush=True)
backend.wait([], None)
input_that_never_comes = __import__("signal").pause()
"""
        loop = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        loop.stdin.write(msgspec.json.encode(job))
        loop.stdin.close()
        handle = loop.stdout.readline().decode().strip()
        os.kill(loop.pid, signal.SIGKILL)
        loop.wait()
        loop.stdout.close()

        assert backend.wait([handle], 30) == [handle]
        assert output(backend.collect(handle)) == "survived\n"

    @pytest.mark.slow
    def test_jobs_of_a_node_that_is_lost_run_whole_elsewhere_or_are_infrastructure(self, nodes, make):
        source = "import time; print('begun', flush=True); time.sleep(3); print('done')"
        handles = [nodes.backend.start(make(source)) for _ in range(nodes.jobs)]
        for handle in handles:
            assert b"begun" in next(iter(nodes.backend.follow(handle)))[1]

        nodes.lose()

        outcomes = [nodes.backend.collect(handle) for handle in handles]
        assert {outcome.status for outcome in outcomes} <= {Status.OK, Status.INFRASTRUCTURE}
        assert {output(outcome) for outcome in outcomes if outcome.status is Status.OK} == {"begun\ndone\n"}
        assert output(run(nodes.backend, make("print('goes on')"))) == "goes on\n"

    def test_forget_removes_all_and_may_be_repeated(self, backend, make):
        handle = backend.start(make("print('done')"))
        backend.wait([handle], None)
        folder = Path(backend.collect(handle).folder)

        backend.forget(handle)
        backend.forget(handle)

        assert not folder.exists()
        assert backend.wait([handle], 5) == [handle]
        assert backend.collect(handle).status is Status.INFRASTRUCTURE
        backend.cancel(handle)

    def test_resources_say_what_is_here(self, backend):
        resources = backend.resources()

        assert isinstance(backend, Backend)
        assert resources["slots"] >= 1
        assert {"cpus", "gpus", "sandbox"} <= set(resources)


class EmitterContract:
    """Subclass, and give an `emitter` and a `memories` fixture (a dict of names and memories, the empty campaign among them)."""

    def test_it_offers_a_plan_or_nothing_for_every_memory(self, emitter: Emitter, memories: dict[str, Memory]):
        plans = {name: emitter.ask(memory, random.Random(0)) for name, memory in memories.items()}

        for name, plan in plans.items():
            if plan is not None:
                assert isinstance(plan, Plan), name
                assert plan.emitter == emitter.name, name
                assert set(plan.parents) <= set(memories[name].by_commit), name
                assert plan.seeds, name
                assert 0 < plan.propensity <= 1, name

    def test_the_same_memory_and_generator_give_the_same_plan(self, emitter: Emitter, memories: dict[str, Memory]):
        for name, memory in memories.items():
            assert emitter.ask(memory, random.Random(7)) == emitter.ask(memory, random.Random(7)), name


class ReviewerContract:
    """Subclass, and give a `reviewer` and a `brief` fixture (a measured run with its parent)."""

    @pytest.fixture(params=["measured", "no parent", "crashed", "rejected", "no diff"])
    def any_brief(self, request, brief: ReviewBrief) -> ReviewBrief:
        """The brief as it is, and as it is on bad days."""
        crash = Crash(kind="ValueError", message="loss is NaN", where="train.py:3")
        change = {
            "measured": {}, "no parent": {"parent": {}}, "crashed": {"child": {}, "crash": crash},
            "rejected": {"child": {}, "rejected": "frozen file evaluate.py was changed"}, "no diff": {"diff": ""},
        }[request.param]  # fmt: skip
        return msgspec.structs.replace(brief, **change)

    def test_a_review_is_complete_whatever_became_of_the_run(self, reviewer: Reviewer, any_brief: ReviewBrief):
        review = reviewer.review(any_brief)

        assert isinstance(review, Review)
        assert review.reviewer
        assert 0 <= review.confidence <= 1
        assert review.observation.strip() and review.next_belief.strip()
        assert all(0 <= idea.priority <= 1 and idea.description for idea in review.recommended_next_mutations)

    def test_a_run_without_numbers_is_no_improvement(self, reviewer: Reviewer, any_brief: ReviewBrief):
        if not any_brief.child:
            assert not reviewer.review(any_brief).is_improvement
