"""git's own hooks on a campaign's branch: a person's commit there changes no frozen file by accident, and forges no record."""

from __future__ import annotations

import re

from evogit.hooks import place as places
from evogit.hooks.place import Place

_TRAILER = re.compile(r"^Evogit-[\w-]+\s*:", re.IGNORECASE | re.MULTILINE)
_SCISSORS = re.compile(r"^# -+ >8 -+\n.*", re.MULTILINE | re.DOTALL)


def pre_commit(place: Place) -> str:
    """Why the commit that is being made is refused, "" if it is not. Elsewhere than on a campaign's branch nothing is."""
    if not place.campaign:
        return ""
    staged = places.ask(place.top, "diff", "--cached", "--name-only", "--no-renames", "-z", "HEAD").split("\0")[:-1]
    for path in staged:
        problem = places.problem_at(place.top, path)
        if problem is None:
            continue
        from evogit.problem import is_mutable

        if not is_mutable(problem, path):
            may = ", ".join(problem.mutable)
            return (
                f"{path} is frozen on {place.branch}: only {may} may change there. `git restore --staged {path}` leaves it out;"
                " `git commit --no-verify` begins a new epoch with it, and numbers from before are compared with nothing after"
            )
    return ""


def commit_msg(place: Place, message: str) -> str:
    """Why a commit's message is refused, "" if it is not."""
    if not place.campaign:
        return ""
    said = "\n".join(line for line in _SCISSORS.sub("", message).splitlines() if not line.startswith("#")).strip()
    if not said:
        return ""  # git itself refuses an empty one
    if _TRAILER.search(said):
        return f"a line begins with Evogit-, and those are evogit's record on {place.branch}: leave them out"
    subject, _, rest = said.partition("\n")
    if rest and not rest.startswith("\n"):
        return "the first line is the run's summary: an empty line belongs below it"
    if len(subject) > 120:
        return f"the first line is the run's summary, and has {len(subject)} characters: 120 are kept"
    return ""
