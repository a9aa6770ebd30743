"""Who answers at the loopback server: functions from what was asked to an answer, the same for both APIs.

    loopback.mind = minds.script(minds.frozen, minds.offline())     # one an assignment's request, the last one for ever

`offline()` makes the offline agent's edits of the code in the prompt, and reviews like a model that has seen it all before.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evogit.agents.offline.agent import OfflineAgent
from evogit.domain.briefing import Briefing
from evogit.domain.metric import Direction, Metric
from evogit.domain.plan import Plan
from evogit.domain.problem import Problem
from evogit.errors import WorkFailed
from evogit.search.change import sources_hash

_FILE = re.compile(r'<file path="([^"]+)" mark="(\w+)">\n(.*?)</file mark="\2">', re.DOTALL)


@dataclass(frozen=True)
class Ask:
    """What a mind sees of a request. `prompt` is the text of the system prompt and of every turn, `tools` the names it may use."""

    prompt: str
    tools: tuple[str, ...]
    turn: int  # 0 for a conversation's first request
    results: tuple[str, ...] = ()  # of tools, in the newest turn
    number: int = 0

    @property
    def sources(self) -> dict[str, str]:
        """The files that the prompt shows."""
        return {path: text for path, _, text in _FILE.findall(self.prompt)}


@dataclass
class Answer:
    """Text and uses of tools: (name, arguments). Arguments that are text are sent as they are, broken JSON or not."""

    text: str = ""
    uses: list[tuple[str, Any]] = field(default_factory=list)
    stop: str = ""  # "refusal" or "length"; "" finds itself


Mind = Callable[[Ask], Answer]


def offline() -> Mind:
    """The offline agent's edits, each another one; a review where a review is asked for."""
    tried: set[str] = set()
    lock = threading.Lock()

    def mind(ask: Ask) -> Answer:
        if "review" in ask.tools or '"branch_recommendation"' in ask.prompt:
            return Answer(uses=[("review", REVIEW)])
        with lock:
            return _edit(ask, tried)

    return mind


def _edit(ask: Ask, tried: set[str]) -> Answer:
    problem = Problem(
        name="p",
        folder="",
        layout="evogit",
        goal="",
        mutable=("**",),
        command="true",
        metrics=(Metric(name="m", direction=Direction.MINIMIZE),),
    )
    for rng in range(ask.number * 100, ask.number * 100 + 20):
        plan = Plan(emitter="local_tuner", parents=("0" * 40,), seeds=(0,), rng=rng)
        briefing = Briefing(problem=problem, plan=plan, goal="", sources=ask.sources, parent=None, tried=frozenset(tried))
        try:
            made = OfflineAgent().propose(briefing, Path("/nowhere"))
        except WorkFailed:
            continue
        tried.add(sources_hash({**ask.sources, **made.files}))
        writes = [("write_file", {"path": path, "text": text}) for path, text in made.files.items()]
        return Answer(text="One bounded change.", uses=[*writes, finish(made.summary, made.change, made.hypothesis)])
    return Answer(text="I have no idea left.")


def finish(
    summary: str, change: str = "hyperparameter", hypothesis: str = "It should help.", mean: object = 0.2, spread: object = 0.05
) -> tuple:
    """A use of `finish`."""
    predicted = {"mean": mean, "spread": spread}
    return "finish", {"mutation_type": change, "mutation_summary": summary, "hypothesis": hypothesis, "predicted": predicted}


REVIEW = {
    "valid": True,
    "is_improvement": False,
    "branch_recommendation": "branch",
    "confidence": 0.6,
    "observation": "The change moved the loss a little.",
    "next_belief": "The constant matters less than it seems.",
    "conclusion": "undecided",
    "because": "The difference lies within the noise.",
    "recommended_next_mutations": [
        {"mutation_type": "optimizer", "description": "raise MOMENTUM to 0.9", "expected_benefit": "smoother steps", "priority": 0.6}
    ],
}


def script(*steps: Mind | Answer) -> Mind:
    """One step a request, the last one for every further request."""
    left = list(steps)

    def mind(ask: Ask) -> Answer:
        step = left.pop(0) if len(left) > 1 else left[0]
        return step(ask) if callable(step) else step

    return mind


def sometimes(every: int, odd: Mind, usual: Mind) -> Mind:
    """`odd` answers every so many requests, `usual` the others."""
    return lambda ask: odd(ask) if ask.number % every == every - 1 else usual(ask)


# Answers that go wrong -----------------------------------------------------------------------------------------------


def refusal(ask: Ask) -> Answer:
    """The model will not."""
    return Answer(text="I cannot help with that.", stop="refusal")


def talk(ask: Ask) -> Answer:
    """Words, and no edit."""
    return Answer(text="I would raise the learning rate.")


def nothing(ask: Ask) -> Answer:
    """Finishes with the files as they are."""
    return Answer(uses=[finish("nothing was changed")])


def frozen(ask: Ask) -> Answer:
    """Edits what is not mutable."""
    return Answer(uses=[("write_file", {"path": "evaluate.py", "text": "print(0)\n"}), finish("a better ruler")])


def repeat(ask: Ask) -> Answer:
    """The parent's own code with another comment: a repeat of a known run."""
    path, text = next(iter(ask.sources.items()))
    return Answer(uses=[("write_file", {"path": path, "text": text + "# the same\n"}), finish("a comment")])


def broken_python(ask: Ask) -> Answer:
    """Code that does not parse."""
    path, text = next(iter(ask.sources.items()))
    return Answer(uses=[("write_file", {"path": path, "text": text + "def f(:\n"}), finish("an unfinished function")])


def huge(ask: Ask) -> Answer:
    """Two megabytes of text and no edit."""
    return Answer(text="All work and no play. " * 95_326)


def cut_short(ask: Ask) -> Answer:
    """The limit of tokens came in the middle of an edit."""
    return Answer(uses=[("write_file", '{"path": "train.py", "text": "LR = ')], stop="length")


def malformed(ask: Ask) -> Answer:
    """Arguments that are no JSON."""
    return Answer(uses=[("write_file", '{"path": "train.py", "text": }}}')])


def change(old: str, new: str, path: str = "train.py", **said: Any) -> Mind:
    """Replaces one passage and finishes."""
    return lambda ask: Answer(uses=[("replace_in_file", {"path": path, "old": old, "new": new}), finish(f"{old} to {new}", **said)])


def arguments_of(use: tuple[str, Any]) -> str:
    """The arguments as JSON text."""
    return use[1] if isinstance(use[1], str) else json.dumps(use[1])
