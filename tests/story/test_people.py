"""People on the campaign's branch: nothing of theirs is dropped, and their checkout stays theirs."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from evogit.lab import Lab
from evogit.present import log_object
from toys import TOML, evogit, git, make_toy

ONE_SEED = TOML.replace("[0, 1]", "[0]")
BRANCH = "autoresearch/t1"
TUNE = ("--emitter", "local_tuner")


def runs(repo: Path) -> list[dict]:
    """What `evogit log --json` prints, without the process."""
    return [log_object(run) for run in Lab.open(repo, tag="t1").runs()]


def loop(repo: Path, count: int, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return evogit(repo, "loop", "--tag", "t1", "--max-runs", str(count), *TUNE, *more, check=check)


def write(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def commit(repo: Path, message: str) -> str:
    git(repo, "commit", "-q", "-a", "-m", message)
    return git(repo, "rev-parse", "HEAD").strip()


def tip_tree(repo: Path) -> str:
    return git(repo, "rev-parse", f"{BRANCH}^{{tree}}")


def hint_of(done: subprocess.CompletedProcess[str]) -> str:
    return next(line for line in done.stderr.splitlines() if line.startswith("hint:"))


def command_in(hint: str, starting: str) -> list[str]:
    return shlex.split(next(part for part in hint.split("`") if part.startswith(starting)))


# a person's commit at the tip


def test_a_commit_of_mutable_files_is_adopted_and_decided_as_a_run(repo):
    git(repo, "checkout", "-q", BRANCH)
    write(repo / "train.py", "LR = 0.1", "LR = 0.02")
    mine = commit(repo, "smaller steps\n\nThey diverge.")

    loop(repo, 1)

    adopted = next(r for r in runs(repo) if r["emitter"] == "person")
    assert adopted["verdict"] == "keep"
    assert (adopted["summary"], adopted["hypothesis"]) == ("smaller steps", "They diverge.")
    assert f"Evogit-Adopts: {mine}" in git(repo, "log", "-1", "--format=%B", adopted["commit"])
    assert git(repo, "merge-base", "--is-ancestor", mine, BRANCH) == ""


def test_an_adopted_commit_that_is_worse_is_discarded_and_stays_in_history(repo):
    before = tip_tree(repo)
    git(repo, "checkout", "-q", BRANCH)
    write(repo / "train.py", "LR = 0.1", "LR = 9.0")
    mine = commit(repo, "huge steps")

    loop(repo, 1)

    adopted = next(r for r in runs(repo) if r["emitter"] == "person")
    assert adopted["verdict"] == "discard"
    assert mine in git(repo, "rev-list", BRANCH).split()
    assert "LR = 9.0" not in git(repo, "show", f"{BRANCH}:train.py")
    assert git(repo, "status", "--porcelain") == ""
    assert tip_tree(repo) == before or runs(repo)[-1]["verdict"] == "keep"


def test_several_commits_of_a_person_are_adopted_as_one_run(repo):
    git(repo, "checkout", "-q", BRANCH)
    write(repo / "train.py", "LR = 0.1", "LR = 0.05")
    first = commit(repo, "one")
    write(repo / "train.py", "WIDTH = 8", "WIDTH = 16")
    second = commit(repo, "two")

    loop(repo, 1)

    adopted = [r for r in runs(repo) if r["emitter"] == "person"]
    assert len(adopted) == 1
    assert {first, second} <= set(git(repo, "rev-list", BRANCH).split())
    assert "WIDTH = 16" in git(repo, "show", f"{adopted[0]['commit']}:train.py")


def test_an_empty_commit_of_a_person_changes_nothing(repo):
    git(repo, "checkout", "-q", BRANCH)
    git(repo, "commit", "-q", "--allow-empty", "-m", "a remark")

    loop(repo, 1)

    assert [r["run"] for r in runs(repo)] == ["0", "1"]
    assert "a remark" in git(repo, "log", "--format=%s", BRANCH)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("program.md", "small", "tiny"), ("evogit.toml", "timeout_s = 20", "timeout_s = 15"), ("README.md", "toy", "tool")],
)
def test_a_commit_of_frozen_files_opens_an_epoch_with_a_new_baseline(repo, name, old, new):
    loop(repo, 1)
    git(repo, "checkout", "-q", BRANCH)
    write(repo / name, old, new)
    commit(repo, "another problem")

    loop(repo, 1)

    told = runs(repo)
    assert [r["emitter"] for r in told] == ["baseline", "local_tuner", "baseline", "local_tuner"]
    assert told[3]["parents"] == [told[2]["commit"]]
    assert new in git(repo, "show", f"{BRANCH}:{name}")
    assert f"epoch 1: {name} changed" in git(repo, "log", "--first-parent", "--format=%s", BRANCH)
    assert git(repo, "fsck", "--no-dangling") == ""


def test_a_commit_of_frozen_and_mutable_files_opens_an_epoch_that_has_both(repo):
    git(repo, "checkout", "-q", BRANCH)
    write(repo / "program.md", "small", "tiny")
    write(repo / "train.py", "LR = 0.1", "LR = 0.03")
    commit(repo, "another problem, and a better start")

    loop(repo, 1)

    baseline = runs(repo)[1]
    assert baseline["emitter"] == "baseline"
    assert "LR = 0.03" in git(repo, "show", f"{baseline['commit']}:train.py")


def test_a_commit_that_breaks_the_problem_file_is_refused_and_can_be_mended(repo):
    git(repo, "checkout", "-q", BRANCH)
    write(repo / "evogit.toml", 'command = "python train.py"', "command = 3")
    commit(repo, "a slip")
    refused = loop(repo, 1, check=False)
    write(repo / "evogit.toml", "command = 3", 'command = "python train.py"')
    commit(repo, "mended")

    loop(repo, 1)

    assert refused.returncode == 2
    assert "evogit.toml" in refused.stderr
    assert [r["run"] for r in runs(repo)][:2] == ["0", "1"]


# a rewritten branch


@pytest.mark.parametrize("rewrite", ["amend", "rebase", "reset"])
def test_a_rewritten_branch_is_refused_and_the_hint_restores_it(repo, rewrite):
    loop(repo, 1)
    before, told = git(repo, "rev-parse", BRANCH), runs(repo)
    git(repo, "checkout", "-q", BRANCH)
    if rewrite == "amend":
        git(repo, "commit", "-q", "--amend", "-m", "I know better")
    elif rewrite == "rebase":
        git(repo, "rebase", "-q", "--force-rebase", "main")
    else:
        git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "checkout", "-q", "main")

    refused = loop(repo, 1, check=False)
    git(repo, *command_in(hint_of(refused), "git update-ref")[1:])

    assert refused.returncode == 2
    assert "was rewritten" in refused.stderr
    assert git(repo, "rev-parse", BRANCH) == before
    assert runs(repo) == told
    loop(repo, 1)


# the checkout


def test_a_checked_out_branch_follows_and_uncommitted_work_stays(repo):
    git(repo, "checkout", "-q", BRANCH)
    write(repo / "README.md", "A toy.", "A toy, which I am writing about.")
    (repo / "scratch.txt").write_text("mine")

    loop(repo, 8)

    assert any(r["verdict"] == "keep" for r in runs(repo)[1:])
    assert git(repo, "status", "--porcelain").split("\n") == [" M README.md", "?? scratch.txt", ""]
    assert (repo / "train.py").read_text() == git(repo, "show", f"{BRANCH}:train.py")
    assert git(repo, "rev-parse", "--abbrev-ref", "HEAD").strip() == BRANCH


def test_where_git_cannot_follow_head_is_detached_and_it_is_said(repo):
    git(repo, "checkout", "-q", BRANCH)
    write(repo / "train.py", "MOMENTUM = 0.5", "MOMENTUM = 0.51")
    mine = (repo / "train.py").read_text()

    done = loop(repo, 8)

    assert any(r["verdict"] == "keep" for r in runs(repo)[1:])
    assert (repo / "train.py").read_text() == mine
    assert git(repo, "rev-parse", "--abbrev-ref", "HEAD").strip() == "HEAD"
    assert "detached" in done.stdout + done.stderr
    assert f"git switch {BRANCH}" in done.stdout + done.stderr


def test_a_linked_worktree_with_the_branch_follows_too(repo, tmp_path):
    git(repo, "worktree", "add", "-q", str(tmp_path / "beside"), BRANCH)

    loop(repo, 8)

    assert any(r["verdict"] == "keep" for r in runs(repo)[1:])
    assert git(tmp_path / "beside", "status", "--porcelain") == ""
    assert (tmp_path / "beside" / "train.py").read_text() == git(repo, "show", f"{BRANCH}:train.py")
    assert git(repo, "rev-parse", "--abbrev-ref", "HEAD").strip() == "main"


def test_a_loop_started_in_a_linked_worktree_works_on_the_same_campaign(repo, tmp_path):
    git(repo, "worktree", "add", "-q", str(tmp_path / "beside"), BRANCH)

    evogit(tmp_path / "beside", "loop", "--max-runs", "2", *TUNE)

    assert len(runs(repo)) == 3
    assert git(tmp_path / "beside", "status", "--porcelain") == ""
    assert not (tmp_path / "beside" / ".git" / "evogit").exists()


def test_results_tsv_appears_beside_the_problem_where_the_branch_is_checked_out(repo):
    git(repo, "checkout", "-q", BRANCH)

    loop(repo, 2)

    assert (repo / "results.tsv").read_text() == evogit(repo, "export").stdout
    assert git(repo, "status", "--porcelain") == ""
    assert "/results.tsv" in (repo / ".git/info/exclude").read_text().splitlines()


def test_results_tsv_appears_nowhere_else(repo):
    loop(repo, 1)

    assert not (repo / "results.tsv").exists()


def test_a_foreign_results_tsv_is_never_written_over(repo):
    (repo / "results.tsv").write_text("mine\n")
    git(repo, "checkout", "-q", BRANCH)

    loop(repo, 2)

    assert (repo / "results.tsv").read_text() == "mine\n"


def test_a_tracked_results_tsv_is_never_written_over_even_with_our_header(tmp_path):
    header = "commit\tval_loss\tmemory_gb\tstatus\tdescription\trun\temitter\tparents\tseeds\n"
    top = make_toy(tmp_path / "toy", toml=ONE_SEED, extra={"results.tsv": header})
    evogit(top, "start", "t1")
    git(top, "checkout", "-q", BRANCH)

    loop(top, 2)

    assert (top / "results.tsv").read_text() == header
    assert git(top, "status", "--porcelain") == ""
    assert len((top / ".git/evogit/views/t1/results.tsv").read_text().splitlines()) == 4


def test_a_results_tsv_that_is_a_link_is_not_followed(repo, tmp_path):
    (tmp_path / "elsewhere.tsv").write_text("")
    git(repo, "checkout", "-q", BRANCH)
    (repo / "results.tsv").symlink_to(tmp_path / "elsewhere.tsv")

    loop(repo, 1)

    assert (tmp_path / "elsewhere.tsv").read_text() == ""
    assert (repo / "results.tsv").is_symlink()


def test_a_link_to_one_of_our_own_views_is_not_written_through(repo, tmp_path):
    loop(repo, 1)
    shutil.copy(repo / ".git/evogit/views/t1/results.tsv", tmp_path / "elsewhere.tsv")
    before = (tmp_path / "elsewhere.tsv").read_text()
    git(repo, "checkout", "-q", BRANCH)
    (repo / "results.tsv").symlink_to(tmp_path / "elsewhere.tsv")

    loop(repo, 1)

    assert (tmp_path / "elsewhere.tsv").read_text() == before


# notes


def test_a_deleted_notes_ref_is_built_again_from_the_branch(repo):
    loop(repo, 2)
    before = {r["commit"]: git(repo, "notes", "--ref=evogit/metrics", "show", r["commit"]) for r in runs(repo)}
    git(repo, "update-ref", "-d", "refs/notes/evogit/metrics")

    evogit(repo, "doctor", "--fix", "--tag", "t1")

    assert {c: git(repo, "notes", "--ref=evogit/metrics", "show", c) for c in before} == before


def test_an_edited_note_changes_no_verdict(repo):
    loop(repo, 2)
    before = runs(repo)
    git(repo, "notes", "--ref=evogit/metrics", "add", "-f", "-m", '{"v":1,"metrics":{"val_loss":0}}', before[1]["commit"])

    assert runs(repo) == before


# a person's own run


def test_a_persons_run_carries_their_words_and_is_decided(repo):
    write(repo / "train.py", "LR = 0.1", "LR = 0.02")

    evogit(repo, "run", "--tag", "t1", "-m", "smaller steps", "--hypothesis", "the bowl is narrow")

    told = runs(repo)[-1]
    assert (told["emitter"], told["verdict"], told["summary"], told["hypothesis"]) == (
        "person",
        "keep",
        "smaller steps",
        "the bowl is narrow",
    )
    assert git(repo, "rev-parse", "--abbrev-ref", "HEAD").strip() == "main"
    assert git(repo, "status", "--porcelain") == " M train.py\n"


def test_a_persons_run_may_start_from_any_run(repo):
    write(repo / "train.py", "LR = 0.1", "LR = 0.02")
    evogit(repo, "run", "--tag", "t1")
    write(repo / "train.py", "LR = 0.02", "LR = 0.03")

    evogit(repo, "run", "--tag", "t1", "--parent", "0")

    told = runs(repo)
    assert told[2]["parents"] == [told[0]["commit"]]


def test_a_persons_run_with_a_frozen_edit_is_a_reject_and_names_the_file(repo):
    write(repo / "train.py", "LR = 0.1", "LR = 0.02")
    write(repo / "program.md", "small", "large")

    done = evogit(repo, "run", "--tag", "t1", check=False)

    told = runs(repo)[-1]
    assert done.returncode == 1
    assert told["verdict"] == "reject"
    assert "program.md" in done.stdout
    assert "large" not in git(repo, "show", f"{told['commit']}:program.md")


def test_a_persons_run_without_an_edit_is_refused(repo):
    done = evogit(repo, "run", "--tag", "t1", check=False)

    assert done.returncode == 2
    assert "no mutable file differs from run 0" in done.stderr
    assert len(runs(repo)) == 1


def test_an_unknown_parent_of_a_persons_run_is_refused(repo):
    write(repo / "train.py", "LR = 0.1", "LR = 0.02")

    done = evogit(repo, "run", "--tag", "t1", "--parent", "99", check=False)

    assert done.returncode == 2
    assert "has no run '99'" in done.stderr


def test_a_persons_first_run_measures_the_baseline_before_it(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    evogit(top, "start", "t1")
    write(top / "train.py", "LR = 0.1", "LR = 0.02")

    evogit(top, "run", "--tag", "t1")

    assert [(r["emitter"], r["verdict"]) for r in runs(top)] == [("baseline", "keep"), ("person", "keep")]


def test_a_persons_run_that_repeats_a_run_is_refused_with_its_twin(repo):
    write(repo / "train.py", "LR = 0.1", "LR = 0.02")
    evogit(repo, "run", "--tag", "t1")
    evogit(repo, "run", "--tag", "t1", "--parent", "0", check=False)

    assert runs(repo)[-1]["verdict"] == "reject"
    assert "the same code as run 1" in evogit(repo, "show", "2", "--tag", "t1").stdout


# what a person asks of a loop


def test_more_baseline_seeds_become_replicates_of_run_0(repo):
    evogit(repo, "baseline", "--tag", "t1", "--seeds", "5")

    shown = json.loads(evogit(repo, "show", "0", "--tag", "t1", "--json").stdout)
    assert {t["seed"] for t in shown["trials"]} == {0, 1, 2, 3, 4}
    assert len(runs(repo)) == 1
    again = evogit(repo, "baseline", "--tag", "t1", "--seeds", "5", check=False)
    assert again.returncode == 2
    assert "has 5 readings already" in again.stderr


def test_arguments_that_change_what_is_measured_open_an_epoch(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    evogit(top, "start", "t1")
    loop(top, 1)

    loop(top, 1, "--", "--dataset", "other")
    loop(top, 1)

    told = runs(top)
    assert [r["emitter"] for r in told] == ["baseline", "local_tuner"] * 3
    assert [r["arm"] for r in told] == [None, None, "--dataset other", "--dataset other", None, None]


def test_a_smoke_loop_measures_nothing_and_opens_no_epoch(tmp_path):
    toml = ONE_SEED.replace('command = "python train.py"', 'command = "python train.py"\nsmoke = "python -c pass"')
    top = make_toy(tmp_path / "toy", toml=toml)
    evogit(top, "start", "t1")

    loop(top, 1, "--smoke")
    smoked = runs(top)
    loop(top, 1)

    assert all(r["metrics"] == {} for r in smoked)
    assert [r["emitter"] for r in runs(top)] == ["baseline", "local_tuner", "baseline", "local_tuner"]
    assert runs(top)[-1]["metrics"]


def test_a_baseline_that_waits_is_measured_as_the_first_loop_asks(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    evogit(top, "start", "t1")

    loop(top, 1, "--", "--dataset", "other")

    assert [(r["emitter"], r["arm"]) for r in runs(top)] == [("baseline", "--dataset other"), ("local_tuner", "--dataset other")]


def test_smoke_without_a_smoke_command_is_refused(repo):
    done = loop(repo, 1, "--smoke", check=False)

    assert done.returncode == 2
    assert "no smoke command" in done.stderr


def test_a_loop_ends_when_its_target_is_met(repo):
    done = loop(repo, 40, "--until", "val_loss<0.262")

    assert "val_loss < 0.262 is met by run" in done.stdout
    assert 1 < len(runs(repo)) < 41


def test_a_loop_ends_when_patience_is_over(repo):
    done = loop(repo, 40, "--patience", "2")

    assert "2 runs in a row kept nothing" in done.stdout


def test_a_loop_ends_when_its_hours_are_over(repo):
    done = evogit(repo, "loop", "--tag", "t1", "--max-hours", "0.0000001")

    assert "hours are over" in done.stdout
    assert len(runs(repo)) == 1


def test_the_noop_agent_only_takes_readings(repo):
    loop(repo, 3, "--agent", "noop")

    assert len(runs(repo)) == 1
    assert git(repo, "log", "--first-parent", "--format=%s", BRANCH).count("replicate 0") == 3
    assert git(repo, "fsck", "--no-dangling") == ""


def test_two_workers_record_every_run_once(tmp_path):
    top = make_toy(tmp_path / "toy", toml=ONE_SEED)
    evogit(top, "start", "t1")

    evogit(top, "loop", "--tag", "t1", "--max-runs", "6", "--workers", "2", "--emitter", "local_tuner")

    labels = [r["run"] for r in runs(top)]
    assert sorted(map(int, labels)) == list(range(7))
    assert git(top, "for-each-ref", "refs/evogit/t1/inflight") == ""
