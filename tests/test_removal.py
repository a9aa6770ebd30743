"""What nobody will miss goes, whatever is inside it; what cannot be deleted stays, alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

import pytest

from evogit import removal
from toys import dig


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    return made


def test_depth_closed_folders_links_and_pipes_are_no_obstacle_and_nothing_is_left_beside_it(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    dig(folder)
    (folder / "closed").mkdir()
    (folder / "closed" / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "closed" / "pipe")
    (folder / "closed").chmod(0o500)
    folder.chmod(0o500)

    removal.discard(folder)

    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert (tmp_path / "outside" / "kept").exists()


def test_a_file_a_link_and_nothing_at_all_can_be_discarded(folder):
    (folder / "file").touch()
    (folder / "link").symlink_to(folder / "file")

    for name in ("link", "file", "missing"):
        removal.discard(folder / name)

    assert os.listdir(folder) == []


def test_what_cannot_be_deleted_stays_and_all_else_goes(folder):
    if os.geteuid() or not shutil.which("chattr"):
        pytest.skip("only root makes a file that nobody can delete")
    stubborn = folder / "a" / "b" / "stubborn"
    stubborn.parent.mkdir(parents=True)
    stubborn.touch()
    for n in range(3):
        (folder / "a" / f"f{n}").touch()
        (folder / f"d{n}").mkdir()
    if subprocess.run(["chattr", "+i", str(stubborn)], capture_output=True, check=False).returncode:
        pytest.skip("this filesystem knows no immutable files")
    try:
        removal.discard(folder)
        left = [name for _, _, names in os.walk(folder) for name in names]
        assert left == ["stubborn"]
    finally:
        for place, _, names in os.walk(folder):
            for name in names:
                subprocess.run(["chattr", "-i", os.path.join(place, name)], check=True)
    removal.discard(folder)
    assert not folder.exists()


def test_many_at_once_in_one_place_all_go(folder):
    places = [folder / str(n) for n in range(40)]
    for place in places:
        (place / "a" / "b").mkdir(parents=True)
        (place / "a" / "file").touch()
    threads = [threading.Thread(target=removal.discard, args=[place]) for place in places for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for place in places:  # two in one folder may each leave what the other held
        removal.discard(place)
    assert os.listdir(folder) == []


def test_a_link_that_somebody_puts_in_the_place_of_a_folder_meanwhile_is_not_followed(folder, tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    (victim / "kept").mkdir(parents=True, mode=0o750)
    victim.chmod(0o750)
    (folder / "d" / "e").mkdir(parents=True)
    real = os.rename

    def swap(source, target, **places):
        if source == b"d":
            (folder / "d" / "e").rmdir()
            (folder / "d").rmdir()
            (folder / "d").symlink_to(victim)
        real(source, target, **places)

    monkeypatch.setattr(os, "rename", swap)

    removal.discard(folder)

    assert not folder.exists()
    assert os.listdir(victim) == ["kept"]
    assert victim.stat().st_mode & 0o777 == 0o750


def test_a_folder_whose_mode_somebody_else_has_is_still_tried(folder, monkeypatch):
    (folder / "d").mkdir()
    (folder / "d" / "file").touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)

    removal.discard(folder)

    assert not folder.exists()
