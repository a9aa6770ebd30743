"""Inside a Ray cluster: the task that runs one trial on a node, and who starts such tasks.

A task belongs to the Ray job of the actor that started it, and Ray keeps no worker warm for a job that has ended: where the clerk was made
by another loop, a `Foreman` of this one starts them. A task holds the clerk's leash, and ends its trial when it is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import msgspec

from evogit.backends import ray_seed
from evogit.backends.ray_seed import Seed
from evogit.backends.ray_terms import Terms

AGAIN_S = 1.0
TRACE = 0.001  # of a resource: a task comes to a node that has it, and takes none
SMALL = 64 << 10  # bytes of a parcel that comes with the news that its trial has ended
REFUSED = "refused"


def launch(seed: Any, clerk: Any, key: str, order: bytes, digests: list[str], parcels: list[Any], terms: Terms) -> list[Any]:
    """Hand one trial to Ray; the caller owns the task. seed: a reference to one. References to what `carry` returns."""
    task = ray_seed.task("carry").options(
        name=f"evogit {key}", num_returns=2, num_cpus=terms.cpus, num_gpus=terms.gpus, memory=terms.memory or None,
        resources=dict(terms.resources) or None, accelerator_type=terms.gpu_kind or None, scheduling_strategy=terms.placement,
        max_retries=terms.retries,
    )  # fmt: skip
    return task.remote(seed, clerk, key, order, digests, *parcels)


def make_ready(seed: Any, clerk: Any, count: int, terms: Terms) -> list[Any]:
    """So many workers of the nodes where trials will run, as `stand_by` leaves them; the caller owns the tasks."""
    task = ray_seed.task("stand_by").options(
        name="evogit stands by", num_cpus=0, resources=dict.fromkeys(terms.resources, TRACE) or None, scheduling_strategy=terms.placement
    )  # fmt: skip
    return [task.remote(seed, clerk) for _ in range(count)]


def stand_by(clerk: Any) -> None:
    """The task of a worker that waits for trials: its part of evogit is loaded, its helper process and its sandbox are there. It ends once
    the clerk has as many as he wants: before that the same worker would be given the next of these tasks."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        if clerk.wants_more.remote().future().result():
            look()
            clerk.muster.remote().future().result()


class Foreman:
    """Owns the tasks of one loop, outlives it with them, and goes with the clerk."""

    def __init__(self, seed: Seed, clerk: Any) -> None:
        """seed: for the workers of its tasks."""
        self._clerk, self._held, self._standing_by = clerk, {}, []
        self._seed = ray_seed.shared(seed)

    async def launch(self, key: str, order: bytes, digests: list[str], parcels: list[Any], terms: bytes) -> list[Any]:
        """Start the task of a trial."""
        self._held[key] = launch(self._seed, self._clerk, key, order, digests, parcels, msgspec.msgpack.decode(terms, type=Terms))
        return self._held[key]

    async def make_ready(self, count: int, terms: bytes) -> None:
        """As the function."""
        self._standing_by = make_ready(self._seed, self._clerk, count, msgspec.msgpack.decode(terms, type=Terms))

    async def drop(self, key: str) -> None:
        """Its result is needed no more."""
        self._held.pop(key, None)

    async def end_with_the_clerk(self) -> None:
        """Never returns."""
        import ray

        while True:
            try:
                await self._clerk.attend.remote()
            except ray.exceptions.ActorUnavailableError:
                await asyncio.sleep(AGAIN_S)
            except ray.exceptions.RayError:
                os._exit(0)


class Post:
    """What a task and the clerk have to say to each other. A clerk that is gone means that the trial has to end."""

    def __init__(self, clerk: Any, key: str) -> None:
        self._clerk, self._key = clerk, key
        # Not `ray.get`: a task that waits in there gives its CPUs to the next one.
        self._execution = clerk.begin.remote(key).future().result()
        self._take_leash()

    def _take_leash(self) -> None:
        self._leash = self._clerk.leash.remote(self._key, self._execution).future()

    def may_begin(self) -> bool:
        """False if the trial was cancelled, has ended, or was lost too often."""
        return self._execution > 0

    def is_over(self) -> bool:
        """True if it has to end now. A clerk who cannot be reached for a moment is asked again."""
        import ray

        if self._leash.done() and isinstance(self._leash.exception(), ray.exceptions.ActorUnavailableError):
            self._take_leash()
        return self._leash.done()

    def hear(self, stream: str, data: bytes) -> None:
        """Pass output on, one piece after the other."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            self._clerk.hear.remote(self._key, self._execution, stream, data).future().result()


def carry(clerk: Any, key: str, order: bytes, digests: list[str], *parcels: bytes) -> tuple[str | bytes, bytes]:
    """The task: carry one order out on this node. The parcel for `homing.take_home` comes first if it is small, else second."""
    from evogit.backends import outpost
    from evogit.backends.order import Order

    post = Post(clerk, key)
    if not post.may_begin():
        return REFUSED, b""
    told = msgspec.msgpack.decode(order, type=Order)
    made = outpost.carry_out(told, dict(zip(digests, parcels)).__getitem__, hear=post.hear, is_cancelled=post.is_over)
    return (made, b"") if len(made) <= SMALL else ("", made)


def look() -> str:
    """The task of a probe: the level of the sandbox on this node."""
    from evogit.backends import outpost
    from evogit.errors import EvogitError

    try:
        return outpost.level()
    except EvogitError as error:  # a `ray://` server, which has no evogit, could not read it
        raise RuntimeError(error.message) from None
