"""A campaign that is the same on every machine and every day: nouns made here, and a lab that tells nothing else. For pictures.

It stands where `Lab` would, so that reader, app and screens are the real ones. Stories about git are told over real repositories.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from types import SimpleNamespace

import msgspec

from builders import LOSS, PARAMS, commit_of, problem, run, trial
from evogit.domain import event as events
from evogit.domain.idea import Idea, IdeaStatus
from evogit.domain.lore import Conjecture, FaultRecord, Signature, Warning_
from evogit.domain.plan import Forecast
from evogit.domain.report import RunDetail, Status
from evogit.domain.review import Branch, Conclusion, Recommendation, Review
from evogit.domain.run import Judgement, Run
from evogit.domain.sight import Flying, Gpu, LogTail, Machine, Portfolio, Role, Sight
from evogit.domain.trial import Crash
from evogit.domain.trial import Status as Ended
from evogit.domain.usage import Spent
from evogit.domain.verdict import Verdict
from evogit.errors import UnknownName
from evogit.ideabook import Told
from evogit.peeking import Caught, Stir, Whole

NOW = 1_768_000_000.0  # 2026-01-09 23:06:40 UTC
COUNT = 64
ROLES = ("local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier", "contrarian", "recombinator", "anomaly_chaser")
WHAT = {
    "local_tuner": "raise LR: 0.01 to 0.014",
    "optimizer_hacker": "Adam in place of SGD, momentum in its betas",
    "architecture_mutator": "a residual connection around the second block",
    "simplifier": "without the dropout of the head",
    "contrarian": "no warm-up at all",
    "recombinator": "the schedule of one, the width of the other",
    "anomaly_chaser": "run the crash again with half the batch",
}
PROBLEM = problem(name="digits", metrics=(LOSS, PARAMS))
DIFF = '''\
diff --git a/train.py b/train.py
index 1111111..2222222 100644
--- a/train.py
+++ b/train.py
@@ -1,9 +1,10 @@
 """Train a small network."""
 
 import math
 
-LR = 0.010
+LR = 0.014
 WIDTH = 48  # units of the hidden layer
 
 def schedule(step: int) -> float:
-    return LR
+    warm = min(1.0, step / 100)
+    return LR * warm * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))
'''


def iso(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def runs() -> list[Run]:
    """A baseline and what descends from it: keeps, near misses, crashes, a judgement, a certificate, recombinations."""
    rng = random.Random(11)
    best = run("0", 0.1310, 0.1352, 0.1290, verdict=Verdict.KEEP, params=(48_010.0,) * 3, summary="baseline", started=iso(NOW - 9000))
    made, kept = [best], [best]
    for n in range(1, COUNT):
        made.append(_next(n, made, kept, rng))
        if made[-1].is_kept:
            kept.append(made[-1])
    made[12] = msgspec.structs.replace(
        made[12],
        flags=("train.py:42 replaces time.perf_counter (clock)",),
        summary="a clock \x1b[31mof its own\x1b[0m \u202ereversed",
        cost_usd=0.0123,
    )
    return made


def crowd(count: int) -> list[Run]:
    """A long campaign: each twelfth run is kept, and the others lie above it, few of them close."""
    rng = random.Random(7)
    made = [run("0", 0.2, verdict=Verdict.KEEP, params=(40_000.0,), summary="baseline", started=iso(NOW - 9000))]
    best = made[0]
    for n in range(1, count):
        fate = "keep" if n % 12 == 5 else "crash" if n % 17 == 3 else "near" if n % 23 == 9 else "discard"
        line = 0.03 + 0.17 * math.exp(-4 * n / count)
        loss = line if fate == "keep" else line + (0.001 if fate == "near" else 0.002 + 0.05 * rng.random() ** 2)
        made.append(
            run(
                str(n), *(() if fate == "crash" else (round(loss, 6),)), parents=(best.label,), summary=f"change {n}", emitter=ROLES[n % 7],
                verdict=Verdict.DISCARD if fate == "near" else Verdict(fate), near_miss=fate == "near", started=iso(NOW - 9000 + n),
                incumbent=commit_of(str(n)) if fate == "keep" else best.commit, params=() if fate == "crash" else (40_000.0 - n,),
                generation=best.generation + 1,
            )
        )  # fmt: skip
        best = made[-1] if fate == "keep" else best
    return made


def _next(n: int, made: list[Run], kept: list[Run], rng: random.Random) -> Run:
    emitter = ROLES[rng.randrange(len(ROLES))]
    best = kept[-1].mean("val_loss") or 0.1
    fate = rng.choices(("keep", "near", "discard", "crash", "reject"), (16, 10, 54, 12, 8))[0]
    parents = [kept[-1] if rng.random() < 0.7 else rng.choice([r for r in made[-9:] if r.is_measured] or kept)]
    if emitter == "recombinator" and len(kept) > 2 and kept[-2] is not parents[0]:
        parents.append(kept[-2])
    gain = {"keep": 0.04 * best, "near": -0.004 * best, "discard": -rng.uniform(0.02, 0.6) * best}.get(fate, 0.0)
    losses = tuple(round(best - gain + rng.gauss(0, 0.0009), 6) for _ in range(3 if fate in ("keep", "near") else 2 if n % 3 else 1))
    verdict = Verdict.DISCARD if fate == "near" else Verdict(fate)
    more = {
        "emitter": emitter,
        "summary": WHAT[emitter] + (f" ({n})" if n % 4 else ""),
        "hypothesis": f"If this is so, the loss of run {parents[0].label} was held back by it.",
        "change": emitter.rpartition("_")[0],
        "niche": f"{emitter.rpartition('_')[0]}/small",
        "forecast": Forecast(mean=round(best * 0.99, 5), spread=0.004),
        "reason": {"reject": "only train.py may change"}.get(fate, f"val_loss {'better' if gain > 0 else 'worse'} by {abs(gain):.4f}"),
        "near_miss": fate == "near",
        "started": iso(NOW - 9000 + 130 * n),
        "rival": kept[-1].commit,
        "incumbent": commit_of(str(n)) if fate == "keep" else kept[-1].commit,
        "generation": 1 + max(p.generation for p in parents),
        "lines": (2 + n % 5, 1 + n % 3),
        "seconds": 4.0 * len(losses),
    }
    if fate in ("crash", "reject"):
        losses = ()
    found = run(
        str(n),
        *losses,
        parents=tuple(p.label for p in parents),
        verdict=verdict,
        params=(float(rng.randrange(26_000, 52_000)),) * len(losses),
        **more,
    )
    if fate == "crash":
        crash = Crash(kind="RuntimeError", message="mat1 and mat2 shapes cannot be multiplied", where="train.py:42")
        line = msgspec.structs.replace(trial(str(n), 0, 0.0), status=Ended.CRASH, metrics={}, crash=crash)
        found = msgspec.structs.replace(found, trials=(line,), readings={})
    if fate == "keep" and len(kept) % 4 == 2:
        found = msgspec.structs.replace(found, certified=True)
    if fate == "near" and n > 30:
        said = Judgement(verdict=Verdict.DISCARD, was=Verdict.KEEP, by="Ada", reason="too slow", time=iso(NOW), entry=commit_of("judge"))
        found = msgspec.structs.replace(found, judgements=(said,))
    return found


def flights() -> list[Flying]:
    return [
        Flying(
            run="64", state="running", emitter="simplifier", agent="offline", summary="without the second normalisation", parents=("61",),
            slot="0", backend="local", began=iso(NOW - 9), step="train", seed=1, since=iso(NOW - 3), rss_mib=812,
        ),
        Flying(
            run="65", state="planned", emitter="contrarian", agent="offline", summary="undo the schedule of run 57", parents=("57",),
            slot="1", backend="local", began=iso(NOW - 40),
        ),
    ]  # fmt: skip


def happenings() -> list[events.Event]:
    at = iso(NOW - 60)
    return [
        events.CampaignOpened(time=at, campaign="nov20", problem="digits", backend="local", sandbox="bubblewrap", runs=60),
        events.Planned(time=at, run="63", emitter="contrarian", parents=("61",), instruction="undo what was kept last"),
        events.TrialStarted(time=at, run="63", seed=0, step="train"),
        events.TrialEnded(time=at, run="63", seed=0, status="ok", metrics={"val_loss": 0.081}, seconds=4.2),
        events.Warned(time=at, message="the disk is nearly full", hint="free some space"),
    ]


def machine() -> Machine:
    return Machine(
        cpus=16,
        load=11.5,
        used_mib=41_000,
        total_mib=128_000,
        gpus=(Gpu(name="NVIDIA H200", busy=0.93, used_mib=61_000, total_mib=143_000),),
    )


class StillLab:
    """Where `Lab` would be."""

    def __init__(self, made: list[Run] | None = None) -> None:
        self.tag, self.problem = "nov20", PROBLEM
        self.made = runs() if made is None else made
        self.facts = lambda: SimpleNamespace(spread=SimpleNamespace(std=0.0011))
        self.landing: list[Run] = []
        self.stirred = 0
        self.ideas_told = ideas(self.made)

    def land(self, new: Run) -> None:
        """A run is decided by somebody."""
        self.landing.append(new)
        self.stirred += 1

    def newest(self, limit: int = 200) -> None:
        return None

    def whole(self) -> Whole:
        return Whole(tuple(self.made), self.made[-1].incumbent if self.made else "", 0.0011)

    def stir(self) -> Stir:
        return Stir(str(self.stirred), 1, "", "")

    def catch_up(self) -> Caught:
        new, self.landing = tuple(self.landing), []
        self.made += new
        return Caught(new, False)

    def frontier(self, over: tuple[str, ...] = ()) -> list[Run]:
        def is_beaten(mine: Run, other: Run) -> bool:
            a, b = ([r.mean(m.name) for m in PROBLEM.metrics] for r in (mine, other))
            return a != b and all(y <= x for x, y in zip(a, b))  # type: ignore[operator]

        measured = [r for r in self.made if all(r.mean(m.name) is not None for m in PROBLEM.metrics)]
        return [r for r in measured if not any(is_beaten(r, other) for other in measured)]

    def events(self, start: int) -> tuple[list[events.Event], int]:
        return (happenings() if start < 0 and self.made else [], 1)

    def flying(self) -> list[Flying]:
        return flights() if self.made else []

    def controls(self) -> list[object]:
        return []

    def marks(self) -> list[Run]:
        return [r for r in self.made if r.label == "40"]

    def run(self, label: str) -> Run:
        found = next((r for r in self.made if label in (r.label, r.commit)), None)
        if found is None:
            raise UnknownName(f"there is no run {label}")
        return found

    def sight(self, label: str) -> Sight:
        run_ = self.run(label)
        parents = tuple(r for r in self.made if r.commit in run_.parents)
        files = {"plan.json": 412, "trials/s0/train/stdout": 20_481, "trials/s0/train/stderr": 96, "context/packet.md": 9_812}
        detail = RunDetail(
            run=run_, parents=parents, plan="Change one constant by less than a factor of two.", diff=DIFF if parents else "",
            extra_trials=(), reviews=(review(run_),) if parents else (), files=files,
        )  # fmt: skip
        return Sight(detail=detail, unread=("1 of 2 lines of its reviews' note cannot be read",) if run_.label == "12" else ())

    def log_tail(self, label: str, stream: str = "stdout", size: int = 0) -> LogTail:
        data = b"".join(b"step %d loss %.4f\n" % (100 * n, 2.3 * math.exp(-n / 9)) for n in range(30)) + b"\x1b]0;owned\x07bye\x1b[2J\n"
        return LogTail(run=label, stream=stream, data=data, size=len(data) + 5000, is_live=label == "64")

    def artifact(self, label: str, path: str) -> bytes:
        return b'{"emitter": "simplifier"}\n\x1b[31m'

    def ideas(self) -> list[Told]:
        return self.ideas_told

    def portfolio(self) -> Portfolio:
        tries, keeps = Counter(r.emitter for r in self.made), Counter(r.emitter for r in self.made if r.is_kept and r.generation)
        roles = [
            Role(
                emitter=name, tries=tries[name], keeps=keeps[name], rate=0.05 + 0.031 * i, low=0.01 + 0.02 * i, high=0.12 + 0.05 * i,
                runs=tries[name], chance=(0.02, 0.04, 0.08, 0.0, 0.3, 0.5, 0.06)[i], is_resting=i == 3,
                earned=tuple(max(0.0, (0.05 + 0.031 * i) * (1 + math.sin(1.7 * i + n / 2))) if n % 7 != i else 0.0 for n in range(15)),
            )
            for i, name in enumerate(ROLES)
        ]  # fmt: skip
        elites = {r.niche: r for r in sorted((r for r in self.made if r.is_measured and r.niche), key=lambda r: -r.mean("val_loss"))}
        return Portfolio(
            policy="sw-ucb", window=0, over_uniform="the policy pays: +0.031 credit a run over uniform (+0.002 to +0.060, 60 runs)",
            roles=tuple(roles), elites=tuple(sorted(elites.items(), key=lambda pair: pair[1].mean("val_loss"))), niches=39,
            conjectures=(
                Conjecture(key="gene:LR:up", statement="raising LR helps", helps=True, for_=("3", "9", "14"), against=("20",), z=2.9),
                Conjecture(key="change:dropout", statement="changes of category dropout hurt", helps=False, for_=("5", "8"), against=(), z=-2.1),
            ),
            withdrawn=(Conjecture(key="gene:W:down", statement="lowering WIDTH helps", helps=True, for_=("2",), against=("7", "11"), z=0.1),),
            faults=(
                FaultRecord(
                    signature=Signature(kind="RuntimeError", message="mat# and mat# shapes cannot be multiplied", where="train.py"),
                    count=7, first="6", last="58", topics=("gene:WIDTH:up",), avoided_by=("gene:DEPTH:down",),
                ),
            ),
        )  # fmt: skip

    def status(self) -> Status:
        made = self.made
        verdicts = Counter(r.verdict.value for r in made)
        by_commit = {r.commit: r for r in made}
        return Status(
            campaign="nov20", branch="autoresearch/nov20", problem="digits", folder="", metric=LOSS, runs=len(made),
            verdicts={v: verdicts[v] for v in ("keep", "discard", "crash", "reject")}, baseline=made[0] if made else None,
            incumbent=by_commit.get(made[-1].incumbent) if made else None, spread=0.0011, seconds=sum(r.seconds for r in made),
            cost_usd=0.0123, known_usd=0.0123, spent=Spent(), in_flight=(), loop_pid=4242 if made else 0, campaigns=("nov19", "nov20"),
            emitters={}, baselines=1, max_cost=5.0, loop_usd=1.25,
            warnings=(Warning_(kind="seeds", message="noise is known from 2 runs only", hint="evogit baseline --seeds 5"),) if made else (),
        )  # fmt: skip


def review(of: Run) -> Review:
    return Review(
        reviewer="heuristic", valid=True, is_improvement=of.is_kept, branch_recommendation=Branch.CONTINUE, confidence=0.72,
        observation="better on every seed, by more than their spread", next_belief="capacity is not the limit; the schedule was",
        recommended_next_mutations=(
            Recommendation(mutation_type="schedule", description="end the cosine at a tenth instead of zero", priority=0.7),
            Recommendation(mutation_type="capacity", description="a narrower head", priority=0.4),
        ),
        hypothesis=of.hypothesis, conclusion=Conclusion.SUPPORTED, because="the gain is 3.1 times its noise", responsible="the warm-up",
        scores={"fitness": 0.8, "novelty": 0.4},
    )  # fmt: skip


def ideas(made: list[Run]) -> list[Told]:
    if not made:
        return []
    said = [
        ("Ada", "schedule", "end the cosine at a tenth instead of zero", 0.9, IdeaStatus.QUEUED, ""),
        ("reviewer:heuristic", "capacity", "a narrower head, a wider body", 0.7, IdeaStatus.CLAIMED, "64"),
        ("reviewer:heuristic", "optimizer", "decoupled weight decay", 0.5, IdeaStatus.DONE, "57"),
        ("Grace", "data", "mixup with alpha 0.2", 0.4, IdeaStatus.NEEDS_MODEL, ""),
        ("reviewer:heuristic", "architecture", "GELU in place of ReLU", 0.3, IdeaStatus.DROPPED, ""),
    ]
    return [
        Told(
            idea=Idea(id=f"{n:016x}", source=made[-1].incumbent, by=by, mutation_type=kind, description=text, priority=priority),
            status=status, run=label, source="61",
        )
        for n, (by, kind, text, priority, status, label) in enumerate(said)
    ]  # fmt: skip
