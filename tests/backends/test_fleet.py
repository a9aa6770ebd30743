"""Several backends as one, of real local backends in folders of their own."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from evogit.backends import fleet as fleet_module
from evogit.backends import outages
from evogit.backends.fleet import Fleet, as_read_by, place_of, room
from evogit.backends.local import LocalBackend
from evogit.backends.slurm_folder import JobFolder
from evogit.domain.trial import Outcome, Status
from evogit.errors import BackendDown, UserError
from evogit.testing import BackendContract, output, run


class Place(LocalBackend):
    """A local backend under another name, that can be out of order."""

    def __init__(self, root, name, slots=2):
        super().__init__(root, slots=slots)
        self.name, self.is_down, self.refuses, self.loses = name, False, False, False
        self.falls_at_collect = False
        self.asked = []

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.is_down:
            raise BackendDown(f"{self.name} does not answer")

    def start(self, job):
        self._answer("start")
        if self.refuses:
            raise UserError(f"{self.name} has no such GPU")
        return super().start(job)

    def find(self, key):
        self._answer("find")
        return super().find(key)

    def wait(self, handles, timeout_s):
        self._answer("wait")
        return super().wait(handles, timeout_s)

    def cancel(self, handle):
        self._answer("cancel")
        super().cancel(handle)

    def forget(self, handle):
        self._answer("forget")
        super().forget(handle)

    def resources(self):
        self._answer("resources")
        return super().resources()

    def collect(self, handle) -> Outcome:
        self._answer("collect")
        self.is_down = self.is_down or self.falls_at_collect
        self._answer("collect")
        outcome = super().collect(handle)
        if self.loses:
            return Outcome(key=outcome.key, status=Status.INFRASTRUCTURE, exit_code=None, seconds=0, peak_rss_mib=0, started="", folder="")
        return outcome


@pytest.fixture
def places(tmp_path):
    made = {name: Place(tmp_path / name, name) for name in ("one", "two")}
    yield made
    for place in made.values():
        place.close()


@pytest.fixture
def fleet(places):
    return Fleet(places)


class TestFleetKeepsTheContract(BackendContract):
    recipe = (
        "from pathlib import Path; from evogit.backends.local import LocalBackend; from evogit.backends.fleet import Fleet; "
        "backend = Fleet({{n: LocalBackend(Path('{root}') / n) for n in ('local', 'other')}})"
    )

    @pytest.fixture
    def backend(self, tmp_path):
        fleet = Fleet({name: LocalBackend(tmp_path / name, slots=1) for name in ("local", "other")})
        fleet.name = "local"  # an outcome says which backend of the fleet it came from
        yield fleet
        fleet.close()


def test_jobs_go_where_there_is_most_room(fleet, make):
    handles = [fleet.start(make("pass")) for _ in range(4)]

    for handle in handles:
        fleet.wait([handle], None)
    assert sorted(handle.split('"')[3] for handle in handles) == ["one", "one", "two", "two"]


def test_who_can_make_something_ready_hears_for_how_many_and_no_more_than_it_has_room_for(fleet, places):
    heard = []
    places["two"].expect = heard.append
    fleet.resources()
    places["two"].is_down = True  # nobody asks it now

    fleet.expect(8)
    fleet.expect(1)

    assert heard == [2, 1]


def test_a_backend_that_is_down_is_passed_over(fleet, places, make):
    places["one"].is_down = True

    outcomes = [run(fleet, make("print('here')")) for _ in range(2)]

    assert [output(outcome) for outcome in outcomes] == ["here\n"] * 2
    assert fleet.resources()["down"] == {"one": "one does not answer"}


def test_a_fleet_is_down_when_every_backend_is(fleet, places, make):
    for place in places.values():
        place.is_down = True

    with pytest.raises(BackendDown, match="does not answer"):
        fleet.start(make("pass"))


def test_a_job_that_one_backend_cannot_take_goes_to_another_and_is_refused_only_by_all(fleet, places, make):
    places["one"].refuses = True
    assert run(fleet, make("pass")).status is Status.OK

    places["two"].refuses = True
    with pytest.raises(UserError, match="no such GPU"):
        fleet.start(make("pass"))


def test_a_job_that_one_backend_cannot_take_waits_for_one_that_is_down(fleet, places, make):
    places["one"].refuses = places["two"].is_down = True

    with pytest.raises(BackendDown, match="two does not answer"):
        fleet.start(make("pass"))


def test_a_backend_that_is_down_is_not_asked_again_at_every_job(fleet, places, make):
    places["one"].is_down = True
    asked = []
    places["one"].find = lambda key: asked.append("find") or ""
    run(fleet, make("pass"))
    before = len(asked)

    outcomes = [run(fleet, make("pass")) for _ in range(3)]

    assert [outcome.status for outcome in outcomes] == [Status.OK] * 3
    assert len(asked) == before


def test_a_backend_that_lost_a_job_is_asked_last(fleet, places, make):
    places["one"].loses = True
    lost = run(fleet, make("pass"))
    again = [run(fleet, make("pass")) for _ in range(2)]

    assert lost.status is Status.INFRASTRUCTURE
    assert [outcome.status for outcome in again] == [Status.OK, Status.OK]


def test_a_handle_of_a_backend_that_is_not_in_the_fleet_is_refused_in_words(fleet, make):
    handle = fleet.start(make("pass"))
    fleet.wait([handle], None)

    with pytest.raises(UserError, match="was started on backend one") as refusal:
        Fleet({"two": fleet.backends["two"]}).collect(handle)
    assert refusal.value.hint.startswith("add --backend one; ")


def test_a_place_is_taken_before_the_start_that_may_last(fleet, places, make, until):
    release, begun = threading.Event(), []
    start = places["one"].start

    def slowly(job):
        begun.append(job.key)
        release.wait(30)
        return start(job)

    places["one"].start = slowly
    first = threading.Thread(target=lambda: fleet.start(make("pass")))
    first.start()
    until(lambda: begun)

    handle = fleet.start(make("pass"))

    release.set()
    first.join()
    assert place_of(handle) == "two"


# outages -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def restless(monkeypatch):
    """A backend that is down is asked again after a tenth of a second."""
    monkeypatch.setattr(outages, "REST_S", 0.1)


def on(fleet, make, name, code="import time; time.sleep(60)") -> str:
    """Handle of a job that runs on the backend of that name."""
    return next(handle for handle in (fleet.start(make(code)) for _ in range(len(fleet.backends))) if place_of(handle) == name)


def test_a_backend_that_is_down_is_asked_once_while_its_jobs_wait_and_told_of_once(fleet, places, make):
    handle = on(fleet, make, "two")
    places["two"].is_down = True
    places["two"].asked.clear()

    ended = [fleet.wait([handle], 0.1) for _ in range(5)]

    assert ended == [[]] * 5
    assert places["two"].asked == ["wait"]
    assert fleet.news() == [("backend two is down: two does not answer; 1 trial waits for it", "it is asked again every minute")]
    assert fleet.news() == []


def test_jobs_elsewhere_end_while_one_backend_is_down(fleet, places, make):
    waiting, quick = on(fleet, make, "two"), on(fleet, make, "one", "pass")
    places["two"].is_down = True

    assert fleet.wait([waiting, quick], 30) == [quick]
    assert fleet.collect(quick).status is Status.OK


def test_jobs_of_a_backend_that_comes_back_end_as_if_nothing_had_been(fleet, places, make, restless):
    handle = on(fleet, make, "two", "print('lived on')")
    places["two"].is_down = True
    assert fleet.wait([handle], 0.1) == []
    places["two"].is_down = False

    assert fleet.wait([handle], 30) == [handle]
    assert output(fleet.collect(handle)) == "lived on\n"
    assert fleet.news() == []  # nobody had been told of it


def test_the_end_of_an_outage_is_told_to_whoever_was_told_of_its_beginning(fleet, places, make, restless):
    handle = on(fleet, make, "two", "pass")
    places["two"].is_down = True
    fleet.wait([handle], 0.1)
    began = fleet.news()
    places["two"].is_down = False
    fleet.wait([handle], 30)

    assert [message for message, _ in (*began, *fleet.news())] == [
        "backend two is down: two does not answer; 1 trial waits for it",
        "backend two answers again",
    ]


def test_a_backend_that_is_down_at_the_start_is_told_of(fleet, places):
    places["two"].is_down = True

    fleet.resources()

    assert fleet.news() == [("backend two is down: two does not answer", "it is asked again every minute")]


def test_a_backend_that_goes_down_before_an_outcome_is_home_has_not_ended_the_job(fleet, places, make, restless):
    handle = on(fleet, make, "two", "pass")
    places["two"].falls_at_collect = True

    assert fleet.wait([handle], 1) == []
    places["two"].falls_at_collect = places["two"].is_down = False
    assert fleet.wait([handle], 30) == [handle]
    assert fleet.collect(handle).status is Status.OK


def test_what_is_cancelled_at_a_backend_that_is_down_is_cancelled_when_it_is_back(fleet, places, make, restless):
    handle = on(fleet, make, "two")
    places["two"].is_down = True
    fleet.cancel(handle)
    places["two"].is_down = False

    assert fleet.wait([handle], 30) == [handle]
    assert fleet.collect(handle).status is Status.CANCELLED


def test_jobs_of_a_backend_that_stays_down_are_given_up_and_cancelled_once_it_is_back(fleet, places, make, restless, monkeypatch, until):
    monkeypatch.setattr(fleet_module, "GIVEN_UP_S", 0.2)
    handle = on(fleet, make, "two")
    inner = json.loads(handle)["handle"]
    places["two"].is_down = True

    ended = fleet.wait([handle], 30)
    outcome = fleet.collect(handle)
    fleet.forget(handle)
    assert (ended, outcome.status) == ([handle], Status.INFRASTRUCTURE)
    assert outcome.reason == "backend two was down for 0 minutes: two does not answer"

    places["two"].is_down = False
    until(lambda: fleet.resources()["down"] == {})
    until(lambda: not Path(json.loads(inner)["folder"]).exists())
    assert places["two"].asked.index("cancel") < places["two"].asked.index("forget")


def test_waiting_is_over_when_every_backend_is_down(fleet, places, make):
    handle = on(fleet, make, "two")
    for place in places.values():
        place.is_down = True

    with pytest.raises(BackendDown, match="does not answer"):
        fleet.start(make("pass"))
    with pytest.raises(BackendDown, match="two does not answer"):
        fleet.wait([handle], 5)


def test_a_job_of_a_killed_loop_waits_for_its_backend_that_is_down_and_is_not_started_elsewhere(places, make, restless):
    job = make("print('once')")
    places["two"].start(job)
    places["two"].is_down = True
    later = Fleet(places)
    handle = later.find(job.key) or later.start(job)

    assert place_of(handle) == "two"
    assert later.wait([handle], 0.1) == []
    places["two"].is_down = False
    assert later.wait([handle], 30) == [handle]
    assert output(later.collect(handle)) == "once\n"
    assert "start" not in places["one"].asked


def test_a_job_that_never_reached_the_backend_that_is_back_is_lost_and_tried_again(places, make, restless):
    job = make("pass")
    (places["two"].root / job.key).mkdir(parents=True)
    places["two"].is_down = True
    later = Fleet(places)
    handle = later.find(job.key)
    places["two"].is_down = False

    assert later.wait([handle], 30) == [handle]
    assert later.collect(handle).status is Status.INFRASTRUCTURE


def test_a_refusal_says_what_each_backend_said(fleet, places, make):
    places["one"].refuses = places["two"].is_down = True

    with pytest.raises(BackendDown) as refusal:
        fleet.start(make("pass"))

    assert refusal.value.message == "one: one has no such GPU; two: two does not answer"


def test_a_fleet_starts_in_line_while_all_of_its_backends_are_quick_and_none_is_down(fleet, places, make):
    assert fleet.is_quick
    places["two"].is_down = True
    fleet.resources()
    assert not fleet.is_quick


def test_an_outcome_of_another_backend_is_no_job_of_slurms(places, make):
    job = make("pass")
    run(places["one"], job)

    assert not JobFolder(places["one"].root / job.key).is_known


def test_a_handle_is_read_by_a_loop_on_other_backends_that_has_its_own(fleet, make):
    handle = on(fleet, make, "two", "pass")
    inner = json.loads(handle)["handle"]

    assert as_read_by(["two"], handle, "key", "one+two") == inner
    assert place_of(as_read_by(["one", "two"], inner, "key", "two")) == "two"
    assert as_read_by(["one", "two"], handle, json.loads(handle)["key"], "one+two") == handle
    assert as_read_by(["one"], "", "key", "one") == ""


@pytest.mark.parametrize(
    ("told", "cpus", "gpus", "jobs"),
    [
        ({"slots": 4, "cpus": 8, "gpus": 0}, 1, 0, 4),
        ({"slots": 0, "cpus": 8, "gpus": 0}, 3, 0, 2),
        ({"slots": 0, "cpus": 64, "gpus": 4}, 1, 1, 4),
        ({"slots": 0, "cpus": 64, "gpus": 4}, 1, 3, 1),
        ({"slots": 0, "cpus": 2, "gpus": 0}, 4, 0, 1),
        ({"backends": {"a": {"slots": 2}, "b": {"cpus": 6}}}, 2, 0, 5),
    ],
)
def test_room_is_what_cpus_gpus_and_slots_leave(told, cpus, gpus, jobs):
    assert room(told, cpus, gpus) == jobs
