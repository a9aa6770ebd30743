"""The `claude` program without a person: where it is, how it is called so that it asks nobody, and what its answer says.

Nothing of the user's configuration reaches it: a fresh home and configuration folder, no hooks, no MCP servers, no settings of
the project. It gets the tools that are named and keys to ask its model, nothing else.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from evogit.domain.usage import Call, spent
from evogit.errors import EvogitError, ServiceDown, UserError
from evogit.programs import bill, options, process, speech
from evogit.programs.answer import Answer
from evogit.purse import Purse

HAND = "claude-code"
MODEL = "claude-sonnet-4-6"
KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
LET_THROUGH = (*KEYS, "ANTHROPIC_BASE_URL", "CLAUDE_CODE_MAX_RETRIES")
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}
ANSWER = "claude.json"  # below a run's `answers/`
REFUSED = (401, 403)  # the key, by status of the service
_OUT_OF_REACH = re.compile(r"API Error: .*\b(unable to connect|connection|ECONN\w+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT)\b", re.IGNORECASE)
OFFLINE = "or use --agent offline, which needs none"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one hand calls the program."""

    program: str
    model: str
    base_url: str
    timeout_s: float
    max_usd: float  # of one run, 0 for no limit; the program itself keeps to it
    names: tuple[str, ...]  # of further variables that are let through


def settings(*, program: str, model: str, base_url: str, timeout_s: str | float, max_usd: str | float, env: str) -> Settings:
    """The options read. Raises UserError where the program or a key is missing, or an option means nothing."""
    names = options.names("env", env)
    found = _find(program)
    if not names and not any(os.environ.get(key) for key in KEYS):
        raise UserError("claude-code needs a key: ANTHROPIC_API_KEY is not set", hint=f"export ANTHROPIC_API_KEY=..., {OFFLINE}")
    return Settings(
        program=found,
        model=model,
        base_url=base_url,
        timeout_s=options.seconds("timeout_s", timeout_s),
        max_usd=options.dollars("max_usd", max_usd),
        names=names,
    )


def _find(program: str) -> str:
    """As asked, else the Agent SDK's own, else the one on PATH."""
    if program:
        found = shutil.which(program)
        if found is None:
            raise UserError(f"there is no program {program!r}", hint="program=PATH names the `claude` program")
        return os.path.abspath(found)
    spec = importlib.util.find_spec("claude_agent_sdk")
    bundled = Path(spec.origin).parent / "_bundled" / "claude" if spec is not None and spec.origin else None
    if bundled is not None and os.access(bundled, os.X_OK):
        return str(bundled)
    found = shutil.which("claude")
    if found is None:
        install = "npm install -g @anthropic-ai/claude-code, or pip install claude-agent-sdk"
        raise UserError("the program `claude` is not installed", hint=f"{install}; {OFFLINE}")
    return found


def ask(how: Settings, prompt: str, *, cwd: Path, tools: Sequence[str], who: str, purse: Purse | None = None) -> Answer:
    """One run in `cwd`, with these tools and no others. Raises UserError for a refused key or model, ServiceDown where nobody answers.

    purse: all that is left of its cap is reserved and is the program's limit; what it says that it cost is settled. It looks at
    its limit between two turns, so it may pass it by what one turn costs. Raises CapReached where nothing is left.
    """
    if purse is None:
        return _ask(how, prompt, cwd=cwd, tools=tools, who=who)
    limit = min(how.max_usd or math.inf, purse.left)
    ticket = purse.reserve_rest(HAND, how.model)
    try:
        how = msgspec.structs.replace(how, max_usd=limit if math.isfinite(limit) else 0.0)
        answer = _ask(how, prompt, cwd=cwd, tools=tools, who=who)
    except EvogitError:  # nothing was paid: what was, is an answer
        ticket.settle(0.0)
        raise
    ticket.settle(spent(answer.calls).total_usd)
    return answer


def _ask(how: Settings, prompt: str, *, cwd: Path, tools: Sequence[str], who: str) -> Answer:
    secrets, started = speech.Secrets((*KEYS, *how.names)), bill.now()
    with process.private_home() as home:
        env = process.clean_env(home, (*LET_THROUGH, *how.names)) | QUIET | {"CLAUDE_CONFIG_DIR": str(home / "home" / ".claude")}
        if how.base_url:
            env["ANTHROPIC_BASE_URL"] = how.base_url
        ended = process.run(_argv(how, tools), stdin=prompt, cwd=cwd, env=env, timeout_s=how.timeout_s, room=home)
    out, err = (secrets.hide(speech.decode(stream)) for stream in (ended.stdout, ended.stderr))
    said = speech.json_object(out, ("total_cost_usd", "session_id")) or {}
    text = said.get("result") if isinstance(said.get("result"), str) else ""
    fault = _fault(ended, said, text, err)
    if fault and not said.get("modelUsage"):  # what was paid for before is recorded with the run
        _raise_what_stays(said, text)
    session = speech.words(said.get("session_id"), 60)
    return Answer(
        text=text,
        calls=_calls(how, said, who=who, seconds=ended.seconds, started=started, fault=fault),
        answers={ANSWER: out[-(256 << 10) :]} if out.strip() else {},
        fault=fault,
        transcript="\n".join(
            [f"claude {how.model}, session {session}: {ended.how or 'done'}, {ended.seconds:.1f} s", text, speech.clean(err)]
        ),
    )


def renamed(call: Call, prefix: str) -> Call:
    """The call with its answer under another name: agent and reviewer of one run keep theirs apart."""
    return msgspec.structs.replace(call, answer=prefix + call.answer) if call.answer else call


def _argv(how: Settings, tools: Sequence[str]) -> list[str]:
    """`acceptEdits` lets it edit below its folder and refuses, without asking, whatever else would have to be allowed."""
    argv = [how.program, "-p", "--output-format", "json", "--permission-mode", "acceptEdits", "--tools", ",".join(tools)]
    argv += ["--setting-sources", "user", "--strict-mcp-config", "--disable-slash-commands", "--no-session-persistence"]
    argv += ["--model", how.model] if how.model else []
    return argv + (["--max-budget-usd", f"{how.max_usd:g}"] if how.max_usd else [])


def _fault(ended: process.Ended, said: Mapping[str, object], text: str, err: str) -> str:
    if said.get("is_error") is True or str(said.get("subtype", "success")) != "success":
        return f"claude failed: {speech.one_line(text) or speech.words(said.get('subtype'), 60)}"
    if ended.how:
        complaint = speech.tail(err)
        return f"claude failed: {ended.how}" + (f": {complaint}" if complaint else "")
    return "" if said else "claude gave no JSON answer"


def _raise_what_stays(said: Mapping[str, object], text: str) -> None:
    """A refused key or an unknown model fails every run alike, and an API out of reach is nobody's edit."""
    status, words = said.get("api_error_status"), speech.one_line(text)
    if status in REFUSED or "Invalid API key" in words or "Please run /login" in words:
        raise UserError(f"the API refused the key of claude-code: {words}", hint=f"put a valid key into ANTHROPIC_API_KEY, {OFFLINE}")
    if status == 404:
        raise UserError(f"claude-code: {words}", hint="--model names another one")
    if said.get("api_error") == "connection_failed" or (status is None and _OUT_OF_REACH.search(words)):
        raise ServiceDown(f"claude-code: {words}", hint="see that the API can be reached, then run the same command again")


def _calls(how: Settings, said: Mapping[str, object], *, who: str, seconds: float, started: str, fault: str) -> tuple[Call, ...]:
    """One call a model that it asked, by its own account; one of unknown cost where there is none."""
    head = {"who": who, "hand": "claude-code", "started": started, "error": fault, "answer": ANSWER if said else ""}
    models = said.get("modelUsage")
    if isinstance(models, Mapping) and models:
        spent = [(str(model), use if isinstance(use, Mapping) else {}) for model, use in models.items()]
        return tuple(
            Call(
                **head,
                model=speech.words(model, 100),
                input=bill.count(use.get("inputTokens")),
                output=bill.count(use.get("outputTokens")),
                cache_write=bill.count(use.get("cacheCreationInputTokens")),
                cache_read=bill.count(use.get("cacheReadInputTokens")),
                usd=bill.usd(use.get("costUSD")),
                seconds=0.0 if at else round(seconds, 3),
            )
            for at, (model, use) in enumerate(spent)
        )
    total = bill.usd(said.get("total_cost_usd"))
    return (Call(**head, model=how.model, usd=total, seconds=round(seconds, 3), **bill.tokens(said.get("usage"))),)
