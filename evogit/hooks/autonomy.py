"""Whether the agent goes on by itself, and for how long: a person's word, kept in the git directory for every session there.

It is switched by documented phrases of a prompt, or by `evogit hook autonomy`. Never by what an agent or a program says.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import asdict, dataclass

from evogit.hooks.place import Place

_BEGIN = r"(?:^|[.!?;:,\n]\s*|\b(?:please|now|then|and|ok|okay|yes)[,\s]+)"
ON = re.compile(
    _BEGIN + r"(?:(?:go on|carry on|keep going|continue|drive|run|work)\s+(?:all\s+)?(?:by yourself|on your own|autonomously|without me)"
    r"|(?:turn |switch )?autonomy on)\b",
    re.IGNORECASE,
)
OFF = re.compile(
    _BEGIN + r"(?:stop (?:the loop|driving|going on|working by yourself|going)|(?:turn |switch )?autonomy off|wait for me)\b", re.IGNORECASE
)
_RUNS = re.compile(r"\b(\d{1,6})\s+(?:more\s+)?runs?\b", re.IGNORECASE)
_HOURS = re.compile(r"\b(\d{1,4}(?:\.\d{1,3})?)\s*(h|hours?|min|minutes?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Autonomy:
    """A permission to go on. 0 and "" mean: no limit, not set."""

    campaign: str = ""
    since: float = 0.0  # seconds since 1970
    max_runs: int = 0
    max_hours: float = 0.0
    runs_before: int = 0  # decided runs when it began
    asked_at: int = -1  # decided runs when a stop was last held up; -1: never

    def over(self, runs: int, now: float) -> str:
        """Why it has ended, "" if it has not. `runs`: decided ones now."""
        if self.max_runs and runs - self.runs_before >= self.max_runs:
            return f"{runs - self.runs_before} of {self.max_runs} runs are done"
        if self.max_hours and now - self.since >= self.max_hours * 3600:
            return f"{self.max_hours:g} hours are over"
        return ""

    def words(self, runs: int) -> str:
        """The permission in one line."""
        limits = [f"{runs - self.runs_before} of {self.max_runs} runs"] if self.max_runs else []
        limits += [f"{self.max_hours:g} hours"] if self.max_hours else []
        return "autonomy is on" + (f" ({', '.join(limits)})" if limits else ", until a person stops it")


def asked(prompt: str) -> str:
    """What a prompt says of autonomy: "on", "off" or "". Where it says both, "off"."""
    return "off" if OFF.search(prompt) else "on" if ON.search(prompt) else ""


def limits(prompt: str) -> tuple[int, float]:
    """Runs and hours that a prompt allows, 0 where it says nothing of them."""
    runs, hours = _RUNS.search(prompt), _HOURS.search(prompt)
    scale = 1.0 if hours is None or hours[2].lower().startswith("h") else 1 / 60
    return int(runs[1]) if runs else 0, float(hours[1]) * scale if hours else 0.0


def _file(place: Place) -> str:
    return str(place.home / "autonomy.json")


def read(place: Place) -> Autonomy | None:
    """The permission, None where there is none; what cannot be read is none."""
    try:
        with open(_file(place), encoding="utf-8") as file:
            return Autonomy(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def write(place: Place, wish: Autonomy | None) -> None:
    """Keep it for every session of this repository; None takes it back."""
    path = _file(place)
    if wish is None:
        if os.path.exists(path):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    draft = f"{path}.{os.getpid()}"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(asdict(wish), file)
    os.replace(draft, path)


def begin(campaign: str, runs: int, max_runs: int, max_hours: float) -> Autonomy:
    """A permission that starts now."""
    return Autonomy(campaign=campaign, since=time.time(), max_runs=max_runs, max_hours=max_hours, runs_before=runs)
