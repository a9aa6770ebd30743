"""Loose objects that were cut short, as a machine leaves them that crashed before its disk had everything.

libgit2 reads such an object for ever, in a loop that no signal but SIGKILL ends (1.9 was seen to), where git says that it is corrupt.
So they are looked for once after each restart of the machine, before anything is read. It compares no hash (`git fsck` does), reads no
pack, and takes nothing away unless it is asked to, and then only puts it aside.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from evogit.errors import RepositoryError
from evogit.git.repository import Repository

_BOOT = "/proc/sys/kernel/random/boot_id"
_FOLDER, _NAME = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{38}")
_CHUNK = 1 << 20


def check_after_restart(repo: Repository) -> None:
    """Look once a boot and repository. Raises RepositoryError that names what is cut. 30 us, the first time some 30 us an object."""
    with suppress(OSError):  # where nobody tells one boot from the next, or nothing may be written, it is not looked at
        boot, seen = Path(_BOOT).read_text(encoding="ascii"), repo.home / "boot"
        if seen.exists() and seen.read_text(encoding="ascii", errors="replace") == boot:
            return
        cut = damaged(repo)
        if cut:
            more = f" and {len(cut) - 1} more objects are" if len(cut) > 1 else " is"
            raise RepositoryError(f"object {cut[0]}{more} cut short: did the machine crash?", hint="`evogit doctor` says what needs it")
        seen.write_text(boot, encoding="ascii")


def damaged(repo: Repository) -> list[str]:
    """Hashes of loose objects that do not unpack to their end, sorted. Some 30 us an object."""
    return sorted(hash for hash, path in _loose(repo) if not _is_whole(path))


def put_aside(repo: Repository, hash: str) -> Path:
    """Move a loose object out of the object store, to <home>/damaged/<hash>, where nothing reads it. Raises OSError."""
    place = repo.home / "damaged"
    place.mkdir(exist_ok=True)
    os.replace(repo.common / "objects" / hash[:2] / hash[2:], place / hash)
    return place / hash


def _loose(repo: Repository) -> Iterator[tuple[str, Path]]:
    objects = repo.common / "objects"
    for folder in os.listdir(objects):
        if _FOLDER.fullmatch(folder):
            yield from ((folder + name, objects / folder / name) for name in os.listdir(objects / folder) if _NAME.fullmatch(name))


def _is_whole(path: Path) -> bool:
    """True if the file is one whole zlib stream. One that a repack took away meanwhile is no fault."""
    stream = zlib.decompressobj()
    try:
        with path.open("rb", buffering=0) as file:
            while not stream.eof and (data := file.read(_CHUNK)):
                while data and not stream.eof:  # a small file may unpack to gigabytes
                    stream.decompress(data, _CHUNK)
                    data = stream.unconsumed_tail
    except FileNotFoundError:
        return True
    except (OSError, zlib.error):
        return False
    return stream.eof
