"""One assignment given to a model: the packet, its edits, at most twelve turns, and the proposal that comes of them.

It is the same whichever wire carries it. It knows no gate: what a gate refuses comes back as another briefing with the
attempt in it. A model that refuses, talks without editing or changes nothing is asked once more, and then has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from evogit.agents import packet
from evogit.agents.editing import TOOLS, Editor, replay
from evogit.domain.briefing import Briefing
from evogit.domain.problem import Problem
from evogit.domain.proposal import Proposal
from evogit.errors import AgentFailed, CapReached, EvogitError
from evogit.models import anthropic, openai
from evogit.models.talk import Opening, Reply, Result, Tape, Use, Wire
from evogit.models.untrusted import one_line
from evogit.purse import Purse

WHO = "agent"
TURNS = 12  # requests an assignment
PATIENCE = 1  # times that an answer without a use of a tool is asked for again

_NUDGES = {
    "done": "No file was edited. Use the tools: edit, then call finish.",
    "finish": "The files are edited. Call finish now, or go on editing.",
    "length": "Your answer was cut at its limit of tokens. Make a smaller edit: replace_in_file changes a passage.",
}


def tape_for(hand: str, briefing: Briefing, key: str, purse: Purse | None) -> Tape:
    """The tape of one assignment; answers of a further attempt get names of their own."""
    return Tape(who=WHO, hand=hand, problem=briefing.problem, secret=key, stem=f"{WHO}-{len(briefing.attempts) + 1}", purse=purse)


def opening_of(briefing: Briefing) -> Opening:
    """The packet as a conversation begins."""
    told = packet.render(briefing)
    blocks = (told.code, "\n\n".join(part for part in (told.lore, told.assignment) if part))
    return Opening(fixed=told.fixed, blocks=blocks, tools=TOOLS)


def start_of(briefing: Briefing) -> dict[str, str]:
    """Files that an editor goes on from: those of the newest attempt."""
    return dict(briefing.attempts[-1].files) if briefing.attempts else {}


def carried_out_again(problem: Problem, sources: Mapping[str, str], start: Mapping[str, str], answers: Mapping[str, str]) -> Editor:
    """The editor after the recorded answers of one run's agent, without a call: its `changed` are the run's files.

    sources: the parent's mutable files; start: those of the crashed run, where this one mends it. answers: as in `Proposal`; others'
    are left out. Raises msgspec.DecodeError for an answer that is no JSON.
    """
    uses: list[Use] = []
    for name in sorted(answers):
        if name.startswith(f"{WHO}-"):
            wire = openai if "choices" in msgspec.json.decode(answers[name], type=dict) else anthropic
            uses += wire.uses_of(answers[name])
    return replay(problem, sources, start, uses)


def replayed(briefing: Briefing, answers: dict[str, str]) -> Proposal:
    """The proposal that recorded answers make again, without a call: what the seam calls `replay`."""
    editor = carried_out_again(briefing.problem, briefing.sources, start_of(briefing), answers)
    return _proposal(briefing, editor, Tape(who=WHO, hand="replay", problem=briefing.problem, secret="", stem=WHO))


def converse(briefing: Briefing, make_wire: Callable[[Opening], Wire], tape: Tape) -> Proposal:
    """Have the assignment carried out. Raises AgentFailed, ServiceDown, UserError, CapReached, each with the calls made so far.

    Where the next request could pass the cap, what is edited by then is the proposal.
    """
    editor = Editor(briefing.problem, briefing.sources, start_of(briefing))
    wire, start = make_wire(opening_of(briefing)), dict(editor.files)
    try:
        _talk(wire, editor, tape)
    except EvogitError as error:
        if isinstance(error, CapReached) and tape.calls and editor.changed and editor.files != start:
            return _proposal(briefing, editor, tape)
        error.calls, error.answers = tuple(tape.calls), dict(tape.answers)
        error.message = tape.clean(error.message)
        error.args = (error.message,)
        raise
    return _proposal(briefing, editor, tape)


def _talk(wire: Wire, editor: Editor, tape: Tape) -> None:
    """Until finish was accepted. Raises AgentFailed where no edit comes of it."""
    before = dict(editor.files)
    results: list[Result] = []
    say, patience = "", PATIENCE
    for _ in range(TURNS):
        reply = wire.ask(results, say)
        tape.say("model", reply.text)
        results, say = [editor.carry_out(use) for use in reply.uses], ""
        for use, result in zip(reply.uses, results):
            tape.say("tool", f"{use.name} {one_line(str(use.arguments.get('path', '')), 100)}: {result.text}")
        if editor.said is not None and editor.files != before:
            return
        if editor.said is not None:
            editor.said = None
            say = "The files are as the refused attempt left them: mend them before you finish."
        if reply.stop == "refusal":
            raise AgentFailed(f"the model refused: {one_line(reply.text, 200) or 'it gave no reason'}")
        is_idle = all(use.name == "finish" for use in reply.uses)  # it talked, or handed in nothing
        if is_idle or reply.stop == "length":
            if patience == 0 and editor.changed and editor.files != before:
                return
            if patience == 0:
                raise AgentFailed(_why(reply))
            patience -= 1
            say = say or _NUDGES["length" if reply.stop == "length" else "finish" if editor.changed else "done"]
    if not editor.changed or editor.files == before:
        raise AgentFailed(f"no edit came of {TURNS} turns")


def _why(reply: Reply) -> str:
    if reply.stop == "length":
        return "the answer was cut at its limit of tokens, twice; --agent-option max_tokens=N raises it"
    return f"the model edited nothing: {one_line(reply.text, 200) or 'its answer was empty'}"


def _proposal(briefing: Briefing, editor: Editor, tape: Tape) -> Proposal:
    said, paths = editor.said, ", ".join(sorted(editor.changed))
    if said is not None and said.ignored:
        tape.say("evogit", f"the prediction does not count: {said.ignored}")
    return Proposal(
        summary=said.mutation_summary if said else f"an edit of {paths} that the model never finished",
        hypothesis=said.hypothesis if said else "",
        change=said.mutation_type if said else briefing.plan.change,
        files=editor.changed,
        forecast=said.forecast if said else None,
        transcript=tape.transcript,
        calls=tuple(tape.calls),
        answers=dict(tape.answers),
    )
