"""Where the disk refuses, one error in words comes out, whoever raised it; every other fault goes through."""

from __future__ import annotations

import errno
import os

import pygit2
import pytest

from evogit.errors import BackendDown, BadRecord, RepositoryError, WorkFailed
from evogit.git.refusals import disk_in_words
from evogit.git.repository import Repository
from toys import make_toy

FULL = "failed to write: No space left on device"


@pytest.fixture
def repo(tmp_path):
    return Repository.open(make_toy(tmp_path / "r"))


@pytest.mark.parametrize(
    "fault",
    [OSError(errno.ENOSPC, "No space left on device"), OSError(FULL), pygit2.GitError(FULL), BadRecord("x", FULL), RepositoryError(FULL)],
    ids=lambda fault: type(fault).__name__,
)
def test_a_full_disk_is_told_in_one_way_whoever_met_it(repo, fault):
    with pytest.raises(RepositoryError) as raised, disk_in_words(repo):
        raise fault

    assert raised.value.message == f"{repo.common}: no space left on device"
    assert "make room" in raised.value.hint


def test_the_file_is_named_where_it_is_known(repo):
    with pytest.raises(RepositoryError, match="^/somewhere/events.jsonl: read-only file system$"), disk_in_words(repo):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/somewhere/events.jsonl")


@pytest.mark.parametrize(
    "fault", [OSError(errno.EPIPE, "Broken pipe"), pygit2.GitError("no"), BackendDown(FULL), WorkFailed(FULL), KeyError(FULL)]
)
def test_other_faults_and_those_with_an_exit_code_of_their_own_go_through(repo, fault):
    with pytest.raises(type(fault)) as raised, disk_in_words(repo):
        raise fault

    assert raised.value is fault


def test_of_work_that_failed_the_cause_is_told_and_not_what_a_candidate_said(repo):
    with pytest.raises(RepositoryError, match="no space left"), disk_in_words(repo):
        raise WorkFailed("the run was not recorded") from OSError(errno.ENOSPC, FULL)
