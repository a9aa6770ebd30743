"""Hands that take long work beside the loop: trials begin and end meanwhile, and nothing that was paid is lost when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from evogit.backends.local import LocalBackend
from evogit.domain import event as ev
from evogit.domain.options import LoopOptions
from evogit.errors import BackendDown, ServiceDown
from evogit.git import flights
from evogit.lab import Lab
from toys import evogit, git
from workers import LOWER_LR, REVIEW, worker

# The first caller answers at once; every later one when somebody writes to its own FIFO, which it makes and names in a file.
GATED = """
n = 1
while True:
    try:
        os.close(os.open(os.environ["PWD_OF_TEST"] + "/call-%d" % n, os.O_CREAT | os.O_EXCL))
        break
    except FileExistsError:
        n += 1
if n >= FIRST:
    gate = os.environ["PWD_OF_TEST"] + "/gate-%d" % n
    os.mkfifo(gate + ".new")
    os.rename(gate + ".new", gate)
    open(gate).read()
"""


def gated(folder, first: int, body: str = LOWER_LR, name: str = "gated.py") -> str:
    another = body.replace("lr * 0.9", "lr * (0.9 - 0.01 * n)")  # no two callers give the same
    return worker(folder, GATED.replace("FIRST", str(first)) + another, name=name)


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.setenv("PWD_OF_TEST", str(folder))
    yield folder
    (folder / "over").touch()


def options(command: str, **more) -> LoopOptions:
    asked = {"agent": "command", "agent_options": {"command": command, "env": "PWD_OF_TEST"}, "emitters": ("local_tuner",)}
    return LoopOptions(**{**asked, **more})


def open_gate(place, n: int) -> None:
    """Let the n-th caller answer, now or once it asks."""

    def when_there():
        pause = threading.Event()
        while not (place / f"gate-{n}").exists():
            if (place / "over").exists():
                return  # nobody came
            pause.wait(0.01)
        with open(place / f"gate-{n}", "w"):
            pass

    threading.Thread(target=when_there, daemon=True).start()


def test_a_run_is_measured_and_decided_while_the_agent_works_on_the_next(repo, place):
    told = []

    for event in Lab.open(repo, tag="t1").loop(options(gated(place, 2), workers=2, max_runs=2)):
        told.append(event)
        if isinstance(event, ev.Decided) and not (place / "opened").exists():
            (place / "opened").touch()
            open_gate(place, 2)  # nobody opened it before: one run came to its end without the other's candidate

    steps = [(type(event).__name__, event.run) for event in told if isinstance(event, (ev.Planned, ev.Decided))]
    assert [name for name, _ in steps[:3]] == ["Planned", "Planned", "Decided"]
    assert {"1", "2"} <= {run for name, run in steps if name == "Decided"}


def test_with_one_worker_the_next_candidate_knows_what_became_of_the_one_before(repo, place):
    told = list(Lab.open(repo, tag="t1").loop(options(worker(place, LOWER_LR), max_runs=2)))

    steps = [(type(event).__name__, event.run) for event in told if isinstance(event, (ev.Planned, ev.Decided))]
    assert steps == [("Planned", "1"), ("Decided", "1"), ("Planned", "2"), ("Decided", "2")]


def test_with_a_prefetch_no_more_trials_run_than_there_are_workers(repo, place):
    running, most = set(), 0

    for event in Lab.open(repo, tag="t1").loop(options(worker(place, LOWER_LR), workers=2, prefetch=3, max_runs=6)):
        if isinstance(event, ev.TrialStarted):
            running.add(event.run)
        elif isinstance(event, ev.TrialEnded):
            running.discard(event.run)
        most = max(most, len(running))

    assert most <= 2
    assert len(Lab.open(repo, tag="t1").runs()) >= 7


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_candidate_that_is_ready_has_the_slot_before_the_run_that_left_it_is_decided(repo, monkeypatch, is_quick):
    """Where a backend starts beside the loop, a start is told later than it is made: then each run is decided once, and that is all."""
    monkeypatch.setattr("evogit.backends.local.LocalBackend.is_quick", is_quick)
    asked = LoopOptions(max_runs=8, workers=2, prefetch=1, emitters=("local_tuner", "simplifier"))
    events = list(Lab.open(repo, tag="t1").loop(asked))

    ready, left_for, late = set(), {}, []
    for event in events:
        if isinstance(event, ev.Proposed):
            ready.add(event.run)
        elif isinstance(event, ev.Rejected | ev.TrialStarted):
            ready.discard(event.run)
            left_for = {run: [other for other in others if other != event.run] for run, others in left_for.items()}
        elif isinstance(event, ev.TrialEnded):
            left_for[event.run] = list(ready)[:1]
        elif isinstance(event, ev.Decided) and left_for.pop(event.run, None):
            late.append(event.run)
    decided = [event.run for event in events if isinstance(event, ev.Decided)]
    assert len(decided) == len(set(decided)) >= 8
    assert not (is_quick and late)


def test_what_was_collected_lands_though_the_backend_fails_with_the_next_one(repo, monkeypatch):
    wait, collect, batch, failed = LocalBackend.wait, LocalBackend.collect, [], []

    def wait_for_all(self, handles, timeout_s):
        ended = wait(self, handles, timeout_s)
        if len(handles) < 2:  # `collect` asks for its own
            return ended
        batch[:] = ended if len(ended) == len(handles) else []
        return list(batch)

    def fail_with_the_second(self, handle):
        if batch[1:] == [handle] and not failed:
            failed.append(handle)
            raise BackendDown("it does not answer")
        return collect(self, handle)

    monkeypatch.setattr(LocalBackend, "wait", wait_for_all)
    monkeypatch.setattr(LocalBackend, "collect", fail_with_the_second)
    told, asked = [], LoopOptions(max_runs=4, workers=2, prefetch=0, emitters=("local_tuner", "simplifier"))
    with pytest.raises(BackendDown):
        told.extend(Lab.open(repo, tag="t1").loop(asked))

    ended = [event.run for event in told if isinstance(event, ev.TrialEnded)]
    decided = [event.run for event in told if isinstance(event, ev.Decided)]
    assert failed
    assert ended[-1] == decided[-1]
    list(Lab.open(repo, tag="t1").loop(asked))
    labels = [run.label for run in Lab.open(repo, tag="t1").runs()]
    assert len(labels) == len(set(labels)) >= 5


def test_a_slow_reviewer_holds_up_no_trial(repo, place):
    told = []
    slow = gated(place, 1, REVIEW, name="reviewer.py")
    asked = LoopOptions(
        reviewer="command", reviewer_options={"command": slow, "env": "PWD_OF_TEST"}, workers=2, max_runs=2, emitters=("local_tuner",)
    )

    for event in Lab.open(repo, tag="t1").loop(asked):
        told.append(event)
        if isinstance(event, ev.TrialEnded) and event.run == "2":
            open_gate(place, 1)
            open_gate(place, 2)

    assert sorted(event.run for event in told if isinstance(event, ev.Decided)) == ["1", "2"]


def test_the_slots_of_runs_that_wait_for_their_reviews_are_others(repo, place):
    slow, begun, opened = gated(place, 1, REVIEW, name="reviewer.py"), set(), False
    asked = LoopOptions(
        reviewer="command", reviewer_options={"command": slow, "env": "PWD_OF_TEST"}, workers=2, max_runs=4, emitters=("local_tuner",)
    )

    for event in Lab.open(repo, tag="t1").loop(asked):
        if isinstance(event, ev.TrialStarted):
            begun.add(event.run)
        if len(begun & {"1", "2", "3", "4"}) >= 3 and not opened:  # the third began while nobody had reviewed the first two
            opened = True
            for n in range(1, 9):
                open_gate(place, n)

    assert opened
    assert {"1", "2", "3", "4"} <= {run.label for run in Lab.open(repo, tag="t1").runs()}


def test_a_service_that_goes_down_ends_the_loop_once_others_hands_have_finished_and_what_they_made_is_kept(repo, place, monkeypatch):
    plugin = place / "two_minds-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: two-minds\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[evogit.agents]\ntwo = two_minds:Agent\n")
    (place / "two_minds.py").write_text(
        "import threading\n"
        "from evogit.domain.proposal import Proposal\n"
        "from evogit.domain.usage import Call\n"
        "from evogit.errors import ServiceDown\n"
        "count, working = iter(range(1, 99)), threading.Event()\n"
        "class Agent:\n"
        "    name, edits_in_place = 'two', False\n"
        "    def propose(self, briefing, workspace):\n"
        "        if next(count) == 1:\n"
        "            working.wait(60)\n"
        "            text = briefing.sources['train.py'].replace('LR = 0.1', 'LR = 0.07')\n"
        "            call = Call(who='agent', hand='two', model='m', usd=0.25, answer='1.json')\n"
        "            return Proposal(summary='paid for', files={'train.py': text}, calls=(call,), answers={'1.json': '{}'})\n"
        "        working.set()\n"
        "        raise ServiceDown('the model is out of reach')\n"
    )
    monkeypatch.syspath_prepend(str(place))
    lab = Lab.open(repo, tag="t1")

    with pytest.raises(ServiceDown, match="out of reach"):
        list(lab.loop(LoopOptions(agent="two", workers=2, max_runs=4, emitters=("local_tuner",))))

    book = Lab.open(repo, tag="t1")
    kept = [stored.flight for stored in flights.listing(book.repo, "t1")]
    assert ("paid for", 0.25) in [(f.candidate.summary, f.candidate.calls[0].usd) for f in kept if f.candidate is not None]
    after = list(book.loop(LoopOptions(max_runs=2, emitters=("local_tuner",))))
    assert "paid for" in [run.summary for run in Lab.open(repo, tag="t1").runs()]
    assert isinstance(after[-1], ev.Stopped)


def test_a_first_ctrl_c_lets_hands_finish_and_keeps_what_they_made(repo, place):
    lab = Lab.open(repo, tag="t1")

    for event in lab.loop(options(gated(place, 1), workers=2, prefetch=0, max_runs=9), lab.stopper):
        if isinstance(event, ev.Planned) and event.run == "2":
            lab.stopper.request()
            open_gate(place, 1)
            open_gate(place, 2)

    kept = [stored.flight for stored in flights.listing(lab.repo, "t1")]
    assert isinstance(event, ev.Stopped)
    assert sorted(f.label for f in kept if f.candidate is not None) == ["1", "2"]


@pytest.mark.slow
def test_a_loop_killed_while_two_hands_work_leaves_two_plans_that_the_next_one_carries_out(repo, place):
    command = [
        sys.executable, "-m", "evogit.cli", "loop", "--tag", "t1", "--workers", "2", "--prefetch", "0", "--max-runs", "2", "--emitter",
        "local_tuner", "--agent", "command", "--agent-command", gated(place, 1), "--agent-option", "env=PWD_OF_TEST",
    ]  # fmt: skip
    loop = subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pause = threading.Event()
    while not ((place / "gate-1").exists() and (place / "gate-2").exists()):
        assert loop.poll() is None, loop.stderr.read().decode()
        pause.wait(0.02)
    os.kill(loop.pid, 9)
    loop.communicate()

    evogit(
        repo, "loop", "--tag", "t1", "--workers", "2", "--max-runs", "2", "--agent", "command", "--agent-command", worker(place, LOWER_LR)
    )

    labels = [run.label for run in Lab.open(repo, tag="t1").runs()]
    assert labels[:3] == ["0", "1", "2"] or sorted(labels)[:3] == ["0", "1", "2"]
    assert len(labels) == len(set(labels))
    assert "error" not in git(repo, "fsck", "--no-dangling")
