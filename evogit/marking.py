"""Runs that a person marked to be picked later: a ref each, refs/evogit/<tag>/marks/<label>. A mark says nothing about a run's worth.

There are as many as a person makes by hand. Whoever wants a name that others see tags the run.
"""

from __future__ import annotations

from evogit.domain.run import Run
from evogit.errors import RefMoved, UserError
from evogit.git import refs
from evogit.git.campaign import Campaign

MOST = 1000  # marks of a campaign: refs are read one by one


def mark(campaign: Campaign, asked: str, is_on: bool) -> Run:
    """Set a run's mark or take it off; doing it twice is doing it once. Raises UnknownName, UserError beyond MOST marks."""
    run, repo = campaign.history.find(asked), campaign.repo
    ref = refs.mark(campaign.tag, run.label)
    there = refs.read(repo, ref)
    if is_on and there is None and len(marked(campaign)) >= MOST:
        raise UserError(f"{MOST} runs are marked already", hint="take some off: `evogit mark RUN --off`")
    if is_on != (there is not None) or (is_on and there != run.commit):
        try:
            refs.move(repo, ref, run.commit if is_on else None, there, f"evogit: {'mark' if is_on else 'mark taken off'}")
        except RefMoved:  # somebody else did one or the other at this moment: theirs holds
            pass
    return run


def marked(campaign: Campaign) -> list[Run]:
    """Marked runs in the order of decisions. O(marks)."""
    known = campaign.history.by_commit
    found = {hash: known[hash] for hash in refs.listing(campaign.repo, refs.mark(campaign.tag)).values() if hash in known}
    return sorted(found.values(), key=lambda run: run.seq)
