"""Crash signatures: which faults strike, how often, beside which changes, and what avoids them. It repairs nothing.

A signature leaves out what differs between two blows of one fault: numbers, paths, addresses, quoted values, the line.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

from evogit.domain.lore import FaultRecord, Signature
from evogit.domain.run import Run
from evogit.domain.trial import Crash, Status
from evogit.domain.verdict import Verdict
from evogit.search.lesson import Lesson
from evogit.search.topics import opposite

KEPT = 200  # signatures; the one that has not struck for longest is forgotten first
WINDOW = 200  # newest runs that a risk is about
_LIVE = 20  # faults that struck last: these alone still learn what avoids them
_TOPICS = 32  # topics kept per signature
_LONGEST = 200  # characters of a message
_PRIOR_RISK, _PRIOR_RUNS = 0.1, 5.0  # before anything ran: one change in ten crashes, believed as if five runs had shown it
_TOWARDS_ALL = 2.0  # runs' worth of the overall rate in a topic's

_QUOTED = re.compile(r"""(?<!\w)(?:'[^']*'|"[^"]*"|`[^`]*`)(?!\w)""")
_PATH = re.compile(r"(?:\b[A-Za-z]:)?[\w.~+-]*[/\\][\w./\\~+-]*")
_HEX = re.compile(r"\b(?:0[xX][0-9a-fA-F]+|(?=[a-f]*\d)[0-9a-f]{7,})\b")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+(?:[eE][-+]?\d+)?|(?<!\w)[-+]?(?:nan|inf|NaN)\b")
_NUMBERS = re.compile(r"#(?:\s*[,x*.:]?\s*#)+")
_LINE = re.compile(r":\d+$")


def signature(crash: Crash) -> Signature:
    """What stays the same when this fault strikes elsewhere: in another line, with other numbers, below another path."""
    message = crash.message[: 4 * _LONGEST]
    for pattern, stand_in in ((_QUOTED, "'..'"), (_PATH, "<path>"), (_HEX, "#"), (_NUMBER, "#"), (_NUMBERS, "#")):
        message = pattern.sub(stand_in, message)
    return Signature(kind=crash.kind, message=" ".join(message.split())[:_LONGEST], where=_LINE.sub("", crash.where))


def signature_of(run: Run) -> Signature | None:
    """The fault that a run crashed with; None if it did not crash, or if the fault was the machine's."""
    if run.verdict is not Verdict.CRASH:
        return None
    ours = [t for t in run.trials if t.status not in {Status.INFRASTRUCTURE, Status.CANCELLED}]
    if run.trials and not ours:
        return None
    crash = next((t.crash for t in ours if t.crash is not None), None)
    return signature(crash or Crash(kind="unknown", message=run.reason))


class _Tally:
    """One signature's counts so far."""

    def __init__(self, run: Run) -> None:
        self.first, self.first_commit, self.last, self.count = run.label, run.commit, run.label, 0
        self.topics: Counter[str] = Counter()
        self.avoided_by: Counter[str] = Counter()

    def strike(self, run: Run, topics: Iterable[str]) -> None:
        self.count, self.last = self.count + 1, run.label
        _count(self.topics, topics)

    def spare(self, topics: tuple[str, ...]) -> None:
        """A later run did not crash. It tells what avoids the fault only if it went near: on the same topic, or the other way."""
        if any(key in self.topics or opposite(key) in self.topics for key in topics):
            _count(self.avoided_by, (key for key in topics if key not in self.topics))

    def record(self, of: Signature) -> FaultRecord:
        return FaultRecord(
            signature=of,
            count=self.count,
            first=self.first,
            last=self.last,
            topics=tuple(key for key, _ in self.topics.most_common()),
            avoided_by=tuple(key for key, _ in self.avoided_by.most_common() if key not in self.topics),
        )


class Faults:
    """The faults of one epoch. O(1) a run."""

    def __init__(self) -> None:
        self._tallies: dict[Signature, _Tally] = {}  # the one that struck last is last
        self._window: deque[tuple[tuple[str, ...], bool]] = deque()
        self._ran: Counter[str] = Counter()
        self._crashed: Counter[str] = Counter()
        self._crashes = 0

    def learn(self, lesson: Lesson) -> None:
        """Take in one run. Baselines and what a gate stopped before it ran teach nothing here."""
        run, found = lesson.run, signature_of(lesson.run)
        if run.generation == 0 or run.verdict is Verdict.REJECT or (found is None and run.verdict is Verdict.CRASH):
            return
        self._remember(lesson.topics, found is not None)
        if found is None:
            for tally in islice(reversed(self._tallies.values()), _LIVE):
                tally.spare(lesson.topics)
            return
        tally = self._tallies.pop(found, None) or _Tally(run)
        tally.strike(run, lesson.topics)
        self._tallies[found] = tally
        if len(self._tallies) > KEPT:
            del self._tallies[next(iter(self._tallies))]

    def _remember(self, topics: tuple[str, ...], crashed: bool) -> None:
        self._window.append((topics, crashed))
        self._ran.update(topics)
        self._crashes += crashed
        if crashed:
            self._crashed.update(topics)
        if len(self._window) > WINDOW:
            old, had_crashed = self._window.popleft()
            self._crashes -= had_crashed
            _take(self._ran, old)
            if had_crashed:
                _take(self._crashed, old)

    # asking ----------------------------------------------------------------------------------------------------------

    def signatures(self) -> list[FaultRecord]:
        """What struck, most frequent first, the latest of equals first. At most 200."""
        newest_first = reversed(self._tallies.items())
        return sorted((tally.record(found) for found, tally in newest_first), key=lambda record: -record.count)

    def is_new(self, run: Run) -> bool:
        """True if this run was the first that its fault struck. False for a run that did not crash."""
        found = signature_of(run)
        tally = self._tallies.get(found) if found is not None else None
        return tally is not None and tally.first_commit == run.commit

    @property
    def rate(self) -> float:
        """Share of recent runs that crashed, in (0, 1): drawn to one in ten while few ran."""
        return (self._crashes + _PRIOR_RISK * _PRIOR_RUNS) / (len(self._window) + _PRIOR_RUNS)

    def risk(self, topic: str) -> float:
        """Chance in (0, 1) that a change on this topic crashes: its share among recent runs, drawn to the overall rate. O(1)."""
        return (self._crashed[topic] + _TOWARDS_ALL * self.rate) / (self._ran[topic] + _TOWARDS_ALL)


def _count(counts: Counter[str], keys: Iterable[str]) -> None:
    """Count keys, those that are new only while there is room."""
    for key in keys:
        if key in counts or len(counts) < _TOPICS:
            counts[key] += 1


def _take(counts: Counter[str], keys: Iterable[str]) -> None:
    """Take keys back out, leaving no zeros behind."""
    for key in keys:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]
