"""An editor in memory: the parent's mutable files, and the three tools by which a model changes them. It touches no disk.

A tool that cannot do what it was asked for says why, in words for the model; nothing is raised. The same uses in the same
order give the same files, so a recorded conversation can be carried out again (`replay`).
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from evogit.domain.plan import Forecast
from evogit.domain.problem import Problem
from evogit.models.talk import Result, Tool, Use
from evogit.models.untrusted import one_line
from evogit.problem import is_mutable

LONGEST = 512 << 10  # characters of a file that a model may write
SUMMARY, HYPOTHESIS, CHANGE = 200, 2000, 60  # characters that are kept of what `finish` says

_NUMBER = {"anyOf": [{"type": "number"}, {"type": "null"}]}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


PATH = _text("path below the problem's folder, as it stands before the file's text")
TOOLS = (
    Tool(
        name="replace_in_file",
        description="Replace one passage of a mutable file. `old` must occur exactly once, to the letter, indentation included.",
        schema=_object(path=PATH, old=_text("the passage to replace"), new=_text("what stands there afterwards")),
    ),
    Tool(
        name="write_file",
        description="Replace a whole mutable file, or make a new one that the mutable globs allow.",
        schema=_object(path=PATH, text=_text("the whole text of the file")),
    ),
    Tool(
        name="finish",
        description="Hand the edit in. Call it once, when the files say what they shall say.",
        schema=_object(
            mutation_type=_text("one word for the kind of change, e.g. optimizer, schedule, capacity_decrease, architecture"),
            mutation_summary=_text("one line: what was changed, with old and new values"),
            hypothesis=_text("why it should help, and what would show that it does not"),
            predicted={
                **_object(mean=_NUMBER, spread=_NUMBER),
                "description": "what the primary metric will be, in its unit: mean and one standard deviation; null where you cannot say",
            },
        ),
    ),
)


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said of its edit."""

    mutation_type: str
    mutation_summary: str
    hypothesis: str
    forecast: Forecast | None
    ignored: str  # why its prediction does not count, "" if it does


class Editor:
    """Files under edit. `said` is set once `finish` was accepted."""

    def __init__(self, problem: Problem, sources: Mapping[str, str], start: Mapping[str, str] | None = None) -> None:
        """sources: the parent's mutable files; start: files of an earlier attempt, which go on from where they were left."""
        self._problem, self._sources = problem, dict(sources)
        self.files: dict[str, str] = {**sources, **(start or {})}
        self.said: Finish | None = None

    @property
    def changed(self) -> dict[str, str]:
        """Files whose text is not the parent's."""
        return {path: text for path, text in self.files.items() if self._sources.get(path) != text}

    def carry_out(self, use: Use) -> Result:
        """Do what a model asked for, or say why not. Never raises."""
        tool = next((tool for tool in TOOLS if tool.name == use.name), None)
        problem = use.fault or (f"there is no tool {one_line(use.name, 60)!r}" if tool is None else _mismatch(tool, use.arguments))
        text = "" if problem else getattr(self, f"_{use.name}")(use.arguments)
        problem = problem or text
        return Result(id=use.id, text=f"error: {problem}" if problem else f"{use.name}: done", is_error=bool(problem))

    # the tools: each returns why it did nothing, "" if it did its work -------------------------------------------------

    def _replace_in_file(self, asked: dict[str, Any]) -> str:
        path, old, new = asked["path"].removeprefix("./"), asked["old"], asked["new"]
        if refusal := self._refusal(path):
            return refusal
        text = self.files.get(path)
        if text is None:
            return f"there is no {path}; the files are {', '.join(sorted(self.files))}"
        if not old:
            return "`old` is empty; name the passage to replace, or use write_file"
        count = text.count(old)
        if count != 1:
            return f"`old` occurs {count} times in {path}, and must occur once" + ("; give more of its surroundings" if count else "")
        return self._put(path, text.replace(old, new))

    def _write_file(self, asked: dict[str, Any]) -> str:
        path = asked["path"].removeprefix("./")
        return self._refusal(path) or self._put(path, asked["text"])

    def _finish(self, asked: dict[str, Any]) -> str:
        if not self.changed:
            return "nothing is changed yet: the files are the parent's. Edit first"
        if not asked["mutation_summary"].strip():
            return "mutation_summary is empty"
        forecast, ignored = _forecast(asked.get("predicted"))
        self.said = Finish(
            mutation_type=one_line(asked["mutation_type"], CHANGE),
            mutation_summary=one_line(asked["mutation_summary"], SUMMARY),
            hypothesis=one_line(asked["hypothesis"], HYPOTHESIS),
            forecast=forecast,
            ignored=ignored,
        )
        return ""

    def _refusal(self, path: str) -> str:
        shown, globs = one_line(path, 200), ", ".join(self._problem.mutable)
        if not path or path.startswith("/") or posixpath.normpath(path) != path or path.split("/")[0] == ".." or "\\" in path:
            return f"{shown!r} is no path below the problem's folder"
        if not is_mutable(self._problem, posixpath.join(self._problem.folder, path)):
            return f"{shown} is frozen: only {globs} may be changed, and an edit of anything else makes the run a reject"
        return ""

    def _put(self, path: str, text: str) -> str:
        limit = max(LONGEST, 2 * len(self._sources.get(path, "")))
        if len(text) > limit:
            return f"{path} would have {len(text):,} characters, the limit is {limit:,}"
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return f"the text cannot be written as UTF-8: {error.reason}"
        self.files[path] = text
        self.said = None
        return ""


def _mismatch(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Where arguments do not fit the tool's schema; "" if they do. The schema is also sent, and not every server holds to it."""
    properties = tool.schema["properties"]
    if missing := [name for name in properties if name not in arguments and name != "predicted"]:
        return f"{tool.name} lacks {', '.join(missing)}"
    if unknown := [str(name) for name in arguments if name not in properties]:
        return f"{tool.name} takes no {one_line(', '.join(unknown), 100)}"
    wrong = [n for n, p in properties.items() if p.get("type") == "string" and not isinstance(arguments[n], str)]
    if wrong:
        return f"{tool.name}: {', '.join(wrong)} must be text"
    return ""


def _forecast(predicted: object) -> tuple[Forecast | None, str]:
    """A prediction that can be scored, or why it cannot: a number of nonsense costs nothing but itself."""
    mean, spread = (predicted.get("mean"), predicted.get("spread")) if isinstance(predicted, dict) else (None, None)
    if mean is None or spread is None:
        return None, "no prediction" if predicted in (None, {}) or isinstance(predicted, dict) else "the prediction is no pair of numbers"
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in (mean, spread)):
        return None, "the prediction is no pair of numbers"
    try:
        mean, spread = float(mean), float(spread)
    except OverflowError:
        return None, "the prediction is too large"
    if not (math.isfinite(mean) and math.isfinite(spread)) or spread <= 0:
        return None, "the prediction needs a finite mean and a spread above 0"
    return Forecast(mean=mean, spread=spread), ""


def replay(problem: Problem, sources: Mapping[str, str], start: Mapping[str, str] | None, uses: Iterable[Use]) -> Editor:
    """The editor after recorded uses of tools were carried out once more, in their order."""
    editor = Editor(problem, sources, start)
    for use in uses:
        editor.carry_out(use)
    return editor
