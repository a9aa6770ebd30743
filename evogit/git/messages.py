"""Commit messages of run commits and ledger entries: building and parsing, as FORMAT.md says. Pure text.

It refuses to let text from an agent become structure: a value is one line, trailers count in the last paragraph only,
a repeated key is an error, and a line of the body never looks like a trailer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from sys import intern  # a long history says the same names and hashes again and again: a twelfth of its memory
from typing import Any

import msgspec

from evogit.domain.change import Move
from evogit.domain.metric import Direction
from evogit.domain.plan import Forecast
from evogit.domain.usage import Spent
from evogit.domain.verdict import Verdict
from evogit.errors import BadRecord
from evogit.git.values import (
    SPENT_KEYS,
    exact,
    finite,
    forecast_text,
    lines_text,
    moves_text,
    number,
    one_line,
    paragraphs,
    parse_forecast,
    parse_lines,
    parse_moves,
    parse_number,
    parse_numbers,
    parse_spent,
    parse_texts,
    parse_yes,
    plain,
    spent_trailers,
    texts_text,
)

FORMAT = 1
SUMMARY_CAP = 120  # characters

_LABEL = re.compile(r"(?:[0-9a-f]{4,40}/)?[0-9]{1,18}")


class RunMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the message of a run commit says. No measured number is in it: it is written before the measurement."""

    label: str  # "3", on further clones "ab12/3"
    campaign: str
    emitter: str
    agent: str
    summary: str  # one line, at most SUMMARY_CAP characters are kept
    hypothesis: str = ""  # lines, at most 4,000 characters are kept
    change: str = ""
    niche: str = ""
    forecast: Forecast | None = None
    propensity: float = 1.0
    policy: str = ""  # name of the policy that chose the emitter
    chance: float = 1.0  # probability with which it chose this emitter
    idea: str = ""
    sources: str = ""  # hash of the normalised mutable files: how a repeat is recognised
    contrast: str = ""  # full hash of the run whose change it reverses, halves or isolates
    adopts: str = ""  # full hash of a person's commit that this run was made from
    moves: tuple[Move, ...] = ()  # named constants that it moved; as many as 500 characters hold
    lines: tuple[int, int] = (0, 0)  # added and removed
    baseline: Baseline | None = None  # set on the first run of an epoch


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What a baseline says on top, for the whole epoch that it begins."""

    problem: str  # folder below the repository's top, "" for the top itself
    clone: str  # the clone that started the campaign: its runs carry bare numbers
    metric: str  # the primary one
    direction: Direction
    epoch: int = 0
    format: int = FORMAT


class EntryMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the message of a ledger entry says. `kind` is "person" for a commit that evogit did not write."""

    kind: str  # "decision", "judge", "certify", "replicate", "epoch", "join", "person", or a later version's
    subject: str
    campaign: str = ""
    decides: str = ""  # decision, judge: full hash of the run
    verdict: Verdict | None = None  # decision, judge
    incumbent: str = ""  # full hash of the run that is the incumbent after this entry, "" if it stays
    seq: int = -1  # decision: 0 for the first baseline's, and only there
    reason: str = ""
    gain: float | None = None  # decision: over the incumbent, primary metric's unit, positive is better
    near_miss: bool = False
    spent: Spent = Spent()  # decision, replicate: on models, beside what the trials cost
    emitter: str = ""  # replicate: whose plan changed nothing, "" if a person asked
    agent: str = ""  # replicate: who carried it out
    of: str = ""  # replicate, certify: full hash of the run
    label: str = ""  # replicate, certify: the number under which it was in the air, as a run's label
    certified: bool | None = None  # certify
    against: str = ""  # certify: full hash of the run that it is compared with
    evidence: tuple[float, ...] = ()  # certify: e-value, the level that it is held against, number of the test
    by: str = ""  # judge: who
    flags: tuple[str, ...] = ()  # decision: what in the run's files may give a cheat away; as many as 500 characters hold
    baseline: str = ""  # epoch: full hash of its baseline
    epoch: int = -1  # epoch: its number
    lines: tuple[bytes, ...] = ()  # trial lines, verbatim: one JSON object each


def measured(metric: str, value: float, before: float | None) -> str:
    """`val_loss 0.081 (-0.012)`: the words of a measured decision. `before` is the incumbent's mean, None if it has none."""
    return f"{metric} {value:.4g}" if before is None else f"{metric} {value:.4g} ({value - before:+.2g})"


def build_run(run: RunMessage) -> str:
    """The message of a run commit. Raises `BadRecord` for a label that is not one."""
    summary = one_line(run.summary, SUMMARY_CAP) or "(no summary)"
    emitter = one_line(run.emitter)
    if not emitter:
        raise BadRecord(f"run {run.label}", "has no emitter")
    trailers: list[tuple[str, str]] = [
        ("Run", _label(run.label)),
        ("Campaign", exact(run.campaign)),
        ("Emitter", emitter),
        ("Agent", one_line(run.agent)),
        ("Niche", one_line(run.niche)),
        ("Change", one_line(run.change)),
        ("Forecast", forecast_text(run.forecast)),
        ("Propensity", "" if run.propensity == 1.0 else number(run.propensity)),
        ("Policy", f"{one_line(run.policy)} {number(run.chance)}" if run.policy else ""),
        ("Idea", one_line(run.idea)),
        ("Sources", one_line(run.sources)),
        ("Contrast", one_line(run.contrast)),
        ("Moves", moves_text(run.moves)),
        ("Lines", lines_text(run.lines)),
        ("Adopts", one_line(run.adopts)),
    ]
    if run.baseline is not None:
        trailers += _baseline_trailers(run.baseline)
    return _assemble(f"exp: {summary} [emitter={emitter}]", paragraphs(run.hypothesis), trailers)


def parse_run(text: str, where: str) -> RunMessage:
    """A run commit's message. `where` names the commit in the `BadRecord` that is raised for anything FORMAT.md does not allow."""
    subject, body, trailers = split(text, where)
    get = trailers.get
    emitter = get("Evogit-Emitter", "")
    if "Evogit-Run" not in trailers or not emitter:
        raise BadRecord(where, "is not a run: it lacks Evogit-Run or Evogit-Emitter")
    summary = subject.removeprefix("exp: ")
    policy, _, chance = get("Evogit-Policy", "").rpartition(" ")
    return RunMessage(
        label=_label(trailers["Evogit-Run"], where),
        campaign=intern(plain(get("Evogit-Campaign", ""), where)),
        emitter=intern(emitter),
        agent=intern(get("Evogit-Agent", "")),
        summary=summary.removesuffix(f" [emitter={emitter}]"),
        hypothesis=body,
        change=intern(get("Evogit-Change", "")),
        niche=intern(get("Evogit-Niche", "")),
        forecast=parse_forecast(get("Evogit-Forecast", ""), where),
        propensity=parse_number(get("Evogit-Propensity", "1"), where),
        idea=get("Evogit-Idea", ""),
        sources=get("Evogit-Sources", ""),
        contrast=get("Evogit-Contrast", ""),
        adopts=get("Evogit-Adopts", ""),
        policy=intern(policy),
        chance=parse_number(chance or "1", where),
        moves=parse_moves(get("Evogit-Moves", ""), where),
        lines=parse_lines(get("Evogit-Lines", ""), where),
        baseline=_parse_baseline(trailers, where) if get("Evogit-Kind") == "baseline" else None,
    )


def build_entry(entry: EntryMessage) -> str:
    """The message of a ledger entry. Raises `BadRecord` if a line is not one JSON object on one line."""
    trailers = [
        ("Kind", one_line(entry.kind)),
        ("Campaign", exact(entry.campaign)),
        ("Decides", one_line(entry.decides)),
        ("Of", one_line(entry.of)),
        ("Reading", one_line(entry.label)),
        ("Verdict", entry.verdict.value if entry.verdict is not None else ""),
        ("Certified", "" if entry.certified is None else "yes" if entry.certified else "no"),
        ("Against", one_line(entry.against)),
        ("Evidence", " ".join(number(value) for value in entry.evidence)),
        ("Incumbent", one_line(entry.incumbent)),
        ("Baseline", one_line(entry.baseline)),
        ("Seq", str(entry.seq) if entry.seq >= 0 else ""),
        ("Epoch", str(entry.epoch) if entry.epoch >= 0 else ""),
        ("Reason", one_line(entry.reason)),
        ("By", one_line(entry.by)),
        ("Gain", "" if entry.gain is None else number(entry.gain)),
        ("Near-Miss", "yes" if entry.near_miss else ""),
        ("Flags", texts_text(entry.flags)),
        ("Emitter", one_line(entry.emitter)),
        ("Agent", one_line(entry.agent)),
        *spent_trailers(entry.spent),
    ]
    subject = one_line(entry.subject, SUMMARY_CAP) or entry.kind
    return _assemble(subject, "\n".join(_checked(entry.lines, subject)), trailers)


def parse_entry(text: str, where: str) -> EntryMessage:
    """A ledger commit's message; kind "person" if it carries none of ours. Raises `BadRecord`."""
    return EntryMessage(**entry_fields(text, where))


def entry_fields(text: str, where: str) -> dict[str, Any]:
    """The fields of `parse_entry` that are present, as a dictionary: for whoever adds fields of its own."""
    if "\nEvogit-Kind: " not in text:
        return {"kind": "person", "subject": text.partition("\n")[0]}
    subject, body, trailers = split(text, where)
    kind = trailers.get("Evogit-Kind", "person")
    if kind in ("person", "baseline"):
        return {"kind": "person", "subject": subject}
    out: dict[str, Any] = {"kind": kind, "subject": subject}
    if not SPENT_KEYS.isdisjoint(trailers):
        out["spent"] = parse_spent(trailers, where)
    try:
        for key, value in trailers.items():
            if key in _READERS:
                name, reader = _READERS[key]
                out[name] = reader(value)
    except ValueError as error:
        raise BadRecord(where, f"{key} is {value!r}") from error
    if body:
        out["lines"] = tuple(line.encode() for line in body.split("\n") if line.strip())
    return out


def split(text: str, where: str) -> tuple[str, str, dict[str, str]]:
    """Subject, body, and the trailers of the last paragraph. Raises `BadRecord` if one of our keys stands twice there."""
    head, gap, last = text.rstrip("\n").rpartition("\n\n")
    if not gap:
        return text.partition("\n")[0], "", {}
    trailers: dict[str, str] = {}
    for line in last.split("\n"):
        key, colon, value = line.partition(": ")
        if not colon:
            continue
        if key in trailers and key.startswith("Evogit-"):
            raise BadRecord(where, f"{key} stands twice")
        trailers[key] = value
    subject, _, body = head.partition("\n")
    return subject, body.strip("\n"), trailers


def _assemble(subject: str, body: str, trailers: Iterable[tuple[str, str]]) -> str:
    last = "\n".join(f"Evogit-{key}: {value}" for key, value in trailers if value)
    return "\n\n".join(part for part in (subject, body, last) if part) + "\n"


def _checked(lines: Sequence[bytes], subject: str) -> Iterable[str]:
    for line in lines:
        try:
            text = line.decode()
            is_object = isinstance(msgspec.json.decode(line), dict)
        except (UnicodeDecodeError, msgspec.DecodeError):
            is_object = False
        if not is_object or "\n" in text or "\0" in text or not text.startswith("{"):
            raise BadRecord(subject, f"not one JSON object on one line: {line[:80]!r}")
        yield text


def _label(text: str, where: str = "a run") -> str:
    if not _LABEL.fullmatch(text):
        raise BadRecord(where, f"its label is {text!r}, not a number like 3 or ab12/3")
    return text


def _baseline_trailers(baseline: Baseline) -> list[tuple[str, str]]:
    return [
        ("Kind", "baseline"),
        ("Problem", exact(baseline.problem or ".")),
        ("Metric", f"{exact(baseline.metric)} {baseline.direction.value}"),
        ("Clone", one_line(baseline.clone)),
        ("Epoch", str(baseline.epoch)),
        ("Format", str(baseline.format)),
    ]


def _parse_baseline(trailers: dict[str, str], where: str) -> Baseline:
    metric, _, direction = trailers.get("Evogit-Metric", "").rpartition(" ")
    folder = plain(trailers.get("Evogit-Problem", "."), where)
    try:
        version = int(trailers.get("Evogit-Format", "1"))
        if version > FORMAT:
            raise BadRecord(where, f"is of format {version}, this evogit reads up to {FORMAT}: install a newer one")
        return Baseline(
            problem="" if folder == "." else folder,
            clone=trailers.get("Evogit-Clone", ""),
            metric=plain(metric, where),
            direction=Direction(direction),
            epoch=int(trailers.get("Evogit-Epoch", "0")),
            format=version,
        )
    except ValueError as error:
        raise BadRecord(where, f"a baseline's trailer: {error}") from error


def _campaign(text: str) -> str:
    return plain(text, "Evogit-Campaign")


_VERDICTS = {verdict.value: verdict for verdict in Verdict}  # a dictionary is ten times as fast as Verdict(text)


def _verdict(text: str) -> Verdict:
    found = _VERDICTS.get(text)
    if found is None:
        raise ValueError(text)
    return found


_READERS = {
    "Evogit-Campaign": ("campaign", _campaign),
    "Evogit-Decides": ("decides", intern),
    "Evogit-Of": ("of", intern),
    "Evogit-Reading": ("label", str),
    "Evogit-Verdict": ("verdict", _verdict),
    "Evogit-Certified": ("certified", parse_yes),
    "Evogit-Against": ("against", intern),
    "Evogit-Evidence": ("evidence", parse_numbers),
    "Evogit-Incumbent": ("incumbent", intern),
    "Evogit-Baseline": ("baseline", intern),
    "Evogit-Seq": ("seq", int),
    "Evogit-Epoch": ("epoch", int),
    "Evogit-Reason": ("reason", str),
    "Evogit-By": ("by", str),
    "Evogit-Gain": ("gain", finite),
    "Evogit-Near-Miss": ("near_miss", parse_yes),
    "Evogit-Flags": ("flags", parse_texts),
    "Evogit-Emitter": ("emitter", intern),
    "Evogit-Agent": ("agent", intern),
}
