from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit.errors import BadRecord
from evogit.git import notes, objects, refs
from evogit.git.notes import IDEAS, METRICS
from evogit.git.repository import Repository


def git(folder: Path, *args: str, data: bytes = b"") -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *args], cwd=folder, check=True, capture_output=True, input=data).stdout.decode("utf-8", "replace")


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    git(tmp_path, "init", "-q", "-b", "main")
    for message in ("one", "two", "three"):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", message)
    return Repository.open(tmp_path)


def line(id: str, **more: object) -> bytes:
    return json.dumps({"v": 1, "id": id, **more}).encode()


def commits(repo: Repository) -> list[str]:
    return git(repo.top, "rev-list", "--reverse", "HEAD").split()


def everything(repo: Repository, ref: str) -> dict[str, set[bytes]]:
    return {commit: set(lines) for commit, lines in notes.items(repo, ref)}


def test_all_notes_of_a_call_are_one_commit_in_two_levels(repo: Repository):
    one, two, _ = commits(repo)
    notes.add(repo, METRICS, {one: [line("a"), line("b")], two: [line("c")]}, "run 3")

    tip = refs.read(repo, METRICS)
    assert notes.read(repo, METRICS, one) == [line("a"), line("b")]
    assert dict(notes.items(repo, METRICS)) == {one: [line("a"), line("b")], two: [line("c")]}
    assert repo.parents(tip) == () and repo.commit(tip).message == "run 3"
    assert sorted(git(repo.top, "ls-tree", "-r", "--name-only", tip).split()) == sorted(map(objects.fanout, (one, two)))


def test_writing_a_line_twice_writes_no_commit(repo: Repository):
    one = commits(repo)[0]
    notes.add(repo, METRICS, {one: [line("a")]}, "")
    tip = refs.read(repo, METRICS)
    notes.add(repo, METRICS, {one: [line("a"), line("a")]}, "")
    notes.add(repo, METRICS, {one: [], commits(repo)[1]: [b"", b"  "]}, "")
    notes.add(repo, METRICS, {}, "")

    assert refs.read(repo, METRICS) == tip


def test_an_id_with_other_bytes_is_kept_twice_and_flagged(repo: Repository):
    one = commits(repo)[0]
    notes.add(repo, METRICS, {one: [line("a", loss=1), line("b"), b"no json", b'{"id": 7}', b"[]"]}, "")
    notes.add(repo, METRICS, {one: [line("a", loss=2), b'{"id": 7, "x": 1}', b"[1]"]}, "")

    assert line("a", loss=1) in notes.read(repo, METRICS, one) and line("a", loss=2) in notes.read(repo, METRICS, one)
    assert notes.conflicts(repo, METRICS) == [notes.Conflict(one, "a", (line("a", loss=1), line("a", loss=2)))]
    assert notes.conflicts(repo, IDEAS) == []


def test_a_commit_without_a_note_has_no_lines(repo: Repository):
    assert notes.read(repo, METRICS, commits(repo)[0]) == []
    assert list(notes.items(repo, METRICS)) == []
    notes.add(repo, METRICS, {commits(repo)[0]: [line("a")]}, "")
    assert notes.read(repo, METRICS, commits(repo)[1]) == []


def test_git_log_shows_them(repo: Repository):
    one = commits(repo)[0]
    notes.add(repo, METRICS, {one: [line("a", val_loss=0.25)]}, "")

    assert '"val_loss": 0.25' in git(repo.top, "log", "--notes=evogit/metrics")
    assert '"val_loss": 0.25' in git(repo.top, "log", "--notes=evogit/*", "-1", one)
    assert git(repo.top, "notes", "--ref=evogit/metrics", "show", one).encode().rstrip() == line("a", val_loss=0.25)


def test_a_persons_git_notes_append_is_read_and_merged(repo: Repository):
    one, two, three = commits(repo)
    notes.add(repo, METRICS, {one: [line("a")], two: [line("b")]}, "")
    for commit, message in ((one, "seen by Ada"), (three, "a new one")):
        git(repo.top, "notes", "--ref=evogit/metrics", "append", "-m", message, commit)
    notes.add(repo, METRICS, {one: [line("c")], two: [line("d")], three: [line("e")]}, "")

    assert everything(repo, METRICS) == {
        one: {line("a"), b"seen by Ada", line("c")},
        two: {line("b"), line("d")},
        three: {b"a new one", line("e")},
    }
    assert {commit: set(notes.read(repo, METRICS, commit)) for commit in (one, two, three)} == everything(repo, METRICS)
    assert git(repo.top, "notes", "--ref=evogit/metrics", "show", one).encode().splitlines() == notes.read(repo, METRICS, one)


def test_every_depth_of_fanout_is_read_and_merged_into_ours(repo: Repository):
    one, two, _ = commits(repo)
    places = [one, f"{one[:2]}/{one[2:]}", objects.fanout(one), f"{one[:2]}/{one[2:4]}/{one[4:6]}/{one[6:]}"]
    files = {place: line(str(depth)) + b"\n\n" for depth, place in enumerate(places)} | {"README": b"kept", "zz/" + two[:3]: b"kept too"}
    tree = objects.put_paths(repo, None, files)
    who = repo.identity()
    refs.move(repo, METRICS, str(repo.git.create_commit(None, who, who, "", tree, [])), None, "")
    wanted = {line(str(depth)) for depth in range(4)}

    assert everything(repo, METRICS) == {one: wanted}
    notes.add(repo, METRICS, {one: [line("new")]}, "")
    assert everything(repo, METRICS) == {one: wanted | {line("new")}}
    names = git(repo.top, "ls-tree", "-r", "--name-only", refs.read(repo, METRICS)).split()
    assert sorted(names) == sorted([objects.fanout(one), "README", "zz/" + two[:3]])


def test_the_same_lines_in_a_foreign_place_move_to_ours(repo: Repository):
    one = commits(repo)[0]
    git(repo.top, "notes", "--ref=evogit/metrics", "add", "-m", line("a").decode(), one)
    notes.add(repo, METRICS, {one: [line("a")]}, "")

    assert git(repo.top, "ls-tree", "-r", "--name-only", refs.read(repo, METRICS)).split() == [objects.fanout(one)]


def test_broken_lines_are_kept_to_the_byte(repo: Repository):
    one = commits(repo)[0]
    nasty = [b"\xff\xfe\x00binary", b'{"id": "half', b"  indented", b"[" * 100_000, b'{"id": "\xff"}', b"\x1b[31mred"]
    notes.add(repo, METRICS, {one: nasty}, "")
    notes.add(repo, METRICS, {one: [line("a")]}, "")

    assert notes.read(repo, METRICS, one) == [*nasty, line("a")]
    assert notes.conflicts(repo, METRICS) == []


def test_windows_line_ends_and_blank_lines_are_no_new_lines(repo: Repository):
    one = commits(repo)[0]
    blob = git(repo.top, "hash-object", "-w", "--stdin", data=b"\r\n" + line("a") + b"\r\n\n" + line("b")).strip()
    git(repo.top, "notes", "--ref=evogit/metrics", "add", "-C", blob, one)
    notes.add(repo, METRICS, {one: [line("a"), line("b")]}, "")

    assert notes.read(repo, METRICS, one) == [line("a"), line("b")]


@pytest.mark.parametrize(("commit", "lines"), [("abc", [b"x"]), ("HEAD", [b"x"]), ("a" * 40, [b"x\ny"]), ("A" * 40, [b"x"])])
def test_what_is_no_note_is_refused(repo: Repository, commit: str, lines: list[bytes]):
    with pytest.raises(BadRecord):
        notes.add(repo, METRICS, {commit: lines}, "")

    assert refs.read(repo, METRICS) is None


def _write_notes(folder: Path, who: int) -> None:
    repo = Repository.open(folder)
    shared = hashlib.sha1(b"shared").hexdigest()
    for n in range(25):
        own = hashlib.sha1(b"%d %d" % (who, n)).hexdigest()
        notes.add(repo, METRICS, {shared: [line(f"{who}-{n}")], own: [line("x")]}, "")


def test_four_processes_lose_no_note(repo: Repository):
    context = multiprocessing.get_context("fork")
    writing = [context.Process(target=_write_notes, args=(repo.top, who)) for who in range(4)]
    for process in writing:
        process.start()
    for process in writing:
        process.join()

    assert [process.exitcode for process in writing] == [0] * 4
    assert len(notes.read(repo, METRICS, hashlib.sha1(b"shared").hexdigest())) == 100
    assert len(list(notes.items(repo, METRICS))) == 101


OTHER, THIRD = "refs/evogit/x/other", "refs/evogit/x/third"


def test_joining_what_only_grew_is_a_fast_forward(repo: Repository):
    one, two, _ = commits(repo)
    notes.add(repo, METRICS, {one: [line("b")]}, "")
    old = refs.read(repo, METRICS)
    notes.add(repo, METRICS, {one: [line("a")], two: [line("c")]}, "")
    new = refs.read(repo, METRICS)
    refs.move(repo, OTHER, old, None, "")

    assert notes.join(repo, METRICS, old) == new
    assert notes.join(repo, OTHER, METRICS) == new
    assert notes.join(repo, IDEAS, new) == new == refs.read(repo, IDEAS)
    with pytest.raises(BadRecord):
        notes.join(repo, METRICS, "refs/evogit/x/nothing")


def test_a_join_descends_from_both_and_a_second_one_changes_nothing(repo: Repository):
    one, two, three = commits(repo)
    notes.add(repo, METRICS, {one: [line("a")], two: [line("b")]}, "")
    notes.add(repo, OTHER, {one: [line("c")], three: [line("d")]}, "")
    ours, theirs = refs.read(repo, METRICS), refs.read(repo, OTHER)
    joined = notes.join(repo, METRICS, theirs)

    assert everything(repo, METRICS) == {one: {line("a"), line("c")}, two: {line("b")}, three: {line("d")}}
    assert repo.parents(joined) == (ours, theirs)
    assert notes.join(repo, METRICS, theirs) == notes.join(repo, METRICS, OTHER) == joined
    assert notes.join(repo, OTHER, joined) == joined


def test_equal_notes_of_two_histories_still_join_so_that_either_can_be_pushed(repo: Repository):
    one = commits(repo)[0]
    notes.add(repo, METRICS, {one: [line("a")]}, "mine")
    notes.add(repo, OTHER, {one: [line("a")]}, "yours")
    joined = notes.join(repo, METRICS, OTHER)

    assert len(repo.parents(joined)) == 2
    assert notes.join(repo, METRICS, OTHER) == joined


def test_a_line_removed_by_a_person_comes_back_with_the_join(repo: Repository):
    one = commits(repo)[0]
    notes.add(repo, METRICS, {one: [line("a")]}, "")
    refs.move(repo, OTHER, refs.read(repo, METRICS), None, "")
    git(repo.top, "notes", "--ref=evogit/metrics", "remove", one)
    joined = notes.join(repo, METRICS, OTHER)

    assert everything(repo, METRICS) == {one: {line("a")}}
    assert notes.join(repo, METRICS, OTHER) == joined


SOME = [hashlib.sha1(b"%d" % n).hexdigest() for n in range(3)] + [hashlib.sha1(b"0").hexdigest()[:4] + "0" * 36]
histories = st.dictionaries(
    st.sampled_from(SOME), st.lists(st.sampled_from([line("a"), line("b", x=1), line("b", x=2), b"\xff"]), min_size=1)
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("notes")
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return Repository.open(folder)


def _write(repo: Repository, ref: str, history: dict[str, list[bytes]]) -> None:
    old = refs.read(repo, ref)
    if old:
        refs.move(repo, ref, None, old, "")
    notes.add(repo, ref, {SOME[0]: [b"every history has one"]}, "")
    for commit, lines in history.items():
        notes.add(repo, ref, {commit: lines}, "")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories, histories, histories)
def test_join_is_a_union_whatever_the_order(shared: Repository, a: dict, b: dict, c: dict):
    wanted: dict[str, set[bytes]] = {SOME[0]: {b"every history has one"}}
    for history in (a, b, c):
        for commit, lines in history.items():
            wanted.setdefault(commit, set()).update(lines)

    for order in ((a, b, c), (c, b, a), (b, a, c)):
        for ref, history in zip((METRICS, OTHER, THIRD), order):
            _write(shared, ref, history)
        if order[0] is b:
            notes.join(shared, OTHER, THIRD)
        for other in (OTHER, THIRD, OTHER, METRICS):
            notes.join(shared, METRICS, other)
        assert everything(shared, METRICS) == wanted
