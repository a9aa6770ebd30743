"""What a stranger filled is read to its end, through no link, within caps; copies go to names that nobody has."""

from __future__ import annotations

import hashlib
import os
import stat

import pytest

from evogit import removal, strangers
from evogit.strangers import TooMuch
from toys import dig


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    return made


def test_a_walk_ends_below_any_depth_and_names_what_it_did_not_look_into(folder):
    dig(folder, levels=1600)
    (folder / "a").touch()

    found = list(strangers.walk(folder))

    assert [each.below for each in found if not each.why] == ["a"]
    assert [(each.why, stat.S_ISDIR(each.state.st_mode)) for each in found if each.why] == [("deeper than paths go", True)]
    removal.discard(folder)


def test_a_closed_folder_is_opened_where_that_is_asked_for(folder):
    (folder / "closed").mkdir()
    (folder / "closed" / "file").touch()
    (folder / "closed").chmod(0)

    assert [each.below for each in strangers.walk(folder, opens=True)] == ["closed/file"]


def test_names_of_any_bytes_are_walked_and_can_be_written_down(folder):
    os.close(os.open(os.fsencode(folder) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))

    [found] = strangers.walk(folder)

    assert found.below == "\udcff\udcfe"
    assert strangers.text(found.below) == "??"


def test_a_walk_goes_through_no_link_not_even_at_its_root(folder, tmp_path):
    (tmp_path / "secret").touch()
    (folder / "up").symlink_to("..")
    (tmp_path / "link").symlink_to(folder)

    assert [each.below for each in strangers.walk(folder)] == ["up"]
    assert list(strangers.walk(tmp_path / "link")) == []
    assert list(strangers.walk(tmp_path / "missing")) == []


def test_a_walk_has_an_end_and_gives_out_what_it_saw_before(folder):
    for n in range(5):
        (folder / f"{n}").mkdir()
    (folder / "file").touch()
    found = []

    with pytest.raises(TooMuch, match="more than 5 files and folders"):
        found.extend(strangers.walk(folder, most=5))

    assert len(list(strangers.walk(folder, most=6))) == 1


@pytest.mark.parametrize(
    "below", ["up/secret", "runs/secret", "../secret", "runs/../../secret", "/secret", "link", "pipe", "runs", "", "a\0b"]
)
def test_a_name_leads_to_nothing_outside_and_to_nothing_but_files(folder, tmp_path, below):
    (tmp_path / "secret").write_text("mine")
    (folder / "up").symlink_to("..")
    (folder / "runs").symlink_to(tmp_path)
    (folder / "link").symlink_to("../secret")
    os.mkfifo(folder / "pipe")

    assert strangers.read_below(folder, below, 100) is None


def test_a_file_is_read_whole_or_not_at_all(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("12345")

    assert strangers.read_below(folder, "deep/./file", 5) == b"12345"
    assert strangers.read_below(folder, "deep/file", 4) is None
    assert strangers.read_regular(folder / "deep" / "file", 5) == b"12345"


def test_a_file_of_holes_has_no_hash_and_one_of_bytes_has(folder):
    with (folder / "hollow").open("wb") as file:
        file.truncate(1 << 24)
    (folder / "full").write_bytes(os.urandom(1 << 21))

    assert strangers.digest(folder / "hollow", 1 << 30) == ""
    assert strangers.digest(folder / "full", 1 << 21) == hashlib.sha256((folder / "full").read_bytes()).hexdigest()
    assert strangers.digest(folder / "full", (1 << 21) - 1) == ""


def test_a_copy_has_the_bytes_and_the_holes(folder):
    with (folder / "file").open("wb") as file:
        file.write(b"head")
        file.seek(1 << 30)
        file.write(b"tail")
        file.truncate(1 << 31)

    written = strangers.copy_regular(folder / "file", folder / "copy", 1 << 20, 0o444)

    made = (folder / "copy").stat()
    assert (made.st_size, stat.S_IMODE(made.st_mode)) == (1 << 31, 0o444)
    assert max(written, made.st_blocks * 512) < 1 << 18
    with (folder / "copy").open("rb") as file:
        assert file.read(4) == b"head"
        file.seek(1 << 30)
        assert file.read(4) == b"tail"


@pytest.mark.parametrize("there", ["file", "link", "link to nothing", "folder"])
def test_a_copy_replaces_nothing_and_goes_through_no_link(folder, tmp_path, there):
    victim, target = tmp_path / "victim", folder / "copy"
    victim.write_text("mine")
    (folder / "file").write_text("theirs")
    if there == "folder":
        target.mkdir()
    elif there == "file":
        target.write_text("mine")
    else:
        target.symlink_to(victim if there == "link" else tmp_path / "nothing")

    with pytest.raises(FileExistsError):
        strangers.copy_regular(folder / "file", target, 100)

    assert victim.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


def test_a_copy_that_is_too_large_leaves_nothing(folder):
    (folder / "file").write_bytes(bytes(1000))

    with pytest.raises(TooMuch):
        strangers.copy_regular(folder / "file", folder / "copy", 999)

    assert os.listdir(folder) == ["file"]
    assert strangers.copy_regular(folder, folder / "copy", 999) is None


def test_folders_are_made_deeper_than_python_recurses(folder):
    below = "/".join("d" * 1400)

    strangers.make_folders(folder, below)
    strangers.make_folders(folder, below)

    assert (folder / below).is_dir()
    removal.discard(folder)


def test_folders_are_not_made_through_a_link(folder, tmp_path):
    (folder / "link").symlink_to(tmp_path)

    with pytest.raises(FileExistsError):
        strangers.make_folders(folder, "link/made")


def test_folders_are_named_too_where_that_is_asked_for(folder):
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "file").touch()

    assert [each.below for each in strangers.walk(folder, has_folders=True)] == ["a", "a/file", "a/b"]
