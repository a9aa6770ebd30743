"""A loop in another process, steered by messages: each one end to end, and what must not happen on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from evogit import control
from evogit.domain.trial import Status
from evogit.domain.verdict import Verdict
from evogit.errors import UnknownName, UserError
from faults.runner import DIARY, EVER_BETTER, Shot, until
from toys import evogit, git

WAIT_S = 60.0


@pytest.fixture
def shot(tmp_path, monkeypatch):
    """Trials that are witnessed by a diary outside: they run without a sandbox."""
    monkeypatch.setenv("EVOGIT_SANDBOX", "none")
    return named(Shot(tmp_path / "toy"))


def named(shot: Shot) -> Shot:
    """libgit2 found its settings before this test had a home: who sends from here is Ada too."""
    git(shot.repo, "config", "user.name", "Ada")
    git(shot.repo, "config", "user.email", "ada@example.org")
    return shot


@pytest.fixture
def held(shot):
    """A loop of three runs whose run 1 waits at the gate in its first trial."""
    loop = _spawn(shot, "--max-runs", "3", hold="1")
    yield loop
    if loop.poll() is None:
        loop.kill()
        loop.communicate()


def _spawn(shot: Shot, *args: str, hold: str, seed: int = 0, fail: str = ""):
    loop = shot.spawn(*args, "--json", hold=hold, fail=fail)
    until(lambda: (hold, seed) in shot.diary("begin"))
    return loop


def _end(loop) -> list[dict]:
    out, errors = loop.communicate(timeout=120)
    assert "Traceback" not in errors, errors
    return [json.loads(line) for line in out.splitlines()]


def _controlled(events: list[dict]) -> list[tuple[str, str, str, bool]]:
    return [(e["kind"], e["run"], e["result"], e["is_done"]) for e in events if e["event"] == "controlled"]


def _obeyed(shot: Shot, kind: str, **fields):
    lab = shot.lab()
    answer = lab.answer(lab.send(kind, **fields), WAIT_S)
    assert answer is not None, f"{kind} was not obeyed"
    return answer


def test_a_paused_loop_decides_what_runs_and_begins_nothing_until_it_is_resumed(shot, held):
    answer = _obeyed(shot, "pause", reason="lunch")
    gate = shot.open_gate()
    until(lambda: len(shot.lab().campaign.history.runs) == 2)
    status = shot.lab().status()
    evogit(shot.repo, "ideas", "add", "raise MOMENTUM to 0.9", "--tag", "t1")
    evogit(shot.repo, "judge", "1", "discard" if shot.lab().run("1").is_kept else "keep", "--because", "I say so", "--tag", "t1")
    git(shot.repo, "branch", "home")
    evogit(shot.repo, "pick", "1", "--onto", "home", "--tag", "t1")
    in_flight, begun = shot.in_flight(), shot.diary("begin")
    _obeyed(shot, "resume")
    events = _end(held)
    os.close(gate)

    assert answer.result == "nothing further is begun; run 1 in the air goes on until decided"
    assert (answer.by, answer.reason) == ("Ada", "lunch")
    assert status.is_paused and status.loop_pid == held.pid
    assert in_flight == {} and {run for run, _ in begun} == {"0", "1"}
    told = [e["event"] for e in events]
    next_plan = told.index("plan", told.index("controlled"))
    assert [e["kind"] for e in events[:next_plan] if e["event"] == "controlled"] == ["pause", "resume"]
    assert "judged" in told[:next_plan], "what people judged meanwhile comes before the next plan"
    assert shot.lab().run("2").idea, "what was put into the queue meanwhile comes next"
    assert git(shot.repo, "log", "--format=%s", "main..home").strip() == shot.lab().run("1").summary
    assert not shot.lab().status().is_paused
    shot.check()


def test_stop_is_one_ctrl_c_and_the_next_loop_is_not_paused(shot, held):
    command = [sys.executable, "-m", "evogit.cli", "status", "--watch", "--interval", "0.1", "--json", "--tag", "t1"]
    watch = subprocess.Popen(command, cwd=shot.repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(watch.stdout.readline())["loop_pid"] == held.pid
    _obeyed(shot, "pause")
    assert json.loads(watch.stdout.readline())["is_paused"]
    _obeyed(shot, "stop")
    gate = shot.open_gate()
    events = _end(held)
    seen, errors = watch.communicate(timeout=60)

    assert held.returncode == 0
    assert (watch.returncode, errors) == (0, "")
    assert json.loads(seen.splitlines()[-1])["loop_pid"] == 0, "whoever watches sees the end, and ends with it"
    assert [kind for kind, *_ in _controlled(events)] == ["pause", "stop"]
    assert events[-1]["event"] == "stopped" and events[-1]["reason"] == "stopped by a person"
    shot.loop("--max-runs", "1")
    os.close(gate)
    assert len(shot.lab().campaign.history.runs) >= 2
    shot.check()


def test_stop_asked_twice_cancels_the_trial_which_is_another_attempt_later(shot, held):
    evogit(shot.repo, "stop", "--tag", "t1")
    said = json.loads(evogit(shot.repo, "stop", "--tag", "t1", "--json").stdout)
    _end(held)

    assert said["result"] == "running trials are cancelled" and said["is_done"]
    assert shot.in_flight() == {"1": "running"}
    shot.loop("--max-runs", "1")
    assert shot.lab().run("1").trials[0].attempt == 2
    shot.check(ran_again=1)


def test_a_cancelled_run_without_a_number_is_a_reject_that_is_not_tried_again(shot, held):
    said = evogit(shot.repo, "cancel", "1", "--because", "it diverges", "--tag", "t1").stdout
    events = _end(held)

    run = shot.lab().run("1")
    assert said == "cancel of run 1 asked by Ada (it diverges): its trial is cancelled, what was read of it is kept\n"
    assert (run.verdict, run.reason) == (Verdict.REJECT, "cancelled by Ada: it diverges")
    [review] = shot.lab().show("1").reviews
    assert review.observation == "A person ended it before it had a number: cancelled by Ada: it diverges."
    assert review.recommended_next_mutations == (), "nobody asks for it again"
    assert run.trials == () and shot.diary("begin").count(("1", 0)) == 1
    assert json.loads(shot.lab().artifact("1", "trials/s0/outcome.json"))["status"] == Status.CANCELLED.value
    assert [e["run"] for e in events if e["event"] == "verdict"] == ["0", "1", *(r.label for r in shot.lab().campaign.history.runs[2:])]
    assert len(shot.lab().campaign.history.runs) == 4, "it counts as one of the three"
    assert shot.in_flight() == {}


def test_what_a_cancelled_run_had_measured_stays_and_keeps_nothing(tmp_path, shot):
    at_the_gate = '["EVOGIT_RUN"]:\n    open'
    assert at_the_gate in DIARY
    diary = DIARY.replace(at_the_gate, '["EVOGIT_RUN"] and os.environ["EVOGIT_SEED"] == "1":\n    open')
    shot = named(Shot(tmp_path / "other", train=EVER_BETTER, diary=diary))
    loop = _spawn(shot, "--max-runs", "1", hold="1", seed=1)
    _obeyed(shot, "cancel", run="1", reason="one is enough")
    _end(loop)

    run = shot.lab().run("1")
    assert (run.verdict, run.reason, run.near_miss) == (Verdict.DISCARD, "cancelled by Ada: one is enough", False)
    assert [t.seed for t in run.trials] == [0]
    assert run.beats(shot.lab().run("0"), shot.lab().metric), "its one reading is better, and keeps nothing"
    assert shot.lab().run("incumbent").label == "0"


def test_a_loop_that_is_killed_as_it_cancels_leaves_a_run_that_the_next_one_ends(shot):
    loop = _spawn(shot, "--max-runs", "3", hold="1", fail="called-off:1")
    shot.lab().send("cancel", run="1", reason="it diverges")
    loop.communicate(timeout=60)
    assert loop.returncode == -signal.SIGKILL and shot.in_flight() == {"1": "running"}

    shot.loop("--max-runs", "1")

    run = shot.lab().run("1")
    assert (run.verdict, run.reason) == (Verdict.REJECT, "cancelled by Ada: it diverges")
    assert shot.diary("begin").count(("1", 0)) == 1 and ("1", 0) not in shot.diary("end")
    assert shot.in_flight() == {}


def test_a_pause_ends_with_its_loop_and_the_next_one_says_so(shot, held):
    _obeyed(shot, "pause")
    held.kill()
    held.communicate()
    gate = shot.open_gate()

    events = [json.loads(line) for line in shot.loop("--max-runs", "1", "--json").stdout.splitlines()]

    os.close(gate)
    said = [e["message"] for e in events if e["event"] == "warning"]
    assert "the loop before was killed while Ada had paused it; this one is not paused" in said


def test_more_readings_are_taken_between_runs_and_no_budget_counts_them(shot, held):
    shot.lab().send("remeasure", run="0", seeds=2, reason="is it noise?")
    waiting = shot.lab().controls()
    gate = shot.open_gate()
    events = _end(held)
    os.close(gate)

    assert [(c.kind, c.run, c.seeds) for c in waiting] == [("remeasure", "0", 2)]
    assert shot.lab().controls() == []
    taken = shot.lab().campaign.history.replicates[shot.lab().run("0").commit]
    assert [line.seed for line in taken] == [2, 3]
    assert len(shot.lab().campaign.history.runs) == 4
    plan = next(e for e in events if e["event"] == "plan" and e["of"] == "0")
    assert (plan["emitter"], plan["instruction"]) == ("remeasure", "Ada asked for it: is it noise?")
    shot.check()


def test_what_a_dead_loop_was_told_is_dropped_and_said_but_readings_are_taken(shot, held):
    lab = shot.lab()
    os.kill(held.pid, signal.SIGSTOP)
    asked = [lab.send("pause"), lab.send("cancel", run="1", reason="too slow"), lab.send("remeasure", run="0", seeds=1)]
    held.kill()
    held.communicate()
    with pytest.raises(UserError, match="no loop of campaign t1 runs here"):
        lab.send("stop")
    kept = lab.controls()
    gate = shot.open_gate()
    events = [json.loads(line) for line in shot.loop("--max-runs", "1", "--json").stdout.splitlines()]
    os.close(gate)

    assert [c.id for c in kept] == [asked[2].id]
    dropped = "dropped: it was for a loop that has ended"
    assert _controlled(events)[:2] == [("pause", "", dropped, False), ("cancel", "1", dropped, False)]
    assert _controlled(events)[2][:2] == ("remeasure", "0") and _controlled(events)[2][3]
    assert [line.seed for line in shot.lab().campaign.history.replicates[lab.run("0").commit]] == [2]
    assert shot.lab().controls() == []
    shot.check()


def test_a_reading_that_a_killed_loop_had_begun_is_not_taken_twice(shot):
    shot.loop("--max-runs", "1")
    lab = shot.lab()
    sent = lab.send("remeasure", run="0", seeds=1)
    [message] = (control.place(lab.repo, "t1") / "inbox").iterdir()
    data = message.read_bytes()
    shot.killed_at("intended:1", "--max-runs", "1")
    assert not message.exists()
    message.write_bytes(data)  # as if it had been killed a moment earlier, with the flight written and the message still there

    events = [json.loads(line) for line in shot.loop("--max-runs", "1", "--json").stdout.splitlines()]

    assert len(lab.campaign.history.replicates) == 0 and lab.refresh()
    assert [line.seed for line in lab.campaign.history.replicates[lab.run("0").commit]] == [2]
    assert "which the loop before had begun" in _controlled(events)[0][2]
    assert lab.is_obeyed(sent)
    shot.check()


def test_files_that_are_no_message_are_set_aside_and_said_once(shot, held):
    folder = control.place(shot.lab().repo, "t1") / "inbox"
    (folder / "00000000000000000001-torn.json").write_text('{"id": "0f", "kind": "pau')
    (folder / "00000000000000000002-strange.json").write_text(json.dumps({"id": "a", "time": "", "by": "x", "kind": "explode"}))
    (folder / "00000000000000000003-link.json").symlink_to("/dev/zero")
    (folder / "00000000000000000004-folder.json").mkdir()
    os.mkfifo(folder / "00000000000000000005-pipe.json")
    _obeyed(shot, "stop")
    gate = shot.open_gate()
    events = _end(held)
    os.close(gate)

    warned = [e["message"] for e in events if e["event"] == "warning" and "inbox" in e["message"]]
    assert len(warned) == 5
    assert sorted(p.name for p in folder.iterdir() if p.name.endswith(".json")) == []


def test_two_who_send_at_once_are_both_obeyed(shot, held):
    labs, sent = [shot.lab(), shot.lab()], []
    barrier = threading.Barrier(2)

    def send(lab, kind: str, **fields) -> None:
        barrier.wait()
        sent.append(lab.send(kind, **fields))

    threads = [
        threading.Thread(target=send, args=(labs[0], "remeasure"), kwargs={"run": "0", "seeds": 1}),
        threading.Thread(target=send, args=(labs[1], "cancel"), kwargs={"run": "1", "reason": "both of us"}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [labs[0].answer(said, WAIT_S) for said in sent]
    _end(held)

    assert {(a.kind, a.is_done) for a in answers} == {("remeasure", True), ("cancel", True)}


def test_what_makes_no_sense_is_refused_when_it_is_sent(shot, held):
    lab = shot.lab()

    for kind, fields, error, words in [
        ("explode", {}, UserError, "nothing that a loop obeys"),
        ("resume", {}, UserError, "is not paused"),
        ("cancel", {"run": "1"}, UserError, "needs a reason"),
        ("cancel", {"run": "7", "reason": "x"}, UnknownName, "no run '7' is in flight"),
        ("cancel", {"run": "0", "reason": "x"}, UserError, "run 0 is decided already: keep"),
        ("remeasure", {"run": "7", "seeds": 1}, UnknownName, "no run '7'"),
        ("remeasure", {"run": "0", "seeds": 0}, UserError, "0 more readings"),
    ]:
        with pytest.raises(error, match=words) as refusal:
            lab.send(kind, **fields)
        assert refusal.value.hint
    assert lab.controls() == []


def test_a_command_that_does_one_thing_stops_and_is_not_paused(shot):
    loop = _spawn(shot, "--max-runs", "1", hold="1")
    _obeyed(shot, "stop")
    gate = shot.open_gate()
    _end(loop)
    os.close(gate)
    refused = evogit(shot.repo, "pause", "--tag", "t1", check=False)

    assert refused.returncode == 2 and "no loop of campaign t1 runs here" in refused.stderr
    done = evogit(shot.repo, "measure", "0", "--seeds", "1", "--tag", "t1").stdout
    assert "run 0 measured again" in done
    assert [line.seed for line in shot.lab().campaign.history.replicates[shot.lab().run("0").commit]] == [2]
