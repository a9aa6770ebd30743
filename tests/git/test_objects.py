from __future__ import annotations

import subprocess
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.errors import BadRecord
from evogit.git import objects
from evogit.git.repository import Repository


def git(folder: Path, *args: str, data: bytes = b"") -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, input=data).stdout.decode().strip()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("objects")
    git(folder, "init", "-q")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")
    return Repository.open(folder)


def contents(repo: Repository, tree: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def walk(here: pygit2.Tree, where: str) -> None:
        for entry in here:
            if isinstance(entry, pygit2.Tree):
                walk(entry, f"{where}{entry.name}/")
            else:
                found[where + entry.name] = entry.data

    walk(repo.tree(tree), "")
    return found


def test_fanout_has_two_levels():
    assert objects.fanout("0123456789" * 4) == "01/23/" + ("0123456789" * 4)[4:]


def test_paths_are_added_replaced_and_removed(repo: Repository):
    first = objects.put_paths(repo, None, {"a/b/c": b"1", "a/d": b"2", "e": b"3"})
    second = objects.put_paths(repo, first, {"a/b/c": b"9", "e": None, "f/g": objects.write_blob(repo, b"4"), "gone": None})

    assert contents(repo, second) == {"a/b/c": b"9", "a/d": b"2", "f/g": b"4"}
    assert git(repo.top, "ls-tree", "-r", "--name-only", second).split() == ["a/b/c", "a/d", "f/g"]


def test_the_same_content_is_the_same_tree(repo: Repository):
    tree = objects.put_paths(repo, None, {"a/b": b"1", "c": b"2"})

    assert objects.put_paths(repo, tree, {"a/b": b"1"}) == tree
    assert objects.put_paths(repo, tree, {}) == tree


def test_a_folder_left_empty_goes(repo: Repository):
    tree = objects.put_paths(repo, None, {"a/b/c": b"1", "d": b"2"})

    assert objects.put_paths(repo, tree, {"a/b/c": None}) == objects.put_paths(repo, None, {"d": b"2"})
    assert objects.put_paths(repo, tree, {"a": None, "d": None}) == objects.put_paths(repo, None, {})


def test_modes_of_files_are_kept_and_a_link_becomes_a_file(repo: Repository):
    blob = objects.write_blob(repo, b"target")
    listing = f"100755 blob {blob}\trun\n120000 blob {blob}\tlink\n160000 commit {'1' * 40}\tmodule\n"
    tree = git(repo.top, "mktree", "--missing", data=listing.encode())
    tree = objects.put_paths(repo, tree, {"run": b"x", "link": b"y", "new": b"z"})

    modes = {line.split("\t")[1]: line.split()[0] for line in git(repo.top, "ls-tree", tree).splitlines()}
    assert modes == {"run": "100755", "link": "100644", "new": "100644", "module": "160000"}


def test_file_and_folder_replace_each_other(repo: Repository):
    tree = objects.put_paths(repo, None, {"a": b"1", "b/c": b"2"})

    assert contents(repo, objects.put_paths(repo, tree, {"a/x": b"3", "b": b"4"})) == {"a/x": b"3", "b": b"4"}


def test_a_tree_can_be_put_by_its_hash(repo: Repository):
    part = objects.put_paths(repo, None, {"stdout": b"1"})

    assert contents(repo, objects.put_paths(repo, None, {"s0": part})) == {"s0/stdout": b"1"}


def test_entries_with_foreign_names_survive(repo: Repository):
    blob = objects.write_blob(repo, b"x")
    tree = git(repo.top, "mktree", "-z", data=b"100644 blob %s\tcaf\xe9\x00" % blob.encode())
    tree = objects.put_paths(repo, tree, {"new": b"y"})
    objects.verify(repo, tree)

    assert len(repo.tree(tree)) == 2


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", ".", ".git", "a/.git/config", "a\udcff"])
def test_paths_that_git_cannot_hold_are_refused(repo: Repository, path: str):
    with pytest.raises(BadRecord):
        objects.put_paths(repo, None, {path: b"x"})


@pytest.mark.parametrize("files", [{"a": b"1", "a/b": b"2"}, {"a/b": b"2", "a": b"1"}])
def test_a_name_that_is_file_and_folder_is_refused(repo: Repository, files: dict[str, bytes]):
    with pytest.raises(BadRecord):
        objects.put_paths(repo, None, files)


def test_a_hash_that_is_not_here_is_refused(repo: Repository):
    with pytest.raises(BadRecord):
        objects.put_paths(repo, None, {"a": "1" * 40})


def test_verify_names_the_path_whose_object_is_missing(repo: Repository):
    tree = objects.put_paths(repo, None, {"a/b": b"soon gone", "c": b"stays"})
    known = objects.put_paths(repo, None, {"c": b"stays"})
    lost = str(repo.tree(tree)["a/b"].id)
    objects.verify(repo, tree, known=known)
    (repo.common / "objects" / lost[:2] / lost[2:]).unlink()

    for since in (known, None):
        with pytest.raises(BadRecord, match="^a/b:"):
            objects.verify(repo, tree, known=since)
    with pytest.raises(BadRecord):
        objects.verify(repo, "1" * 40)


names = st.sampled_from(["a", "b", "ü", "a b"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
changes = st.dictionaries(paths, st.none() | st.binary(max_size=3), max_size=6).filter(
    lambda files: not any(other.startswith(path + "/") for path in files for other in files)
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(changes, max_size=4))
def test_trees_behave_as_a_plain_mapping_of_paths(repo: Repository, steps: list[dict[str, bytes | None]]):
    tree, model = None, {}
    for files in steps:
        tree = objects.put_paths(repo, tree, files)
        for path, data in files.items():
            if data is None:
                model = {p: d for p, d in model.items() if p != path and not p.startswith(path + "/")}
                continue
            above = {"/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)}
            model = {p: d for p, d in model.items() if p not in above and not p.startswith(path + "/")}
            model[path] = data

    if tree is not None:
        assert contents(repo, tree) == model
        assert tree == objects.put_paths(repo, None, model)
