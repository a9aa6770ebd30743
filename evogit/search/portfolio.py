"""What each emitter earned, and what that says: who pays, who rests, whether the search stands still. It chooses nobody.

Records of the newest runs only: an emitter that paid a thousand runs ago is judged on what it does now.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence

import msgspec

from evogit.domain.belief import Credit
from evogit.domain.plan import Forecast
from evogit.domain.problem import Problem
from evogit.domain.run import Again, Run
from evogit.domain.verdict import Verdict
from evogit.search import credit as crediting
from evogit.search.faults import signature_of
from evogit.search.lesson import Lesson
from evogit.search.whatif import uniform_over, what_if

WINDOW = 400  # runs whose records are kept
LOOK = 64  # runs among which a gain is ranked and a cost is compared
CHEAPEST, DEAREST = 0.25, 4.0  # bounds of a relative cost: one throttled trial does not condemn an emitter
BESIDE_S = 1.0  # what a run takes beside its trials, roughly: one of milliseconds is no cheaper for being twice as fast
FORECASTS = 16  # of an emitter, whose mean skill it is paid for; fewer than half of them count as half
LULL, LONGEST_LULL = 8, 20  # measured runs without a real gain that make a plateau, by how rare gains were
TIRED = 2  # rejects in a row after which an emitter rests
REST = 16  # decided runs that a rest lasts, unless a keep ends it
SURE = 60  # judged runs before the portfolio says what its choices were worth
CRASH_HUNTER = "anomaly_chaser"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run as its emitter's account shows it."""

    commit: str
    seq: int
    emitter: str
    credit: Credit
    rank: float  # of its gain, kept for a later certification
    cost: float  # relative: 1 is the median run
    policy: str  # "", "ideas" and "mending": no policy chose this emitter
    chance: float  # probability with which the policy chose it
    kept: bool


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What one emitter did in the window. Rates are credit per median cost; the interval is of 95 %."""

    emitter: str
    runs: int
    keeps: int
    rate: float
    low: float
    high: float
    share: float  # of the runs in the window


class Portfolio:
    """Accounts of the search's emitters. `learn` costs O(LOOK), never O(history)."""

    def __init__(self, problem: Problem) -> None:
        self._metric, self._floor = problem.primary, problem.search.floor
        self._records: dict[str, Record] = {}  # by commit, oldest first
        self._gains: deque[float] = deque(maxlen=LOOK)
        self._usual: float | None = None  # what `_gain_size` says of them, until the next one
        self._seconds, self._dollars = _Median(), _Median()
        self._weights: defaultdict[str, float] = defaultdict(float)  # topic -> precision gathered, in prior precisions
        self._tried: Counter[str] = Counter()  # topic -> measured runs
        self._skills: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=FORECASTS))
        self._crashes: set[str] = set()
        self._rejects: Counter[str] = Counter()  # emitter -> rejects in a row since the last keep
        self._rested: dict[str, int] = {}  # emitter -> decided runs when it began to rest
        self._decided = 0
        self._gaps: deque[int] = deque(maxlen=5)
        self.plateau = 0  # measured search runs since the last keep with a real gain

    # learning --------------------------------------------------------------------------------------------------------

    def learn(self, lesson: Lesson) -> None:
        """One lesson; only what an emitter asked for is put down to anybody."""
        if not lesson.is_search:
            return
        run = lesson.run
        self._decided += 1
        self._learn_rest(run)
        rank, earned = self._earned(lesson)
        self._records[run.commit] = Record(
            commit=run.commit,
            seq=run.seq,
            emitter=run.emitter,
            credit=earned,
            rank=rank,
            cost=self._cost(run),
            policy=run.policy,
            chance=run.chance,
            kept=run.is_kept,
        )
        if len(self._records) > WINDOW:
            del self._records[next(iter(self._records))]

    def learn_certified(self, run: Run, again: Again) -> None:
        """A look of a certification: certified gains are sure, every look that failed to certify halves the fitness."""
        record = self._records.get(run.commit)
        if record is None or again.certified is None:
            return
        old = record.credit
        fitness = max(old.fitness, record.rank) if again.certified else old.fitness / 2
        revised = crediting.total_of(fitness=fitness, novelty=old.novelty, information=old.information, surprise=old.surprise)
        self._records[run.commit] = msgspec.structs.replace(record, credit=revised)

    def _earned(self, lesson: Lesson) -> tuple[float, Credit]:
        """(rank of its gain, credit), and what it taught about topics, gains and the plateau."""
        run = lesson.run
        if run.verdict is Verdict.CRASH:
            return 0.0, self._learn_crash(run)
        if lesson.belief is None:
            return 0.0, crediting.NOTHING
        gain = lesson.belief.gain_over_incumbent
        rank = _rank(gain, self._gains)
        earned = crediting.credit(
            lesson,
            rank=rank,
            novelty=self._novelty(lesson.topics),
            information=self._learn_topics(lesson),
            surprise=self._learn_forecast(lesson),
        )
        self._gains.append(gain)
        self._usual = None
        self._learn_plateau(lesson, gain)
        return rank, earned

    def _learn_crash(self, run: Run) -> Credit:
        signature = signature_of(run)
        if signature is None:
            return crediting.NOTHING
        is_new = signature not in self._crashes
        self._crashes.add(signature)
        return crediting.FIRST_CRASH if is_new and run.emitter == CRASH_HUNTER else crediting.NOTHING

    def _learn_plateau(self, lesson: Lesson, gain: float) -> None:
        """A keep for simplicity alone is progress of another kind: it ends no plateau."""
        self.plateau += 1
        if lesson.run.is_kept and gain > 0:
            self._gaps.append(self.plateau)
            self.plateau = 0

    def _learn_rest(self, run: Run) -> None:
        if run.is_kept:
            self._rejects.clear()
            self._rested.clear()
        elif run.verdict is not Verdict.REJECT:
            self._rejects[run.emitter] = 0
        else:
            self._rejects[run.emitter] += 1
            if self._rejects[run.emitter] >= TIRED:
                self._rested[run.emitter] = self._decided

    def _novelty(self, topics: Sequence[str]) -> float:
        """1 for what nobody tried, half as much with every run that had the same topic; 0 where nobody knows what it was about."""
        return math.fsum(0.5 ** self._tried[t] for t in topics) / len(topics) if topics else 0.0

    def _learn_topics(self, lesson: Lesson) -> float:
        """Variance that this run removed from what its topics do (normal prior, known noise), in prior variances, averaged.

        All runs about a topic share one prior variance among them, so that a topic can be exhausted and not farmed.
        """
        weight = self._precision(lesson)
        shares = [weight / ((1 + self._weights[t]) * (1 + self._weights[t] + weight)) for t in lesson.topics]
        for topic in lesson.topics:
            self._tried[topic] += 1
            self._weights[topic] += weight
        return math.fsum(shares) / len(shares) if shares else 0.0

    def _learn_forecast(self, lesson: Lesson) -> float:
        """Mean skill of its emitter's recent forecasts, this one included; the mean is clipped, so one lucky gamble earns little."""
        run, skills = lesson.run, self._skills[lesson.run.emitter]
        skills.append(crediting.skill(run.forecast, self._reference(lesson), run.mean(self._metric.name)))
        return math.fsum(skills) / max(FORECASTS // 2, len(skills))

    def _precision(self, lesson: Lesson) -> float:
        """Precision of one reading of a topic's effect, in units of the prior's: 1 without noise, near 0 in much of it."""
        size = self._gain_size()
        noise = self._noise(lesson)
        return size / (size + noise) if size > 0 else 0.5

    def _noise(self, lesson: Lesson) -> float:
        """Variance of its mean reading against the parent's, metric's unit squared."""
        readings = max(1, len(lesson.run.readings.get(self._metric.name, ())))
        return lesson.sigma**2 / readings + (lesson.parent_belief.variance if lesson.parent_belief else 0.0)

    def _gain_size(self) -> float:
        """Median squared gain of the window, metric's unit squared: a few collapses do not widen it."""
        if self._usual is None:
            squares = sorted([g * g for g in self._gains])
            self._usual = squares[len(squares) // 2] if squares else 0.0
        return self._usual

    def _reference(self, lesson: Lesson) -> Forecast | None:
        """What anyone would have said before the run: as good as its parent, give or take noise and a usual change."""
        if lesson.parent_belief is None:
            return None
        variance = self._noise(lesson) + self._gain_size()
        return Forecast(mean=lesson.parent_belief.mean, spread=math.sqrt(variance)) if variance > 0 else None

    def _cost(self, run: Run) -> float:
        """Seconds and dollars of one trial beside those of the median run, whichever of them are known.

        One trial: that a contender is read again is the price of deciding, and no fault of the emitter that found it.
        """
        trials = max(1, len(run.trials))
        again = math.fsum(t.cost_usd for t in run.trials) * (1 - 1 / trials)
        spent = ((self._seconds, run.seconds / trials + BESIDE_S if run.seconds > 0 else 0.0), (self._dollars, run.cost_usd - again))
        parts = [m.relative(value) for m, value in spent if value > 0]
        return _in_steps(math.fsum(parts) / len(parts)) if parts else 1.0

    # asking ----------------------------------------------------------------------------------------------------------

    @property
    def records(self) -> list[Record]:
        """The window, oldest first. O(WINDOW)."""
        return list(self._records.values())

    def newest(self, count: int) -> list[Record]:
        """The last `count` records, newest first. O(count)."""
        return [record for _, record in zip(range(count), reversed(self._records.values()))]

    def record_of(self, commit: str) -> Record | None:
        """The record of a run of the window; None for others."""
        return self._records.get(commit)

    def credit_of(self, commit: str) -> Credit | None:
        """What a run of the window earned; None for others."""
        record = self._records.get(commit)
        return record.credit if record else None

    @property
    def is_plateau(self) -> bool:
        """True where gains have stopped: after 8 measured runs without one, later (20 at most) in campaigns where they are rare."""
        usual = sorted(self._gaps)[len(self._gaps) // 2] if self._gaps else 0
        return self.plateau >= min(LONGEST_LULL, max(LULL, 2 * usual))

    def awake(self, emitters: Sequence[str]) -> list[str]:
        """Those that do not rest after two rejects in a row; all of them if none would be left."""
        up = [e for e in emitters if e not in self._rested or self._decided - self._rested[e] >= REST]
        return up or list(emitters)

    def tally(self) -> list[Account]:
        """One account an emitter, in the order of their names. O(WINDOW)."""
        records = self.records
        names = sorted({r.emitter for r in records})
        return [account(name, [r for r in records if r.emitter == name], len(records)) for name in names]

    def over_time(self, parts: int) -> dict[str, tuple[float, ...]]:
        """Emitter -> its rate in `parts` equal stretches of the window, oldest first, 0.0 where it had no run. O(WINDOW)."""
        sums: dict[str, list[tuple[float, float]]] = {}
        for at, record in enumerate(self.records):
            row = sums.setdefault(record.emitter, [(0.0, 0.0)] * parts)
            credit, cost = row[at * parts // len(self._records)]
            row[at * parts // len(self._records)] = (credit + record.credit.total, cost + record.cost)
        return {emitter: tuple(credit / cost if cost else 0.0 for credit, cost in row) for emitter, row in sums.items()}

    def verdict_over_uniform(self) -> str:
        """In words, what its choices were worth beside uniform ones; "" before 60 runs that a policy chose."""
        estimate = what_if(self.records, uniform_over(r.emitter for r in self.records))
        if estimate is None or estimate.runs < SURE:
            return ""
        said = (
            f"{estimate.over:+.3f} credit a run over uniform ({estimate.over_low:+.3f} to {estimate.over_high:+.3f}, {estimate.runs} runs)"
        )
        if estimate.over_low > 0:
            return f"the policy pays: {said}"
        if estimate.over_high < 0:
            return f'the policy loses: {said}; `[search] policy = "uniform"` would do better'
        return f"the policy's gain over uniform is within noise: {said}"


def account(emitter: str, records: Sequence[Record], among: int) -> Account:
    """Runs, keeps and rate of one emitter. The interval is that of a ratio of means; all of [0, 1] for fewer than two runs."""
    runs, cost = len(records), math.fsum(r.cost for r in records)
    rate = math.fsum(r.credit.total for r in records) / cost if cost else 0.0
    half = math.inf
    if runs > 1:
        half = 1.96 * math.sqrt(math.fsum((r.credit.total - rate * r.cost) ** 2 for r in records) * runs / (runs - 1)) / cost
    low, high = (0.0, max(1.0, rate)) if half == math.inf else (max(0.0, rate - half), rate + half)
    keeps = sum(r.kept for r in records)
    return Account(emitter=emitter, runs=runs, keeps=keeps, rate=rate, low=low, high=high, share=runs / among if among else 0.0)


class _Median:
    """Running median of the newest LOOK values."""

    def __init__(self) -> None:
        self._queue: deque[float] = deque()
        self._sorted: list[float] = []

    def relative(self, value: float) -> float:
        """The value over the median with it."""
        if len(self._queue) == LOOK:
            del self._sorted[bisect.bisect_left(self._sorted, self._queue.popleft())]
        self._queue.append(value)
        bisect.insort(self._sorted, value)
        return value / self._sorted[len(self._sorted) // 2]


def _in_steps(cost: float) -> float:
    """Whole powers of two, nearer to 1: a busy machine's clock tells no more, and who replays a seed finds the same runs."""
    return min(DEAREST, max(CHEAPEST, 2.0 ** math.trunc(math.log2(cost)))) if 0 < cost < math.inf else 1.0


def _rank(value: float, others: Iterable[float]) -> float:
    """Share of the others that it beats, ties half, itself counted as half: 1/2 while there is none."""
    seen = list(others)
    beaten = sum([(o < value) + 0.5 * (o == value) for o in seen])
    return (beaten + 0.5) / (len(seen) + 1)
