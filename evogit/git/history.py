"""A campaign's runs, folded from its branch alone: notes, artifacts and views are never asked, so any clone tells the same story.

It writes nothing, and it compares runs only where two lab books were joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from evogit.domain.metric import Direction, Metric
from evogit.domain.run import Again, Judgement, Run
from evogit.domain.trial import TrialLine
from evogit.domain.verdict import Verdict
from evogit.errors import BadRecord, UnknownName
from evogit.git import ledger, messages, refs
from evogit.git.ledger import Entry
from evogit.git.messages import Baseline, RunMessage
from evogit.git.recorded import iso, run_of, trials_of
from evogit.git.repository import Repository

_SHORTEST_HASH = 4  # digits
_FOLLOWS = frozenset({"_repo", "by_commit", "by_label"})  # from who reads it, and from the runs


class Standing(msgspec.Struct, frozen=True):
    """What holds after an entry."""

    incumbent: str = ""
    epoch: int = 0
    baseline: str = ""  # run hash; of the epoch that holds now
    people: tuple[str, ...] = ()


class History:
    """One campaign as its branch tells it. Made by `read`, moved on by `advance`; otherwise only looked at.

    runs are in the order of decisions, `runs[i].seq == i`. Before run 0 is decided there are none, `base` is the tip,
    and `incumbent`, `clone` and `metric` are empty.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._repo: Repository | None = None  # whose tags are names of runs too; no fold asks for it
        self.revision = 0  # one more each time that what was told already is told differently: by a judge, or after a join
        self._clear("")

    def _clear(self, tip: str) -> None:
        self.revision += 1
        self._log: list[str | Again] = []  # runs by hash, in the order of the ledger
        self.tip = tip
        self.base = tip  # the commit that the campaign started from
        self.clone = ""  # the clone that started it: its runs carry bare numbers
        self.problem_folder = ""  # "" for the repository's top
        self.metric: Metric | None = None  # the primary one's name and direction
        self.runs: list[Run] = []  # in the order of decisions
        self.by_commit: dict[str, Run] = {}
        self.by_label: dict[str, Run] = {}  # the earlier run where two clones gave the same label
        self.replicates: dict[str, list[TrialLine]] = {}  # run hash -> readings taken after its decision
        self.certifications: dict[str, list[TrialLine]] = {}
        self.read_as: dict[str, list[str]] = {}  # label of a reading -> the runs that were read under it, the newest last
        self.numbers: dict[str, int] = {}  # greatest number given by a clone; "" is the one that started the campaign
        self.judgements: list[tuple[str, Judgement]] = []  # of people, with the label of the run, in the order of the ledger
        self.by_decision: dict[str, str] = {}  # decision hash -> run hash
        self.incumbents: dict[str, str] = {}  # hash of an entry -> the incumbent after it
        self._home: dict[str, str] = {}  # run hash -> clone that numbered it
        self._baselines: dict[str, Baseline] = {}
        self._state = Standing()

    @classmethod
    def read(cls, repo: Repository, tag: str) -> History:
        """All of it. Raises `UnknownName` if there is no such branch, `BadRecord` for commits FORMAT.md does not allow. ~0.1 ms a run."""
        tip = refs.read(repo, refs.branch(tag))
        if tip is None:
            known = ", ".join(refs.campaigns(repo))
            hint = f"there are: {known}" if known else f"start one with `evogit start {tag}`"
            raise UnknownName(f"there is no campaign {tag!r} here", hint=hint)
        return cls.at(repo, tag, tip)

    @classmethod
    def at(cls, repo: Repository, tag: str, tip: str) -> History:
        """The same for any commit as the branch's tip: yesterday's, or another clone's before it is joined."""
        history = cls(tag)
        history._repo = repo
        history._read_all(repo, tip)
        return history

    @classmethod
    def of(cls, repo: Repository, parts: Mapping[str, Any]) -> History:
        """The history whose `parts` these are."""
        history = cls(parts["tag"])
        vars(history).update(parts)
        history._repo = repo
        for run in history.runs:
            history.by_commit[run.commit] = run
            history.by_label.setdefault(run.label, run)
        return history

    def parts(self) -> dict[str, Any]:
        """What it holds, under its own names, but for what `of` works out again."""
        return {name: value for name, value in vars(self).items() if name not in _FOLLOWS}

    @property
    def incumbent(self) -> str:
        """Full hash of the incumbent run, "" before run 0 is decided."""
        return self._state.incumbent

    @property
    def epoch(self) -> int:
        """Number of the epoch that the tip is in."""
        return self._state.epoch

    @property
    def baseline(self) -> str:
        """Full hash of this epoch's baseline: a run that may not be decided yet, "" before run 0 is decided."""
        return self._state.baseline

    @property
    def people(self) -> tuple[str, ...]:
        """A person's commits at the tip with no entry of ours above them, oldest first: what the loop has yet to adopt."""
        return self._state.people

    @property
    def next_seq(self) -> int:
        """`Evogit-Seq` of the next decision."""
        return len(self.runs)

    def advance(self, repo: Repository, tip: str) -> list[Run]:
        """Follow the branch to `tip`; returns the runs decided since, in order.

        Reads only what is new; all again if `tip` does not descend from what was read, or two books were joined, in which
        case earlier runs may have another `seq`. A judged run is replaced in `runs`, and is not among those returned.
        """
        if tip == self.tip:
            return []
        count, known = len(self.runs), self.by_commit
        if self.runs and self._follow(repo, tip):
            return self.runs[count:]
        self._read_all(repo, tip)
        return [run for run in self.runs if run.commit not in known]

    def lessons(self, start: int = 0) -> Iterator[Run | Again]:
        """Runs, and the readings taken of them later, in the order of the ledger, from the one with that number on: what memory folds."""
        for lesson in self._log[start:]:
            yield self.by_commit[lesson] if isinstance(lesson, str) else lesson

    @property
    def told(self) -> int:
        """How many lessons there are."""
        return len(self._log)

    def find(self, text: str) -> Run:
        """The run of a label, "clone/label", full or short hash (of the run or its decision), a git tag, "incumbent", "tip" or "baseline".

        A label wins over a tag, a tag over a short hash. Raises `UnknownName`, with a hint.
        """
        named = {"incumbent": self.incumbent, "tip": self.incumbent, "baseline": self.baseline}
        found = self.by_label.get(text) or self.by_commit.get(named.get(text, text)) or self._with_clone(text) or self._with_tag(text)
        if found is None and len(text) >= _SHORTEST_HASH:
            found = self._with_prefix(text.lower())
        if found is not None:
            return found
        if not self.runs:
            raise UnknownName(f"campaign {self.tag} has no run yet", hint=f"run `evogit loop --tag {self.tag}`")
        if read := self.read_by(text):
            names = f"run{'s' if len(read) > 1 else ''} {' and '.join(read)}"
            raise UnknownName(f"{text} is no run: it was a reading of {names}", hint=f"`evogit show {text} --tag {self.tag}` shows it")
        last = self.runs[-1].label
        raise UnknownName(
            f"campaign {self.tag} has no run {text!r}", hint=f"the last one is {last}; `evogit log --tag {self.tag}` lists all"
        )

    def read_by(self, label: str) -> list[str]:
        """Labels of the runs that were read once more under a number, the newest reading's first; [] for a run's own, and for one that nothing had."""
        if label in self.by_label:
            return []
        return [self.by_commit[run].label for run in dict.fromkeys(reversed(self.read_as.get(label, ())))]

    def _with_clone(self, text: str) -> Run | None:
        clone, slash, label = text.rpartition("/")
        return next((r for r in self.runs if slash and r.label == label and self._home[r.commit] == clone), None)

    def _with_tag(self, text: str) -> Run | None:
        return self.by_commit.get(refs.tagged(self._repo, text)) if self._repo is not None and self.runs else None

    def _with_prefix(self, text: str) -> Run | None:
        hits = {run for run in self.by_commit if run.startswith(text)}
        hits |= {run for decision, run in self.by_decision.items() if decision.startswith(text)}
        if len(hits) > 1:
            labels = ", ".join(sorted(self.by_commit[h].label for h in hits))
            raise UnknownName(f"{text} is the beginning of several hashes", hint=f"give more digits, or one of the runs {labels}")
        return self.by_commit[hits.pop()] if hits else None

    def _read_all(self, repo: Repository, tip: str) -> None:
        walk = ledger.climb(repo, tip, campaign=self.tag)
        self._clear(tip)
        self.base = walk.base
        self._fold(repo, walk.entries, {})

    def _follow(self, repo: Repository, tip: str) -> bool:
        """Fold only the entries since the last tip, where they form one line on top of it that decides no run again."""
        walk = ledger.climb(repo, tip, campaign=self.tag, stop={self.tip})
        before = self.tip
        for entry in walk.entries:
            if entry.parents[:1] != (before,) or entry.kind == "join" or entry.decides in self.by_commit and entry.kind == "decision":
                return False
            if entry.kind == "person" and len(entry.parents) > 1:
                return False
            before = entry.commit
        if before != tip:
            return False
        self._fold(repo, walk.entries, {self.tip: self._state})
        self.tip = tip
        return True

    def _fold(self, repo: Repository, entries: list[Entry], states: dict[str, Standing]) -> None:
        """`states` holds what was true after the commits below; the last entry descends from all others."""
        decisions = _chosen(entries)
        for entry in entries:
            before = self._before([states[p] for p in entry.parents if p in states])
            if entry.kind == "decision":
                self.by_decision[entry.commit] = entry.decides
                if entry.decides not in self.by_commit:
                    self._add(repo, decisions[entry.decides], before)
            elif entry.kind == "judge":
                self._judge(entry)
            elif entry.kind in ("certify", "replicate"):
                self._measured_again(entry)
            states[entry.commit] = after = self._after(entry, before)
            self.incumbents[entry.commit] = after.incumbent
        if entries:
            self._settle(states[entries[-1].commit])

    def _before(self, states: list[Standing]) -> Standing:
        """What holds below an entry: of two joined books the later epoch's, then the better incumbent's, then the smaller hash's."""
        return states[0] if len(states) == 1 else min(states, key=self._rank) if states else Standing()

    def _rank(self, state: Standing) -> tuple[int, bool, float, str]:
        run = self.by_commit.get(state.incumbent)
        metric = self._metric(state.baseline)
        mean = run.mean(metric.name) if run is not None and metric is not None else None
        if mean is None or metric is None:
            return -state.epoch, True, 0.0, state.incumbent
        return -state.epoch, False, mean if metric.direction is Direction.MINIMIZE else -mean, state.incumbent

    def _after(self, entry: Entry, before: Standing) -> Standing:
        people = (*before.people, entry.commit) if entry.kind == "person" else ()
        if entry.kind in ("join", "person"):
            return Standing(before.incumbent, before.epoch, before.baseline, people)
        epoch, baseline = before.epoch, before.baseline
        if entry.kind == "epoch":
            epoch, baseline = entry.epoch, entry.baseline
        elif entry.kind == "decision" and entry.decides in self._baselines:
            epoch, baseline = self._baselines[entry.decides].epoch, entry.decides
        return Standing(entry.incumbent or before.incumbent, epoch, baseline, people)

    def _settle(self, state: Standing) -> None:
        self._state = state
        current = self._baselines.get(state.baseline)
        if current is not None:
            self.problem_folder = current.problem
            self.metric = self._metric(state.baseline)
        if self._baselines and not self.clone:
            self.clone = next(iter(self._baselines.values())).clone

    def _metric(self, baseline: str) -> Metric | None:
        found = self._baselines.get(baseline)
        return Metric(name=found.metric, direction=found.direction) if found is not None else None

    def _add(self, repo: Repository, entry: Entry, before: Standing) -> None:
        commit = ledger.commit(repo, entry.decides)
        said = messages.parse_run(commit.text, commit.hash)
        known = () if said.baseline else tuple(self.by_commit[p] for p in commit.parents if p in self.by_commit)
        if said.baseline:
            self._baselines[commit.hash] = said.baseline
        epoch = said.baseline.epoch if said.baseline else known[0].epoch if known else before.epoch
        self._number(commit.hash, said, known)
        self._put(run_of(entry, commit, said, len(self.runs), epoch, known, before.incumbent))

    def _number(self, commit: str, said: RunMessage, parents: tuple[Run, ...]) -> None:
        clone, _, number = said.label.rpartition("/")
        self.numbers[clone] = max(self.numbers.get(clone, -1), int(number))
        started = said.baseline.clone if said.baseline else self._home.get(parents[0].commit, "") if parents else ""
        self._home[commit] = clone or started

    def _put(self, run: Run) -> None:
        """A new run, or another view of one that is there."""
        if run.seq == len(self.runs):
            self.runs.append(run)
            self._log.append(run.commit)
        else:
            self.runs[run.seq] = run
        self.by_commit[run.commit] = run
        if self.by_label.get(run.label, run).commit == run.commit:
            self.by_label[run.label] = run

    def _known(self, entry: Entry, commit: str) -> Run:
        run = self.by_commit.get(commit)
        if run is None:
            raise BadRecord(entry.commit, f"speaks of the run {commit or '(none)'}, which was not decided before it")
        return run

    def _measured_again(self, entry: Entry) -> None:
        run = self._known(entry, entry.of)
        is_look = entry.kind == "certify"
        if entry.label:
            self.read_as.setdefault(entry.label, []).append(run.commit)
        if is_look and entry.certified is not None:  # an ancestor's reading says nothing of the ancestor
            self._put(msgspec.structs.replace(run, certified=entry.certified))
        new = _take(self.certifications if is_look else self.replicates, entry)
        self._log.append(
            Again(
                of=entry.of,
                purpose=entry.kind,
                lines=tuple(new),
                certified=entry.certified if is_look else None,
                against=entry.against,
                spent=entry.spent,
                emitter=entry.emitter,
                agent=entry.agent,
            )
        )

    def _judge(self, entry: Entry) -> None:
        self.revision += 1
        run = self._known(entry, entry.decides)
        verdict = entry.verdict or run.verdict
        said = Judgement(
            verdict=verdict, was=run.verdict, by=entry.by or "somebody", reason=entry.reason, time=iso(entry.time), entry=entry.commit
        )
        is_near = run.near_miss and verdict is run.verdict is Verdict.DISCARD  # what a person settled is no close call any more
        self.judgements.append((run.label, said))
        self._put(msgspec.structs.replace(run, verdict=verdict, near_miss=is_near, judgements=(*run.judgements, said)))


def _chosen(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Run -> the decision that counts. Where two clones decided the same run, the earlier one, then the smaller hash."""
    out: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind != "decision":
            continue
        if not entry.decides or entry.verdict is None:
            raise BadRecord(entry.commit, "is a decision without Evogit-Decides or Evogit-Verdict")
        other = out.get(entry.decides)
        if other is None or (entry.time, entry.commit) < (other.time, other.commit):
            out[entry.decides] = entry
    return out


def _take(into: dict[str, list[TrialLine]], entry: Entry) -> list[TrialLine]:
    """An entry's lines that are new, put to those of its run."""
    there = into.setdefault(entry.of, [])
    ids = {trial.id for trial in there}
    new = [trial for trial in trials_of(entry) if trial.id not in ids]
    there += new
    return new
