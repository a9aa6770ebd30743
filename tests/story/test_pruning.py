"""Campaigns that are over go into the archive and come back whole; tags name runs; nothing goes for good unless it is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.errors import Busy, RefMoved, RepositoryError, UnknownName, UserError
from evogit.git import archive, refs
from evogit.git.history import History
from evogit.git.locks import loop_lock
from evogit.git.repository import Repository
from evogit.lab import Lab
from toys import evogit, git


def refs_of(repo: Path) -> dict[str, str]:
    return dict(line.split()[::-1] for line in git(repo, "for-each-ref", "--format=%(objectname) %(refname)").splitlines())


def told(repo: Path) -> dict[str, object]:
    history = History.read(Repository.open(repo), "t1")
    return {name: value for name, value in vars(history).items() if name not in ("revision", "_repo")}


def test_an_archived_campaign_is_in_no_list_loses_no_object_and_comes_back_as_it_was(book):
    before, history = refs_of(book), told(book)

    Lab.open(book).prune(["t1"])

    after = refs_of(book)
    assert set(after) - set(before) == {"refs/evogit/archive/t1"}
    assert set(before) - set(after) == {name for name in before if "/t1" in name}
    assert Lab.open(book).campaigns() == []
    git(book, "reflog", "expire", "--expire=now", "--all")
    git(book, "gc", "-q", "--prune=now")
    assert git(book, "fsck", "--full", "--no-dangling", "--strict") == ""
    Lab.open(book).restore("t1")
    assert refs_of(book) == before and told(book) == history


def test_the_commands_say_where_an_archived_campaign_is(book):
    evogit(book, "prune", "t1")

    for words in (["log", "--tag", "t1"], ["start", "t1"]):
        done = evogit(book, *words, check=False)
        assert done.returncode == 2 and "campaign t1 is archived" in done.stderr and "evogit prune --restore t1" in done.stderr
    assert "archived" in evogit(book, "prune").stdout
    assert evogit(book, "prune", "--restore", "t1").stdout.startswith("campaign t1 is back")
    assert "smaller steps" in evogit(book, "log", "--tag", "t1").stdout


def test_a_campaign_that_lives_is_refused_whole(book):
    repo, before = Repository.open(book), refs_of(book)

    with loop_lock(repo, "t1"), pytest.raises(Busy, match="runs the loop of campaign t1"):
        Lab.open(book).prune(["t1"])
    git(book, "checkout", "-q", "autoresearch/t1")
    with pytest.raises(UserError, match="is checked out in"):
        Lab.open(book).prune(["t1"])
    git(book, "checkout", "-q", "main")
    evogit(book, "start", "t2")
    with pytest.raises(UserError, match="1 run of campaign t2 is in flight"):
        Lab.open(book).prune(["t2"])

    assert {name: hash for name, hash in refs_of(book).items() if "/t2" not in name} == before


def test_a_flight_goes_along_where_that_is_asked_and_comes_back(book):
    evogit(book, "start", "t2")
    before = refs_of(book)

    Lab.open(book).prune(["t2"], flights=True)
    assert not any("/t2/inflight" in name for name in refs_of(book))
    Lab.open(book).restore("t2")

    assert refs_of(book) == before
    evogit(book, "baseline", "--tag", "t2", "--seeds", "1")
    assert Lab.open(book, tag="t2").run("0").is_kept


def test_age_chooses_and_a_campaign_that_is_not_over_is_kept_and_said(book):
    evogit(book, "start", "t2")

    young = Lab.open(book).prune([], older_than_s=3600.0)
    every = Lab.open(book).prune([], older_than_s=0.0)

    assert [done.action for done in young] == ["kept", "kept"]
    assert [(done.tag, done.action) for done in every] == [("t1", "archived"), ("t2", "kept")]
    assert "in flight" in every[1].why


def test_deleting_needs_a_word_and_then_takes_archive_and_all(book):
    refused = evogit(book, "prune", "t1", "--delete", check=False)
    assert refused.returncode == 2 and "for good: t1" in refused.stderr and Lab.open(book).campaigns() == ["t1"]

    evogit(book, "prune", "t1")
    evogit(book, "prune", "t1", "--delete", "--yes")

    assert not any("t1" in name for name in refs_of(book))
    assert git(book, "fsck", "--full", "--no-dangling", "--strict") == ""
    assert {"refs/notes/evogit/metrics", "refs/heads/main"} <= set(refs_of(book))


@pytest.mark.parametrize(
    "words",
    [["nope"], ["--restore", "nope"], ["--older-than", "soon"], ["--older-than", "-3d"], ["--delete"], ["t1", "--restore", "t1"]],
)
def test_what_makes_no_sense_is_one_line_and_two(book, words):
    before = refs_of(book)

    done = evogit(book, "prune", *words, check=False)

    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert refs_of(book) == before


def test_a_dry_run_changes_nothing(book):
    before = refs_of(book)

    assert evogit(book, "prune", "t1", "--dry-run").stdout == "campaign t1 would be archived\n"
    assert evogit(book, "prune", "t1", "--delete", "--dry-run").stdout == "campaign t1 would be deleted\n"
    assert refs_of(book) == before


def test_a_branch_that_moves_while_it_is_archived_brings_everything_back(book, monkeypatch):
    repo, real, before = Repository.open(book), refs.move, refs_of(book)

    def meddled(repo, ref, new, old, message):
        if ref == "refs/heads/autoresearch/t1" and new is None:
            raise RefMoved(ref)
        real(repo, ref, new, old, message)

    monkeypatch.setattr(refs, "move", meddled)
    with pytest.raises(RefMoved):
        archive.store(repo, "t1", "archive t1")

    assert refs_of(book) == before


def test_an_archive_that_was_cut_short_is_ended_by_asking_again(book):
    repo, before = Repository.open(book), refs_of(book)
    archive.store(repo, "t1", "archive t1")
    git(book, "update-ref", "refs/heads/autoresearch/t1", before["refs/heads/autoresearch/t1"])  # as if killed before the branch went

    Lab.open(book).prune(["t1"])
    assert Lab.open(book).campaigns() == []
    Lab.open(book).restore("t1")

    assert refs_of(book) == before


def test_an_archive_is_never_written_over_and_never_restored_over_another(book):
    repo = Repository.open(book)
    archive.store(repo, "t1", "archive t1")
    git(book, "branch", "autoresearch/t1", "main")

    with pytest.raises(RepositoryError, match="exists and is another one"):
        archive.restore(repo, "t1")
    with pytest.raises(RepositoryError, match="is archived already"):
        archive.store(repo, "t1", "archive t1")
    with pytest.raises(UnknownName) as caught:
        archive.read(repo, "t9")
    assert caught.value.hint == "archived are: t1"


def test_two_who_prune_at_once_archive_once(book):
    command = [sys.executable, "-m", "evogit.cli", "prune", "t1"]
    both = [subprocess.Popen(command, cwd=book, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)

    assert sorted(process.returncode for process in both) == [0, 2]
    assert [name for name in refs_of(book) if "t1" in name] == ["refs/evogit/archive/t1"]


TAGS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters=" ~^:?*[\\"), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tags=st.lists(TAGS, min_size=2, max_size=2, unique=True))
def test_names_of_archives_never_meet_and_none_is_a_folder_of_another(tags):
    one, two = map(refs.archive, tags)

    assert one != two and not one.startswith(f"{two}/") and not two.startswith(f"{one}/")
    assert one.removeprefix(refs.ARCHIVE).count("/") == 0


def test_a_tag_carries_the_numbers_and_is_listed(book):
    evogit(book, "tag", "5", "best-so-far", "--tag", "t1")

    commit = Lab.open(book, tag="t1").run("5").commit
    text = git(book, "tag", "-l", "--format=%(objecttype) %(*objectname) %(contents)", "best-so-far")
    assert text.startswith(f"tag {commit} run 5: more momentum (val_loss ")
    assert "MOMENTUM = 0.9 is nearer to the best" in text and "params 160 (n = 1)" in text
    assert "best-so-far" in evogit(book, "tag", "--tag", "t1").stdout
    assert git(book, "fsck", "--full", "--no-dangling", "--strict") == ""


@pytest.mark.parametrize("name", ["", "-x", "a..b", "evogit/t1/mine", "a b", "a.lock", "\x1b[31m"])
def test_a_name_that_is_none_is_no_tag(book, name):
    with pytest.raises(UserError):
        Lab.open(book, tag="t1").tag_run("5", name)

    assert git(book, "tag") == ""


def test_a_tag_that_is_there_moves_only_by_force(book):
    lab = Lab.open(book, tag="t1")
    lab.tag_run("2", "best")

    with pytest.raises(UserError, match="there is a tag best already, on run 2"):
        lab.tag_run("5", "best")
    lab.tag_run("5", "best", is_forced=True)

    assert [(tagged.name, tagged.run.label) for tagged in lab.tagged()] == [("best", "5")]
