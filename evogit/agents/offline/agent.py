"""The offline agent: a plan's operators, tried in order, until one gives an edit that was not run before.

It needs no key and no network, keeps no state, and draws only from the plan's own generator: the same briefing gives the
same edit. It makes one bounded edit in one file and never touches the disk.
"""

from __future__ import annotations

import random
from pathlib import Path

from evogit.agents.offline.desk import Desk, Option
from evogit.agents.offline.operators import IN_ORDER, OPERATORS, order
from evogit.domain.briefing import Briefing
from evogit.domain.plan import Plan
from evogit.domain.proposal import Proposal
from evogit.errors import WorkFailed
from evogit.search import syntax
from evogit.search.change import sources_hash
from evogit.search.ideas import NEEDS_A_MODEL

DRAWS = 24  # options of one family that are looked at, its likelier ones first
ROUNDS = 3  # times that the families are gone through: numbers are drawn anew each time


class OfflineAgent:
    """Edits by rule. What it can reach is what the code already names: constants, switches, components, layers."""

    name = "offline"
    edits_in_place = False
    is_quick = True

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """One edit, in `Proposal.files`. Raises WorkFailed where there is nothing to edit, or nothing left to try.

        About 15 ms for a 150-line file; up to a second where most of what it draws was tried.
        """
        plan = briefing.plan
        desk = Desk(briefing.sources, random.Random(plan.rng), emitter=plan.emitter, contrast=briefing.contrast, aims=plan.aims)
        _check(desk)
        names = _families(plan)
        if plan.idea and not any(OPERATORS[name](desk) for name in names):
            raise WorkFailed(
                f"{NEEDS_A_MODEL}the offline agent edits by rule, and has no rule here for: {plan.instruction}",
                hint='let a model carry it out (--agent anthropic), or say it as a value: `evogit ideas add "LR = 0.003"`',
            )
        log: list[str] = []
        for _ in range(ROUNDS):
            for name in names:
                found = self._untried(desk, name, briefing, log)
                if found is not None:
                    option, text = found
                    log.append(f"chosen: {option.summary}")
                    return Proposal(
                        summary=option.summary,
                        hypothesis=option.hypothesis,
                        change="recombination" if name == "mix_genes" else option.change,
                        files={option.path: text},
                        transcript="\n".join([f"offline agent, seed {plan.rng}, for {plan.emitter}", *log, ""]),
                    )
        raise WorkFailed(
            f"no untried edit is left for {plan.emitter} in {', '.join(desk.files)} ({', '.join(names)} were looked at)",
            hint="use an agent that writes code, or name more constants at the top of the file",
        )

    @classmethod
    def replay(cls, briefing: Briefing, answers: dict[str, str]) -> Proposal:
        """The same edit again: the plan's seed is all that it drew from. Raises as `propose`."""
        return cls().propose(briefing, Path())

    @staticmethod
    def _untried(desk: Desk, name: str, briefing: Briefing, log: list[str]) -> tuple[Option, str] | None:
        """The first option of a family, in weighted random order, that compiles and was not run; None if there is none."""
        options = OPERATORS[name](desk)
        if name not in IN_ORDER:
            options.sort(key=lambda o: desk.rng.random() ** (1 / o.weight), reverse=True)
        repeats = broken = 0
        for option in options[:DRAWS]:
            text = _edited(desk, option)
            if text is None:
                broken += 1
            elif sources_hash({**desk.texts, option.path: text}) in briefing.tried or text == desk.texts[option.path]:
                repeats += 1
            else:
                return option, text
        log.append(f"{name}: {len(options)} options, {repeats} tried before, {broken} did not compile")
        return None


def _families(plan: Plan) -> list[str]:
    """The operator families to try: of an idea those that its words name and no others, else the role's own come last."""
    wanted = ("aim", *plan.operators) if plan.aims else plan.operators
    return [name for name in wanted if name in OPERATORS] if plan.idea else order(wanted, plan.emitter)


def _check(desk: Desk) -> None:
    """Refuse what cannot be edited, naming it."""
    if desk.files:
        return
    if desk.broken:
        raise WorkFailed(f"{', '.join(desk.broken)} cannot be parsed as Python", hint="mend the file, then start again")
    raise WorkFailed(
        "the offline agent edits Python, and no mutable file is Python",
        hint="choose another agent with --agent, or make a .py file mutable",
    )


def _edited(desk: Desk, option: Option) -> str | None:
    """The file with the option's edit, or None if it does not compile."""
    try:
        text = syntax.splice(desk.texts[option.path], option.edits)
        syntax.check(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return text
