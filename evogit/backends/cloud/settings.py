"""Options of `[backend.cloud-run]` and of the command line, and what they lead to: a spec, clients, an image.

Nothing is read or imported before it is asked for: a backend is made in no time.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec

from evogit.backends import options
from evogit.backends.cloud import reading
from evogit.backends.cloud.clients import Clients
from evogit.backends.cloud.executions import Executions
from evogit.backends.cloud.spec import Spec
from evogit.domain.trial import SANDBOXES
from evogit.errors import UserError

KEEPING = ("failures", "all", "nothing")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The section [backend.cloud-run]."""

    slots: options.Slots | None = None
    problem_folder: str = ""
    spec: str = reading.NAME  # path of cloud_runner.yaml, seen from `problem_folder`
    dataset: str = ""  # takes the place of dataset.uri
    env: dict[str, str | int | float | bool] = {}  # more variables for trials
    keep: str = KEEPING[0]  # what stays in the bucket once a trial is recorded
    poll_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 1.0  # the shortest pause between looks
    sandbox: str = "none"  # the level that the image is known to give; a trial that requires it and finds less is lost
    endpoint: str = ""  # a server to ask in place of Google's, for tests


class Settings:
    """Everything a person chose about Cloud Run."""

    def __init__(self, told: dict[str, object]) -> None:
        """Raises UserError that names the option that is wrong."""
        asked = options.read("cloud-run", told, Options)
        if asked.keep not in KEEPING or asked.sandbox not in SANDBOXES:
            known = f"keep is one of {', '.join(KEEPING)}, sandbox one of {', '.join(SANDBOXES)}"
            raise UserError(f"backend cloud-run has no option {asked.keep if asked.keep not in KEEPING else asked.sandbox!r}", hint=known)
        self.path = Path(asked.problem_folder, asked.spec)
        self.slots, self.keep, self.poll_s, self.sandbox = asked.slots, asked.keep, asked.poll_s, asked.sandbox
        self._dataset, self._env, self._endpoint = asked.dataset, asked.env, asked.endpoint

    @cached_property
    def spec(self) -> Spec:
        """Raises ProblemError, UserError."""
        return reading.load(self.path, dataset=self._dataset, env={name: str(value) for name, value in self._env.items()})

    @cached_property
    def clients(self) -> Clients:
        """Doors to the project."""
        return Clients(self.spec.project_id, self._endpoint, self.poll_s)

    @cached_property
    def image(self) -> str:
        """What containers are made of. Raises ProblemError where a file that it is built from is missing."""
        from evogit.backends.cloud import images

        return images.reference(self.spec, self.path.parent)

    @cached_property
    def executions(self) -> Executions:
        """Cloud Run's side."""
        return Executions(self.clients, self.spec, self.image)
