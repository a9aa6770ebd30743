"""Places where a test may kill this process, to prove that nothing is lost there. They do nothing unless armed.

`EVOGIT_FAILPOINT=branch:3` sends SIGKILL to the process the third time it reaches the point called `branch`. The
variable is read once, when the first point is reached; a point that is not armed costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

# In the order in which a run reaches them.
POINTS = (
    "planned",
    "candidate",
    "pinned",
    "intended",
    "started",
    "finished",
    "outcome",
    "reviewed",
    "artifacts",
    "metrics-note",
    "reviews-note",
    "synced",
    "branch",
    "tip",
    "removed",
)

# Reached only where a hand pays for a model: before each of its calls.
PAID_POINTS = ("paying",)

# Reached only where a hand that was paid gave up, and the plan stays in flight: once that is on record.
GIVEN_UP_POINTS = ("given-up",)
# Reached only where a person cancels a run: its flight says so, and its trial runs still.
CALLED_OFF_POINTS = ("called-off",)

# Reached only where a problem declares held-out data: once a look is saved, and once it is written down.
HOLDOUT_POINTS = ("look-saved", "look-logged")
# Reached only where trials run on Cloud Run: once an execution was asked for, before that is written down.
CLOUD_POINTS = ("launched",)
# Reached only by the backend slurm: Slurm has the jobs, and their ids are not written down.
SLURM_POINTS = ("slurm-submitted",)

_armed: dict[str, int] | None = None


def reach(name: str) -> None:
    """Die here if the environment asked for it. `name` is one of the points above."""
    global _armed
    if _armed is None:
        _armed = _read(os.environ.get("EVOGIT_FAILPOINT", ""))
    if name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


def _read(text: str) -> dict[str, int]:
    name, _, count = text.partition(":")
    return {name: int(count or 1)} if name else {}
