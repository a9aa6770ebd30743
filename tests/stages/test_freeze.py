"""What a job left: links and pipes go, shared bytes are parted, files are read-only, and frozen code that changed is named."""

from __future__ import annotations

import hashlib
import os
import socket
import stat

import msgspec
import pytest

from evogit import removal
from evogit.search.tells import Frozen
from evogit.stages import freeze
from toys import dig

FACTS = Frozen(modules=frozenset({"prepare", "evaluate"}), imports=frozenset({"numpy"}))


@pytest.fixture
def left(tmp_path):
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"weights")
    return folder


def test_what_is_no_file_is_taken_out_and_named(left, tmp_path):
    (tmp_path / "secret").write_text("labels")
    (left / "to_file").symlink_to(tmp_path / "secret")
    (left / "to_folder").symlink_to(tmp_path)
    (left / "to_nothing").symlink_to("nowhere")
    os.mkfifo(left / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left / "s"))

    found = freeze.outputs(left)

    assert sorted(os.listdir(left)) == ["model.pt"]
    assert {out.path: out.taken_out for out in found.taken} == {
        "to_file": "a link", "to_folder": "a link", "to_nothing": "a link", "pipe": "a pipe", "s": "a socket",
    }  # fmt: skip
    assert (tmp_path / "secret").read_text() == "labels"


def test_a_file_with_another_name_elsewhere_gets_bytes_of_its_own(left, tmp_path):
    os.link(left / "model.pt", tmp_path / "kept_open")

    freeze.outputs(left)
    (tmp_path / "kept_open").write_bytes(b"forged!")

    assert (left / "model.pt").read_bytes() == b"weights"
    assert (left / "model.pt").stat().st_nlink == 1


def test_files_are_listed_with_their_hash_and_nobody_may_write_them(left):
    (left / "deep").mkdir(mode=0o755)
    (left / "deep" / "x.bin").write_bytes(b"12")
    (left / "deep" / "x.bin").chmod(0o000)
    (left / "deep").chmod(0o000)

    found = freeze.outputs(left)

    assert [(out.path, out.bytes, out.sha256) for out in found.files] == [
        ("deep/x.bin", 2, hashlib.sha256(b"12").hexdigest()), ("model.pt", 7, hashlib.sha256(b"weights").hexdigest()),
    ]  # fmt: skip
    assert {stat.S_IMODE((left / out.path).stat().st_mode) & 0o222 for out in found.files} == {0}


def test_it_may_be_repeated_and_says_the_same(left):
    first = freeze.outputs(left)

    assert freeze.outputs(left) == first


def test_a_folder_that_became_a_link_is_a_folder_again(left, tmp_path):
    (left / "model.pt").unlink()
    left.rmdir()
    (tmp_path / "elsewhere").mkdir()
    left.symlink_to(tmp_path / "elsewhere")

    assert freeze.outputs(left).files == ()
    assert left.is_dir() and not left.is_symlink()


def test_the_walk_has_an_end(left):
    for number in range(12):
        (left / f"{number}").touch()

    assert freeze.outputs(left, most=10).refusal == "it left more than 10 files and folders"
    assert freeze.outputs(left, most=100).refusal == ""


def test_a_listing_is_bounded_while_every_file_is_held_still(left, monkeypatch):
    monkeypatch.setattr(freeze, "LISTED", 3)
    for number in range(6):
        (left / f"{number}").touch()

    assert len(freeze.outputs(left).files) == 3
    assert {p.stat().st_mode & 0o222 for p in left.iterdir()} == {0}


def test_what_only_predict_makes_is_taken_out_after_training(left):
    trained = msgspec.json.encode([freeze.Output(path="model.pt")])
    predicted = msgspec.json.encode([freeze.Output(path="model.pt"), freeze.Output(path="predictions.json")])
    (left / "predictions.json").write_text("{}")

    early = freeze.made_by_predict(trained, predicted)
    found = freeze.outputs(left, early)

    assert early == {"predictions.json"}
    assert [(out.path, out.taken_out) for out in found.taken] == [("predictions.json", "made before predict ran")]


@pytest.mark.parametrize("listings", [(None, b"[]"), (b"[]", None), (b"{", b"[]"), (b"[1]", b"[]")])
def test_listings_that_are_missing_or_broken_name_nothing(listings):
    assert freeze.made_by_predict(*listings) == frozenset()


# what a stranger leaves to hurt the host


def disk_mib(folder) -> float:
    """What the files below a folder take on the disk."""
    return sum({path.lstat().st_ino: path.lstat().st_blocks for path in folder.rglob("*")}.values()) / 2048


def test_nothing_is_written_through_a_link_that_waits_where_a_copy_is_made(left, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (left / "forged").write_text("theirs")
    for n in range(4):
        os.link(left / "forged", left / f"n{n}")
        for name in (f".n{n}.evogit", f"n{n}.evogit", "draft", ".draft"):
            (left / name).unlink(missing_ok=True)
            (left / name).symlink_to(victim)

    found = freeze.outputs(left)

    assert found.refusal == ""
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode) & 0o200) == ("mine", 0o200)
    assert {(left / f"n{n}").stat().st_nlink for n in range(4)} == {1}
    assert sorted(os.listdir(tmp_path)) == ["artifacts", "victim"]


def test_folders_that_wait_where_a_copy_is_made_are_in_nobodys_way(left):
    os.link(left / "model.pt", left / "b")
    for name in (".model.pt.evogit", ".b.evogit", "draft"):
        (left / name).mkdir()

    assert freeze.outputs(left).refusal == ""
    assert (left / "b").stat().st_nlink == 1


def test_names_as_long_as_the_system_has_them_are_copied_too(left):
    for first in "abc":
        os.link(left / "model.pt", left / (first + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 127))

    assert freeze.outputs(left).refusal == ""
    assert {path.stat().st_nlink for path in left.iterdir()} == {1}


def test_a_shared_file_of_holes_is_copied_as_holes(left):
    os.truncate(os.open(left / "big", os.O_CREAT | os.O_RDWR), 1 << 40)
    for n in range(3):
        os.link(left / "big", left / f"big{n}")

    found = freeze.outputs(left)

    assert found.refusal == ""
    assert {path.stat().st_size for path in left.glob("big*")} == {1 << 40}
    assert disk_mib(left) < 1


def test_more_bytes_under_several_names_than_may_be_copied_are_a_refusal_and_no_copy(left, tmp_path):
    (left / "big").write_bytes(bytes(1 << 20))
    for n in range(3):
        os.link(left / "big", left / f"big{n}")

    found = freeze.outputs(left, copied=(1 << 20) + 10)

    assert found.refusal == "it left more under several names than there is room to copy (1 MiB)"
    assert disk_mib(left) < 3
    assert os.listdir(tmp_path) == ["artifacts"]


def test_what_would_be_refused_can_be_told_before_without_a_change(left):
    (left / "big").write_bytes(bytes(1 << 20))
    for n in range(3):
        os.link(left / "big", left / f"big{n}")

    assert freeze.obstacle(left, copied=1 << 20) == freeze.outputs(left, copied=1 << 20).refusal != ""
    assert freeze.obstacle(left, most=2) == freeze.outputs(left, most=2).refusal != ""
    assert freeze.obstacle(left) == ""


def test_what_is_read_for_the_hashes_has_an_end(left):
    (left / "a").write_bytes(b"12345")
    (left / "b").write_bytes(b"12345")

    hashes = {out.path: out.sha256 for out in freeze.outputs(left, hashed=9).files}

    assert hashes["a"] == hashlib.sha256(b"12345").hexdigest()
    assert hashes["b"] == hashes["model.pt"] == ""


def test_what_cannot_be_taken_in_is_a_refusal_in_words(tmp_path):
    os.mkfifo(tmp_path / "no-folder")

    found = freeze.outputs(tmp_path / "no-folder" / "artifacts")

    assert found.refusal == "what it left cannot be taken in: not a directory"


def test_a_folder_called_like_the_trash_of_a_removal_moves_nothing_elsewhere(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "artifacts"
    elsewhere.mkdir()
    folder.mkdir()
    dig(folder, levels=1600)
    bottom = folder.joinpath(*["d"] * 1499)
    (bottom / ".trash").symlink_to(elsewhere)
    before = elsewhere.stat().st_mtime_ns

    found = freeze.outputs(folder)

    assert {output.taken_out for output in found.taken} == {"deeper than paths go", "a link"}
    assert elsewhere.stat().st_mtime_ns == before
    removal.discard(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("rp/x/evaluate.py", "modified"), "was changed"),
        (("rp/x/evaluate.py", "deleted"), "was deleted"),
        (("pyproject.toml", "modified"), "was changed"),
        (("rp/x/prepare/__init__.py", "added"), "appeared in front of the frozen module prepare"),
        (("src/json.py", "added"), "appeared in front of the standard library's json"),
        (("rp/x/numpy.so", "added"), "appeared in front of the module numpy, which frozen files import"),
        (("rp/x/prepare.cpython-311-x86_64-linux-gnu.so", "added"), "appeared in front of the frozen module prepare"),
        (("rp/x/train.py", "modified"), ""),  # mutable: an edit of its own source changes nothing that is measured
        (("rp/x/train.log", "modified"), ""),
        (("rp/x/data.csv", "deleted"), ""),
        (("rp/x/generated_kernel.py", "added"), ""),
        (("rp/x/runs/a/json.py", "added"), ""),  # nobody looks for modules there
    ],
)
def test_frozen_code_that_is_not_as_it_was_is_named(change, said):
    found = freeze.code_changes([change], "rp/x", lambda path: path == "rp/x/train.py", FACTS)

    assert [words for _, words in found] == ([said] if said else [])


def test_folders_deeper_than_any_path_are_taken_out(tmp_path):
    dig(tmp_path)
    (tmp_path / "weights.json").write_text("{}")

    still = freeze.outputs(tmp_path)

    assert [output.path for output in still.files] == ["weights.json"]
    assert {output.taken_out for output in still.taken} == {"deeper than paths go"}
    assert freeze.outputs(tmp_path).taken == ()
    removal.discard(tmp_path / "d")  # what is left is deeper than whoever tidies up after tests goes
