"""In the container: the data set in its place before the trial begins. Fetched, unpacked, or already there because Cloud Run mounted it.

Archives come from a bucket that somebody filled: nothing of them is written outside the folder.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evogit.backends.cloud.clients import Clients
from evogit.backends.cloud.spec import ARCHIVES, UNPACKING, Dataset
from evogit.backends.cloud.storage import Store, split

SIDE_BY_SIDE = 8


def prepare(data: Dataset, clients: Clients) -> str:
    """Put the data into its folder; says what was done. Raises OSError, ValueError, EvogitError."""
    folder = Path(data.container_dir)
    if data.way == "none":
        folder.mkdir(parents=True, exist_ok=True)
        return f"{data.uri} is left where it is"
    if data.way == "mount":
        if not folder.is_dir():
            raise ValueError(f"{data.uri} is not mounted at {folder}")
        return f"{data.uri} is mounted at {folder}"
    folder.mkdir(parents=True, exist_ok=True)
    files = _object(data, clients, folder) if data.way == "object" else _prefix(data, clients, folder)
    _open_to_all(folder)
    return f"{data.uri}: {files} files in {folder}"


def _object(data: Dataset, clients: Clients, folder: Path) -> int:
    place, name = split(data.uri)
    path = folder / name
    if not name or not Store(clients, place).fetch(name, path):
        raise ValueError(f"there is no {data.uri}")
    if UNPACKING[data.unpack] and name.lower().endswith(ARCHIVES):
        unpack(path, folder)
        path.unlink()
    return sum(len(names) for _, _, names in os.walk(folder))


def _prefix(data: Dataset, clients: Clients, folder: Path) -> int:
    store = Store(clients, data.uri)
    names = [name for name in store.names() if name and not name.endswith("/")]
    if not names:
        raise ValueError(f"there is nothing below {data.uri}")
    top = os.path.realpath(folder)
    for name in names:
        if not os.path.realpath(os.path.join(top, name)).startswith(top + os.sep):
            raise ValueError(f"{data.uri}/{name} names a place outside")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        got = list(pool.map(lambda name: store.fetch(name, folder / name), names))
    return sum(got)


def unpack(archive: Path, folder: Path) -> None:
    """A tar (whatever its compression) or zip into a folder. Raises ValueError for what is none, or names a place outside."""
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)  # it drops what would lead outside by itself
            return
        with tarfile.open(archive) as packed:
            for entry in packed:
                _check(entry, folder)
                packed.extract(entry, folder, set_attrs=False)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{archive.name} cannot be unpacked: {error}") from error


def _check(entry: tarfile.TarInfo, folder: Path) -> None:
    top = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(top, entry.name))
    leads = target
    if entry.issym():
        leads = os.path.realpath(os.path.join(os.path.dirname(target), entry.linkname))
    elif entry.islnk():
        leads = os.path.realpath(os.path.join(top, entry.linkname))
    is_inside = all((path + os.sep).startswith(top + os.sep) for path in (target, leads))
    if not is_inside or not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        raise ValueError(f"it holds {entry.name[:200]!r}, which is no file or leads outside")


def _open_to_all(folder: Path) -> None:
    """The trial may run as another user: it reads all of it."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | (0o555 if os.path.isdir(path) else 0o444))
