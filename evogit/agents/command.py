"""The agent that is any program: one JSON object on its stdin, one on its stdout, as Evolyth's workers are written.

in   rp_path, mutable_file, context (text), current_model; and `briefing`, the same and more as values (see `context`)
out  mutation_type, mutation_summary, hypothesis, changed_files; optional `model_py` (the whole mutable file) or
     `files` {path: whole text}; optional `cost_usd`, `usage`, `model`. Edits in place count too

It runs in the workspace, with a home of its own and no variable that was not named. It trusts nothing that comes back: the
host reads the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from evogit.agents.context import as_object, as_text
from evogit.agents.edits import RECORD, Watch, record, returned
from evogit.domain.briefing import Briefing
from evogit.domain.proposal import Proposal
from evogit.errors import AgentFailed
from evogit.programs import bill, options, process, speech

KEYS = ("mutation_type", "mutation_summary", "hypothesis", "changed_files", "model_py", "files")
WORDS = {"mutation_summary": 300, "summary": 300, "hypothesis": 2000, "mutation_type": 60}  # characters at most
ANSWER = "stdout.txt"
KEPT = 64 << 10  # characters of each stream among the answers


class CommandAgent:
    """Runs `command` once a run. Options: timeout_s (600), env (names of variables that are let
    through, with commas), folder (where a relative path in `command` begins; default: where evogit was started)."""

    name = "command"
    edits_in_place = True
    pays_afterwards = True

    def __init__(self, command: str = "", timeout_s: str | float = 600, env: str = "", folder: str = "") -> None:
        """Raises UserError for a program that does not exist, or options that mean nothing."""
        self._words = options.program("agent", command, folder)
        self._timeout_s = options.seconds("timeout_s", timeout_s)
        self._names = options.names("env", env)

    def propose(self, briefing: Briefing, workspace: Path) -> Proposal:
        """What the program did. Raises AgentFailed with what it said and cost; UserError if there is no such script."""
        options.check_script("agent", self._words, workspace)
        secrets, started = speech.Secrets(self._names), bill.now()
        watch = Watch(briefing, workspace, secrets)
        with process.private_home() as home:
            ended = process.run(
                self._words,
                stdin=json.dumps(question(briefing, workspace)) + "\n",
                cwd=workspace,
                env=process.clean_env(home, self._names),
                timeout_s=self._timeout_s,
            )
        out, err = speech.decode(ended.stdout), secrets.hide(speech.decode(ended.stderr))
        found = speech.json_object(out, KEYS)
        said = found or {}
        told = {**said, "model": secrets.hide(str(said.get("model", "")))}
        answers = {name: text[-KEPT:] for name, text in ((ANSWER, secrets.hide(out)), ("stderr.txt", err)) if text.strip()}
        fault = _fault(ended, found, secrets.hide(out), err)
        calls = bill.reported(told, who="agent", hand=self.name, seconds=ended.seconds, started=started, answer=ANSWER, error=fault)
        try:
            if fault:
                raise AgentFailed(fault)
            given = returned(_given(briefing, said), workspace)
            done = watch.edits(given)
        except AgentFailed as failed:
            raise AgentFailed(failed.message, hint=failed.hint, calls=calls, answers=answers) from None
        words = {name: secrets.hide(speech.words(said.get(name), cap)) for name, cap in WORDS.items()}
        return Proposal(
            summary=words["mutation_summary"] or words["summary"] or f"edit {', '.join(sorted(done))}"[:120],
            hypothesis=words["hypothesis"],
            change=words["mutation_type"],
            files=given,
            transcript=_transcript(self._words, ended, err),
            calls=calls,
            answers={**answers, RECORD: record(done)},
        )


def question(briefing: Briefing, workspace: Path) -> dict[str, object]:
    """The object that the program reads."""
    name = _mutable_file(briefing)
    return {
        "rp_path": str(workspace),
        "mutable_file": name,
        "context": as_text(briefing),
        "current_model": briefing.sources.get(name, ""),
        "briefing": as_object(briefing),
    }


def _mutable_file(briefing: Briefing) -> str:
    """The file that `model_py` stands for: the first one that the contract names, else the first there is."""
    named = (name for name in briefing.problem.mutable if name in briefing.sources)
    return next(named, "") or next(iter(briefing.sources), "") or briefing.problem.mutable[0]


def _given(briefing: Briefing, said: Mapping[str, object]) -> dict[str, object]:
    """Files that were handed back: `files`, or `model_py` for the mutable file."""
    files, model = said.get("files"), said.get("model_py")
    if files is not None and not isinstance(files, Mapping):
        raise AgentFailed("`files` is no object of path and text")
    given = dict(files or {})
    if isinstance(model, str):
        given.setdefault(_mutable_file(briefing), model)
    return given


def _fault(ended: process.Ended, said: object, out: str, err: str) -> str:
    """Why what the program said does not count, "" if it does. Silence is no fault: edits in place count."""
    if how := ended.how:
        complaint = speech.tail(err) or speech.tail(out)
        return f"the program failed: {how}" + (f": {complaint}" if complaint else "")
    if said is None and out.strip():
        return f"the program's answer holds no JSON object: {speech.one_line(out, 120)}"
    return ""


def _transcript(words: list[str], ended: process.Ended, err: str) -> str:
    head = f"{Path(words[0]).name}: {ended.how or 'exit code 0'}, {ended.seconds:.1f} s"
    return head + (f", {ended.cut} bytes of its output left out" if ended.cut else "") + "\n" + speech.clean(err[-KEPT:])
