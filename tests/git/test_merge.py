from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.errors import WorkFailed
from evogit.git.merge import MergeResult, merge_trees
from evogit.git.objects import put_paths
from evogit.git.repository import Repository

LINES = "".join(f"line {n}\n" for n in range(20))


def git(folder: Path, *args: str, data: bytes = b"") -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, input=data).stdout.decode().strip()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("merge") / "repo"
    git(folder.parent, "init", "-q", "-b", "main", str(folder))
    git(folder, "config", "user.name", "Ada")
    git(folder, "config", "user.email", "ada@example.org")
    git(folder, "commit", "-q", "--allow-empty", "-m", "empty")
    return Repository.open(folder)


def commit(repo: Repository, files: dict[str, bytes | None], *parents: str) -> str:
    tree = put_paths(repo, repo.tree_of(parents[0]) if parents else None, files)
    return git(repo.top, "commit-tree", "-m", "x", *(a for p in parents for a in ("-p", p)), tree)


def swap(n: int, word: str, text: str = LINES) -> bytes:
    return text.replace(f"line {n}\n", f"{word}\n").encode()


def merge(repo: Repository, ours: str, theirs: str) -> MergeResult:
    return merge_trees(repo, ours, theirs, only=lambda path: path.endswith(".py"))


def test_changes_in_other_places_of_one_file_are_combined(repo):
    base = commit(repo, {"train.py": LINES.encode(), "data.txt": b"1"})
    ours, theirs = commit(repo, {"train.py": swap(2, "ours")}, base), commit(repo, {"train.py": swap(15, "theirs")}, base)

    made = merge(repo, ours, theirs)

    assert repo.blob(made.tree, "train.py") == swap(15, "theirs", swap(2, "ours").decode())
    assert (made.base, made.conflicts, made.merged) == (base, {}, ("train.py",))


def test_a_conflict_is_told_with_its_three_sides_and_ours_stays(repo):
    base = commit(repo, {"train.py": LINES.encode(), "net.py": LINES.encode()})
    ours = commit(repo, {"train.py": swap(2, "ours")}, base)
    theirs = commit(repo, {"train.py": swap(2, "theirs"), "net.py": swap(3, "theirs")}, base)

    made = merge(repo, ours, theirs)

    assert made.conflicts == {"train.py": (LINES.encode(), swap(2, "ours"), swap(2, "theirs"))}
    assert made.merged == ("net.py",)
    assert repo.blob(made.tree, "train.py") == swap(2, "ours")
    assert repo.blob(made.tree, "net.py") == swap(3, "theirs")


def test_a_file_that_may_not_change_stays_ours_even_where_theirs_changed_it(repo):
    base = commit(repo, {"train.py": LINES.encode(), "data.txt": b"1\n"})
    ours, theirs = (
        commit(repo, {"train.py": swap(2, "x"), "data.txt": b"2\n"}, base),
        commit(repo, {"data.txt": b"3\n", "new.txt": b""}, base),
    )

    made = merge(repo, ours, theirs)

    assert made.tree == repo.tree_of(ours)
    assert (made.conflicts, made.merged) == ({}, ())


def test_files_added_and_removed_by_theirs_are_added_and_removed(repo):
    base = commit(repo, {"a.py": b"a\n", "deep/b.py": b"b\n", "deep/keep.txt": b""})
    ours, theirs = commit(repo, {"c.py": b"c\n"}, base), commit(repo, {"deep/b.py": None, "new/ü d.py": b"d\n"}, base)

    made = merge(repo, ours, theirs)

    assert git(repo.top, "-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", made.tree).split("\n") == [
        "a.py",
        "c.py",
        "deep/keep.txt",
        "new/ü d.py",
    ]
    assert made.merged == ("deep/b.py", "new/ü d.py")


def test_removed_here_and_changed_there_is_a_conflict_with_an_absent_side(repo):
    base = commit(repo, {"a.py": b"a\n", "b.py": b"b\n"})
    ours, theirs = commit(repo, {"a.py": None}, base), commit(repo, {"a.py": b"new\n"}, base)

    assert merge(repo, ours, theirs).conflicts == {"a.py": (b"a\n", None, b"new\n")}


def test_the_same_change_on_both_sides_is_no_conflict(repo):
    base = commit(repo, {"train.py": LINES.encode()})
    ours, theirs = commit(repo, {"train.py": swap(2, "same")}, base), commit(repo, {"train.py": swap(2, "same"), "x.py": b""}, base)

    made = merge(repo, ours, theirs)

    assert (made.conflicts, made.merged) == ({}, ("x.py",))


def test_the_best_common_ancestor_counts_not_the_oldest(repo):
    base = commit(repo, {"train.py": LINES.encode()})
    middle = commit(repo, {"train.py": swap(5, "middle")}, base)
    ours = commit(repo, {"train.py": swap(9, "ours", swap(5, "middle").decode())}, middle)
    theirs = commit(repo, {"train.py": swap(5, "changed again")}, middle)

    made = merge(repo, ours, theirs)

    assert made.base == middle
    assert made.conflicts == {}


def test_merging_with_an_ancestor_changes_nothing(repo):
    base = commit(repo, {"train.py": LINES.encode()})
    ours = commit(repo, {"train.py": swap(2, "x")}, base)

    assert merge(repo, ours, base).tree == repo.tree_of(ours)
    assert merge(repo, base, ours).tree == repo.tree_of(ours)


def test_strangers_cannot_be_combined(repo):
    with pytest.raises(WorkFailed, match="no common ancestor"):
        merge(repo, commit(repo, {"a.py": b"1"}), commit(repo, {"a.py": b"2"}))


def test_the_mode_of_a_file_stays_ours(repo):
    blob = git(repo.top, "hash-object", "-w", "--stdin", data=LINES.encode())
    tree = git(repo.top, "mktree", data=f"100755 blob {blob}\ttrain.py\n".encode())
    base = git(repo.top, "commit-tree", "-m", "x", tree)
    ours, theirs = commit(repo, {"train.py": swap(2, "a")}, base), commit(repo, {"train.py": swap(15, "b")}, base)

    assert git(repo.top, "ls-tree", merge(repo, ours, theirs).tree).startswith("100755")


EDITS = st.dictionaries(st.integers(0, 19), st.sampled_from(["A", "B", "C"]), max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS, EDITS)
def test_a_clean_merge_is_the_same_from_both_sides_and_is_gits_own(repo, mine, yours):
    def edited(changes: dict[int, str]) -> bytes:
        return "".join(f"{changes.get(n, f'line {n}')}\n" for n in range(20)).encode()

    base = commit(repo, {"train.py": LINES.encode()})
    ours, theirs = commit(repo, {"train.py": edited(mine)}, base), commit(repo, {"train.py": edited(yours)}, base)

    one, two = merge(repo, ours, theirs), merge(repo, theirs, ours)

    said = subprocess.run(["git", "merge-tree", "--write-tree", ours, theirs], cwd=repo.top, check=False, capture_output=True, text=True)
    assert bool(one.conflicts) == bool(two.conflicts) == (said.returncode == 1)
    if not one.conflicts:
        assert one.tree == two.tree == said.stdout.split()[0]
