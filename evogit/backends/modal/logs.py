"""What a job says, as Modal's logs have it. They may have gaps, end too early, or say nothing any more: its result makes that good."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator

from evogit.backends.modal import asking
from evogit.backends.modal.aboard import untold
from evogit.backends.modal.speaking import library

QUIET_S = 5.0  # of silence after the sandbox's end: there comes no more
TICK_S = 0.25


def logged(find: Callable[[], object], is_over: Callable[[], bool]) -> Iterator[tuple[str, int, bytes]]:
    """(stream, offset, bytes) until they end or fail, or say nothing for a while after the sandbox has ended.

    find: the sandbox, None for one that is gone; it is asked, as the logs are, by a thread. Raises as `is_over`.
    """
    lines: queue.SimpleQueue[tuple[str, int, bytes] | None] = queue.SimpleQueue()
    is_unheard, heard_at = threading.Event(), time.monotonic()

    def read() -> None:
        try:
            sandbox = find()
            with contextlib.suppress(library().exception.Error, OSError):
                for line in sandbox.stdout if sandbox is not None else ():
                    if is_unheard.is_set():
                        return
                    if (told := untold(line)) is not None:
                        lines.put(told)
        finally:
            lines.put(None)

    asking.begin(read)
    try:
        while True:
            try:
                told = lines.get(timeout=TICK_S)
            except queue.Empty:
                if not is_over():
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > QUIET_S:
                    return
                continue
            if told is None:
                return
            heard_at = time.monotonic()
            yield told
    finally:
        is_unheard.set()
