"""The process that speaks to a Ray cluster for one loop: Ray's driver, its threads, signal handlers and sudden ends included.

Started by `ray_line.Line` in a session of its own. Requests come as frames on stdin, answers go to stdout, Ray's own words to stderr, which
is a file. It ends with its stdin; trials go on. It never starts a cluster, and keeps nothing that the clerk does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import os
import socket
import sys
import threading
import time
from typing import Any, BinaryIO

import msgspec

from evogit.backends import ray_clerk, ray_seed, ray_task, ray_terms
from evogit.backends.ray_line import Failure, read_frame, write_frame
from evogit.backends.ray_terms import Terms

NODES_S = 2.0  # for how long the list of nodes is believed
AGAIN_S = 20.0  # for how long a clerk that has just gone is looked for anew
PROBES, PROBE_S, LAST_PROBE_S = (
    16,
    50.0,
    8.0,
)  # nodes that are asked which sandbox they have, seconds for the first answer, and for the rest
KNOCK_S = 5.0
FAREWELL_S = 5.0
CLIENT_TRIES, NOT_BEGUN = 4, "Initialization failure from server"
HEAD = "node:__internal_head__"
LARGEST = (1 << 32) - 1024  # bytes in one frame
BEAT_S, BEATS = 2.0, 5  # between looks whether the head is there, and how many of them in a row have to fail
STARTING = "is one running? `ray start --head` starts one here; see address under [backend.ray]"


class Driver:
    """One connection. Methods that begin with `on_` are the requests."""

    def __init__(self, told: dict[str, Any]) -> None:
        """Connect. Raises what Ray raises, OSError where nobody answers at the address."""
        if told["address"] == "auto":  # as Ray does
            told = {**told, "address": os.environ.get("RAY_ADDRESS") or "auto"}
        _knock(told["address"])
        import ray

        self._ray, self._told = ray, told
        _connect(ray, told["address"], told["namespace"])
        self._seed = ray_seed.seed_of(told["env"])
        ray_seed.by_value()
        self.job = ray.get_runtime_context().get_job_id()
        self._nodes: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._clerk: Any = None
        self._is_own = False  # the clerk's tasks belong to our Ray job
        self._has_foreman = False
        self._hiring = asyncio.Lock()

    async def on_start(
        self, key: str, order: bytes, digests: list[str], parcels: dict[str, bytes], terms: dict[str, Any], expected: int
    ) -> dict[str, Any]:
        """As `Clerk.start`, and {"refused": (message, hint)} for what no node could run. expected: as for `Clerk.expect`; 0 says nothing."""
        asked = msgspec.convert(terms, Terms)
        nodes = ray_clerk.nodes_of(await self._all_nodes())
        asked = ray_terms.settled(asked, nodes)
        message, hint = ray_terms.refusal(asked, nodes)
        if message:
            return {"refused": (message, hint)}
        until = time.monotonic() + AGAIN_S
        while True:
            await self._hire_foreman()
            told = await self._ask("start", self.job, key, order, digests, parcels, msgspec.msgpack.encode(asked))
            if "retired" in told:
                self._ray.kill(self._clerk)
                self._clerk = None
            elif "foreman" in told:
                self._has_foreman = False
            else:
                if expected > 1 and "missing" not in told:
                    self._clerk.expect.remote(self.job, expected, msgspec.msgpack.encode(asked))  # nobody waits: it is a favour
                return told
            if time.monotonic() > until:
                raise ConnectionError("the clerk on its head node cannot start trials")
            await asyncio.sleep(0.1)

    async def on_knows(self, key: str) -> bool:
        """As `Clerk.knows`."""
        return await self._ask("knows", key)

    async def on_wait(self, keys: list[str], timeout_s: float) -> list[tuple[str, bytes]]:
        """As `Clerk.wait`."""
        return await self._ask("wait", self.job, keys, timeout_s)

    async def on_queued(self, keys: list[str]) -> list[str]:
        """As `Clerk.queued`."""
        return await self._ask("queued", keys)

    async def on_listen(self, key: str, at: int, timeout_s: float) -> Any:
        """As `Clerk.listen`."""
        return await self._ask("listen", self.job, key, at, timeout_s)

    async def on_cancel(self, key: str) -> None:
        """As `Clerk.cancel`."""
        await self._ask("cancel", key)

    async def on_forget(self, key: str) -> None:
        """As `Clerk.forget`."""
        await self._ask("forget", key)

    async def on_result(self, key: str) -> dict[str, Any]:
        """{"parcel": bytes} of a trial that has ended, or {"lost": (status, reason)}."""
        told = await self._ask("result", key)
        if not told:
            return {"lost": ("infrastructure", "the Ray cluster knows nothing of it: was it restarted, or its head node lost?")}
        if isinstance(told.get("parcel"), list):
            try:
                told["parcel"] = await told["parcel"][0]
            except self._ray.exceptions.RayError:
                told["parcel"] = b""
        if len(told.get("parcel", b"-")) > LARGEST:
            return {"lost": ("infrastructure", f"what came of it has {len(told['parcel']) >> 20:,} MiB, which is more than can be sent")}
        if not told.get("parcel", b"-"):
            return {"lost": ("infrastructure", "what came of it was lost with the node that had run it")}
        return told

    async def on_resources(self) -> dict[str, Any]:
        """What the cluster has, and the weakest sandbox of its nodes. The first call runs a probe on up to 16 of them."""
        nodes = [node for node in await self._all_nodes() if node["Alive"]]
        have = [node["Resources"] for node in nodes]
        fit = [node["NodeManagerAddress"] for node in nodes if node["Resources"].get("CPU") or len(nodes) == 1]
        sandbox, _ = await asyncio.gather(self._probe(fit), self._ask("hello", self.job))
        return {
            "nodes": len(nodes),
            "cpus": int(sum(node.get("CPU", 0) for node in have)),
            "gpus": int(sum(node.get("GPU", 0) for node in have)),
            "kinds": ray_terms.kinds(have),
            "sandbox": sandbox,
        }

    async def on_leave(self) -> None:
        """The loop goes. A clerk whom nobody needs goes too."""
        clerk, self._clerk = self._clerk, None
        if clerk is not None and await clerk.leave.remote(self.job):
            self._ray.kill(clerk)
            with contextlib.suppress(
                self._ray.exceptions.RayError, asyncio.TimeoutError
            ):  # we are ended next: not before Ray has heard that
                await asyncio.wait_for(_value(clerk.attend.remote()), FAREWELL_S)

    async def watch(self) -> None:
        """Returns when the head has not been there for some time. Ray itself would try for a minute, and then end this process."""
        address = self._told["address"]
        at = address if address.startswith("ray://") else self._ray.get_runtime_context().gcs_address
        failed = 0
        while failed < BEATS:
            await asyncio.sleep(BEAT_S)
            try:
                await asyncio.to_thread(_knock, at)
                failed = 0
            except OSError:
                failed += 1

    # within

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """Ask the clerk. One that does not answer is asked again, which may be done with all of his methods; one that is gone is replaced,
        and the next knows nothing of the trials of the one before."""
        failed_at = 0.0
        while True:
            if self._clerk is None:
                await self._find_clerk()
            try:
                return await getattr(self._clerk, method).remote(*arguments)
            except self._ray.exceptions.ActorDiedError:
                self._clerk = None
            except self._ray.exceptions.ActorUnavailableError:
                await asyncio.sleep(0.5)
            failed_at = failed_at or time.monotonic()
            if time.monotonic() > failed_at + AGAIN_S:
                raise ConnectionError("the clerk on its head node does not answer")

    async def _find_clerk(self) -> None:
        """The clerk of this namespace, made if there is none."""
        until = time.monotonic() + AGAIN_S
        while True:
            clerk = await asyncio.to_thread(self._actor, ray_clerk.Clerk, f"clerk-{ray_clerk.PROTOCOL}")
            try:
                self._is_own = await clerk.hello.remote(self.job) == self.job
                break
            except self._ray.exceptions.ActorDiedError as error:
                if "creation task" in str(error) or time.monotonic() > until:
                    raise  # else it was going when we took its name
                await asyncio.sleep(0.1)
        self._clerk, self._has_foreman = clerk, False

    async def _hire_foreman(self) -> None:
        """Where the clerk was made by another loop, its tasks would have no warm workers: ours are started by a foreman of our own."""
        async with self._hiring:
            if self._clerk is None:
                await self._find_clerk()
            if self._is_own or self._has_foreman:
                return
            foreman = await asyncio.to_thread(self._actor, ray_task.Foreman, f"foreman-{self.job}", self._clerk)
            await self._ask("employ", self.job, [foreman])
            self._has_foreman = True

    def _actor(self, made_of: type, name: str, *arguments: Any) -> Any:
        """A detached actor on the head node, where it is lost only with the whole cluster. The resource holds it there: a preference for the
        node was seen not to."""
        is_known = any(node["Alive"] and HEAD in node["Resources"] for node in self._ray.nodes())
        made = self._ray.remote(ray_seed.seated(made_of)).options(
            name=name, namespace=self._told["namespace"], lifetime="detached", get_if_exists=True, num_cpus=0, max_restarts=0,
            max_concurrency=100_000, resources={HEAD: 0.001} if is_known else None,
        )  # fmt: skip
        return made.remote(self._seed, *arguments)

    async def _all_nodes(self) -> list[dict[str, Any]]:
        at, nodes = self._nodes
        if time.monotonic() - at > NODES_S:
            nodes = await asyncio.to_thread(self._ray.nodes)
            self._nodes = (time.monotonic(), nodes)
        return nodes

    async def _probe(self, nodes: list[str]) -> str:
        """The weakest sandbox among the nodes (addresses) that answer."""
        from evogit.domain.trial import SANDBOXES

        task, seed = ray_seed.task("look"), ray_seed.shared(self._seed)
        asked = [task.options(num_cpus=0, resources={f"node:{node}": 0.001}).remote(seed) for node in nodes[:PROBES]]
        waiting = {asyncio.ensure_future(_value(ref)) for ref in asked}
        done, waiting = await asyncio.wait(waiting, timeout=PROBE_S, return_when=asyncio.FIRST_COMPLETED) if waiting else (set(), set())
        if waiting:
            more, _ = await asyncio.wait(waiting, timeout=LAST_PROBE_S)
            done |= more
        levels = [found.result() for found in done]  # raises what a probe raised
        if not levels:
            raise TimeoutError(f"no node of the Ray cluster ran a task within {PROBE_S:g} s")
        return min(levels, key=SANDBOXES.index)


def _connect(ray: Any, address: str, namespace: str) -> None:
    """Raises what Ray raises. A `ray://` server begins a process for each client, forked from one with gRPC threads, and one in five was seen
    to hang (Ray 2.60, a busy machine): it gives that up after half a minute, and the next one mostly works."""
    for left in reversed(range(CLIENT_TRIES)):
        try:
            ray.init(address=address, namespace=namespace, log_to_driver=False, logging_level="ERROR", configure_logging=False)
            return
        except ConnectionError as error:
            if not left or NOT_BEGUN not in str(error):
                raise
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise ConnectionError where nobody answers at the address, within seconds: Ray itself would try for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()
    except OSError as error:
        raise ConnectionError(f"nobody answers at {address}: {error.strerror or error}") from error


async def _value(ref: Any) -> Any:
    return await ref


async def serve(driver: Driver, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests, side by side, until there are no more or the cluster is gone. Ends the process: a question that hangs in Ray would
    keep it for a minute, and Ray's own farewell for a second."""
    loop, lock = asyncio.get_running_loop(), threading.Lock()
    tasks: set[asyncio.Task[None]] = set()
    over = asyncio.Event()

    async def answer(number: int, verb: str, arguments: list[Any]) -> None:
        try:
            reply = (number, await getattr(driver, f"on_{verb}")(*arguments), None)
        except (driver._ray.exceptions.RayError, TimeoutError, ValueError, ConnectionError, RuntimeError) as error:
            reply = (number, None, failure_of(error))
        if reply[1] is not None and verb == "result":  # may be large
            await asyncio.to_thread(write_frame, answers, reply, lock)
        else:
            write_frame(answers, reply, lock)

    def done(number: int, task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if error := task.exception():  # a fault of ours: nobody shall wait for an answer that never comes
            write_frame(answers, (number, None, Failure("down", f"{type(error).__name__}: {error}", "this is a bug of evogit")), lock)

    def take(frame: Any) -> None:
        task = loop.create_task(answer(*frame))
        tasks.add(task)
        task.add_done_callback(functools.partial(done, frame[0]))

    def listen() -> None:
        while (frame := read_frame(requests)) is not None:
            loop.call_soon_threadsafe(take, frame)
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=listen, daemon=True).start()
    watching = loop.create_task(driver.watch())
    await asyncio.wait({loop.create_task(over.wait()), watching}, return_when=asyncio.FIRST_COMPLETED)
    sys.stderr.flush()
    os._exit(0)


def failure_of(error: BaseException) -> Failure:
    """What Ray said in many lines, in one, and what to do about it."""
    text = " ".join(str(error).split())
    if importlib.util.find_spec("ray") is None:
        return Failure("user", "the package ray is not installed", "pip install 'evogit[ray]'")
    if "ersion mismatch" in text or "python version" in text.lower():
        return Failure(
            "user",
            f"the Ray cluster runs other versions: {text[:300]}",
            "Ray wants the same Ray and the same minor version of Python here and there",
        )
    if "No module named" in text:
        return Failure("user", f"evogit cannot run on the nodes: No module named{text.partition('No module named')[2][:80]}",
                       "nodes need Ray and msgspec: `pip install msgspec` there; evogit itself is sent")  # fmt: skip
    return Failure("down", f"the Ray cluster is out of reach: {text[:300] or type(error).__name__}", STARTING)


def main() -> None:
    """Connect as the first frame says, answer how that went, and serve until stdin ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever Ray prints is no answer
    told = read_frame(requests)
    try:
        driver = Driver(told)
    except (ImportError, ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        write_frame(answers, (0, None, failure_of(error)))
        return
    write_frame(answers, (0, driver.job, None))
    asyncio.run(serve(driver, requests, answers))
