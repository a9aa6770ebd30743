"""An agent and a reviewer that pay for a model that does not exist: each call is a line in a file, as a service's own account.

`install` makes them plugins, for loops in this process and in others.
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

from evogit.domain.proposal import Proposal
from evogit.domain.review import Branch, PaidReview, Review
from evogit.domain.usage import Call
from evogit.errors import AgentFailed, CapReached, ServiceDown

MODEL = "claude-sonnet-4-6"
INPUT, OUTPUT, MAX_TOKENS = 2000, 500, 1000
COST = 0.0135  # dollars of one call: 2,000 tokens at 3 and 500 at 15 a million
WORST = 0.0225  # 2,000 tokens written to a cache at 3.75, and 1,000 answered


def install(folder: Path, monkeypatch) -> Path:
    """Make the hands plugins of every evogit from here on. Returns the file in which each call is a line."""
    told = folder / "paying_hands-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: paying-hands\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(
        "[evogit.agents]\npaid = paying_hands:PaidAgent\nunasked = paying_hands:Unasked\nmute = paying_hands:Mute\n"
        "[evogit.reviewers]\npaid = paying_hands:PaidReviewer\n"
    )
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PAID_LOG", str(folder / "calls"))
    return folder / "calls"


def calls(log: Path) -> list[str]:
    """Who called, call by call."""
    return log.read_text().split() if log.exists() else []


class Desk:
    """One hand's way to the model: reserve, ask, settle."""

    def __init__(self, name: str, who: str, purse, model: str) -> None:
        self.name, self.who, self.purse, self.model = name, who, purse, model

    def ask(self, *, down: bool = False) -> Call:
        ticket = self.purse.reserve(self.purse.worst(self.model, INPUT, MAX_TOKENS), self.name, self.model)
        if down:
            ticket.settle(0.0)
            raise ServiceDown("the model is out of reach")
        with open(os.environ["PAID_LOG"], "a") as file:
            file.write(f"{self.who}\n")
        call = Call(who=self.who, hand=self.name, model=self.model, input=INPUT, output=OUTPUT, answer="1.json")
        usd = self.purse.price(self.model, call)
        ticket.settle(usd)
        return Call(**{**{name: getattr(call, name) for name in call.__struct_fields__}, "usd": usd})


class PaidAgent:
    """Asks once, and moves LR to where the answer says. `what` is how it goes wrong."""

    name = "paid"
    edits_in_place = False

    def __init__(self, purse=None, what: str = "edit", model: str = MODEL) -> None:
        self.purse, self.what = purse, what
        self.mends = what == "stumble"
        self.desk = Desk(self.name, "agent", purse, model)

    def propose(self, briefing, workspace) -> Proposal:
        call = self.desk.ask(down=self.what == "down")
        if self.what == "tire":
            try:
                self.desk.ask(down=True)
            except ServiceDown as fault:
                fault.calls = (call,)
                raise
        if self.what == "stumble":
            return _stumbling(briefing, call)
        lr = round(10 ** random.Random(briefing.plan.rng).uniform(-3, 0), 6)
        answers = {"1.json": json.dumps({"lr": lr})}
        if self.what == "ramble":
            answers = {"1.json": json.dumps({"lr": lr, "why": "words " * 400_000})}
        if self.what == "fail":
            raise AgentFailed("it talked and changed nothing usable", calls=(call,), answers={"1.json": "I would rather not."})
        if self.what == "forget":
            raise ValueError("it lost its own account")
        if self.what == "nothing":
            return Proposal(summary="change nothing", calls=(call,), answers={"1.json": "{}"})
        more = ()
        if self.what == "twice":
            try:
                more = (self.desk.ask(),)
            except CapReached:
                more = ()
        said = self.replay(briefing, answers)
        if self.what == "leak":
            said = _leaky(briefing)
            answers = {"1.json": os.environ["ANTHROPIC_API_KEY"]}
        fields = {name: getattr(said, name) for name in said.__struct_fields__}
        return Proposal(**{**fields, "calls": (call, *more), "answers": answers})

    @staticmethod
    def replay(briefing, answers) -> Proposal:
        lr = json.loads(answers["1.json"])["lr"]
        text = re.sub(r"^LR = .*$", f"LR = {lr}", briefing.sources["train.py"], flags=re.MULTILINE)
        return Proposal(summary=f"LR {lr}", hypothesis="a model said so", change="optimizer", files={"train.py": text})


def _stumbling(briefing, call) -> Proposal:
    """No Python at first; asked to mend that, it loses its head."""
    if briefing.attempts:
        raise ValueError("nobody foresaw this")
    return Proposal(summary="no Python", files={"train.py": "def (:\n"}, calls=(call,), answers={"1.json": "def (:"})


def _leaky(briefing) -> Proposal:
    """The key wherever an agent can put it."""
    key = os.environ["ANTHROPIC_API_KEY"]
    print(key)
    text = briefing.sources["train.py"] + f'\nprint("{key}")\n'
    files = {"train.py": text, "program.md": key}
    return Proposal(summary=f"use {key}", hypothesis=key, change=key, transcript=key, files=files)


class Unasked:
    """Knows no purse: what it paid is charged from its own account."""

    name = "unasked"
    edits_in_place = False

    def __init__(self, usd: str = "0.02") -> None:
        self.usd = float(usd) if usd else None

    def propose(self, briefing, workspace) -> Proposal:
        lr = round(random.Random(briefing.plan.rng).uniform(0.001, 1), 6)
        text = re.sub(r"^LR = .*$", f"LR = {lr}", briefing.sources["train.py"], flags=re.MULTILINE)
        call = Call(who="agent", hand=self.name, model="somebody-else", usd=self.usd)
        return Proposal(summary=f"LR {lr}", files={"train.py": text}, calls=(call,))


class Mute:
    """Edits in place and says nothing: its files are the record."""

    name = "mute"
    edits_in_place = True

    def propose(self, briefing, workspace: Path) -> Proposal:
        lr = round(random.Random(briefing.plan.rng).uniform(0.001, 1), 6)
        file = workspace / "train.py"
        file.write_bytes(re.sub(rb"(?m)^LR = .*$", b"LR = %r  # caf\xe9" % lr, file.read_bytes()))
        return Proposal(summary=f"LR {lr}")


class PaidReviewer:
    """Asks once a run."""

    name = "paid"
    is_free = False

    def __init__(self, purse=None, model: str = MODEL) -> None:
        self.desk = Desk(self.name, "reviewer", purse, model)

    def review(self, brief) -> Review:
        call = self.desk.ask()
        return PaidReview(
            reviewer=self.name,
            valid=True,
            is_improvement=False,
            branch_recommendation=Branch.CONTINUE,
            confidence=0.5,
            observation="It ran.",
            next_belief="",
            cost_usd=call.usd,
            calls=(call,),
        )
