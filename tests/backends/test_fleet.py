"""Several backends as one, of real local backends in folders of their own."""

from __future__ import annotations

import pytest

from evogit.backends.fleet import Fleet, room
from evogit.backends.local import LocalBackend
from evogit.domain.trial import Outcome, Status
from evogit.errors import BackendDown, UserError
from evogit.testing import BackendContract, output, run


class Place(LocalBackend):
    """A local backend under another name, that can be out of order."""

    def __init__(self, root, name, slots=2):
        super().__init__(root, slots=slots)
        self.name, self.is_down, self.refuses, self.loses = name, False, False, False

    def start(self, job):
        if self.is_down:
            raise BackendDown(f"{self.name} does not answer")
        if self.refuses:
            raise UserError(f"{self.name} has no such GPU")
        return super().start(job)

    def resources(self):
        if self.is_down:
            raise BackendDown(f"{self.name} does not answer")
        return super().resources()

    def collect(self, handle) -> Outcome:
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
    assert refusal.value.hint == "add --backend one"


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
