"""What the clerk of a Ray cluster does when nobody asks: minutes and days of it, in a moment, beside a Ray that only listens."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

import msgspec
import pytest

from evogit.backends import ray_clerk
from evogit.backends.ray_clerk import Clerk, Entry
from evogit.backends.ray_terms import Options, Terms, terms_of


@pytest.fixture
def ray(monkeypatch):
    """A Ray without a cluster: it notes what it is told."""
    told = SimpleNamespace(cancelled=[], killed=[], has=[{"CPU": 2.0}])
    told.cancel, told.kill, told.put = told.cancelled.append, told.killed.append, lambda what: what
    told.nodes = lambda: [{"Alive": True, "Resources": resources} for resources in told.has]
    told.exceptions = SimpleNamespace(RayError=RuntimeError, TaskCancelledError=RuntimeError)
    monkeypatch.setitem(sys.modules, "ray", told)
    monkeypatch.setattr(ray_clerk, "TEND_S", 0.001)
    return told


@pytest.fixture
def terms(make) -> Terms:
    return terms_of(make("", cpus=2), Options())


def entry(terms: Terms, ref: str, launcher: str = "") -> Entry:
    made = Entry("loop", terms, launcher)
    made.refs = [ref, f"{ref}-parcel"]
    return made


def told(terms: Terms) -> bytes:
    return msgspec.msgpack.encode(terms)


def tend(clerk: Clerk, until, greets: str = "") -> None:
    """Let the clerk tend to things until something is so."""

    async def live() -> None:
        clerk._greet(greets)
        for _ in range(2000):
            if until():
                break
            await asyncio.sleep(0.001)
        clerk._tending.cancel()
        clerk._tending = None
        assert until()

    asyncio.run(live())


def test_a_trial_that_no_node_could_take_any_more_leaves_the_queue_and_others_wait_on(ray, terms, monkeypatch):
    monkeypatch.setattr(ray_clerk, "NO_ROOM_S", 0.003)
    clerk = Clerk(("", {}, b""))
    ray.has = [{"CPU": 1.0}]
    clerk._entries = {
        "large": entry(terms, "large"),
        "small": entry(msgspec.structs.replace(terms, cpus=1.0), "small"),
        "patient": entry(msgspec.structs.replace(terms, autoscaling=True), "patient"),
        "begun": entry(terms, "begun"),
    }
    clerk._entries["begun"].executions = 1

    tend(clerk, lambda: ray.cancelled)

    assert set(ray.cancelled) == {"large"}


def test_a_node_that_comes_back_in_time_takes_the_trial(ray, terms, monkeypatch):
    monkeypatch.setattr(ray_clerk, "NO_ROOM_S", 1000.0)
    clerk = Clerk(("", {}, b""))
    ray.has = []
    clerk._entries = {"large": entry(terms, "large")}
    tend(clerk, lambda: clerk._entries["large"].homeless_s > 0)

    ray.has = [{"CPU": 2.0}]
    tend(clerk, lambda: clerk._entries["large"].homeless_s == 0)

    assert ray.cancelled == []


def test_a_head_that_does_not_answer_once_is_asked_again(ray, terms, monkeypatch):
    monkeypatch.setattr(ray_clerk, "NO_ROOM_S", 0.003)
    nodes, asked = ray.nodes, []

    def stutter() -> list[dict]:
        asked.append(1)
        if len(asked) < 3:
            raise RuntimeError("the GCS did not answer")  # `RayError` here
        return nodes()

    ray.nodes, ray.has = stutter, []
    clerk = Clerk(("", {}, b""))
    clerk._entries = {"large": entry(terms, "large")}

    tend(clerk, lambda: ray.cancelled)

    assert len(asked) >= 3


def test_tending_that_ended_begins_anew_with_the_next_word_of_a_loop(ray):
    async def live() -> tuple[bool, bool]:
        clerk = Clerk(("", {}, b""))
        clerk._greet("loop")
        first = clerk._tending
        first.cancel()
        await asyncio.wait([first])
        clerk._greet("loop")
        second = clerk._tending
        second.cancel()
        return second is first, first.done()

    assert asyncio.run(live()) == (False, True)


def test_a_trial_has_an_end_though_the_wait_for_it_fails_in_a_way_that_nobody_foresaw(ray, terms):
    async def fails() -> bytes:
        raise KeyError("a bug")

    async def live() -> tuple:
        clerk = Clerk(("", {}, b""))
        clerk._entries = {"k": entry(terms, "k")}
        clerk._entries["k"].refs = [asyncio.ensure_future(fails()), "k-parcel"]
        minding = asyncio.ensure_future(clerk._mind(clerk._entries["k"]))
        ended = await clerk.wait("loop", ["k"], 5.0)
        clerk._tending.cancel()
        await asyncio.wait([minding])
        return ended, await clerk.result("k"), type(minding.exception())

    ended, result, raised = asyncio.run(live())

    assert ended == [("k", b"")]
    assert result == {"lost": ("infrastructure", "the clerk of the Ray cluster failed while it waited for it")}
    assert raised is KeyError


def test_only_trials_that_no_node_has_begun_are_queued(terms):
    async def live() -> list[str]:
        clerk = Clerk(("", {}, b""))
        clerk._entries = {key: entry(terms, key) for key in ("waits", "runs", "cancelled")}
        await clerk.begin("runs")
        clerk._entries["cancelled"].has_ended.set()
        return await clerk.queued(["waits", "runs", "cancelled", "unknown"])

    assert asyncio.run(live()) == ["waits"]


def test_a_result_that_nobody_collects_goes_after_a_week_and_what_runs_stays(ray, terms, monkeypatch):
    monkeypatch.setattr(ray_clerk, "UNCLAIMED_S", -1.0)
    clerk = Clerk(("", {}, b""))
    clerk._entries = {"done": entry(terms, "done"), "runs": entry(terms, "runs")}
    clerk._entries["done"].has_ended.set()

    tend(clerk, lambda: "done" not in clerk._entries)

    assert list(clerk._entries) == ["runs"]


def test_a_foreman_whose_loop_is_silent_goes_when_he_has_no_trials(ray, terms, monkeypatch):
    monkeypatch.setattr(ray_clerk, "SILENT_S", -1.0)
    clerk = Clerk(("", {}, b""))
    clerk._entries = {"runs": entry(terms, "runs", launcher="busy")}
    clerk._foremen = {"busy": "his foreman", "idle": "another one"}
    clerk._heard_of = {"busy": 0.0, "idle": 0.0}

    tend(clerk, lambda: not clerk._heard_of)

    assert ray.killed == ["another one"]
    assert list(clerk._foremen) == ["busy"]


def test_a_clerk_whom_nobody_needs_goes(ray, terms, monkeypatch):
    left = []
    monkeypatch.setattr(ray_clerk, "SILENT_S", -1.0)
    monkeypatch.setattr(ray_clerk.os, "_exit", left.append)
    clerk = Clerk(("", {}, b""))
    clerk._entries = {"done": entry(terms, "done")}
    tend(clerk, lambda: not clerk._heard_of)
    assert left == []

    clerk._entries = {}
    tend(clerk, lambda: left)

    assert left[0] == 0


def test_the_newest_output_is_kept_and_who_was_slow_goes_on_with_it(terms, monkeypatch):
    monkeypatch.setattr(ray_clerk, "LOG_CAP", 10)

    async def live() -> list:
        clerk = Clerk(("", {}, b""))
        clerk._entries = {"k": entry(terms, "k")}
        number = await clerk.begin("k")
        for n in range(5):
            await clerk.hear("k", number, "stdout", f"line{n}".encode())
        first = await clerk.listen("", "k", 0, 1.0)
        again = await clerk.begin("k")
        await clerk.hear("k", number, "stdout", b"of the execution that was lost")
        await clerk.hear("k", again, "stdout", b"anew")
        clerk._tending.cancel()
        return [first, await clerk.listen("", "k", first[0], 1.0), await clerk.listen("", "gone", 0, 1.0)]

    told = asyncio.run(live())

    assert told[0] == (5, [("stdout", b"line3"), ("stdout", b"line4")], False)
    assert told[1][1:] == ([("stdout", b"anew")], False)
    assert told[2] == (0, [], True)


def test_an_execution_ends_when_another_one_takes_its_place_and_there_are_as_many_as_were_asked_for(terms):
    async def live() -> tuple[bool, list[int]]:
        clerk = Clerk(("", {}, b""))
        clerk._entries = {"k": entry(msgspec.structs.replace(terms, retries=2), "k")}
        first = await clerk.begin("k")
        leash = asyncio.ensure_future(clerk.leash("k", first))
        await asyncio.sleep(0)
        was_held = not leash.done()
        others = [await clerk.begin("k") for _ in range(3)]
        await asyncio.wait_for(leash, 5)
        return was_held, [first, *others]

    assert asyncio.run(live()) == (True, [1, 2, 3, 0])


@pytest.fixture
def made_ready(monkeypatch, ray) -> list[int]:
    """How many workers were asked for, each time; nothing is waited for before that."""
    asked: list[int] = []
    ray.get_runtime_context = lambda: SimpleNamespace(current_actor="clerk")
    monkeypatch.setattr(ray_clerk, "SETTLE_S", 0.0)
    monkeypatch.setattr(ray_clerk, "make_ready", lambda seed, clerk, count, terms: asked.append(count) or [])
    ray.has = [{"CPU": 40.0}]
    return asked


def test_workers_stand_by_for_the_trials_that_have_not_begun_and_go_when_all_have_come(ray, terms, made_ready):
    async def live() -> list[bool]:
        clerk = Clerk(("", {}, b""))
        clerk._entries = {"first": entry(terms, "first"), "another loop's": Entry("other", terms, "")}
        await clerk.expect("loop", 4, told(terms))
        early = [asyncio.create_task(clerk.muster()) for _ in range(2)]
        await asyncio.sleep(0.01)
        waits = [not task.done() for task in early] + [await clerk.wants_more()]
        await asyncio.wait_for(clerk.muster(), 10)
        await asyncio.gather(*early)
        return [*waits, await clerk.wants_more()]

    assert asyncio.run(live()) == [True, True, True, False]
    assert made_ready == [3]


def test_no_worker_stands_by_where_all_trials_have_begun_or_others_are_made_ready(ray, terms, made_ready):
    async def live() -> None:
        clerk = Clerk(("", {}, b""))
        clerk._entries = {"first": entry(terms, "first"), "second": entry(terms, "second")}
        await clerk.expect("loop", 2, told(terms))
        await clerk.expect("loop", 3, told(terms))
        await clerk.expect("loop", 9, told(terms))

    asyncio.run(live())

    assert made_ready == [1]


def test_workers_that_stand_by_are_given_to_trials_as_soon_as_several_run_and_after_a_while_at_any_rate(
    ray, terms, made_ready, monkeypatch
):
    async def live() -> None:
        clerk = Clerk(("", {}, b""))
        clerk._entries = {"first": entry(terms, "first")}
        clerk._launch = lambda *_: asyncio.sleep(0, ["ref", "parcel"])
        clerk._mind = lambda _: asyncio.sleep(0)
        await clerk.expect("loop", 4, told(terms))
        standing = asyncio.create_task(clerk.muster())
        await asyncio.sleep(0)
        assert not standing.done()
        await clerk.start("loop", "second", b"", [], {}, msgspec.msgpack.encode(terms))
        await asyncio.wait_for(standing, 10)
        monkeypatch.setattr(ray_clerk, "MUSTER_S", 0.01)
        await clerk.expect("loop", 9, told(terms))
        await asyncio.wait_for(clerk.muster(), 10)
        clerk._tending.cancel()

    asyncio.run(live())

    assert made_ready == [3, 7]


def test_no_more_workers_stand_by_than_there_is_room_for_and_none_for_trials_with_gpus(ray, terms, made_ready):
    async def live() -> None:
        ray.has = [{"CPU": 5.0}, {"CPU": 2.0}, {"GPU": 1.0}]  # of two CPUs each: two and one
        clerk = Clerk(("", {}, b""))
        clerk._entries = {"first": entry(terms, "first")}
        await clerk.expect("loop", 64, told(msgspec.structs.replace(terms, gpus=1, cpus=0.0)))
        await clerk.expect("loop", 64, told(terms))

    asyncio.run(live())

    assert made_ready == [2]
