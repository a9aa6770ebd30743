from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from books import TAG, Book, empty, trial
from builders import problem
from evogit.billing import costs
from evogit.domain.metric import Direction, Metric
from evogit.domain.verdict import Verdict
from evogit.git.history import History
from evogit.git.repository import Repository
from evogit.glancing import Glance
from evogit.search.facts import Facts
from evogit.search.frontier import frontier

LOSS = Metric(name="loss", direction=Direction.MINIMIZE)
STEPS = st.lists(
    st.tuples(st.sampled_from(["run", "run", "run", "crash", "reject", "replicate", "certify", "judge", "epoch"]), st.integers(0, 99)),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return empty(tmp_path_factory.mktemp("glancing") / "repo")


def step(book: Book, history: History, kind: str, number: int) -> None:
    """Write one more entry: a run of some value, or something that is said of a run that is there."""
    run, value = history.runs[number % len(history.runs)], 0.3 + number / 500
    if kind == "run":
        best = min(r.mean("loss") or 1.0 for r in history.runs if r.epoch == history.epoch)
        book.decide(book.write((book.incumbent,)), Verdict.KEEP if value < best else Verdict.DISCARD, (value, value + 0.01), cost=0.25)
    elif kind == "crash":
        book.add(Verdict.CRASH, None)
    elif kind == "reject":
        book.add(Verdict.REJECT)
    elif kind == "epoch":
        book.begin(value, epoch=history.epoch + 1, base=book.base)
    elif kind == "judge":
        book.entry("judge", decides=run.commit, verdict=Verdict.DISCARD, by="Ada", reason="no", incumbent=book.incumbent)
    else:
        said = {"certified": number % 2 == 0} if kind == "certify" else {}
        line = trial(run.commit, number, value, purpose=kind)
        book.entry(kind, of=run.commit, incumbent=book.incumbent, lines=[line], **said)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_what_is_moved_on_is_what_all_of_it_gives(repo: Repository, steps: list[tuple[str, int]]) -> None:
    book = Book(repo)
    book.begin()
    history, contract = History.at(repo, TAG, book.tip), problem()
    glance = Glance(history, contract)

    for kind, number in steps:
        step(book, history, kind, number)
        history.advance(repo, book.tip)

        facts, anew = glance.facts(), Facts.at(contract, history.lessons(), history.epoch, history.incumbent)
        assert picture(facts) == picture(anew)
        count = glance.count()
        assert {k: n for k, n in count.verdicts.items() if n} == dict(Counter(r.verdict.value for r in history.runs))
        assert count.emitters["simplifier"] == {"runs": len(history.runs), "keeps": sum(r.is_kept for r in history.runs)}
        assert count.baselines == sum(r.is_kept and not r.generation for r in history.runs)
        assert count.seconds == pytest.approx(sum(r.seconds for r in history.runs))
        assert count.sum.bill("total") == costs(repo, [history], "agent").total
        comparable = [r for r in history.runs if r.epoch == history.epoch and r.verdict is not Verdict.CRASH]
        assert glance.front([LOSS]) == frontier(comparable, [LOSS])


def picture(facts: Facts) -> tuple[object, ...]:
    return (facts.by_commit, facts.epoch, facts.baseline, facts.incumbent, facts.spread.std, list(facts.recent))


def test_a_look_folds_the_new_runs_alone(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(repo)
    book.begin()
    for number in range(5):
        book.add(Verdict.DISCARD, 0.6 + number / 100)
    history = History.at(repo, TAG, book.tip)
    glance, taken = Glance(history, problem()), []
    take = Facts.take
    monkeypatch.setattr(Facts, "take", lambda self, lesson: (taken.append(lesson), take(self, lesson)))

    glance.facts()
    assert len(taken) == 6
    book.add(Verdict.DISCARD, 0.7)
    history.advance(repo, book.tip)
    glance.facts()
    glance.facts()

    assert taken[6:] == history.runs[-1:]
