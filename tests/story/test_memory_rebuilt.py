"""What a loop knows at its end is what git tells anyone who reads it afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from evogit.bench import Bench
from evogit.domain.options import LoopOptions
from evogit.domain.run import Run
from evogit.git import refs
from evogit.git.campaign import Campaign
from evogit.lab import Lab
from evogit.scheduler import Loop
from evogit.search.memory import Memory
from lessons import picture
from toys import make_toy

RUNS = 12


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> tuple[Path, Memory]:
    """The repository after a campaign, and the memory that its loop kept, as `Lab.loop` wires them."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("remembering-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        repo = make_toy(tmp_path_factory.mktemp("remembering") / "toy")
        lab = Lab.open(repo)
        lab.start("t1")
        bench = Bench(lab.campaign, LoopOptions(max_runs=RUNS))
        for _ in Loop(bench).run():
            pass
        return repo, bench.memory


def fresh(repo: Path) -> Campaign:
    opened = Lab.open(repo, tag="t1")
    return Campaign.open(opened.repo, "t1", fallback=lambda: repo)


def test_memory_read_from_git_answers_as_the_memory_that_the_loop_kept(night):
    repo, kept = night
    campaign = fresh(repo)

    rebuilt = Memory.of(campaign.problem, campaign.history.lessons(), campaign)

    told, known = picture(rebuilt), picture(kept)
    assert {name for name in told if told[name] != known[name]} <= {"ideas"}  # those are told by notes, not by the ledger
    assert len(rebuilt.by_commit) > RUNS // 2
    assert campaign.history.tip == refs.read(campaign.repo, refs.branch("t1"))


def test_the_campaign_that_is_compared_learnt_something(night):
    _, kept = night
    runs: list[Run] = list(kept.by_commit.values())

    assert kept.spread.is_known
    assert kept.incumbent.label != "0"
    assert any(run.moves for run in runs)
    assert kept.portfolio.tally()


def test_a_bench_opened_on_the_campaign_remembers_the_ideas_too(night):
    repo, kept = night
    lab = Lab.open(repo, tag="t1")

    bench = Bench(lab.campaign, LoopOptions())
    try:
        assert picture(bench.memory) == picture(kept)
        assert (
            bench.memory.advice.items() >= {run.commit: kept.advice[run.commit] for run in kept.pool() if run.commit in kept.advice}.items()
        )
        assert {run.label: bench.memory.sources(run.commit) for run in kept.pool()} == {
            r.label: kept.sources(r.commit) for r in kept.pool()
        }
    finally:
        bench.close()


def test_memory_knows_how_many_plans_were_carried_out_either_way(night):
    repo, kept = night
    campaign = fresh(repo)

    assert Memory.of(campaign.problem, campaign.history.lessons(), campaign).turns == kept.turns
