"""A campaign of twelve runs, read afterwards with plain git, as a person would in the morning."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from toys import evogit, git, make_toy

RUNS = 12
BRANCH = "autoresearch/t1"


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """The repository after the campaign; tests that change it take a copy."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("searched-home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        repo = make_toy(tmp_path_factory.mktemp("searched") / "toy")
        evogit(repo, "start", "t1")
        evogit(repo, "loop", "--tag", "t1", "--max-runs", str(RUNS))
        return repo


@pytest.fixture
def copy(searched, tmp_path) -> Path:
    shutil.copytree(searched, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def book(repo: Path) -> str:
    return evogit(repo, "log", "--tag", "t1", "--json").stdout


def runs(repo: Path) -> list[dict]:
    return [json.loads(line) for line in book(repo).splitlines()]


def test_git_fsck_finds_nothing_after_a_campaign(searched):
    assert git(searched, "fsck", "--strict", "--no-dangling") == ""


def test_the_branch_shows_one_decision_a_run(searched):
    base = git(searched, "rev-parse", "main").strip()
    subjects = git(searched, "log", "--first-parent", "--reverse", "--format=%s", f"{base}..{BRANCH}").splitlines()

    decisions = [s for s in subjects if s.split()[0] in {"keep", "discard", "crash", "reject"}]
    assert [s.split()[1].rstrip(":") for s in decisions] == [r["run"] for r in runs(searched)]
    assert all(s.startswith("replicate ") for s in subjects if s not in decisions)


def test_as_many_runs_are_decided_as_were_asked_for(searched):
    replicates = git(searched, "log", "--first-parent", "--format=%s", BRANCH).count("replicate ")

    assert RUNS - replicates <= len(runs(searched)) - 1 <= RUNS
    assert any(r["verdict"] == "keep" for r in runs(searched)[1:])


def test_git_log_with_notes_shows_the_numbers_of_every_measured_run(searched):
    for run in runs(searched):
        shown = git(searched, "log", "-1", "--notes=evogit/metrics", run["commit"])

        for value in run["metrics"].get("val_loss", {"values": []})["values"]:
            assert repr(value) in shown


def test_the_tree_at_the_tip_is_that_of_the_incumbent(searched):
    incumbent = evogit(searched, "show", "incumbent", "--tag", "t1", "--json").stdout
    commit = json.loads(incumbent)["commit"]

    assert git(searched, "rev-parse", f"{BRANCH}^{{tree}}") == git(searched, "rev-parse", f"{commit}^{{tree}}")


def test_every_run_commit_touches_mutable_files_only(searched):
    for run in runs(searched)[1:]:
        assert git(searched, "diff", "--name-only", run["parents"][0], run["commit"]).split() in (["train.py"], [])


def test_the_ancestry_of_a_run_holds_runs_and_the_base_alone(searched):
    known = {r["commit"] for r in runs(searched)} | {git(searched, "rev-parse", "main").strip()}

    for run in runs(searched):
        assert set(git(searched, "rev-list", run["commit"]).split()) <= known


def test_no_number_is_in_a_run_commit_and_a_forecast_is_there_before_it(searched):
    for run in runs(searched):
        text = git(searched, "log", "-1", "--format=%B", run["commit"])

        for value in run["metrics"].get("val_loss", {"values": []})["values"]:
            assert repr(value) not in text


def test_the_first_kept_run_can_be_cherry_picked_onto_main(copy):
    kept = next(r for r in runs(copy)[1:] if r["verdict"] == "keep" and len(r["parents"]) == 1)
    git(copy, "checkout", "-q", "main")

    git(copy, "cherry-pick", kept["commit"])

    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "diff", "--name-only", "HEAD~1").split() == ["train.py"]


def test_the_checkout_is_left_alone(searched):
    assert git(searched, "rev-parse", "--abbrev-ref", "HEAD").strip() == "main"
    assert git(searched, "status", "--porcelain", "--ignored") == ""


def test_nothing_is_left_in_flight(searched):
    assert git(searched, "for-each-ref", "refs/evogit/t1/inflight") == ""


def test_the_books_read_the_same_without_notes_views_and_caches(copy, private_home):
    before = book(copy)
    for ref in git(copy, "for-each-ref", "--format=%(refname)", "refs/notes", "refs/evogit/t1/artifacts").split():
        git(copy, "update-ref", "-d", ref)
    shutil.rmtree(copy / ".git" / "evogit")
    shutil.rmtree(private_home / "cache", ignore_errors=True)

    assert book(copy) == before


def test_a_loop_goes_on_without_notes_views_and_caches(copy, private_home):
    before = [int(r["run"]) for r in runs(copy)]
    for ref in git(copy, "for-each-ref", "--format=%(refname)", "refs/notes", "refs/evogit/t1").split():
        git(copy, "update-ref", "-d", ref)
    clone = (copy / ".git" / "evogit" / "clone").read_text()
    shutil.rmtree(copy / ".git" / "evogit")
    (copy / ".git" / "evogit").mkdir()
    (copy / ".git" / "evogit" / "clone").write_text(clone)

    evogit(copy, "loop", "--tag", "t1", "--max-runs", "2", "--emitter", "local_tuner")

    numbers = [int(r["run"]) for r in runs(copy)]
    assert numbers[: len(before)] == before
    assert max(before) < min(numbers[len(before) :])
    assert git(copy, "fsck", "--no-dangling") == ""


def test_the_same_seed_finds_the_same_runs(searched, tmp_path):
    again = make_toy(tmp_path / "toy")
    evogit(again, "start", "t1")

    evogit(again, "loop", "--tag", "t1", "--max-runs", "5")

    told = [(r["summary"], r["verdict"], r["metrics"]) for r in runs(again)]
    assert told == [(r["summary"], r["verdict"], r["metrics"]) for r in runs(searched)][: len(told)]


def test_results_tsv_has_a_row_for_all_that_ran(searched):
    rows = (searched / ".git/evogit/views/t1/results.tsv").read_text().splitlines()

    assert rows[0].split("\t")[:5] == ["commit", "val_loss", "memory_gb", "status", "description"]
    assert len(rows) == 1 + sum(r["verdict"] != "reject" for r in runs(searched))
    assert evogit(searched, "export", "--tag", "t1").stdout.splitlines() == rows


def test_every_face_reads_the_campaign(searched):
    for command in ("log", "status", "leaderboard", "frontier", "lineage incumbent", "show 1", "diff 1", "doctor"):
        done = evogit(searched, *command.split(), "--tag", "t1")

        assert done.stdout.strip(), command
        assert done.stderr == "", command
