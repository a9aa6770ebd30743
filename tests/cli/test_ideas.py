"""`evogit ideas`: what is listed, what is written, and that a loop that is open elsewhere hears of it. Real git."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from evogit import ideabook
from evogit.cli.ideas import STYLES as BY_STATUS
from evogit.cli.ideas import command, table
from evogit.cli.invocation import Invocation
from evogit.cli.page import STYLES, Page
from evogit.domain.idea import IdeaStatus
from evogit.domain.options import LoopOptions
from evogit.domain.review import Recommendation
from evogit.git import idea_notes, notes
from evogit.ideabook import Ideabook
from evogit.lab import Lab
from evogit.search import idea_plans
from evogit.search.ideas import MOST_OF_PEOPLE, Ideas
from evogit.search.memory import Memory
from toys import TOML, make_toy


@pytest.fixture(scope="module")
def top(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        top = make_toy(tmp_path_factory.mktemp("lab") / "toy", toml=TOML.replace("[0, 1]", "[0]"))
        Lab.open(top).start("t1")
        list(Lab.open(top, tag="t1").loop(LoopOptions(max_runs=2, emitters=("local_tuner",))))
        return top


@pytest.fixture
def lab(top) -> Lab:
    lab = Lab.open(top, tag="t1")
    lab.repo.git.references.delete(notes.IDEAS) if notes.IDEAS in lab.repo.git.references else None
    lab.repo.git.config["user.name"], lab.repo.git.config["user.email"] = "Ada", "ada@example.org"
    return lab


class Door:
    """The methods of the lab that the command calls, over a real campaign."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def ideas(self, status=None):
        return ideabook.ideas_of(self.lab.repo, self.lab.campaign.history, status)

    def idea_refusals(self):
        return ideabook.refusals(self.lab.repo, self.lab.campaign.history)

    def add_idea(self, text, *, mutation_type="", priority=0.9, source="", expected_benefit=""):
        said = Recommendation(mutation_type=mutation_type, description=text, priority=priority, expected_benefit=expected_benefit)
        return ideabook.add(self.lab.repo, self.lab.campaign.history, self.lab.run(source or "incumbent"), said)

    def drop_idea(self, id, because=""):
        return self.lab.drop_idea(id, because)

    def rank_idea(self, id, priority):
        return self.lab.rank_idea(id, priority)

    def raise_idea(self, id):
        return self.lab.raise_idea(id)

    def lower_idea(self, id):
        return self.lab.lower_idea(id)


@pytest.fixture
def ideas(lab):
    def call(*args: str):
        return CliRunner().invoke(command, list(args), obj=Invocation(open_lab=lambda *a, **k: Door(lab)), prog_name="evogit ideas")

    return call


def queue_of(lab: Lab) -> Ideas:
    queue = Ideas()
    for run in lab.campaign.history.runs:
        queue.settle(run)
    return queue


def book(lab: Lab) -> Ideabook:
    queue = queue_of(lab)
    opened = Ideabook(lab.repo, lab.campaign.history, queue)
    assert opened.recall() == ()
    return opened


def test_an_added_idea_is_listed_first_and_stands_on_its_run(ideas, lab):
    done = ideas("add", "try a cosine schedule", "--type", "schedule", "--priority", ".8", "--from", "1")

    assert done.exit_code == 0, done.output
    first = json.loads(ideas("--json").stdout.splitlines()[0])
    assert (first["description"], first["status"], first["by"], first["from"], first["priority"]) == (
        "try a cosine schedule",
        "queued",
        "Ada",
        "1",
        0.8,
    )
    line = notes.read(lab.repo, notes.IDEAS, lab.run("1").commit)[0]
    assert list(json.loads(line)) == ["v", "id", "time", "by", "mutation_type", "description", "expected_benefit", "priority"]


def test_the_table_names_status_run_and_author_and_reviewers_ideas_come_after(ideas):
    ideas("add", "try a cosine schedule")

    lines = ideas().stdout.splitlines()

    assert lines[0].split() == ["id", "status", "run", "from", "priority", "by", "type", "idea"]
    assert "Ada" in lines[1] and "try a cosine schedule" in lines[1]
    assert all("reviewer:heuristic" in line for line in lines[2:])


def test_a_narrow_page_leaves_half_of_its_width_to_what_is_wanted(lab):
    told = [msgspec.structs.replace(one, source="17") for one in ideabook.ideas_of(lab.repo, lab.campaign.history)]

    lines = table(told, Page(width=80, height=50, unicode=True, colour=False, terminal=True))

    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("id "), "by which it is raised, lowered and dropped"
    assert len(lines[0]) - len("idea") <= 40
    assert any(len(line) > 75 for line in lines)


def test_only_the_status_that_was_asked_for_is_listed(ideas):
    ideas("add", "try a cosine schedule")

    assert "cosine" in ideas("--status", "queued").stdout
    done = ideas("--status", "claimed")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "evogit ideas add" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("?!?!?!", "not made of words"), ("make it better " * 400, "6000 characters, and 2000 is the most")],
)
def test_what_nobody_could_carry_out_is_refused_and_nothing_is_written(ideas, lab, text, words):
    done = ideas("add", text)

    assert words in done.exception.message and done.exception.hint
    assert list(notes.items(lab.repo, notes.IDEAS)) == []


def test_what_was_asked_before_is_refused_and_named(ideas):
    ideas("add", "try a cosine schedule")

    done = ideas("add", "use a COSINE schedule", "--from", "0")

    assert "Ada asked for that before (queued)" in done.exception.message


def test_a_loop_that_is_open_hears_of_a_new_idea_and_looks_no_further_where_nothing_moved(ideas, lab):
    opened = book(lab)
    assert opened.ideas.next_person() is None

    ideas("add", "try a cosine schedule")
    said = opened.look()

    assert said == ()
    assert opened.ideas.next_person().description == "try a cosine schedule"
    before = opened.ideas.all()
    assert (opened.look(), opened.ideas.all()) == ((), before)


def test_lines_of_others_are_skipped_or_refused_in_words_and_never_end_a_loop(lab):
    one = lab.run("1").commit
    good = {"v": 1, "id": "0" * 16, "time": "", "by": "reviewer:me", "mutation_type": "", "description": "a\x07 wider layer", "priority": 7}
    lines = [b"no json", b"\xff\xfe", b'{"v":2,"id":"1111111111111111"}', b"[1]", msgspec.json.encode({**good, "id": "short"})]
    lines += [msgspec.json.encode(good), msgspec.json.encode({**good, "id": "2" * 16, "description": "%%%%"})]
    notes.add(lab.repo, notes.IDEAS, {one: lines, "a" * 40: [msgspec.json.encode(good)]}, "by others")
    queue = Ideas()

    said = Ideabook(lab.repo, lab.campaign.history, queue).look()

    assert said == (
        "an idea on run 1 is not made of words: say what to change, as in `try a cosine schedule`",
        "the ideas on run 1 hold 5 lines that nobody can read as an idea",
    )
    assert [(i.by, i.mutation_type, i.description, i.priority) for i, _, _ in queue.all()] == [("me", "other", "a wider layer", 1.0)]


def line(number: int, description: str, **more) -> bytes:
    said = {"v": 1, "id": f"{number:016x}", "time": f"{number:05}", "by": "Ada", "mutation_type": "", "description": description}
    return msgspec.json.encode({**said, **more})


def write(lab: Lab, *lines: bytes) -> None:
    notes.add(lab.repo, notes.IDEAS, {lab.run("1").commit: lines}, "by hand")


def test_a_flood_of_refusals_is_three_lines_and_a_count(lab):
    write(lab, *(line(n, "%" * n) for n in range(50)), *(line(100 + n, "widen it " * (1000 + n)) for n in range(50)))

    said = Ideabook(lab.repo, lab.campaign.history, Ideas()).look()

    assert said == (
        "an idea on run 1 is empty",
        "an idea on run 1 is not made of words: say what to change, as in `try a cosine schedule` (49 such ideas)",
        "an idea on run 1 has 9000 characters: the first 2000 count",
        "49 more ideas left out or cut for reasons like these",
    )


def test_a_megabyte_is_cut_and_the_cut_is_told_once(lab):
    write(lab, line(1, "widen the layer " * 65536))
    opened = Ideabook(lab.repo, lab.campaign.history, Ideas())

    said = opened.look()
    write(lab, line(2, "try a cosine schedule"))

    assert said == ("an idea on run 1 has 1048576 characters: the first 2000 count",)
    assert opened.look() == ()
    assert [len(idea.description) for idea, _, _ in opened.ideas.all()] == [2000, len("try a cosine schedule")]


def test_of_thousands_of_ideas_as_many_wait_as_fit_and_the_next_come_when_those_are_done(lab):
    write(lab, *(line(n, f"set WIDTH to {n}") for n in range(1000)))
    queue = queue_of(lab)
    opened = Ideabook(lab.repo, lab.campaign.history, queue)

    said = opened.look()

    assert said == (f"{1000 - MOST_OF_PEOPLE} ideas of people found no room: {MOST_OF_PEOPLE} wait at a time, the oldest first",)
    first = [idea for idea, _, _ in queue.all()]
    assert [idea.description for idea in first[:2]] == ["set WIDTH to 0", "set WIDTH to 1"]
    assert opened.look() == ()
    for number, idea in enumerate(first):
        queue.settle(msgspec.structs.replace(lab.run("1"), seq=3 + number, idea=idea.id))
    opened.look()
    assert queue.next_person().description == f"set WIDTH to {MOST_OF_PEOPLE}"


def test_a_line_that_is_nested_without_end_is_none_and_breaks_nothing(lab):
    write(lab, line(1, "deeper net")[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")

    (said,) = Ideabook(lab.repo, lab.campaign.history, Ideas()).look()

    assert said == "the ideas on run 1 hold a line that nobody can read as an idea"


def test_the_list_says_on_stderr_what_is_not_in_it(ideas, lab):
    write(lab, line(1, "%%%%"), line(2, "try a \x1b[2Jcosine schedule"), b"[]")

    done = ideas()

    assert "cosine schedule" in done.stdout and "\x1b" not in done.output
    assert done.stderr.splitlines() == [
        "warning: an idea on run 1 is not made of words: say what to change, as in `try a cosine schedule`",
        "warning: the ideas on run 1 hold a line that nobody can read as an idea",
    ]


def test_an_idea_comes_back_from_its_line_as_it_was(lab):
    run = lab.run("1")
    told = ideabook.add(lab.repo, lab.campaign.history, run, Recommendation(mutation_type="a", description="deeper net", priority=0.25))

    assert idea_notes.decode(idea_notes.encode(told.idea), run) == told.idea
    assert list(idea_notes.of_runs(lab.repo, lab.campaign.history.by_commit)) == [(run, told.idea)]
    assert told.status is IdeaStatus.QUEUED


def test_the_reviews_of_the_newest_runs_are_recalled(lab):
    known = book(lab).ideas.all()

    assert known
    assert {idea.by for idea, _, _ in known} == {"reviewer:heuristic"}


def test_the_help_opens_no_lab_and_says_what_can_be_done(ideas):
    done = ideas("--help")

    assert done.exit_code == 0
    assert "add" in done.stdout and "--status" in done.stdout and "--tag" in done.stdout


def test_a_recalled_idea_becomes_a_plan_that_names_it(lab):
    campaign = lab.campaign
    memory = Memory.of(campaign.problem, campaign.history.lessons(), campaign)
    Ideabook(lab.repo, campaign.history, memory.ideas).recall()
    idea = memory.ideas.best()

    plan = idea_plans.plan_for(memory, idea, random.Random(0))

    assert (plan.idea, plan.instruction) == (idea.id, idea.description)
    assert plan.parents[0] in {run.commit for run in memory.pool()}
    assert bool(plan.operators) is not plan.replicate


def test_every_status_of_an_idea_is_shown_in_a_style_that_there_is():
    assert set(BY_STATUS) == {status.value for status in IdeaStatus}
    assert set(BY_STATUS.values()) - {""} <= set(STYLES)


def test_an_idea_is_raised_lowered_and_dropped_by_its_first_digits_and_an_open_queue_hears_of_it(ideas, lab):
    id = json.loads(ideas("add", "try a cosine schedule", "--priority", "0.5", "--json").stdout)["id"]
    opened = book(lab)

    assert json.loads(ideas("raise", id[:4], "--json").stdout)["priority"] == 0.6
    assert json.loads(ideas("lower", id[:6], "--to", "0.2", "--json").stdout)["priority"] == 0.2
    assert json.loads(ideas("lower", id, "--json").stdout)["priority"] == pytest.approx(0.1)
    assert opened.look() == () and opened.ideas.next_person().priority == pytest.approx(0.1)
    assert ideas("drop", id, "--because", "silly").stdout == f"idea {id} is dropped: try a cosine schedule\n"
    assert opened.look() == () and opened.ideas.next_person() is None
    assert json.loads(ideas("--status", "dropped", "--json").stdout)["id"] == id
    assert lab.idea_refusals() == []


def test_what_cannot_be_moved_is_said_in_one_line(ideas, lab):
    id = json.loads(ideas("add", "try a cosine schedule", "--json").stdout)["id"]

    for args, words in (
        (("drop", "zzzz"), "there is no idea 'zzzz'"),
        (("drop", id[:3]), f"there is no idea {id[:3]!r}"),
        (("raise", id, "--to", "2"), ""),
    ):
        done = ideas(*args)
        assert done.exit_code != 0
        assert words in str(getattr(done.exception, "message", words))
