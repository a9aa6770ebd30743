from __future__ import annotations

import json
import shutil
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from evogit.domain.event import CampaignOpened, Decided, Stopped, Warned
from evogit.domain.options import LoopOptions, Target
from evogit.errors import Busy, ProblemError, RepositoryError, UnknownName, UserError
from evogit.git import flights, refs
from evogit.git.repository import Repository
from evogit.lab import Lab
from toys import TOML, TRAIN, git, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")
SEARCH = LoopOptions(max_runs=6, emitters=("local_tuner", "simplifier"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("lab-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        patch.setenv("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
        top = make_toy(tmp_path_factory.mktemp("lab") / "toy", toml=ONE_SEED)
        patch.delenv("GIT_COMMITTER_DATE")
        Lab.open(top).start("t1")
        list(Lab.open(top, tag="t1").loop(SEARCH))
        return top


@pytest.fixture
def lab(searched) -> Lab:
    """Only read in these tests."""
    return Lab.open(searched)


@pytest.fixture
def copy(searched, tmp_path) -> Path:
    shutil.copytree(searched, tmp_path / "toy", symlinks=True)
    return tmp_path / "toy"


@pytest.fixture
def toy(tmp_path) -> Path:
    return make_toy(tmp_path / "toy", toml=ONE_SEED)


def two_problems(tmp_path: Path) -> Path:
    top = make_toy(tmp_path / "toy", toml=ONE_SEED, folder="rp/one")
    shutil.copytree(top / "rp/one", top / "rp/two")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "two")
    return top


# opening and finding


def test_a_lab_opens_from_any_folder_of_the_repository(searched, copy):
    (copy / "deep").mkdir()

    assert Lab.open(copy / "deep").repo_top == copy.resolve()
    assert Lab.open(copy / "deep").tag == "t1"


def test_opening_no_folder_or_no_repository_is_refused(tmp_path):
    with pytest.raises(UserError):
        Lab.open(tmp_path / "missing")
    with pytest.raises(RepositoryError):
        Lab.open(tmp_path)


@pytest.mark.parametrize("name", ["t1", "autoresearch/t1", "refs/heads/autoresearch/t1"])
def test_a_campaign_may_be_named_by_its_branch(searched, name):
    assert Lab.open(searched, tag=name).tag == "t1"


def test_the_campaign_whose_branch_is_checked_out_comes_first(copy):
    Lab.open(copy).start("t2")
    git(copy, "checkout", "-q", "autoresearch/t2")

    assert Lab.open(copy).tag == "t2"


def test_else_the_campaign_that_moved_last_comes_first(copy):
    git(copy, "branch", "other")
    Lab.open(copy).start("t2")

    assert Lab.open(copy).tag == "t1"
    assert Lab.open(copy, tag="t2").tag == "t2"
    assert Lab.open(copy).campaigns() == ["t1", "t2"]


def test_each_problem_has_its_own_campaign(tmp_path):
    top = two_problems(tmp_path)
    Lab.open(top, problem="rp/one").start("one")
    Lab.open(top / "rp/two").start("two")

    assert Lab.open(top, problem="rp/one").tag == "one"
    assert Lab.open(top, problem="rp/two").tag == "two"
    assert Lab.open(top / "rp/one").tag == "one"
    assert Lab.open(top / "rp/two").problem.folder == "rp/two"


def test_a_problem_without_a_campaign_does_not_get_anothers(tmp_path):
    top = two_problems(tmp_path)
    Lab.open(top, problem="rp/one").start("one")

    with pytest.raises(UnknownName):
        _ = Lab.open(top, problem="rp/two").tag
    assert Lab.open(top, problem="rp/two").problem.folder == "rp/two"


def test_a_problem_that_was_asked_for_wins_over_the_branch_that_is_checked_out(tmp_path):
    top = two_problems(tmp_path)
    Lab.open(top, problem="rp/one").start("one")
    Lab.open(top, problem="rp/two").start("two")
    git(top, "checkout", "-q", "autoresearch/two")

    assert Lab.open(top).tag == "two"
    assert Lab.open(top, problem="rp/one").tag == "one"


def test_a_problem_folder_that_is_not_there_is_refused(searched):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        _ = Lab.open(searched, problem="nowhere").problem


# starting


def test_start_makes_the_branch_at_head_and_leaves_the_checkout(toy):
    started = Lab.open(toy).start("t1")

    head = git(toy, "rev-parse", "HEAD").strip()
    assert (started.base, started.campaign, started.problem) == (head, "t1", "toy")
    assert git(toy, "rev-parse", "autoresearch/t1").strip() == head
    assert git(toy, "status", "--porcelain", "--branch") == "## main\n"
    (stored,) = flights.listing(Repository.open(toy), "t1")
    assert (stored.flight.kind, stored.flight.label) == ("baseline", "0")


def test_a_campaign_without_a_name_is_called_after_the_day_and_then_the_problem(toy):
    lab, day = Lab.open(toy), date(2026, 11, 20)

    assert [lab.start(today=day).campaign for _ in range(3)] == ["nov20", "nov20-toy", "nov20-toy-2"]


def test_start_uses_what_is_committed_not_what_is_on_disk(toy):
    (toy / "train.py").write_text("nonsense")

    started = Lab.open(toy).start("t1")

    assert git(toy, "show", f"{started.base}:train.py") == TRAIN


def test_starting_an_uncommitted_problem_moves_no_ref(toy):
    git(toy, "rm", "-q", "--cached", "evogit.toml")
    git(toy, "commit", "-q", "-m", "forget it")

    with pytest.raises(ProblemError, match="not committed"):
        Lab.open(toy).start("t1")
    assert refs.campaigns(Repository.open(toy)) == []


# looping


def test_a_loop_starts_a_campaign_where_there_is_none(toy):
    events = list(Lab.open(toy).loop(LoopOptions(max_runs=1)))

    assert isinstance(events[0], CampaignOpened)
    assert isinstance(events[-1], Stopped)
    assert all(event.time for event in events)


def test_the_same_lab_reads_what_its_loop_recorded(toy):
    lab = Lab.open(toy)
    decided = [e for e in lab.loop(LoopOptions(max_runs=2)) if isinstance(e, Decided)]

    assert [e.run for e in decided] == [r.label for r in lab.runs()]
    assert [e.decided for e in decided] == [0, 1, 2]


def test_another_lab_learns_of_new_runs_when_it_refreshes(copy):
    reader = Lab.open(copy)
    before = len(reader.runs())
    list(Lab.open(copy).loop(LoopOptions(max_runs=1, emitters=("local_tuner",))))

    fresh = reader.refresh()

    assert [r.seq for r in fresh] == [before]
    assert len(reader.runs()) == before + 1


def test_a_loop_that_is_closed_early_leaves_its_lock_and_can_be_gone_on_with(copy):
    night = Lab.open(copy).loop(LoopOptions(max_runs=3, emitters=("local_tuner",)))
    next(night)
    with pytest.raises(Busy):
        list(Lab.open(copy).loop(LoopOptions(max_runs=1)))
    night.close()

    assert isinstance(list(Lab.open(copy).loop(LoopOptions(max_runs=1, emitters=("local_tuner",))))[-1], Stopped)


def test_a_stop_that_was_asked_for_before_the_loop_begins_nothing(copy):
    lab = Lab.open(copy)
    before = len(lab.runs())
    lab.stopper.request()

    events = list(lab.loop(LoopOptions(max_runs=3), lab.stopper))

    assert events[-1].reason == "stopped by a person"
    assert len(lab.runs()) == before


def test_a_target_that_is_met_already_begins_nothing(copy):
    target = Target(metric="val_loss", relation="<", value=100.0)

    events = list(Lab.open(copy).loop(LoopOptions(until=target)))

    assert [type(e) for e in events if not isinstance(e, Warned)] == [CampaignOpened, Stopped]


def test_every_event_is_in_the_event_log(toy):
    events = list(Lab.open(toy).loop(LoopOptions(max_runs=1)))

    tag = Lab.open(toy).tag
    logged = [json.loads(line) for line in (toy / f".git/evogit/views/{tag}/events.jsonl").read_text().splitlines()]
    assert [line["time"] for line in logged] == [event.time for event in events]


# reading


def test_runs_come_in_the_order_of_decisions(lab):
    assert [r.seq for r in lab.runs()] == list(range(len(lab.runs())))


def test_runs_can_be_chosen_by_verdict_role_text_and_number(lab):
    runs = lab.runs()

    assert lab.runs(verdict="discard") == [r for r in runs if r.verdict.value == "discard"]
    assert lab.runs(emitter="simplifier") == [r for r in runs if r.emitter == "simplifier"]
    assert lab.runs(grep=runs[1].summary.upper()[:12]) == [r for r in runs if runs[1].summary[:12] in r.summary]
    assert lab.runs(limit=2) == runs[-2:]
    assert lab.runs(limit=0) == runs


def test_runs_can_be_chosen_since_a_run_or_a_date(lab):
    runs = lab.runs()

    assert lab.runs(since="2") == runs[3:]
    assert lab.runs(since=runs[2].commit) == runs[3:]
    assert lab.runs(since=runs[0].started[:10]) == runs
    assert lab.runs(since="2999-01-01") == []
    assert lab.runs(since="1h") == runs
    assert lab.runs(since="0h") == []


def test_runs_since_a_moment_are_compared_as_moments(lab):
    runs = lab.runs()
    began = datetime.fromisoformat(runs[3].started.replace("Z", "+00:00"))
    here = began.astimezone(timezone(timedelta(hours=9)))

    for when in (began.strftime("%Y-%m-%d %H:%M:%S"), runs[3].started, here.isoformat()):
        assert lab.runs(since=when) == [r for r in runs if r.started >= runs[3].started]
    assert lab.runs(since=(began + timedelta(days=1)).strftime("%Y-%m-%d %H:%M")) == []


@pytest.mark.parametrize("when", ["99", "yesterday", "2026-xx", "2026-11-29T25:00", "2w3d"])
def test_what_is_neither_a_run_nor_a_time_is_answered_with_both_forms(lab, when):
    with pytest.raises(UnknownName, match=f"'{when}' is no run of campaign .*, no date and no age") as caught:
        lab.runs(since=when)

    assert "2026-11-29" in caught.value.hint and "12h" in caught.value.hint


def test_a_run_is_found_by_label_hash_and_name(lab):
    run = lab.runs()[1]

    assert {lab.run(text).commit for text in ("1", run.commit, run.commit[:8], run.decision[:8])} == {run.commit}
    assert lab.run("baseline") == lab.runs()[0]
    assert lab.run("incumbent").commit == lab.runs()[-1].incumbent


def test_show_tells_all_about_a_run(lab):
    detail = lab.show("1")

    assert detail.parents == (lab.run("0"),)
    assert detail.plan == json.loads(lab.artifact("1", "plan.json"))["instruction"] != ""
    assert detail.diff.startswith("diff --git a/train.py b/train.py")
    assert [r.reviewer for r in detail.reviews] == ["heuristic"]
    assert "trials/s0/stdout" in detail.files


def test_an_artifact_is_the_bytes_that_the_trial_wrote(lab):
    assert lab.artifact("0", "trials/s0/stdout").startswith(b"METRIC val_loss=")
    with pytest.raises(UnknownName, match="no artifact 'nope'") as raised:
        lab.artifact("0", "nope")
    assert "plan.json" in raised.value.hint


def test_a_diff_goes_from_the_first_run_to_the_second(lab):
    there, back = lab.diff("0", "1"), lab.diff("1", "0")

    assert lab.diff("1") == there
    assert lab.diff("0") == ""
    assert [line[1:] for line in there.splitlines() if line.startswith("+") and line[1:2] != "+"] == [
        line[1:] for line in back.splitlines() if line.startswith("-") and line[1:2] != "-"
    ]


def test_the_leaderboard_is_best_first(lab):
    means = [r.mean("val_loss") for r in lab.leaderboard(limit=0)]

    assert means == sorted(means)
    assert len(means) == sum(r.is_measured for r in lab.runs())
    assert lab.leaderboard(limit=2) == lab.leaderboard(limit=0)[:2]


def test_a_maximised_metric_is_ranked_the_other_way(tmp_path):
    train = TRAIN.replace("val_loss=%r", "score=%r")
    top = make_toy(
        tmp_path / "toy", toml=ONE_SEED.replace('"val_loss"\ndirection = "minimize"', '"score"\ndirection = "maximize"'), train=train
    )
    lab = Lab.open(top)
    list(lab.loop(LoopOptions(max_runs=3, emitters=("local_tuner",))))

    means = [r.mean("score") for r in lab.leaderboard()]
    assert means == sorted(means, reverse=True)
    assert lab.run("incumbent").mean("score") == max(means)


def test_no_run_dominates_one_on_the_frontier(lab):
    front = lab.frontier()

    for run in lab.runs():
        for member in front:
            assert not (
                run.is_measured
                and run.mean("val_loss") <= member.mean("val_loss")
                and run.mean("params") <= member.mean("params")
                and (run.mean("val_loss"), run.mean("params")) != (member.mean("val_loss"), member.mean("params"))
            )


def test_the_frontier_over_one_metric_holds_its_best(lab):
    best = min(r.mean("params") for r in lab.runs() if r.is_measured)

    assert {r.mean("params") for r in lab.frontier(over=("params",))} == {best}
    with pytest.raises(UnknownName, match="no metric 'nope'"):
        lab.frontier(over=("params", "nope"))


def test_a_run_that_crashed_under_one_seed_is_on_no_board(tmp_path):
    report = 'if __name__ == "__main__":'
    train = TRAIN.replace(report, f'{report}\n    if LR != 0.1 and os.environ["EVOGIT_SEED"] == "1":\n        raise SystemExit(3)')
    top = make_toy(tmp_path / "toy", train=train)
    lab = Lab.open(top)
    list(lab.loop(LoopOptions(max_runs=0, max_hours=1e-9)))
    (top / "train.py").write_text(train.replace("LR = 0.1", "LR = 0.01"))
    list(lab.measure(parent=None, hypothesis="", message="crash on the second seed", options=LoopOptions()))

    run = lab.runs()[-1]
    assert (run.verdict.value, run.is_measured) == ("crash", True)
    assert lab.leaderboard() == [lab.run("0")] == lab.frontier()
    assert lab.run("incumbent") == lab.run("0")


def test_a_lineage_is_a_run_and_all_that_it_descends_from(lab):
    last = lab.runs()[-1]
    lineage = lab.lineage(last.label)

    assert (lineage[0], lineage[-1]) == (lab.run("0"), last)
    assert all(set(r.parents) <= {p.commit for p in lineage} for r in lineage)


def test_status_counts_what_the_log_lists(lab):
    status, runs = lab.status(), lab.runs()

    assert status.runs == sum(status.verdicts.values()) == len(runs)
    assert status.verdicts["keep"] == sum(r.is_kept for r in runs)
    assert sum(e["runs"] for e in status.emitters.values()) == len(runs)
    assert (status.baseline, status.incumbent) == (runs[0], lab.run("incumbent"))
    assert (status.in_flight, status.loop_pid, status.campaigns) == ((), 0, ("t1",))


def test_status_shows_what_is_in_flight_before_anything_is_decided(toy):
    lab = Lab.open(toy)
    lab.start("t1")

    status = lab.status()

    assert (status.runs, status.baseline, status.incumbent) == (0, None, None)
    assert [(f.run, f.state, f.emitter) for f in status.in_flight] == [("0", "pinned", "baseline")]


def test_export_has_the_header_of_older_notebooks(lab):
    rows = [line.split("\t") for line in lab.export().splitlines()]

    assert rows[0][:5] == ["commit", "val_loss", "memory_gb", "status", "description"]
    assert [r[0] for r in rows[1:]] == [r.commit[:7] for r in lab.runs() if r.verdict.value != "reject"]


def test_reading_moves_no_ref_and_writes_no_object(copy):
    before = git(copy, "for-each-ref"), git(copy, "count-objects")
    lab = Lab.open(copy)

    _ = lab.runs(), lab.show("1"), lab.leaderboard(), lab.frontier(), lab.status(), lab.export(), lab.doctor()

    assert (git(copy, "for-each-ref"), git(copy, "count-objects")) == before


def test_the_problem_is_the_campaigns_not_the_checkouts(copy):
    (copy / "evogit.toml").unlink()

    assert Lab.open(copy, tag="t1").problem.name == "toy"
    assert Lab.open(copy).run("0").label == "0"
