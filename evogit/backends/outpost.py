"""The other side of a backend that ships its jobs: carry out one order here, and give back what came of it as one parcel.

A job runs as it would at home: through `LocalBackend`, in the best sandbox that works on this machine. It talks to no service: how
orders come and results go is the backend's part. Nothing stays behind but the parcels that a caller caches; what a process left that
was killed goes when the next one begins.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from evogit import removal, strangers
from evogit.backends import parcel, sandbox
from evogit.backends.local import LocalBackend
from evogit.backends.order import Ground, Order, rewritten
from evogit.backends.tailing import Tail
from evogit.domain.trial import Job, Outcome, Status
from evogit.errors import EvogitError
from evogit.folders import listed

LOOK_S = 0.2  # between looks for output that came and for a wish to cancel
RECORD_CAP = 8 << 20  # bytes of all records of what a job imported, as at home
RECORDS = 256
LEFT_OUT = 1000  # names of what is too large to be sent that are told
ENTRY = 1 << 10  # bytes of a name in a parcel
ROOT = "evogit-outpost-"  # folders of processes that carry orders out, in the folder for temporary files

Hear = Callable[[str, bytes], None]
States = dict[str, tuple[int, int, int]]


def carry_out(order: Order, fetch: Callable[[str], bytes], *, hear: Hear | None = None, is_cancelled: Callable[[], bool] = bool) -> bytes:
    """Run the order's job to its end; the parcel for `homing.take_home`.

    fetch(digest) gives a parcel. hear(stream, bytes) is told output as it comes, from "stdout" and "stderr". Whatever fails on this
    machine is an outcome INFRASTRUCTURE; what the job left that cannot be packed is a crash. Costs some 20 ms beyond the job, 100 ms
    for the first of a process.
    """
    try:
        with _scratch(_backend().root.parent) as scratch:
            os.chmod(scratch, 0o711)  # the sandbox may run the job as another user, who has to come through
            ground = _lay_out(order, Path(scratch), fetch)
            back = {here: there for there, here in ground.names(order).items()} | {scratch: "(elsewhere)"}
            before = {folder: _snapshot(folder) for folder in (ground.source, ground.artifacts)}
            job = rewritten(order, ground, os.environ.get("PATH", os.defpath))
            with _living(job, _renamed(hear, back), is_cancelled) as outcome:
                return _packed(order, ground, before, outcome, back)
    except (OSError, ValueError, EvogitError, strangers.TooMuch) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return _failed(order, f"the job could not be set up on {os.uname().nodename}: {what}")


@contextlib.contextmanager
def _scratch(place: Path) -> Iterator[str]:
    """A folder of a job's own, gone at the end with whatever is in it."""
    folder = tempfile.mkdtemp(dir=place)
    try:
        yield folder
    finally:
        removal.discard(Path(folder))


def _renamed(hear: Hear | None, back: dict[str, str]) -> Hear:
    """`hear`, told output with this machine's folders called what they are called at home."""
    if hear is None:
        return lambda stream, data: None
    return lambda stream, data: hear(stream, _named_as_at_home(data, back))


def _lay_out(order: Order, scratch: Path, fetch: Callable[[str], bytes]) -> Ground:
    """Folders for the job with what was sent in them, owned by the user that a sandbox runs it as."""
    owner = sandbox.user() if os.getuid() == 0 else -1
    ground = Ground(
        source=str(scratch / "source"),
        artifacts=str(scratch / "artifacts"),
        writable=tuple(str(scratch / f"w{n}") for n in range(len(order.job.view.writable))),
        data=order.data_at or (str(scratch / "data") if order.data else ""),
    )
    for folder in (ground.source, ground.artifacts, *ground.writable):
        os.mkdir(folder)
        if owner >= 0:
            os.chown(folder, owner, owner)
    parcel.unpack(fetch(order.source), ground.source, owner)
    if order.left:
        parcel.unpack(fetch(order.left), ground.artifacts, owner)
    if order.data:
        parcel.unpack(fetch(order.data), ground.data)
    _link(order, ground, owner)
    return ground


def _link(order: Order, ground: Ground, owner: int) -> None:
    """Caches that a job finds in its home: what there is of them on this machine."""
    for link, target in order.links.items():
        for home, here in zip(order.job.view.writable, ground.writable):
            if link.startswith(home + os.sep) and os.path.isdir(target):
                place = here + link[len(home) :]
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.symlink(target, place)
                if owner >= 0:
                    os.chown(os.path.dirname(place), owner, owner)


@functools.cache
def _backend() -> LocalBackend:
    """One a process: its helper process is started once. Jobs end with this process."""
    _sweep(Path(tempfile.gettempdir()))
    root = _held_root()
    atexit.register(removal.discard, Path(root))
    return LocalBackend(Path(root, "jobs"), leash=True)


def level() -> str:
    """The level of the sandbox that jobs get on this machine. The first of a process costs 100 ms."""
    return _backend().level


def _held_root() -> str:
    """A new folder with its lock held. Another process's `_sweep` may come between the two: then it is made again."""
    while True:
        root = tempfile.mkdtemp(prefix=ROOT)
        with contextlib.suppress(FileNotFoundError):
            os.chmod(root, 0o711)
            if _hold(root) >= 0:
                return root


def _hold(root: str) -> int:
    """A descriptor that holds the folder's lock until this process ends, -1 if another process has it. Raises OSError."""
    path = os.path.join(root, ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):  # else it was swept in between: the lock of a file that is gone
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return -1


def _sweep(place: Path) -> None:
    """Remove what processes of this user left that were killed."""
    for root in place.glob(f"{ROOT}*"):
        with contextlib.suppress(OSError):
            if os.lstat(root).st_uid != os.getuid() or (held := _hold(str(root))) < 0:
                continue
            gone = f"{root}.gone"  # who has just made it, and opens a lock of its own once ours is removed, finds no folder
            os.rename(root, gone)
            removal.discard(gone)
            os.close(held)


@contextlib.contextmanager
def _living(job: Job, hear: Hear, is_cancelled: Callable[[], bool]) -> Iterator[Outcome]:
    """Run the job to its end; its outcome, whose folder is there until the block is left."""
    backend = _backend()
    handle = backend.start(job)
    try:
        tail, is_ending = Tail(backend.root / job.key), False
        while not backend.wait([handle], LOOK_S):
            for stream, data in tail.new():
                hear(stream, data)
            if not is_ending and is_cancelled():
                is_ending = True
                backend.cancel(handle)
        for stream, data in tail.new():
            hear(stream, data)
        yield backend.collect(handle)
    finally:
        backend.forget(handle)


def _snapshot(folder: str) -> States:
    """Path -> what tells that a file was written: its inode, size and time of change. Raises TooMuch."""
    found = {}
    for count, (name, state) in enumerate(_looked_at(folder, listed(folder))):
        if count >= strangers.MOST:
            raise strangers.TooMuch(f"more than {strangers.MOST:,} files and folders")
        if not stat.S_ISDIR(state.st_mode):
            found[name] = (state.st_ino, state.st_size, state.st_ctime_ns)
    return found


def _looked_at(folder: str, names: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Those names at which something is, and what `lstat` says of it. What is deeper than paths go cannot be looked at, and is left out."""
    for name in names:
        try:
            yield name, os.lstat(os.path.join(folder, name))
        except OSError as fault:
            if strangers.is_ours(fault):
                raise


def _packed(order: Order, ground: Ground, before: dict[str, States], outcome: Outcome, back: dict[str, str]) -> bytes:
    """The parcel of a job that has ended: from here on a fault is the job's, which left what cannot be packed, but for a disk of ours."""
    try:
        return _returned(order, ground, before, outcome, back)
    except (OSError, ValueError, RecursionError, strangers.TooMuch) as fault:
        if isinstance(fault, OSError) and strangers.is_ours(fault):
            raise
        what = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        if outcome.status is Status.OK:
            outcome = msgspec.structs.replace(outcome, status=Status.CRASH, reason=f"what it left cannot be brought home: {what}")
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _add_told(tar, outcome, back)
        return zlib.compress(sink.getvalue(), parcel.LEVEL)


def _returned(order: Order, ground: Ground, before: dict[str, States], outcome: Outcome, back: dict[str, str]) -> bytes:
    """Outcome, output, artifacts, what the job wrote into its checkout and its other folders, and what it removed. `back`: path here ->
    path at home."""
    after = {folder: _snapshot(folder) for folder in before}
    gone = {
        prefix: sorted(before[folder].keys() - after[folder].keys())
        for prefix, folder in (("source/", ground.source), ("artifacts/", ground.artifacts))
    }
    written = [name for name, state in after[ground.source].items() if before[ground.source].get(name) != state]
    (written, large), (kept, left_out) = (
        _within(folder, names, order.job.artifact_cap)
        for folder, names in ((ground.source, written), (ground.artifacts, listed(ground.artifacts)))
    )
    left_out += [{**item, "path": f"source/{item['path']}"} for item in large]
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        # Not msgspec: a path that is not UTF-8 has lone surrogates, which only the standard library lets through.
        parcel.add_bytes(tar, "gone.json", json.dumps(gone).encode())
        parcel.add(tar, ground.source, written, prefix="source/")
        parcel.add(tar, ground.artifacts, kept, prefix="artifacts/")
        if left_out:
            parcel.add_bytes(tar, "left_out.json", msgspec.json.encode(left_out[:LEFT_OUT]))
        records = order.job.env.get("EVOGIT_IMPORTS_FILE", "")
        for n, folder in enumerate(ground.writable):
            _add_written(tar, folder, f"w{n}/", records, back)
        _add_told(tar, outcome, back)
    return zlib.compress(sink.getvalue(), parcel.LEVEL)


def _add_told(tar: tarfile.TarFile, outcome: Outcome, back: dict[str, str]) -> None:
    """What the job printed, and how it ended."""
    for name in ("stdout", "stderr"):
        parcel.add_bytes(tar, name, _named_as_at_home(Path(outcome.folder, name).read_bytes(), back))
    reason = _named_as_at_home(outcome.reason.encode("utf-8", "replace"), back).decode("utf-8", "replace")
    parcel.add_bytes(tar, "outcome.json", msgspec.json.encode(msgspec.structs.replace(outcome, folder="", reason=reason)))


def _add_written(tar: tarfile.TarFile, folder: str, prefix: str, records: str, back: dict[str, str]) -> None:
    """What evogit's own recorder wrote into a folder beside the checkout; a job's home is nobody's business at home."""
    stem, left, size = os.path.basename(records), RECORDS, RECORD_CAP
    for name in listed(folder) if stem else ():
        data = strangers.read_regular(os.path.join(folder, name), size) if os.path.basename(name).startswith(f"{stem}.") else None
        if data is not None:
            parcel.add_bytes(tar, prefix + name, _named_as_at_home(data, back))
            left, size = left - 1, size - len(data)
        if not left:
            return


def _within(folder: str, names: Iterable[str], cap: int) -> tuple[list[str], list[dict[str, object]]]:
    """Those of `names` that fit together below `cap` bytes, small ones first, and those that do not. A name takes room as well."""
    sizes = {name: 0 if stat.S_ISDIR(state.st_mode) else state.st_size for name, state in _looked_at(folder, names)}
    kept, left_out = [], []
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        cap -= sizes[name] + ENTRY
        if cap >= 0:
            kept.append(name)
        else:
            left_out.append({"path": strangers.text(name), "bytes": sizes[name]})
    return kept, left_out


def _named_as_at_home(text: bytes, back: dict[str, str]) -> bytes:
    """Output with this machine's folders called what they are called at home, so that a traceback names files that exist there."""
    for here in sorted(back, key=len, reverse=True):
        text = text.replace(here.encode(), back[here].encode())
    return text


def _failed(order: Order, reason: str) -> bytes:
    outcome = Outcome(
        key=order.job.key, status=Status.INFRASTRUCTURE, exit_code=None, seconds=0.0, peak_rss_mib=0, started="", folder="", reason=reason
    )
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("stdout", "stderr"):
            parcel.add_bytes(tar, name, b"")
        parcel.add_bytes(tar, "outcome.json", msgspec.json.encode(outcome))
    return zlib.compress(sink.getvalue(), parcel.LEVEL)


def cached(folder: Path, fetch: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """A `fetch` that keeps parcels in `folder` by their digest, so that a machine gets each of them once. The oldest go beyond 4 GiB."""

    def get(digest: str) -> bytes:
        path = folder / digest
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if parcel.digest(data) == digest:
                os.utime(path)
                return data
        data = fetch(digest)
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            _make_room(folder, len(data))
            draft = folder / f".{digest}.{os.getpid()}"
            draft.write_bytes(data)
            os.replace(draft, path)
        return data

    return get


CACHE_CAP = 4 << 30


def _make_room(folder: Path, size: int) -> None:
    files = sorted(_states(folder), key=lambda found: found[1])
    held = sum(state for _, _, state in files) + size
    for path, _, taken in files:
        if held <= min(CACHE_CAP, shutil.disk_usage(folder).free + held):
            return
        path.unlink(missing_ok=True)
        held -= taken


def _states(folder: Path) -> Iterator[tuple[Path, int, int]]:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            state = path.stat()
            yield path, state.st_mtime_ns, state.st_size
