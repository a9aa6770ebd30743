from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from books import Book, empty, git, state, trial
from evogit.domain.metric import Direction
from evogit.domain.verdict import Verdict
from evogit.errors import BadRecord, UnknownName
from evogit.git import ledger, refs
from evogit.git.history import History
from evogit.git.messages import Baseline
from evogit.git.repository import Repository


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return empty(tmp_path_factory.mktemp("history") / "repo")


def told(history: History) -> dict[str, object]:
    """All that a history says, but for the hashes that differ between two ways to join the same books."""
    runs = [msgspec.structs.replace(run, decision="") for run in history.runs]
    return {
        **{k: v for k, v in vars(history).items() if k not in ("tip", "by_decision", "by_commit", "by_label", "incumbents")},
        "runs": runs,
    }


def test_a_campaign_that_does_not_exist_is_unknown_and_the_others_are_named(repo):
    refs.move(repo, refs.branch("oct31"), git(repo.top, "rev-parse", "main"), refs.read(repo, refs.branch("oct31")), "start")

    with pytest.raises(UnknownName) as caught:
        History.read(repo, "never")

    assert "oct31" in caught.value.hint


def test_a_campaign_without_a_decision_has_no_runs_and_its_tip_is_the_base(repo):
    history = Book(repo).read()

    assert (history.runs, history.incumbent, history.base, history.clone) == ([], "", history.tip, "")


def test_every_field_of_a_run_comes_from_the_branch(repo):
    book = Book(repo)
    first = book.begin()
    made = book.write((first,), hypothesis="narrower", niche="small", change="capacity_decrease", sources="f" * 64)
    second = book.decide(made, Verdict.KEEP, (0.3, 0.4), cost=0.5)

    history = book.read()

    run = history.by_commit[second]
    assert [r.commit for r in history.runs] == [first, second]
    assert (run.label, run.seq, run.generation, run.epoch, run.verdict, run.reason) == ("1", 1, 1, 0, Verdict.KEEP, "because")
    assert (run.parents, run.incumbent, run.decision) == ((first,), second, book.tip)
    assert (run.hypothesis, run.niche, run.change, run.sources) == ("narrower", "small", "capacity_decrease", "f" * 64)
    assert run.readings == {"loss": (0.3, 0.4)}
    assert (run.seconds, run.cost_usd) == (3.0, 1.5)
    assert run.started == "1970-01-01T00:17:10Z"
    assert (history.base, history.clone, history.problem_folder, history.incumbent) == (book.base, "ab12", "rp/x", second)
    assert history.metric.name == "loss"
    assert history.numbers == {"": 1}
    assert history.next_seq == 2


def test_a_crash_a_reject_and_a_discard_leave_the_incumbent_and_keep_their_reasons(repo):
    book = Book(repo)
    first = book.begin()
    crash, reject, discard = book.add(Verdict.CRASH, None), book.add(Verdict.REJECT), book.add(Verdict.DISCARD, 0.9)

    history = book.read()

    assert history.incumbent == first
    assert history.by_commit[crash].crash == "ValueError: no"
    assert history.by_commit[reject].readings == {}
    assert history.by_commit[discard].mean("loss") == 0.9


def test_only_select_lines_enter_the_readings(repo):
    book = Book(repo)
    first = book.begin(0.5)
    book.entry("replicate", of=first, lines=(trial(first, 0, 0.7, purpose="replicate"), trial(first, 1, 0.8, purpose="replicate")))
    book.entry("replicate", of=first, lines=(trial(first, 0, 0.7, purpose="replicate"),))

    history = book.read()

    assert history.by_commit[first].readings == {"loss": (0.5,)}
    assert [line.metrics["loss"] for line in history.replicates[first]] == [0.7, 0.8]


def test_a_judgement_changes_the_verdict_and_says_by_whom(repo):
    book = Book(repo)
    first = book.begin()
    second = book.add(Verdict.DISCARD, 0.6)
    book.entry("judge", decides=second, verdict=Verdict.KEEP, by="Ada", reason="simpler", incumbent=second)

    history = book.read()

    assert history.by_commit[second].verdict is Verdict.KEEP
    assert history.by_commit[second].judged == "Ada: simpler"
    assert history.runs[1] is history.by_label["1"] is history.by_commit[second]
    assert history.incumbent == second != first


def test_a_certificate_marks_its_run(repo):
    book = Book(repo)
    first = book.begin()
    book.entry("certify", of=first, certified=False, lines=(trial(first, 0, 0.7, purpose="certify"),))

    history = book.read()

    assert history.by_commit[first].certified is False
    assert len(history.certifications[first]) == 1


def test_a_recombination_is_one_generation_above_the_older_of_its_parents(repo):
    book = Book(repo)
    first = book.begin()
    second = book.add(Verdict.KEEP, 0.4)
    both = book.add(Verdict.KEEP, 0.3, parents=(first, second))

    history = book.read()

    assert history.by_commit[both].generation == 2
    assert history.by_commit[both].parents == (first, second)


def test_a_persons_commits_wait_at_the_tip_until_an_entry_stands_above_them(repo):
    book = Book(repo)
    book.begin()
    mine = [book.person(), book.person()]

    before = book.read()
    book.add(Verdict.DISCARD, 0.9, adopts=mine[-1])
    after = book.read()

    assert list(before.people) == mine
    assert after.people == ()
    assert after.runs[-1].adopts == mine[-1]


def test_an_epoch_begins_with_its_entry_and_its_runs_are_told_apart(repo):
    book = Book(repo)
    first = book.begin(0.5)
    edited = book.person()
    base = ledger.commit(repo, edited).hash
    again = book.write((base,), baseline=Baseline(problem="rp/y", clone="ab12", metric="loss", direction=Direction.MINIMIZE, epoch=1))
    book.entry("epoch", baseline=again, epoch=1, reason="prepare.py was edited")
    opened = book.read()
    book.decide(again, Verdict.KEEP, (0.7,))
    child = book.add(Verdict.KEEP, 0.6)

    history = book.read()

    assert (opened.epoch, opened.baseline, opened.incumbent) == (1, again, first)
    assert [run.epoch for run in history.runs] == [0, 1, 1]
    assert (history.epoch, history.baseline, history.incumbent) == (1, again, child)
    assert history.problem_folder == "rp/y"
    assert history.find("baseline").commit == again


def test_a_run_is_found_by_every_name_it_has(repo):
    book = Book(repo)
    first = book.begin()
    far = book.add(Verdict.DISCARD, 0.8, label="cd34/4")
    history = book.read()

    assert {history.find(name).commit for name in ("0", "ab12/0", first, first[:9], "tip", "incumbent", "baseline")} == {first}
    assert {history.find(name).commit for name in ("cd34/4", far, far[:9].upper(), book.tip, book.tip[:9])} == {far}
    assert history.numbers == {"": 0, "cd34": 4}


@pytest.mark.parametrize("name", ["7", "", "zz", "ab12/7", "f" * 40, "main", "cd34/0"])
def test_a_run_that_is_not_there_is_unknown(repo, name):
    book = Book(repo)
    book.begin()

    with pytest.raises(UnknownName) as caught:
        book.read().find(name)

    assert "evogit log" in caught.value.hint


def test_before_the_first_run_the_hint_is_to_start_the_loop(repo):
    with pytest.raises(UnknownName) as caught:
        Book(repo).read().find("0")

    assert "evogit loop" in caught.value.hint


def test_following_a_branch_reads_only_what_is_new_and_ends_as_a_full_read(repo):
    book = Book(repo)
    history = book.read()
    book.begin()
    fresh = [run.label for run in history.advance(repo, book.tip)]
    book.add(Verdict.KEEP, 0.4)
    book.person()
    book.add(Verdict.CRASH, None)
    book.entry("judge", decides=history.runs[0].commit, verdict=Verdict.DISCARD, by="Ada", reason="no")

    more = [run.label for run in history.advance(repo, book.tip)]

    assert (fresh, more) == (["0"], ["1", "2"])
    assert state(history) == state(book.read())
    assert history.advance(repo, book.tip) == []


def test_following_a_branch_that_was_rewritten_reads_it_all_again(repo):
    book = Book(repo)
    book.begin()
    other = book.fork("")
    book.add(Verdict.KEEP, 0.4)
    history = book.read()
    other.time += 1000
    other.add(Verdict.DISCARD, 0.9)

    new = history.advance(repo, other.tip)

    assert [run.verdict for run in new] == [Verdict.DISCARD]
    assert state(history) == state(other.read())


def test_a_trial_line_that_cannot_be_read_names_its_commit(repo):
    book = Book(repo)
    first = book.begin()
    book.entry("replicate", of=first, lines=(b'{"v":1,"seed":"zero"}',))

    with pytest.raises(BadRecord) as caught:
        book.read()

    assert caught.value.where == book.tip


@pytest.mark.parametrize("kind", ["judge", "certify", "replicate"])
def test_an_entry_about_a_run_that_nobody_decided_is_a_bad_record(repo, kind):
    book = Book(repo)
    book.begin()
    book.entry(kind, decides="a" * 40, of="a" * 40)

    with pytest.raises(BadRecord, match="was not decided"):
        book.read()


@pytest.mark.parametrize("direction", list(Direction))
def test_after_a_join_the_better_incumbent_holds(repo, direction):
    one = Book(repo, direction=direction)
    one.begin(0.5)
    two = one.fork("cd34/")
    low, high = one.add(Verdict.KEEP, 0.2), two.add(Verdict.KEEP, 0.8)
    one.entry("join", other=two.tip)

    history = one.read()

    assert history.incumbent == (low if direction is Direction.MINIMIZE else high)
    assert len(history.runs) == 3
    assert history.numbers == {"": 1, "cd34": 1}


def test_following_into_a_join_ends_as_a_full_read(repo):
    one = Book(repo)
    one.begin(0.5)
    two = one.fork("cd34/")
    one.add(Verdict.KEEP, 0.2)
    history = one.read()
    far = two.add(Verdict.KEEP, 0.1)
    one.entry("join", other=two.tip)

    new = history.advance(repo, one.tip)

    assert [run.commit for run in new] == [far]
    assert state(history) == state(one.read())


def test_a_run_decided_by_two_clones_counts_once_by_the_earlier_decision(repo):
    one = Book(repo)
    first = one.begin(0.5)
    two = one.fork("cd34/")
    run = one.write((first,))
    two.decide(run, Verdict.KEEP, (0.4,))
    one.time += 500
    one.decide(run, Verdict.DISCARD, (0.6,))
    one.entry("join", other=two.tip)

    history = one.read()

    assert [r.commit for r in history.runs] == [first, run]
    assert history.by_commit[run].verdict is Verdict.KEEP


STEPS = st.lists(
    st.tuples(st.sampled_from(["keep", "discard", "crash", "judge", "replicate", "person"]), st.integers(1, 99), st.integers(0, 9)),
    max_size=5,
)


def grow(book: Book, steps: list[tuple[str, int, int]], first: str) -> Book:
    for what, value, pause in steps:
        book.time += pause
        if what in ("keep", "discard"):
            book.add(Verdict(what), value / 100)
        elif what == "crash":
            book.add(Verdict.CRASH, None)
        elif what == "judge":
            book.entry("judge", decides=first, verdict=Verdict.DISCARD if value % 2 else Verdict.KEEP, by=book.prefix, reason=str(value))
        elif what == "replicate":
            book.entry("replicate", of=first, lines=(trial(first, value, value / 100, purpose="replicate"),))
        else:
            book.person()
    return book


def joined(one: Book, two: Book) -> Book:
    both = one.fork(one.prefix)
    both.time = max(one.time, two.time)
    both.entry("join", other=two.tip)
    return both


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, STEPS, STEPS)
def test_joining_is_commutative_associative_and_idempotent_on_what_is_told(repo, a, b, c):
    start = Book(repo)
    first = start.begin(0.5)
    one, two, three = (grow(start.fork(f"{name}/"), steps, first) for name, steps in (("aaaa", a), ("bbbb", b), ("cccc", c)))

    left = joined(joined(one, two), three)
    right = joined(three, joined(two, one))
    twice = joined(left, one)

    assert told(left.read()) == told(right.read()) == told(twice.read())
    assert {run.commit for run in left.read().runs} == {r.commit for book in (one, two, three) for r in book.read().runs}


def test_a_number_of_readings_names_the_runs_that_were_read_the_newest_first(repo):
    book = Book(repo)
    first = book.begin()
    second = book.add(Verdict.KEEP, 0.4)
    for of in (first, second, first):
        book.entry("certify", of=of, against=second if of == first else first, label="9")

    history = book.read()

    assert history.read_by("9") == ["0", "1"]
    assert history.read_by("1") == []
    with pytest.raises(UnknownName, match="9 is no run: it was a reading of runs 0 and 1"):
        history.find("9")
