"""Data sets in their place, and archives that lead elsewhere."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile

import pytest

from evogit.backends.cloud import dataset
from evogit.backends.cloud.clients import Clients
from evogit.backends.cloud.spec import Dataset
from loopback_cloud import BUCKET, PROJECT


def tar_of(entries: dict[str, bytes | str], mode: str = "w:gz") -> bytes:
    """An archive; text is where a link leads."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as tar:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o600
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


@pytest.fixture
def prepare(cloud, tmp_path):
    """`prepare(uri, **fields)`: what was said, and the names of the files that are there then."""
    folder = tmp_path / "dataset"

    def prepare(uri: str, **fields: str) -> tuple[str, list[str]]:
        data = Dataset(uri=f"gs://{BUCKET}/{uri}", container_dir=str(folder), **fields)
        said = dataset.prepare(data, Clients(PROJECT, cloud.url, 0.01))
        return said, sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    return prepare


@pytest.fixture
def put(cloud):
    return lambda name, data: cloud.storage.write(BUCKET, name, data)


def zip_of(entries: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return sink.getvalue()


def test_an_archive_is_unpacked_and_anybody_may_read_it(prepare, put, tmp_path):
    put("data.tar.gz", tar_of({"a/words.txt": b"words", "b": "a/words.txt"}))

    said, files = prepare("data.tar.gz")

    assert files == ["a/words.txt", "b"]
    assert "2 files" in said
    assert os.stat(tmp_path / "dataset/a/words.txt").st_mode & 0o777 == 0o644


def test_a_zip_is_unpacked_and_leads_nowhere_else(prepare, put, tmp_path):
    put("data.zip", zip_of({"words.txt": b"words", "../../outside": b"x"}))

    _, files = prepare("data.zip")

    assert files == ["outside", "words.txt"]


def test_everything_below_a_prefix_is_fetched_by_its_path(prepare, put):
    for name in ("sets/v1/train/a.bin", "sets/v1/test/b.bin", "sets/v10/c.bin"):
        put(name, name.encode())

    _, files = prepare("sets/v1/")

    assert files == ["test/b.bin", "train/a.bin"]


@pytest.mark.parametrize("fields, files", [({"mode": "object"}, ["weights.bin"]), ({"mode": "none"}, [])])
def test_one_object_may_be_asked_for_and_nothing_too(prepare, put, fields, files):
    put("weights.bin", b"\0\1")

    assert prepare("weights.bin", **fields)[1] == files


def test_an_archive_stays_packed_where_that_is_asked(prepare, put):
    put("data.tar", tar_of({"a": b"a"}, "w"))

    assert prepare("data.tar", unpack="never")[1] == ["data.tar"]


@pytest.mark.parametrize(
    "entries",
    [{"../outside": b"x"}, {"link": "/etc"}, {"deep/link": "../../.."}, {"link": "..", "link/outside": b"x"}, {"/etc/outside": b"x"}],
)
def test_an_archive_that_leads_outside_is_refused(prepare, put, tmp_path, entries):
    put("data.tar.gz", tar_of(entries))

    with pytest.raises(ValueError, match="leads outside"):
        prepare("data.tar.gz")

    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("uri", ["nothing/", "nothing.tar.gz"])
def test_data_that_is_not_there_is_named(prepare, uri):
    with pytest.raises(ValueError, match=f"gs://{BUCKET}/nothing"):
        prepare(uri)


def test_what_is_no_archive_is_named(prepare, put):
    put("data.tar.gz", b"not an archive")

    with pytest.raises(ValueError, match="data.tar.gz cannot be unpacked"):
        prepare("data.tar.gz")
