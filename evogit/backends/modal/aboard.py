"""The program of a container: carry out the one order that lies in its folder of the volume, and leave the result beside it.

    JOB/order.json JOB/terms.json JOB/<parcels> -> JOB/result

A container that finds a result runs nothing. What the job says is told on stdout as lines of text, which is all that Modal's logs take. It
knows nothing of Modal: it reads and writes folders.
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import zlib
from pathlib import Path

import msgspec

from evogit.backends.order import Order
from evogit.backends.outpost import carry_out

LAUNCH = "import sys; sys.path.insert(0, sys.argv.pop(1)); from evogit.backends.modal.aboard import main; main(*sys.argv[1:])"
RESULT = "result"
PIECE = 24 << 10  # bytes of one frame
UV = "/.uv"  # where `modal.Image.uv_sync` puts uv and the environment


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What of an order is somewhere else in a container: paths below where its volumes are mounted."""

    data: str = ""  # the prepared data, below the data volume
    caches: dict[str, str] = {}  # link in the job's home -> folder below the data volume
    has_hub: bool = False  # the volume with Hugging Face's cache is there


def main(job_at: str, data_at: str = "", hub_at: str = "") -> None:
    """Run the order in `job_at`. `data_at`, `hub_at`: where those volumes are mounted, "" for not at all."""
    place = Path(job_at)
    if (place / RESULT).exists():
        return
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    terms = msgspec.json.decode((place / "terms.json").read_bytes(), type=Terms)
    order = placed(msgspec.json.decode((place / "order.json").read_bytes(), type=Order), terms, data_at, hub_at)
    if os.path.isdir(UV):
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), UV])
    result = carry_out(order, lambda digest: (place / digest).read_bytes(), hear=Teller(), is_cancelled=lambda: bool(asked))
    draft = place / f".{RESULT}"
    draft.write_bytes(result)
    os.sync()
    draft.rename(place / RESULT)
    os.sync()


def placed(order: Order, terms: Terms, data_at: str, hub_at: str) -> Order:
    """The order with data and caches where the volumes have them."""
    job, env = order.job, dict(order.job.env)
    readable = (*job.view.readable, UV)
    if terms.has_hub and hub_at:
        env |= {"HF_HOME": hub_at} | ({} if job.network else {"HF_HUB_OFFLINE": "1"})
        readable = (*readable, hub_at)
    job = msgspec.structs.replace(job, env=env, view=msgspec.structs.replace(job.view, readable=readable))
    return msgspec.structs.replace(
        order,
        job=job,
        data_at=os.path.join(data_at, terms.data) if terms.data else "",
        links={link: os.path.join(data_at, below) for link, below in terms.caches.items()},
    )


class Teller:
    """Tells what a job says as lines of text, each with its place in the stream and a checksum: a reader sees what it has missed, also where
    a gap in the logs makes one line of two."""

    def __init__(self) -> None:
        self._told = {"stdout": 0, "stderr": 0}

    def __call__(self, stream: str, data: bytes) -> None:
        """One line for each PIECE, at once."""
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            print(stream, self._told[stream], zlib.crc32(piece), base64.b64encode(piece).decode(), flush=True)
            self._told[stream] += len(piece)


def untold(line: str) -> tuple[str, int, bytes] | None:
    """(stream, offset, bytes) of such a line; None for any other, and for one that is not whole."""
    words = line.split()
    if len(words) != 4 or words[0] not in ("stdout", "stderr"):
        return None
    try:
        offset, checksum, data = int(words[1]), int(words[2]), base64.b64decode(words[3], validate=True)
    except ValueError:
        return None
    return (words[0], offset, data) if zlib.crc32(data) == checksum else None


if __name__ == "__main__":
    main(*sys.argv[1:])
