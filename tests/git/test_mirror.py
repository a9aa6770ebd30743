"""Time stamps spare reads of files that have settled; they never vouch for a file that could have changed under them."""

from __future__ import annotations

import os
from pathlib import Path

import pygit2
import pytest

from evogit.git.mirror import Mirror

BEFORE, AFTER = b"LABELS = [1]\n", b"LABELS = [9]\n"


@pytest.fixture
def tree(tmp_path) -> str:
    repo = pygit2.init_repository(str(tmp_path / "repo"), bare=True)
    builder = repo.TreeBuilder()
    builder.insert("evaluate.py", repo.create_blob(BEFORE), pygit2.enums.FileMode.BLOB)
    return str(builder.write())


def mirror(tmp_path: Path, later_s: float, owner: int = -1) -> Mirror:
    """A mirror for whose filesystem it is `later_s` after the files were written."""
    root = tmp_path / "root"

    def clock() -> int:
        changed = [path.lstat().st_ctime_ns for path in root.rglob("*")]
        return max(changed, default=0) + int(later_s * 1e9)

    return Mirror(pygit2.Repository(str(tmp_path / "repo")), os.fsencode(root), os.fsencode(tmp_path / "trash"), clock, owner)


def test_a_settled_file_with_its_times_and_size_restored_is_found_changed(tmp_path, tree):
    held = mirror(tmp_path, later_s=3600)
    held.bring(tree)
    assert list(held.differences(tree)) == []
    path = tmp_path / "root/evaluate.py"
    found = path.stat()

    path.write_bytes(AFTER)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))

    assert [item.path for item in held.differences(tree)] == [b"evaluate.py"]
    held.bring(tree)
    assert path.read_bytes() == BEFORE


def test_a_change_that_leaves_every_time_stamp_as_it_was_is_found_while_the_file_is_young(tmp_path, tree, monkeypatch):
    monkeypatch.setattr("evogit.git.mirror._signature", lambda found: (found.st_size,))  # a clock too coarse to tell
    held = mirror(tmp_path, later_s=0.5)
    held.bring(tree)
    assert list(held.differences(tree)) == []

    (tmp_path / "root/evaluate.py").write_bytes(AFTER)

    assert [item.path for item in held.differences(tree)] == [b"evaluate.py"]


@pytest.mark.parametrize(
    "owner", [-1, pytest.param(65534, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away"))]
)
def test_a_settled_file_is_not_read_again(tmp_path, tree, monkeypatch, owner):
    held = mirror(tmp_path, later_s=3600, owner=owner)
    held.bring(tree)
    list(held.differences(tree))
    monkeypatch.setattr(Mirror, "_hash", lambda *_: pytest.fail("it was read"))

    held.bring(tree)

    assert list(held.differences(tree)) == []


def test_a_file_that_grew_to_gigabytes_of_holes_is_found_changed_and_not_read(tmp_path, tree, monkeypatch):
    held = mirror(tmp_path, later_s=3600)
    held.bring(tree)
    os.truncate(tmp_path / "root/evaluate.py", 1 << 40)
    monkeypatch.setattr(Mirror, "_hash", lambda *_: pytest.fail("it was read"))

    assert [(item.path, item.is_same_kind, item.same_bytes) for item in held.differences(tree)] == [(b"evaluate.py", True, False)]
    held.bring(tree)

    assert (tmp_path / "root/evaluate.py").read_bytes() == BEFORE


def test_what_is_known_of_trees_that_went_out_of_use_is_forgotten(tmp_path, tree):
    held = mirror(tmp_path, later_s=0)
    repo = pygit2.Repository(str(tmp_path / "repo"))
    for number in range(5):
        builder = repo.TreeBuilder(repo[tree])
        builder.insert("extra.py", repo.create_blob(b"%d" % number), pygit2.enums.FileMode.BLOB)
        held.bring(str(builder.write()))

    assert len(held._listings) == 1
