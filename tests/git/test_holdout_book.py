"""Looks are lines that only grow, for the user's eyes; requests are there whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from evogit import removal
from evogit.domain.holdout import Look, Request
from evogit.errors import UserError
from evogit.git.holdout_book import HoldoutBook, copy_regular
from evogit.git.repository import Repository
from toys import dig, git, make_toy

RUN = "ab" * 20


@pytest.fixture
def repo(tmp_path) -> Repository:
    return Repository.open(make_toy(tmp_path / "toy"))


@pytest.fixture
def book(repo) -> HoldoutBook:
    return HoldoutBook(repo, "t1", repo.resolve("HEAD"))


def look(number: int = 1) -> Look:
    told = {"run": RUN, "label": "3", "epoch": 0, "seed": 0, "asked": "loop", "time": "2026-01-01T00:00:00Z"}
    return Look(id=f"{RUN[:16]}.{number}", look=number, metrics={"val_loss": 0.5}, **told)


def request(number: int = 1, **more) -> Request:
    told = {"run": RUN, "label": "3", "epoch": 0, "seed": 0, "asked": "loop", "time": f"2026-01-01T00:00:0{number}Z"}
    return Request(id=f"{RUN[:16]}.{number}", look=number, **{**told, **more})


def test_reading_a_book_that_is_not_there_makes_no_folder(book, private_home):
    assert book.looks() == [] and book.pending() == [] and book.next_look(RUN) == 1
    assert not (private_home / "state").exists()


def test_what_is_written_is_the_users_alone_and_lies_in_no_repository(book, private_home):
    book.append(look())
    book.ask(request(2))

    found = [book.file, *(private_home / "state/evogit").rglob("*")]
    modes = (
        {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()},
        {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()},
    )
    assert modes == ({0o700}, {0o600})
    assert private_home / "state" in book.file.parents


def test_a_folder_that_others_could_read_is_closed_again(book, private_home):
    book.append(look())
    book.file.parent.chmod(0o755)

    book.append(look(2))

    assert stat.S_IMODE(book.file.parent.stat().st_mode) == 0o700


def test_a_line_that_a_crash_cut_short_costs_that_line_alone(book):
    book.append(look(1))
    with book.file.open("ab") as file:
        file.write(b'{"v":1,"id":"abcd')

    book.append(look(2))

    assert [each.look for each in book.looks()] == [1, 2]
    assert book.file.read_bytes().count(b"\n") == 3


def test_lines_of_somebody_elses_are_passed_over(book):
    book.append(look(1))
    with book.file.open("ab") as file:
        file.write(b'not json\n\xff\xfe\n{"v":9}\n[]\n')

    assert [each.look for each in book.looks()] == [1]


def test_a_moved_repository_and_a_clone_know_their_looks(book, repo, tmp_path):
    book.append(look())
    git(tmp_path, "clone", "-q", str(repo.top), "elsewhere")
    other = Repository.open(tmp_path / "elsewhere")
    git(other.top, "commit", "-q", "--allow-empty", "-m", "later")

    assert HoldoutBook(other, "t1", other.resolve("HEAD")).looks() == [look()]
    assert HoldoutBook(other, "t2", other.resolve("HEAD")).looks() == []


def test_a_request_keeps_regular_files_and_nothing_that_could_hurt(book, tmp_path):
    source = tmp_path / "made"
    (source / "deep").mkdir(parents=True)
    (source / "model.pt").write_bytes(b"weights")
    (source / "deep" / "more").write_bytes(b"more")
    (source / "predictions.json").write_text("[]")
    (source / "link").symlink_to("/etc/passwd")
    (source / "folder").symlink_to("/etc")
    os.mkfifo(source / "pipe")

    asked = book.ask(request(), source, {"predictions.json"})

    copy = book.copy_of(asked)
    assert asked.has_copy and book.pending() == [asked]
    assert sorted(p.relative_to(copy).as_posix() for p in copy.rglob("*") if p.is_file()) == ["deep/more", "model.pt"]
    assert not (copy / "link").is_symlink() and not (copy / "folder").exists()


def test_what_is_too_much_to_copy_is_asked_for_without_a_copy(book, tmp_path, monkeypatch):
    monkeypatch.setattr("evogit.git.holdout_book.COPY_BYTES", 1 << 20)
    source = tmp_path / "made"
    source.mkdir()
    os.truncate(os.open(source / "sparse", os.O_CREAT | os.O_RDWR), 1 << 40)

    asked = book.ask(request(), source)

    assert not asked.has_copy and not book.copy_of(asked).exists()
    assert not copy_regular(source, tmp_path / "target") and not (tmp_path / "target").exists()


def test_folders_deeper_than_python_recurses_are_copied_and_go_again(book, tmp_path):
    source = tmp_path / "made"
    source.mkdir()
    dig(source, levels=1200)
    source.joinpath(*["d"] * 1200, "model.pt").write_bytes(b"weights")

    asked = book.ask(request(), source)

    assert asked.has_copy
    assert book.copy_of(asked).joinpath(*["d"] * 1200, "model.pt").read_bytes() == b"weights"
    book.forget(asked)
    assert os.listdir(book.room / "pending") == []
    removal.discard(source)


def test_asked_twice_it_is_one_request(book):
    book.ask(request())
    book.ask(request())

    assert len(book.pending()) == 1 and book.next_look(RUN) == 2


def test_what_a_killed_process_left_half_done_is_removed_and_a_living_ones_stays(book):
    book.ask(request())
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    dead, mine = (book.room / "pending" / f".draft-{pid}-x" for pid in (done.stdout.strip(), os.getpid()))
    dead.mkdir()
    mine.mkdir()

    with book.lock():
        pass

    assert not dead.exists() and mine.exists() and len(book.pending()) == 1


def test_a_state_folder_that_refuses_is_one_line_and_a_hint(book, monkeypatch, tmp_path, repo):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    book = HoldoutBook(repo, "t1", repo.resolve("HEAD"))

    assert book.looks() == [] and book.pending() == []
    with pytest.raises(UserError, match="not a directory") as raised, book.lock():
        pass
    assert "XDG_STATE_HOME" in raised.value.hint


def test_without_a_state_home_of_its_own_it_is_below_the_users_home(repo, monkeypatch, private_home):
    monkeypatch.setenv("XDG_STATE_HOME", "relative")

    assert HoldoutBook(repo, "t1", repo.resolve("HEAD")).file.is_relative_to(private_home / ".local/state/evogit/holdout")


def test_two_tags_never_share_a_file(repo):
    tip = repo.resolve("HEAD")
    names = {HoldoutBook(repo, tag, tip).file for tag in ("a/b", "a%2Fb", "a=2Fb", "../x", "x" * 300, "x" * 301)}

    assert len(names) == 6 and len({Path(n).parent for n in names}) == 1
