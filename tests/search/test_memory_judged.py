"""Memory under people's verdicts: who the incumbent is, and who may become a parent."""

from __future__ import annotations

from builders import baseline, commit_of, problem, run
from evogit.domain.run import Judgement, Run
from evogit.domain.verdict import Verdict
from evogit.search.facts import Facts
from evogit.search.memory import Memory


def judged(verdict: Verdict) -> tuple[Judgement, ...]:
    return (Judgement(verdict=verdict, was=Verdict.KEEP, by="Ada", reason="so", time="", entry=commit_of("entry")),)


def book() -> list[Run]:
    """1 was kept and taken back while 2 and 3 were made from it; 3 was kept by the search all the same."""
    return [
        baseline(0.10, 0.102),
        run("1", 0.05, 0.052, verdict=Verdict.DISCARD, judgements=judged(Verdict.DISCARD), rival=commit_of("0"), incumbent=commit_of("1")),
        run("2", 0.051, 0.053, parents=("1",), rival=commit_of("1"), incumbent=commit_of("1")),
        run("3", 0.04, 0.042, parents=("1",), verdict=Verdict.KEEP, rival=commit_of("0")),
        run("4", 0.045, 0.047, parents=("2",), rival=commit_of("3"), incumbent=commit_of("3")),
    ]


def labels(runs) -> set[str]:
    return {each.label for each in runs}


def test_a_run_is_held_against_the_incumbent_that_it_met_whatever_became_of_that():
    memory = Memory(problem())
    seen = []
    for each in book():
        memory.take(each)
        seen.append(memory.incumbent.label)

    assert seen == ["0", "0", "1", "3", "3"]


def test_what_a_person_discarded_and_what_was_never_kept_of_its_kin_is_no_parent():
    memory = Memory.of(problem(), book())

    assert memory.dismissed == {commit_of(label) for label in ("1", "2", "4")}
    assert labels(memory.pool()) == {"0", "3"}
    assert labels(memory.archive.elites()).isdisjoint({"1", "2", "4"})


def test_a_keep_of_a_person_makes_its_run_a_parent_again():
    runs = book()
    runs[2] = run("2", 0.051, 0.053, parents=("1",), verdict=Verdict.KEEP, judgements=judged(Verdict.KEEP), incumbent=commit_of("1"))

    assert {"2", "4"} <= labels(Memory.of(problem(), runs).pool())


def test_the_ledgers_last_word_on_the_incumbent_holds_for_memory_and_for_facts():
    for moved, label in (("1", "1"), ("2", "2"), ("nobody", "3"), ("", "3")):
        commit = commit_of(moved) if moved else ""

        assert Memory.of(problem(), book(), None, commit).incumbent.label == label
        assert Facts.at(problem(), book(), 0, commit).incumbent.label == label


def test_a_run_without_a_number_never_is_the_incumbent():
    crashed = run("5", verdict=Verdict.CRASH, rival=commit_of("3"), incumbent=commit_of("3"))

    assert Memory.of(problem(), [*book(), crashed], None, commit_of("5")).incumbent.label == "3"
    assert Memory.of(problem(), [*book(), run("6", 0.05, rival=commit_of("5"))]).incumbent.label == "3"
