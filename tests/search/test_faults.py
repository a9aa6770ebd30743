"""Faults: one signature a fault, what it strikes beside, what avoids it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builders import baseline, commit_of, problem, run
from evogit.domain.change import Move
from evogit.domain.run import Run
from evogit.domain.trial import Crash, Status, TrialLine
from evogit.domain.verdict import Verdict
from evogit.search.faults import KEPT, WINDOW, Faults, signature, signature_of
from evogit.search.lesson import Lesson
from evogit.search.memory import Memory
from evogit.search.topics import topics

WIDER = Move("train.py:WIDTH", 64, 256, "width")


def lesson(of: Run) -> Lesson:
    fields = dict.fromkeys(("parent", "incumbent", "belief", "parent_belief", "incumbent_belief"))
    return Lesson(run=of, sigma=0.0, topics=topics(of), **fields)


def crashed(label: str, message: str = "out of memory", where: str = "train.py:1", status: Status = Status.CRASH, **more) -> Run:
    crash = Crash(kind="RuntimeError", message=message, where=where)
    line = TrialLine(id=label, time="", purpose="select", run=commit_of(label), seed=0, status=status, crash=crash)
    return run(label, verdict=Verdict.CRASH, trials=(line,), **more)


def faults_of(*runs: Run) -> Faults:
    faults = Faults()
    for one in runs:
        faults.learn(lesson(one))
    return faults


def test_one_fault_has_one_signature_whatever_its_line_numbers_and_paths():
    faults = faults_of(
        crashed("1", "mat1 and mat2 shapes cannot be multiplied (64x32 and 16x10) in /tmp/a1/train.py", "train.py:12"),
        crashed("2", "mat1 and mat2 shapes cannot be multiplied (8x1024 and 7x7) in /home/me/b/train.py", "train.py:345"),
        crashed("3", "mat1 and mat2 shapes cannot be multiplied (8x1024 and 7x7) in /home/me/b/train.py", "model.py:345"),
    )

    assert [(f.count, f.first, f.last, f.signature.where) for f in faults.signatures()] == [
        (2, "1", "2", "train.py"),
        (1, "3", "3", "model.py"),
    ]


def test_quoted_values_addresses_and_lengths_of_lists_do_not_tell_faults_apart():
    said = [
        ("no key 'lr' in <dict at 0x7f00aa>, sizes [1, 28, 28]", "no key 'width' in <dict at 0x55de12>, sizes [784]"),
        ('expected "a b", got -1.5e-7', 'expected "c", got nan'),
    ]

    for one, other in said:
        assert signature(Crash(kind="X", message=one)) == signature(Crash(kind="X", message=other))
    assert signature(Crash(kind="X", message="can't add")) != signature(Crash(kind="X", message="can't multiply"))


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=2), st.text(max_size=600))
def test_a_number_never_tells_two_faults_apart(numbers, text):
    clean = "".join(c for c in text if c.isalpha() and not c.isdigit() and c.isascii())
    one, other = (signature(Crash(kind="E", message=f"{clean} at {n} of it", where=f"train.py:{n}")) for n in numbers)

    assert one == other


def test_the_machines_faults_and_gates_are_not_the_candidates():
    faults = faults_of(crashed("1", status=Status.INFRASTRUCTURE), run("2", verdict=Verdict.REJECT))

    assert faults.signatures() == []
    assert faults.rate == Faults().rate


def test_only_the_first_run_of_a_fault_is_new():
    first, second = crashed("1"), crashed("2")
    faults = faults_of(first, second, crashed("3", "another"))

    assert faults.is_new(first)
    assert not faults.is_new(second)
    assert not faults.is_new(run("4", 0.5))


def test_what_crashes_is_steered_away_from_and_what_does_not_is_not():
    wide = [crashed(str(n), moves=(WIDER,), change="capacity_increase") for n in range(1, 5)]
    fine = [run(str(n), 0.5, change="schedule") for n in range(5, 15)]
    faults = faults_of(*wide, *fine)

    assert faults.risk("gene:train.py:WIDTH+") > 0.7
    assert faults.risk("change:schedule") < 0.1
    assert faults.risk("change:schedule") < faults.risk("nobody tried this") < faults.risk("role:width+")


def test_a_risk_forgets_what_was_long_ago():
    wide = [crashed(str(n), moves=(WIDER,)) for n in range(1, 5)]
    faults = faults_of(*wide, *(run(str(n), 0.5, change="schedule") for n in range(5, 5 + WINDOW)))

    assert faults.risk("role:width+") == faults.rate < 0.01


def test_what_avoids_a_fault_is_what_later_runs_near_it_did_besides():
    batch = Move("train.py:BATCH", 128, 32, "batch")
    back = Move("train.py:WIDTH", 64, 32, "width")
    faults = faults_of(
        crashed("1", moves=(WIDER,)),
        run("2", 0.5, moves=(WIDER, batch)),
        run("3", 0.5, moves=(back,)),
        run("4", 0.5, change="schedule"),
    )

    (fault,) = faults.signatures()
    assert fault.topics == ("gene:train.py:WIDTH+", "role:width+")
    assert set(fault.avoided_by) == {"gene:train.py:BATCH-", "role:batch-", "gene:train.py:WIDTH-", "role:width-"}


def test_the_faults_kept_are_bounded_and_the_newest_stay():
    faults = faults_of(*(crashed(str(n), "x" * n, where="") for n in range(1, KEPT)), crashed("500", "last"), crashed("501", "one more"))

    kept = [f.first for f in faults.signatures()]
    assert len(kept) == KEPT
    assert "1" not in kept
    assert kept[0] == "501"


def test_memory_keeps_the_faults_of_its_epoch():
    memory = Memory.of(problem(), [baseline(0.5), crashed("1"), crashed("2", where="train.py:99")])

    assert [(f.count, f.first, f.last) for f in memory.faults.signatures()] == [(2, "1", "2")]
    assert signature_of(memory.by_commit[commit_of("1")]) == signature_of(memory.by_commit[commit_of("2")])
