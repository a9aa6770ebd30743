"""How much is kept of what models and programs answered: whole answers, unless one is longer than any honest edit.

What is cut says so in its name and in its middle. A cut answer makes no edit again: the host keeps the files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from evogit.domain.usage import Call

ANSWER_CAP = 256 << 10  # characters of one answer; the 16,384 tokens that an answer may have by default are some 64,000
HAND_CAP = 2 << 20  # characters of all whole answers of one hand for one run
END = 32 << 10  # characters that are left of a cut answer at each of its ends
CUT = "cut-"  # how the name of a cut answer begins


def capped(calls: Sequence[Call], answers: Mapping[str, str]) -> tuple[tuple[Call, ...], dict[str, str]]:
    """One hand's calls and answers for one run, with what is too long cut. The calls name their answers as they are called now."""
    kept: dict[str, str] = {}
    whole = 0
    for name, text in answers.items():
        is_long = len(text) > ANSWER_CAP or (whole + len(text) > HAND_CAP and len(text) > 2 * END)
        whole += 0 if is_long else len(text)
        kept[f"{CUT}{name}" if is_long else name] = _ends(text) if is_long else text
    names = {name: f"{CUT}{name}" for name in answers if name not in kept}
    return tuple(msgspec.structs.replace(call, answer=names.get(call.answer, call.answer)) for call in calls), kept


def is_cut(answers: Mapping[str, str]) -> bool:
    """True if one of them was cut."""
    return any(name.startswith(CUT) for name in answers)


def _ends(text: str) -> str:
    return f"{text[:END]}\n[... {len(text) - 2 * END} characters left out ...]\n{text[-END:]}"
