from __future__ import annotations

import subprocess
from pathlib import Path

import pygit2
import pytest

from evogit.domain.metric import Direction
from evogit.domain.verdict import Decision, Verdict
from evogit.errors import BadRecord
from evogit.git import ledger
from evogit.git.messages import Baseline, EntryMessage, RunMessage
from evogit.git.repository import Repository

BASELINE = Baseline(problem="", clone="ab12", metric="loss", direction=Direction.MINIMIZE)


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    folder = tmp_path / "repo"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    (folder / "train.py").write_text("WIDTH = 8\n")
    git(folder, "add", "train.py")
    git(folder, "commit", "-q", "-m", "a problem")
    return Repository.open(folder)


def head(repo: Repository) -> str:
    return git(repo.top, "rev-parse", "main")


def run(repo: Repository, label: str, parent: str, *, baseline: Baseline | None = None, campaign: str = "nov20", time: int = 100) -> str:
    message = RunMessage(label=label, campaign=campaign, emitter="simplifier", agent="offline", summary=f"run {label}", baseline=baseline)
    return ledger.write_run(repo, tree=repo.tree_of(parent), parents=(parent,), run=message, time=time)


def decide(repo: Repository, tip: str, of: str, label: str, seq: int, *, campaign: str = "nov20", time: int = 100) -> str:
    words = Decision(verdict=Verdict.KEEP, reason="better")
    return ledger.write_decision(
        repo, tip=tip, run=of, label=label, incumbent=of, seq=seq, campaign=campaign, decision=words, lines=[b'{"v":1}'], time=time
    )


def begin(repo: Repository, base: str, *, campaign: str = "nov20", time: int = 100) -> tuple[str, str]:
    first = run(repo, "0", base, baseline=BASELINE, campaign=campaign, time=time)
    return first, decide(repo, base, first, "0", 0, campaign=campaign, time=time)


def person(repo: Repository, *parents: str, message: str = "my own edit", time: int = 200) -> str:
    me = repo.identity()
    who = pygit2.Signature(me.name, me.email, time, 0)
    return str(repo.git.create_commit(None, who, who, message, repo.tree_of(parents[0]), list(parents)))


def test_a_decision_is_a_merge_with_the_incumbents_tree(repo):
    first, tip = begin(repo, head(repo))

    assert repo.parents(tip) == (head(repo), first)
    assert repo.tree_of(tip) == repo.tree_of(first)
    assert git(repo.top, "log", "-1", "--format=%s", tip) == "keep 0: better"
    assert git(repo.top, "log", "-1", "--format=%(trailers:key=Evogit-Verdict,valueonly)", tip) == "keep"
    assert git(repo.top, "fsck", "--strict", "--no-dangling") == ""


def test_the_same_decision_written_twice_is_one_commit(repo):
    assert begin(repo, head(repo)) == begin(repo, head(repo))


def test_a_walk_goes_oldest_first_and_leaves_the_base_out(repo):
    first, tip0 = begin(repo, head(repo))
    second = run(repo, "1", first)
    tip1 = decide(repo, tip0, second, "1", 1)
    tip2 = person(repo, tip1)

    walked = ledger.climb(repo, tip2, campaign="nov20")

    assert [(e.kind, e.commit) for e in walked.entries] == [("decision", tip0), ("decision", tip1), ("person", tip2)]
    assert walked.base == head(repo)
    assert walked.entries[0].lines == (b'{"v":1}',)


def test_a_branch_with_no_decision_has_no_entries_and_its_tip_is_the_base(repo):
    tip = person(repo, head(repo))

    walked = ledger.climb(repo, tip, campaign="nov20")

    assert walked.entries == []
    assert walked.base == tip


def test_an_older_campaign_below_the_base_is_not_read(repo):
    _, old = begin(repo, head(repo), campaign="oct31")
    base = person(repo, old)
    _, tip = begin(repo, base)

    assert [e.commit for e in ledger.walk(repo, tip, campaign="nov20")] == [tip]
    assert ledger.walk(repo, base, campaign="nov20") == []


def test_a_walk_stops_where_it_is_told(repo):
    first, tip0 = begin(repo, head(repo))
    tip1 = decide(repo, tip0, run(repo, "1", first), "1", 1)

    walked = ledger.climb(repo, tip1, campaign="nov20", stop={tip0})

    assert [e.commit for e in walked.entries] == [tip1]
    assert walked.stopped


def test_a_join_is_walked_on_both_sides_in_an_order_that_sides_do_not_change(repo):
    first, tip0 = begin(repo, head(repo))
    left = decide(repo, tip0, run(repo, "1", first), "1", 1, time=300)
    right = decide(repo, tip0, run(repo, "cd34/1", first), "cd34/1", 1, time=200)
    join = EntryMessage(kind="join", subject="join", campaign="nov20", incumbent=first)
    one = ledger.write_entry(repo, tip=left, other=right, entry=join, time=400)
    two = ledger.write_entry(repo, tip=right, other=left, entry=join, time=400)

    assert [e.commit for e in ledger.walk(repo, one)] == [tip0, right, left, one]
    assert [e.commit for e in ledger.walk(repo, two)] == [tip0, right, left, two]


@pytest.mark.parametrize("mine_first", [True, False])
def test_a_persons_pull_of_the_other_lab_book_loses_none_of_its_runs(repo, mine_first):
    first, tip0 = begin(repo, head(repo))
    left = decide(repo, tip0, run(repo, "1", first), "1", 1)
    right = decide(repo, tip0, run(repo, "cd34/1", first), "cd34/1", 1, time=150)
    pull = person(repo, *((left, right) if mine_first else (right, left)))

    assert [e.commit for e in ledger.walk(repo, pull, campaign="nov20")] == [tip0, left, right, pull]


def test_main_merged_into_the_branch_brings_no_commit_of_main_in(repo):
    _, tip0 = begin(repo, head(repo))
    other = person(repo, head(repo), message="work on main")
    merge = person(repo, tip0, other)

    assert [e.commit for e in ledger.walk(repo, merge, campaign="nov20")] == [tip0, merge]


def test_the_branch_merged_the_wrong_way_round_is_still_read(repo):
    _, tip0 = begin(repo, head(repo))
    other = person(repo, person(repo, head(repo)), message="work on main")
    merge = person(repo, other, tip0)

    walked = ledger.climb(repo, merge, campaign="nov20")

    assert [e.commit for e in walked.entries] == [tip0, merge]
    assert walked.base == head(repo)


def test_a_missing_first_decision_is_said_to_be_a_rewritten_branch(repo):
    later = decide(repo, head(repo), run(repo, "5", head(repo)), "5", 5)

    with pytest.raises(BadRecord, match="rewritten"):
        ledger.walk(repo, later, campaign="nov20")


def test_an_entry_of_a_kind_from_the_future_is_kept_by_its_name(repo):
    _, tip0 = begin(repo, head(repo))
    tip1 = ledger.write_entry(repo, tip=tip0, entry=EntryMessage(kind="weather", subject="rain", campaign="nov20"))

    assert [e.kind for e in ledger.walk(repo, tip1)] == ["decision", "weather"]


def test_an_entry_keeps_the_tips_tree_unless_it_names_an_incumbent(repo):
    first, tip0 = begin(repo, head(repo))

    tip1 = ledger.write_entry(repo, tip=tip0, entry=EntryMessage(kind="replicate", subject="replicate 0", of=first))

    assert repo.tree_of(tip1) == repo.tree_of(tip0)
    assert repo.parents(tip1) == (tip0,)


@pytest.mark.parametrize("name", ["", "0" * 40, "nonsense"])
def test_a_commit_that_is_not_there_is_a_bad_record(repo, name):
    with pytest.raises(BadRecord):
        ledger.commit(repo, name)


def test_a_commit_reads_as_git_reads_it(repo):
    made = ledger.commit(repo, head(repo))

    assert made.tree == git(repo.top, "rev-parse", "main^{tree}")
    assert str(made.time) == git(repo.top, "log", "-1", "--format=%ct")
    assert made.text == "a problem\n"
