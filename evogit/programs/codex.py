"""The `codex` program without a person: where it is, how it is called, and what its events say.

It reads and edits by way of a shell, so its own sandbox holds it to the workspace, without network, unless evogit's does. A
fresh home and configuration folder; the key reaches the program and not the shell that it runs.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from evogit.domain.usage import Call
from evogit.errors import ServiceDown, UserError
from evogit.programs import bill, confining, options, process, speech
from evogit.programs.answer import Answer

KEYS = ("CODEX_API_KEY", "OPENAI_API_KEY")
ANSWER = "codex.jsonl"  # below a run's `answers/`
OFFLINE = "or use --agent offline, which needs none"
RETRIES = 3


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the program is called."""

    program: str
    model: str  # "" is the program's own choice
    base_url: str  # "" is OpenAI's
    timeout_s: float
    names: tuple[str, ...]  # of further variables that are let through

    @property
    def key(self) -> str:
        """Name of the variable with the key, "" where the service needs none."""
        return next((name for name in KEYS if os.environ.get(name)), "")


def settings(*, program: str, model: str, base_url: str, timeout_s: str | float, env: str) -> Settings:
    """The options read. Raises UserError where the program or a key is missing, or an option means nothing."""
    found = shutil.which(program or "codex")
    if found is None and program:
        raise UserError(f"there is no program {program!r}", hint="program=PATH names the `codex` program")
    if found is None:
        raise UserError("the program `codex` is not installed", hint=f"npm install -g @openai/codex; {OFFLINE}")
    how = Settings(
        program=os.path.abspath(found),
        model=model,
        base_url=base_url or os.environ.get("OPENAI_BASE_URL", ""),
        timeout_s=options.seconds("timeout_s", timeout_s),
        names=options.names("env", env),
    )
    if not how.key and not how.base_url:
        raise UserError("codex needs a key: OPENAI_API_KEY is not set", hint=f"export OPENAI_API_KEY=..., {OFFLINE}")
    return how


def ask(how: Settings, prompt: str, *, cwd: Path, who: str) -> Answer:
    """One run in `cwd`. Raises UserError for a refused key or model, ServiceDown where nobody answers."""
    secrets, started = speech.Secrets((*KEYS, *how.names)), bill.now()
    with process.private_home() as home:
        folder = home / "home" / ".codex"
        folder.mkdir()
        env = process.clean_env(home, how.names) | {"CODEX_HOME": str(folder)}
        if how.key:
            env["CODEX_API_KEY"] = os.environ[how.key]
        ended = process.run(_argv(how), stdin=prompt, cwd=cwd, env=env, timeout_s=how.timeout_s, room=home)
    out, err = (secrets.hide(speech.decode(stream)) for stream in (ended.stdout, ended.stderr))
    events = list(_events(out))
    fault = _fault(ended, events, err)
    if fault:
        _raise_what_stays(fault, out)
    text = next((_item(e, "text") for e in reversed(events) if _item(e, "type") == "agent_message"), "")
    thread = next((speech.words(e.get("thread_id"), 60) for e in events if e.get("type") == "thread.started"), "")
    return Answer(
        text=text,
        calls=(_call(how, events, who=who, seconds=ended.seconds, started=started, fault=fault),),
        answers={ANSWER: out[-(256 << 10) :]} if out.strip() else {},
        fault=fault,
        transcript="\n".join(
            [f"codex {how.model}, thread {thread}: {ended.how or 'done'}, {ended.seconds:.1f} s", text, speech.clean(err)]
        ),
    )


def _argv(how: Settings) -> list[str]:
    sandbox = "danger-full-access" if confining.works() else "workspace-write"
    argv = [how.program, "exec", "--json", "--skip-git-repo-check", "--color", "never", "--sandbox", sandbox]
    settings = [
        'approval_policy="never"',
        'web_search="disabled"',
        "project_doc_max_bytes=0",
        "sandbox_workspace_write.network_access=false",
        "sandbox_workspace_write.exclude_slash_tmp=true",
        'shell_environment_policy.inherit="core"',
        "shell_environment_policy.ignore_default_excludes=false",
        'cli_auth_credentials_store="file"',
    ]
    if how.base_url:
        key = ', env_key = "CODEX_API_KEY"' if how.key else ""
        url, tries = json.dumps(how.base_url), f"request_max_retries = {RETRIES}, stream_max_retries = {RETRIES}"
        settings += ['model_provider="evogit"']
        settings += [f'model_providers.evogit={{name = "evogit", base_url = {url}, wire_api = "responses", {tries}{key}}}']
    argv += [word for setting in settings for word in ("-c", setting)]
    return [*argv, *(["--model", how.model] if how.model else []), "-"]


def _events(out: str) -> Iterator[Mapping[str, object]]:
    """Its events, a JSON object a line; other lines are passed over."""
    for line in out.splitlines():
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            yield value


def _item(event: Mapping[str, object], key: str) -> str:
    item = event.get("item")
    value = item.get(key) if isinstance(item, Mapping) else None
    return value if isinstance(value, str) else ""


def _fault(ended: process.Ended, events: list[Mapping[str, object]], err: str) -> str:
    failed = next((e for e in reversed(events) if e.get("type") == "turn.failed"), None)
    error = failed.get("error") if failed else None
    if failed is not None:
        return f"codex failed: {speech.words(error.get('message') if isinstance(error, Mapping) else '', 300)}"
    if ended.how:
        complaint = next((speech.words(e.get("message"), 200) for e in reversed(events) if e.get("type") == "error"), "") or speech.tail(
            err
        )
        return f"codex failed: {ended.how}" + (f": {complaint}" if complaint else "")
    if not any(e.get("type") == "turn.completed" for e in events):
        return "codex gave no answer"
    return _sandbox_fault(events)


def _sandbox_fault(events: list[Mapping[str, object]]) -> str:
    """Why nothing could be done, where each command failed: it ends well even where its sandbox does not start."""
    items = [e["item"] for e in events if e.get("type") == "item.completed" and isinstance(e.get("item"), Mapping)]
    commands = [item for item in items if item.get("type") == "command_execution"]
    if not commands or any(item.get("exit_code") == 0 for item in commands):
        return ""
    said = speech.words(commands[0].get("aggregated_output"), 120)
    return f"every command of codex failed (does its sandbox start here?): {said}"


def _raise_what_stays(fault: str, out: str) -> None:
    """A refused key or an unknown model fails every run alike, and an API out of reach is nobody's edit."""
    if "401 Unauthorized" in fault or "403 Forbidden" in fault:
        raise UserError(f"the API refused the key of codex: {fault}", hint=f"put a valid key into OPENAI_API_KEY, {OFFLINE}")
    if "404 Not Found" in fault:
        raise UserError(fault, hint="--model names another model, --base-url another service")
    if "waiting for network" in fault or "error sending request" in fault:
        raise ServiceDown(fault, hint="see that the API can be reached, then run the same command again")


def _call(how: Settings, events: list[Mapping[str, object]], *, who: str, seconds: float, started: str, fault: str) -> Call:
    """All turns as one call. It tells tokens and no dollars, and counts what it read from the cache among the input."""
    turns = [e["usage"] for e in events if e.get("type") == "turn.completed" and isinstance(e.get("usage"), Mapping)]
    total = {name: sum(bill.count(turn.get(key)) for turn in turns) for name, key in _TOKENS.items()}
    fresh = max(0, total["input"] - total["cache_read"] - total["cache_write"])
    head = {"who": who, "hand": "codex", "model": how.model, "started": started, "error": fault}
    return Call(**head, **{**total, "input": fresh}, seconds=round(seconds, 3), answer=ANSWER if events else "")


_TOKENS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cached_input_tokens",
    "cache_write": "cache_write_input_tokens",
}
