"""A training run that a session launched by hand: its numbers are read and held against the incumbent. Nothing is recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evogit.errors import EvogitError
from evogit.hooks import lexer, shell, training
from evogit.hooks.place import Place
from evogit.hooks.unwrapping import Unknown, unwrapped

if TYPE_CHECKING:
    from evogit.domain.problem import Problem
    from evogit.lab import Lab

READ = 1 << 20  # bytes of an output's end


@dataclass(frozen=True)
class Trained:
    """A training run by hand, and the end of what it printed."""

    problem: Problem
    output: bytes


def trained(command: str, response: object, cwd: str, place: Place, environ: Mapping[str, str]) -> Trained | None:
    """The first training run among the commands with what it printed, or None if there is none."""
    try:
        simple = [inner for one in shell.commands(command, cwd, environ) for inner in unwrapped(one, environ)]
    except (lexer.Unreadable, Unknown):
        return None
    for at, one in enumerate(simple):
        problem = training.of(one, place)
        if problem is not None:
            kept = [text for path in training.kept_in(simple, at) if (text := _end(path))]
            return Trained(problem, kept[0] if kept else _printed(response))
    return None


def _end(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - READ))
            return file.read(READ)
    except OSError:
        return b""


def _printed(response: object) -> bytes:
    if isinstance(response, dict):
        response = response.get("stdout") or response.get("output") or ""
    return response.encode("utf-8", "replace")[-READ:] if isinstance(response, str) else b""


def words(found: Trained, lab: Lab) -> str:
    """What the numbers say beside the incumbent, in a few lines; what is missing where they cannot be read."""
    import msgspec

    from evogit.present import clean, number
    from evogit.problem.readings import read

    problem = found.problem
    reading = read(msgspec.structs.replace(problem, evaluate=None), stdout=found.output, files=lambda path: None, run_id="by_hand")
    tail = '`evogit submit -m "what you changed"` measures it under every seed and records it; nothing is recorded yet'
    if not reading.metrics:
        return f"evogit: this run by hand gave no number ({reading.crash.message if reading.crash else 'nothing was read'}). {tail}"
    name = problem.primary.name
    value = reading.metrics[name]
    numbers = ", ".join(f"{key} {number(one)}" for key, one in reading.metrics.items())
    try:
        looked = lab.by_hand(reading.metrics)
    except EvogitError as fault:
        return f"evogit: this run by hand printed {numbers}. {fault.message}. {tail}"
    lines = [f"evogit: this run by hand printed {numbers}" + ("; the locked evaluator alone says what counts" if problem.evaluate else "")]
    if looked is not None:
        incumbent, review = looked
        mean, spread = incumbent.mean(name), lab.status().spread
        if mean is not None:
            gain = problem.primary.gain(value, mean)
            noise = f", {abs(gain) / spread:.1f} times the noise between seeds" if spread else ""
            word = "better" if gain > 0 else "worse"
            lines.append(f"incumbent run {incumbent.label}: {name} {number(mean)}; by hand {word} by {number(abs(gain))}{noise}")
        lines.append(f"{review.reviewer}: {clean(review.observation)} {clean(review.next_belief)}".rstrip())
    return "\n".join([*lines, tail])
