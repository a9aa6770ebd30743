"""Events as one plain line each, for terminals, logs and the tools of agents. Pure; it knows no terminal, colour or width."""

from __future__ import annotations

from math import isfinite

from evogit.domain import event as events
from evogit.present import clean, duration, number, plural, short


def event_line(event: events.Event) -> str:
    """An event as one plain line."""
    return clean(_EVENT_WORDS[type(event)](event))


def _campaign(e: events.CampaignOpened) -> str:
    return f"campaign {e.campaign}: problem {e.problem}, backend {e.backend}, sandbox {e.sandbox}, {plural(e.runs, 'run')} so far"


def _adopted(e: events.Adopted) -> str:
    what = "a new epoch begins with" if e.kind == "epoch" else "adopted as"
    return f"your commit {short(e.commit)} at the tip: {what} run {e.run}"


def _trial(e: events.TrialEnded) -> str:
    numbers = "".join(f", {name} {number(value)}" for name, value in e.metrics.items())
    return f"run {e.run} seed {e.seed}: {e.status} after {duration(e.seconds)}{numbers}{': ' + e.crash if e.crash else ''}"


def _decided(e: events.Decided) -> str:
    measured = f": {e.metric} {number(e.value)}{_gain_words(e.gain)}" if e.value is not None else f": {e.reason}"
    return f"run {e.run} {e.verdict}{measured} [{e.emitter}] {e.summary}"


def _gain_words(gain: float | None) -> str:
    if gain is None or not isfinite(gain):
        return ""
    if gain == 0:
        return ", no change"
    return f", {'better' if gain > 0 else 'worse'} by {number(abs(gain))}"


def _stopped(e: events.Stopped) -> str:
    if e.reason == "done":  # a command that did one thing: nobody counts runs there
        return f"done; search on with: {e.resume}"
    return f"stopped after {plural(e.decided, 'run')}: {e.reason}" + (f"; go on with: {e.resume}" if e.resume else "")


def _flying(run: str, of: str) -> str:
    return f"reading {run} of run {of}" if of else f"run {run}"


def _controlled(e: events.Controlled) -> str:
    about = f" of run {e.run}" if e.run else ""
    why = f" ({e.reason})" if e.reason else ""
    return f"{e.kind}{about} asked by {e.by}{why}: {e.result}"


_EVENT_WORDS = {
    events.CampaignOpened: _campaign,
    events.Recovered: lambda e: f"recovered {_flying(e.run, e.of)} ({e.state}): {e.action}",
    events.Adopted: _adopted,
    events.Planned: lambda e: f"{_flying(e.run, e.of)} plan: {e.emitter} from {', '.join(e.parents) or 'the base'}: {e.instruction}",
    events.Proposed: lambda e: f"run {e.run} candidate {short(e.commit)}: {e.summary}{f' ({e.change})' if e.change else ''}",
    events.Rejected: lambda e: f"run {e.run} stopped by the {e.gate} gate: {e.reason}",
    events.TrialStarted: lambda e: f"run {e.run} seed {e.seed}: {e.step} started",
    events.TrialEnded: _trial,
    events.Decided: _decided,
    events.Replicated: lambda e: f"run {e.run} measured again: {', '.join(map(number, e.readings)) or 'no number'}; {e.reason}",
    events.Judged: lambda e: f"run {e.run} judged {e.verdict} by {e.by} (was {e.was}): {e.reason}",
    events.Controlled: _controlled,
    events.Warned: lambda e: f"warning: {e.message}{f' ({e.hint})' if e.hint else ''}",
    events.Stopped: _stopped,
}
