"""A lab whose answers are nouns made here: what is under test is the command line, not history."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from evogit import present
from evogit.cli.group import evogit
from evogit.cli.invocation import Invocation
from evogit.domain import event as events
from evogit.domain.lore import MemoryLine
from evogit.domain.metric import Direction, Metric
from evogit.domain.problem import Problem
from evogit.domain.report import Bill, Costs, Finding, Glance, InFlight, RunDetail, Started, Status
from evogit.domain.review import Branch, Recommendation, Review
from evogit.domain.run import Run
from evogit.domain.trial import Crash, TrialLine
from evogit.domain.trial import Status as TrialStatus
from evogit.domain.usage import Spent
from evogit.domain.verdict import Verdict
from evogit.errors import UnknownName

LOSS = Metric(name="val_loss", direction=Direction.MINIMIZE)
PARAMS = Metric(name="params", direction=Direction.MINIMIZE)
PROBLEM = Problem(
    name="digits", folder="rp/digits", layout="evogit", goal="", mutable=("train.py",), command="python train.py", metrics=(LOSS, PARAMS)
)


def commit(number: int) -> str:
    return f"{number:x}".rjust(2, "0") * 20


def trial(run: int, seed: int, loss: float | None, params: int = 24010, crash: Crash | None = None) -> TrialLine:
    return TrialLine(
        id=f"{run}-{seed}",
        time="2026-11-20T01:02:03Z",
        purpose="select",
        run=commit(run),
        seed=seed,
        status=TrialStatus.CRASH if crash else TrialStatus.OK,
        metrics={} if loss is None else {"val_loss": loss, "params": float(params)},
        seconds=4.1,
        peak_rss_mib=512,
        crash=crash,
        source="" if crash else "evaluator",
    )


def make_run(
    number: int,
    parents: tuple[int, ...],
    verdict: str,
    losses: tuple[float, ...] = (),
    *,
    incumbent: int,
    emitter: str = "local_tuner",
    summary: str = "change",
    params: int = 24010,
    crash: Crash | None = None,
    reason: str = "",
) -> Run:
    trials = tuple(trial(number, seed, loss, params) for seed, loss in enumerate(losses))
    if crash:
        trials = (trial(number, 0, None, crash=crash),)
    return Run(
        commit=commit(number),
        label=str(number),
        campaign="nov20",
        parents=tuple(map(commit, parents)),
        generation=number and 1 + min(parents),
        epoch=0,
        seq=number,
        verdict=Verdict(verdict),
        reason=reason,
        emitter=emitter,
        agent="offline",
        change="hyperparameter",
        summary=summary,
        hypothesis="it is worth a try",
        incumbent=commit(incumbent),
        decision=commit(100 + number),
        trials=trials,
        readings={"val_loss": losses, "params": (float(params),) * len(losses)} if losses else {},
        seconds=4.1 * len(trials),
        started="2026-11-20T01:02:03Z",
    )


def sample_runs() -> list[Run]:
    boom = Crash(kind="RuntimeError", message="mat1 and mat2 shapes cannot be multiplied (64x128 and 64x10)", where="train.py:42")
    return [
        make_run(0, (), "keep", (0.1310, 0.1352, 0.1290), incumbent=0, emitter="baseline", summary="baseline"),
        make_run(1, (0,), "discard", (0.1402, 0.1388, 0.1425), incumbent=0, emitter="contrarian", summary="learning rate 1e-3 to 3e-2"),
        make_run(2, (0,), "keep", (0.1105, 0.1121, 0.1090), incumbent=2, emitter="optimizer_hacker", summary="SGD to AdamW"),
        make_run(
            3, (0,), "keep", (0.1003, 0.1012, 0.0998), incumbent=3, emitter="architecture_mutator", summary="ReLU to GELU", params=48010
        ),
        make_run(4, (3,), "crash", incumbent=3, emitter="architecture_mutator", summary="halve the width of the second layer", crash=boom),
        make_run(5, (2,), "reject", incumbent=3, emitter="simplifier", summary="edit evaluate.py", reason="only train.py may change"),
        make_run(6, (2, 3), "keep", (0.0881, 0.0890, 0.0875), incumbent=6, emitter="recombinator", summary="AdamW and GELU", params=48010),
        make_run(7, (6,), "discard", (0.0894,), incumbent=6, emitter="simplifier", summary="no dropout", params=36000),
    ]


def sample_events() -> list[events.Event]:
    return [
        events.CampaignOpened(campaign="nov20", problem="digits", backend="local", sandbox="bubblewrap", runs=0),
        events.Planned(run="1", emitter="simplifier", parents=("0",), instruction="delete something"),
        events.Proposed(run="1", commit=commit(1), summary="no dropout", change="simplification"),
        events.TrialStarted(run="1", seed=0, step="train"),
        events.TrialEnded(run="1", seed=0, status="ok", metrics={"val_loss": 0.081, "params": 24010.0}, seconds=12.3),
        decided("1", "keep"),
        events.Warned(message="the disk is nearly full", hint="free some space"),
        events.Stopped(reason="1 run was asked for", decided=1, resume="evogit loop --tag nov20"),
    ]


def decided(label: str, verdict: str) -> events.Decided:
    measured = verdict in ("keep", "discard")
    return events.Decided(
        run=label,
        commit=commit(1),
        verdict=verdict,
        reason="better by 0.012" if measured else "ValueError: bad shape",
        metric="val_loss",
        value=0.081 if measured else None,
        gain=0.012 if measured else None,
        summary="no dropout",
        emitter="simplifier",
        decided=1,
    )


class Stopper:
    def __init__(self) -> None:
        self.requests = 0

    def request(self) -> None:
        self.requests += 1


class FakeLab:
    """Answers with the samples, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, object] = {}
        self.tag, self.problem, self.metric, self.stopper = "nov20", PROBLEM, LOSS, Stopper()
        self.happenings = sample_events()
        self.epoch, self.warnings = 0, ()
        self.read_as: dict[str, list[str]] = {}
        self.extra_trials: tuple[TrialLine, ...] = ()
        self.findings = [Finding(level="ok", check="problem", message="evogit.toml reads well")]

    def start(self, tag=None):
        self.asked["start"] = tag
        tag = tag or "nov20"
        return Started(
            campaign=tag,
            branch=f"autoresearch/{tag}",
            base=commit(9),
            problem="digits",
            refspecs=(f"refs/heads/autoresearch/{tag}", "refs/notes/evogit/*:refs/notes/evogit/*"),
        )

    def loop(self, options, stop=None):
        self.asked["loop"] = options
        yield from self.happenings

    def held_out_news(self):
        return []

    def glance(self):
        return Glance(best=self.run("6"), spent_usd=0.42, cap_usd=5.0, slots=2)

    def measure(self, *, parent, hypothesis, message, options, stop=None):
        self.asked["measure"] = (parent, hypothesis, message, options)
        yield from self.happenings

    def baseline(self, seeds, options, stop=None):
        self.asked["baseline"] = seeds
        yield from self.happenings

    def runs(self, *, verdict="", emitter="", since="", grep="", limit=0):
        found = [r for r in sample_runs() if verdict in ("", r.verdict.value) and emitter in ("", r.emitter)]
        return found[-limit:]

    def run(self, label):
        for run in sample_runs():
            if label in (run.label, run.commit):
                return run
        raise UnknownName(f"there is no run {label}", hint="evogit log")

    def read_by(self, label):
        return self.read_as.get(label, [])

    def show(self, label):
        label = next(iter(self.read_by(label)), label)
        run = self.run(label)
        review = Review(
            reviewer="heuristic",
            valid=True,
            is_improvement=True,
            branch_recommendation=Branch.CONTINUE,
            confidence=0.8,
            observation="better on every seed",
            next_belief="capacity is not the limit",
            recommended_next_mutations=(Recommendation(mutation_type="schedule", description="a cosine schedule"),),
        )
        diff = "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-LR = 0.1\n+LR = 0.2\n DEPTH = 2\n"
        parents = tuple(r for r in sample_runs() if r.commit in run.parents)
        return RunDetail(
            run=run,
            parents=parents,
            plan="combine the two best",
            diff=diff,
            extra_trials=self.extra_trials,
            reviews=(review,),
            files={"0/stdout": 1200},
        )

    def artifact(self, label, path):
        return b"\x00raw\xff\n"

    def diff(self, a, b=""):
        return self.show(a).diff

    def noise_floors(self, before, after):
        return {"val_loss": 0.03, "params": 0.0}

    def leaderboard(self, limit=20):
        return sorted((r for r in sample_runs() if r.is_measured), key=lambda r: r.mean("val_loss"))[:limit]

    def frontier(self, over=()):
        self.asked["frontier"] = over
        return [self.run("6"), self.run("7"), self.run("2")]

    def marks(self):
        return sample_runs()[2:4]

    def search(self, text, limit, diffs=False):
        return [(run, f"the line that says {text}, and goes on for longer than any terminal is wide") for run in sample_runs()[:2]]

    def cost(self, by):
        bill = Bill(name="offline", runs=8, kept=3, spent=Spent(usd=1.5, calls=2))
        return Costs(by=by, campaign="nov20", lines=(bill,), total=bill)

    def remembered(self):
        fault = {"kind": "crash", "key": "RuntimeError", "runs": ("4",), "count": 1, "value": None}
        elite = {"kind": "elite", "key": "activation/tiny", "runs": ("6",), "count": 1, "value": 0.0882, "text": "AdamW and GELU"}
        return [MemoryLine(text="shapes\tdiffer, which is said at some length here " * 3, **fault), MemoryLine(**elite)]

    def prunable(self):
        return []

    def lineage(self, label):
        return [self.run("0"), self.run("2"), self.run("3"), self.run(label)]

    def status(self):
        return Status(
            campaign="nov20",
            branch="autoresearch/nov20",
            problem="digits",
            folder="rp/digits",
            metric=LOSS,
            runs=8,
            verdicts={"keep": 4, "discard": 2, "crash": 1, "reject": 1},
            baseline=self.run("0"),
            incumbent=self.run("6"),
            spread=0.002,
            seconds=78.0,
            cost_usd=0.0,
            known_usd=0.0,
            spent=Spent(),
            in_flight=(InFlight(run="8", state="running", emitter="contrarian", clone="ab12", since="2026-11-20T02:00:00Z"),),
            loop_pid=0,
            campaigns=("nov19", "nov20"),
            emitters={"simplifier": {"runs": 2, "keeps": 0}, "recombinator": {"runs": 1, "keeps": 1}},
            epoch=self.epoch,
            baselines=1,
            warnings=self.warnings,
        )

    def export(self):
        return present.tsv(sample_runs(), LOSS)

    def doctor(self, fix=False):
        self.asked["doctor"] = fix
        return self.findings


@pytest.fixture
def lab() -> FakeLab:
    return FakeLab()


@pytest.fixture
def invoke(lab, tmp_path, monkeypatch):
    """Run a command line against the fake lab; `opened` tells how the lab was asked for."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Result:
        def open_lab(path: str, **where: object) -> FakeLab:
            lab.asked["open"] = (path, where)
            return lab

        return CliRunner().invoke(evogit, list(args), obj=Invocation(open_lab=open_lab), prog_name="evogit")

    return call
