"""What is mended rather than begun anew: a candidate that a gate refused, and a run that crashed at once with a plain error.

Only for agents that say `mends`. A gate's refusal goes back at most twice, within the same run; a crash once, as a run of
its own. It decides nothing: a candidate that stays refused is a reject like any other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import msgspec

from evogit.bench import Bench
from evogit.domain.briefing import Attempt
from evogit.domain.flight import Flight
from evogit.domain.plan import Plan
from evogit.domain.proposal import Proposal
from evogit.domain.run import Run
from evogit.domain.verdict import Verdict
from evogit.errors import AgentFailed, CapReached, EvogitError
from evogit.stages import propose
from evogit.stages.propose import MENDING, Draft

REPAIRS = 2  # of one candidate, after its gates refused it
LOOK = 8  # newest runs among which a crash is looked for
SMOKED = "the smoke run failed: "  # how the reason of a reject by that gate begins
AT_ONCE_S = 60.0  # a trial that ran longer failed at something else than a slip of the pen
_SLIPS = frozenset({"NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "AttributeError", "TypeError", "KeyError"})
_SHAPE = re.compile(r"\b(shapes?|sizes?|dimensions?|dims?|broadcast\w*|dtype|mat1|mat2|channels?)\b", re.IGNORECASE)


def draft(bench: Bench, flight: Flight, refusal: Callable[[Draft], str], keep: Callable[[Proposal], None]) -> Draft:
    """The agent's draft, mended at most twice while a cheap gate refuses it. Raises what the agent raises, with all calls made.

    refusal: the gates' reason, "" if they let it pass. A repair that comes to nothing leaves the draft as it was refused.
    keep: is given what was said and paid so far before the agent is asked again, since nobody knows how that ends.
    """
    attempts: tuple[Attempt, ...] = ()
    made = _ask(bench, flight, attempts)
    while getattr(bench.agent, "mends", False) and made.proposal.calls and len(attempts) < REPAIRS and (why := refusal(made)):
        attempts = (*attempts, Attempt(files=_files(bench, flight, made), refusal=why))
        keep(made.proposal)
        try:
            again = _ask(bench, flight, attempts)
        except (AgentFailed, CapReached) as error:
            return _with_calls(made, error.calls, error.answers)
        except EvogitError as error:
            error.calls, error.answers = (*made.proposal.calls, *error.calls), {**made.proposal.answers, **error.answers}
            raise
        made = _after(made, again)
    return made


def _ask(bench: Bench, flight: Flight, attempts: tuple[Attempt, ...]) -> Draft:
    checkout, away = bench.workspace(flight.slot), bench.turn.away
    return propose.propose(bench.campaign, bench.memory, flight.plan, bench.agent, checkout, attempts, bench.left, away)


def _files(bench: Bench, flight: Flight, made: Draft) -> dict[str, str]:
    """What a draft changed of its parent's mutable files."""
    before = bench.campaign.sources(flight.plan.parents[0])
    return {path: text for path, text in bench.campaign.sources_of_tree(made.tree).items() if before.get(path) != text}


def _with_calls(made: Draft, calls: tuple, answers: dict[str, str]) -> Draft:
    """The draft with what a repair that came to nothing said and cost; a replay, which carries answers out, is to leave those alone."""
    said = made.proposal
    idle = {name: f"idle-{name}" for name in answers}
    calls = tuple(msgspec.structs.replace(call, answer=idle.get(call.answer, call.answer)) for call in calls)
    kept = {idle[name]: text for name, text in answers.items()}
    said = msgspec.structs.replace(said, calls=(*said.calls, *calls), answers={**said.answers, **kept})
    return msgspec.structs.replace(made, proposal=said)


def _after(made: Draft, again: Draft) -> Draft:
    """The mended draft, with what the one before it said and cost."""
    first, said = made.proposal, again.proposal
    said = msgspec.structs.replace(
        said,
        calls=(*first.calls, *said.calls),
        answers={**first.answers, **said.answers},
        transcript="\n".join(part for part in (first.transcript, said.transcript) if part),
    )
    return msgspec.structs.replace(again, proposal=said)


def repair(bench: Bench, number: int) -> Plan | None:
    """A plan to mend the oldest of the newest runs that crashed at once and was not mended yet; None where there is none.

    The run starts from the crashed run's parent, so that what is measured is the change and not the repair.
    """
    if not getattr(bench.agent, "mends", False):
        return None
    recent = list(bench.memory.recent)[-LOOK:]
    mended = bench.mended | {run.contrast for run in bench.memory.recent if run.policy == MENDING}
    for run in recent:
        if run.commit not in mended and run.agent == bench.agent.name and is_slip(run):
            return Plan(
                emitter=run.emitter,
                parents=run.parents[:1],
                seeds=bench.campaign.problem.budget.seeds,
                rng=random.Random(f"{bench.campaign.tag}/{number}/{bench.options.seed}").getrandbits(48),
                instruction=f"Run {run.label} crashed at once. Mend what made it crash, and keep what it was to test.",
                contrast=run.commit,
                niche=run.niche,
                change=run.change,
                forecast=run.forecast,
                policy=MENDING,
            )
    return None


def is_slip(run: Run) -> bool:
    """True for a run whose first trial (a smoke run too) crashed within a minute with an error of name, import or shape.

    A repair that crashes is none: it had its turn.
    """
    if run.policy == MENDING or not run.parents or run.emitter in {"baseline", "person"}:
        return False
    if run.verdict is Verdict.REJECT and run.reason.startswith(SMOKED):
        kind, _, message = run.reason.removeprefix(SMOKED).partition(": ")
        return _is_plain(kind, message)
    failed = next((t for t in run.trials if t.crash is not None), None)
    if run.verdict is not Verdict.CRASH or failed is None or failed.seconds > AT_ONCE_S or any(t.metrics for t in run.trials):
        return False
    return _is_plain(failed.crash.kind, failed.crash.message)


def _is_plain(kind: str, message: str) -> bool:
    return kind in _SLIPS or (kind in {"RuntimeError", "ValueError", "IndexError"} and bool(_SHAPE.search(message)))
