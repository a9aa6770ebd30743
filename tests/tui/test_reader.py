"""The thread that knows the lab: what it says, in which order, and that it goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from builders import commit_of, run
from evogit.errors import UnknownName, UserError
from evogit.tui import news
from evogit.tui.reader import Reader
from stills import StillLab

PATIENCE_S = 60.0


class Told:
    """A reader over a lab that stands still, and what it said so far."""

    def __init__(self, open_lab: Callable[[str], object]) -> None:
        self.items: list[news.News] = []
        self._queue: queue.Queue[news.News] = queue.Queue()
        self.reader = Reader(open_lab, self._queue.put)
        self.reader.start()

    def until(self, kind: type) -> news.News:
        """The next of a kind."""
        while True:
            item = self._queue.get(timeout=PATIENCE_S)
            self.items.append(item)
            if isinstance(item, kind):
                return item


@pytest.fixture
def told() -> Iterator[Callable[..., Told]]:
    made: list[Told] = []

    def make(open_lab: Callable[[str], object]) -> Told:
        made.append(Told(open_lab))
        return made[-1]

    yield make
    for each in made:
        each.reader.close()
        each.reader.join(PATIENCE_S)


def landed(label: str):
    return run(label, 0.08, parents=("53",), incumbent=commit_of("53"))


def test_a_run_is_told_before_what_takes_long_is_done(told):
    lab = StillLab()
    on = told(lambda tag: lab)
    on.until(news.Stood)
    began, go = threading.Event(), threading.Event()

    def slow(lab):
        for n in range(50):
            yield None
            if n == 10:
                began.set()
                assert go.wait(PATIENCE_S)
        yield "done"

    on.reader.ask("slow", slow)
    assert began.wait(PATIENCE_S)
    lab.land(landed("64"))
    go.set()

    assert on.until(news.Landed).runs[0].label == "64"
    assert not any(isinstance(item, news.Answered) for item in on.items)
    assert on.until(news.Answered) == news.Answered("slow", "done")


def test_of_two_that_wait_under_one_key_the_later_one_is_done(told):
    lab = StillLab()
    on = told(lambda tag: lab)
    on.until(news.Stood)
    began, go = threading.Event(), threading.Event()

    def first(lab):
        began.set()
        assert go.wait(PATIENCE_S)
        return "first"

    on.reader.ask("a", first)
    assert began.wait(PATIENCE_S)
    for n in range(5):
        on.reader.ask("b", lambda lab, n=n: n)
    go.set()

    assert [on.until(news.Answered).value, on.until(news.Answered).value] == ["first", 4]


def test_work_that_fails_is_answered_with_its_fault_and_the_campaign_stays(told):
    lab = StillLab()
    on = told(lambda tag: lab)
    on.until(news.Stood)

    def refuse(lab):
        raise UserError("no", hint="because")

    def give_up(lab):
        yield None
        raise LookupError("half way")

    on.reader.ask("refused", refuse)
    on.reader.ask("lost", give_up)
    faults = {item.key: item.fault for item in (on.until(news.Answered), on.until(news.Answered))}
    lab.land(landed("64"))

    assert isinstance(faults["refused"], UserError) and isinstance(faults["lost"], LookupError)
    assert on.until(news.Landed).runs[0].label == "64"


def test_a_campaign_is_looked_for_until_there_is_one(told):
    lab, opened = StillLab(), []

    def open_lab(tag):
        opened.append(tag)
        if len(opened) < 2:
            raise UnknownName("there is no campaign yet", hint="start one")
        return lab

    on = told(open_lab)
    first = on.until(news.Absent)
    book = on.until(news.Opened).book

    assert (first.why, first.hint, first.is_first) == ("there is no campaign yet", "start one", True)
    assert len(book) == 64 and book.incumbent == commit_of("53")


def test_what_nobody_foresaw_ends_the_reader_with_a_word(told, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda told: None)

    class Bug(Exception):
        pass

    def open_lab(tag):
        raise Bug

    assert told(open_lab).until(news.Broken) == news.Broken()
