"""Does the default policy search better? The same offline operators under several policies, on two made-up landscapes with noise.

    python benchmarks/search.py [--seeds 20] [--trials 120] [--noise 0.02] [--policies sw-ucb,greedy,...] [--landscapes smooth,...]

Nothing is trained: a candidate is a real training script, edited by the real emitters and the real offline agent, and its
loss is computed from the constants, components and layers that are found in its text. Decisions are evogit's own. In
`smooth` the loss is a parabola over the logarithm of each constant, plus switches, components and layers that pay or cost
each by itself. In `deceptive` most of what can be won lies behind two changes that lose alone and pay together.
`uniform` draws emitters alike; `greedy` is a hill-climb: emitters alike, the incumbent is the only parent, lower is kept.
Every policy gets the same number of trials (readings, replicates included). Prints the simple regret (true loss of the
incumbent over the best possible) after shares of the trials, mean and 95 % interval over seeds; asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from evogit import registry
from evogit.agents.offline.agent import OfflineAgent
from evogit.domain.briefing import Briefing, Contrast
from evogit.domain.metric import Direction, Metric
from evogit.domain.plan import Plan
from evogit.domain.problem import Budget, Decide, Problem
from evogit.domain.run import Again, Run
from evogit.domain.trial import Crash, Measurement, Status, TrialLine
from evogit.domain.verdict import Complexity, Verdict
from evogit.errors import WorkFailed
from evogit.policies.uniform import Uniform
from evogit.search import change, genes
from evogit.search.memory import Memory
from evogit.search.recombine import resolve_conflict
from evogit.stages.choose import choose
from evogit.stages.decide import decide, wants_more_seeds

LOSS = Metric(name="loss", direction=Direction.MINIMIZE)
TEXT = """import torch
import torch.nn.functional as F
from torch import nn

LR = 1e-3
BATCH = 64
MOMENTUM = 0.9
WEIGHT_DECAY = 0.02
DROPOUT = 0.3
WIDTH = 48
LABEL_SMOOTHING = 0.2
NESTEROV = False
USE_BIAS = True
INIT_SCALE = 1.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(64, WIDTH, bias=USE_BIAS),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, WIDTH, bias=USE_BIAS),
            nn.ReLU(),
            nn.Linear(WIDTH, 10),
        )
        for p in self.parameters():
            p.data.mul_(INIT_SCALE)

    def forward(self, x):
        return self.body(x)


def train(batches):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=NESTEROV)
    for x, y in batches(BATCH):
        loss = F.cross_entropy(net(x), y, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
# Constant -> where it is best, and what a doubling away from there costs (squared).
BEST = {
    "LR": (8e-3, 0.03),
    "BATCH": (32, 0.01),
    "MOMENTUM": (0.95, 0.02),
    "WEIGHT_DECAY": (1e-3, 0.005),
    "DROPOUT": (0.1, 0.02),
    "WIDTH": (128, 0.03),
    "LABEL_SMOOTHING": (0.05, 0.005),
    "INIT_SCALE": (1.0, 0.02),
}
CRASH = math.inf


def smooth(found: dict[str, object], text: str) -> float:
    """True loss above the best possible, 0 at best; CRASH where it diverges."""
    lr = found.get("LR", BEST["LR"][0])
    if not isinstance(lr, float) or lr > 0.08:
        return CRASH
    loss = sum(cost * min(_doublings(found.get(name), best), 5.0) ** 2 for name, (best, cost) in BEST.items())
    loss += 0.0 if found.get("NESTEROV") is True else 0.06
    loss += 0.0 if "nn.GELU(" in text or "nn.SiLU(" in text else 0.05
    loss += 0.04 * abs(text.count("nn.Linear(") - 4)
    return loss + (0.0 if found.get("USE_BIAS", True) is True else 0.05)


def deceptive(found: dict[str, object], text: str) -> float:
    """`smooth` at a third, and two changes (wider start, GELU) that cost a little alone and pay a lot together."""
    loss = smooth({**found, "INIT_SCALE": 1.0}, text.replace("nn.ReLU(", "nn.GELU("))
    scale = found.get("INIT_SCALE", 1.0)
    is_wide, is_gelu = isinstance(scale, float) and scale >= 1.5, "nn.GELU(" in text and "nn.ReLU(" not in text
    return loss / 3 + (0.0 if is_wide and is_gelu else 0.5 if is_wide == is_gelu else 0.53)


LANDSCAPES: dict[str, Callable[[dict[str, object], str], float]] = {"smooth": smooth, "deceptive": deceptive}


def _doublings(value: object, best: float) -> float:
    """Distance on the log scale; of the rest to 1 for shares near it. What is gone or switched off counts as small."""
    if isinstance(value, (bool, str, tuple)) or value is None or value <= 0:
        value = best / 8
    if best > 0.8 and best < 1:
        return abs(math.log2((1 - min(value, 0.9999)) / (1 - best)))
    return abs(math.log2(value / best))


class Greedy(Uniform):
    """Emitters alike, and the incumbent as the only parent."""

    name = "greedy"

    def parent(self, memory: Memory, rng: random.Random) -> tuple[Run, float] | None:
        return (memory.incumbent, 1.0) if memory.incumbent is not None else None


class Campaign:
    """One campaign in process: no git, no job. `regrets[n]` is the true regret after n trials."""

    def __init__(self, policy: str, landscape: str, number: int, *, trials: int, noise: float) -> None:
        self.truth, self.noise, self.trials = LANDSCAPES[landscape], noise, trials
        self.rng, self.dice = random.Random(f"{number}"), random.Random(f"{number} noise")
        rule = "greedy" if policy == "greedy" else ""
        self.problem = Problem(
            name="made up", folder="", layout="evogit", goal="", mutable=("train.py",), command="", metrics=(LOSS,),
            budget=Budget(seeds=tuple(range(5))), decide=Decide(rule=rule),
        )  # fmt: skip
        self.texts: dict[str, str] = {}
        self.memory = Memory(self.problem, self)
        self.policy = Greedy() if policy == "greedy" else registry.find("policies", policy)()
        self.emitters = [registry.find("emitters", name)() for name in registry.names("emitters")]
        self.agent, self.regrets, self.seq = OfflineAgent(), [], 0

    def sources(self, commit: str) -> dict[str, str]:
        return {"train.py": self.texts[commit]}

    def run(self) -> list[float]:
        self.land(Plan(emitter="baseline", parents=(), seeds=(0,), rng=0), TEXT, "baseline", "")
        while len(self.regrets) < self.trials:
            plan = choose(self.memory, self.emitters, self.policy, self.rng)
            if plan.replicate:
                self.again(plan)
            else:
                self.candidate(plan)
        return self.regrets[: self.trials]

    def candidate(self, plan: Plan) -> None:
        start = self.texts[plan.parents[0]]
        if plan.merge:
            merged = resolve_conflict(self.ancestor(plan), start, self.texts[plan.parents[1]], random.Random(plan.rng))
            if merged is not None and change.sources_hash({"train.py": merged}) not in self.memory.tried:
                self.land(plan, merged, "recombination", "combined")
                return
        brief = Briefing(
            problem=self.problem, plan=plan, goal="", sources={"train.py": start}, parent=self.memory.by_commit[plan.parents[0]],
            contrast=self.contrast(plan), tried=frozenset(self.memory.tried),
        )  # fmt: skip
        try:
            proposal = self.agent.propose(brief, Path())
        except WorkFailed as error:
            self.land(plan, start, "", str(error), rejected=True)
            return
        self.land(plan, proposal.files["train.py"], proposal.change, proposal.summary)

    def contrast(self, plan: Plan) -> Contrast | None:
        run = self.memory.by_commit.get(plan.contrast)
        if run is None or not run.parents:
            return None
        return Contrast(run=run.label, before=self.sources(run.parents[0]), after=self.sources(run.commit), gain=self.memory.gain(run))

    def ancestor(self, plan: Plan) -> str:
        """Text of the newest run that both parents descend from."""
        lines = []
        for parent in plan.parents:
            seen, todo = set(), [parent]
            while todo:
                commit = todo.pop()
                if commit not in seen:
                    seen.add(commit)
                    todo.extend(self.memory.by_commit[commit].parents)
            lines.append(seen)
        return self.texts[max(lines[0] & lines[1], key=lambda c: self.memory.by_commit[c].seq)]

    def read(self, commit: str, seed: int, purpose: str = "select") -> TrialLine:
        """One trial: a reading with noise, or a crash. The regret after it is that of the incumbent there is."""
        text = self.texts[commit]
        loss = self.truth({g.name: g.value for g in genes.find(text)}, text)
        crash = None if math.isfinite(loss) else Crash(kind="ValueError", message="loss is not finite", where="train.py:45")
        metrics = {"loss": 1 + loss + self.dice.gauss(0.0, self.noise)} if crash is None else {}
        self.regrets.append(self.regret())
        return TrialLine(
            id=f"{len(self.regrets):016x}", time="", purpose=purpose, run=commit, seed=seed, seconds=1.0,
            status=Status.OK if crash is None else Status.CRASH, metrics=metrics, crash=crash,
        )  # fmt: skip

    def regret(self) -> float:
        text = self.texts[self.memory.incumbent.commit] if self.memory.incumbent else TEXT
        return self.truth({g.name: g.value for g in genes.find(text)}, text)

    def land(self, plan: Plan, text: str, kind: str, summary: str, *, rejected: bool = False) -> None:
        """Measure, decide, remember."""
        commit = hashlib.sha1(f"{self.seq} {text}".encode()).hexdigest()
        self.texts[commit] = text
        parents = [self.memory.by_commit[p] for p in plan.parents]
        before = self.sources(plan.parents[0]) if parents else {"train.py": text}
        lines = change.line_delta(before, {"train.py": text})
        incumbent = self.memory.incumbent
        weight = Complexity(lines=len(text.splitlines()) - len(self.texts[incumbent.commit].splitlines())) if incumbent else None
        standing = self.memory.standing(plan.parents[0] if parents else "")
        trials: list[TrialLine] = []
        values: dict[int, float] = {}
        while not rejected and (not parents and len(trials) < 3 or not trials or wants_more_seeds(self.problem, values, standing, weight)):
            trials.append(self.read(commit, len(trials)))
            if trials[-1].crash is not None:
                break
            values[trials[-1].seed] = trials[-1].metrics["loss"]
        measured = Measurement(trials=tuple(trials), values={"loss": tuple(values.values())})
        said = decide(self.problem, measured, standing, complexity=weight, rejected=summary if rejected else "")
        kept = said.verdict is Verdict.KEEP
        self.memory.learn(
            Run(
                commit=commit, label=str(self.seq), campaign="made-up", parents=plan.parents, seq=self.seq, epoch=0,
                generation=1 + max((p.generation for p in parents), default=-1), verdict=said.verdict, reason=said.reason,
                near_miss=said.near_miss, emitter=plan.emitter, agent="offline", change=kind, niche=plan.niche, summary=summary,
                forecast=plan.forecast, propensity=plan.propensity, policy=plan.policy, chance=plan.chance, contrast=plan.contrast,
                sources=change.sources_hash({"train.py": text}), moves=change.moves(before, {"train.py": text}), lines=lines,
                incumbent=commit if kept or incumbent is None else incumbent.commit, decision=commit, trials=tuple(trials),
                readings={"loss": tuple(values.values())} if values else {}, seconds=float(len(trials)),
            )
        )  # fmt: skip
        self.seq += 1

    def again(self, plan: Plan) -> None:
        run = self.memory.by_commit[plan.parents[0]]
        line = self.read(run.commit, 100 + self.memory.replicates[run.commit], "replicate")
        self.memory.learn_again(Again(of=run.commit, purpose="replicate", lines=(line,)))
        self.memory.contrasted.add((plan.emitter, plan.contrast))


class Row(msgspec.Struct):
    """One policy on one landscape."""

    policy: str
    regrets: list[list[float]]
    seconds: float

    def at(self, share: float) -> tuple[float, float]:
        """Mean regret after a share of the trials, and half of its 95 % interval."""
        values = [r[max(0, round(share * len(r)) - 1)] for r in self.regrets]
        half = 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return statistics.fmean(values), half


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--noise", type=float, default=0.02, help="standard deviation of one reading; losses start 0.7 above the best")
    parser.add_argument("--policies", default="sw-ucb,thompson,uniform,greedy,topk,phases")
    parser.add_argument("--landscapes", default=",".join(LANDSCAPES))
    told = parser.parse_args()
    shares = (0.25, 0.5, 0.75, 1.0)
    for landscape in told.landscapes.split(","):
        print(
            f"{landscape}: {told.seeds} seeds, {told.trials} trials, noise {told.noise}; regret after "
            + ", ".join(f"{s:.0%}" for s in shares)
        )
        for policy in told.policies.split(","):
            began = time.perf_counter()
            campaigns = (Campaign(policy, landscape, n, trials=told.trials, noise=told.noise) for n in range(told.seeds))
            row = Row(policy=policy, regrets=[c.run() for c in campaigns], seconds=time.perf_counter() - began)
            cells = "  ".join("{:.3f} +- {:.3f}".format(*row.at(share)) for share in shares)
            print(f"  {policy:10} {cells}   ({row.seconds / told.seeds:.1f} s a campaign)", flush=True)


if __name__ == "__main__":
    main()
