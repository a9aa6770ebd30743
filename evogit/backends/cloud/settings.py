"""Options of `[backend.cloud-run]` and of the command line, and what they lead to: a spec, clients, an image.

Nothing is read or imported before it is asked for: a backend is made in no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from evogit.backends.cloud import reading
from evogit.backends.cloud.clients import Clients
from evogit.backends.cloud.executions import Executions
from evogit.backends.cloud.spec import Spec
from evogit.domain.trial import SANDBOXES
from evogit.errors import UserError

KEEPING = ("failures", "all", "nothing")


class Settings:
    """Everything a person chose about Cloud Run.

    spec: path of cloud_runner.yaml, seen from `problem_folder`. dataset: takes the place of dataset.uri. env: more variables for
    trials. keep: what stays in the bucket once a trial is recorded. poll_s: the shortest pause between looks. sandbox: the level that the
    image is known to give; a trial that requires it and finds less is lost. endpoint: a server to ask in place of Google's, for tests.
    """

    def __init__(
        self,
        *,
        problem_folder: str = "",
        spec: str = reading.NAME,
        dataset: str = "",
        env: Mapping[str, object] | None = None,
        keep: str = KEEPING[0],
        poll_s: float = 1.0,
        sandbox: str = "none",
        endpoint: str = "",
    ) -> None:
        if keep not in KEEPING or sandbox not in SANDBOXES:
            known = f"keep is one of {', '.join(KEEPING)}, sandbox one of {', '.join(SANDBOXES)}"
            raise UserError(f"backend cloud-run has no option {keep if keep not in KEEPING else sandbox!r}", hint=known)
        self.path = Path(problem_folder, spec)
        self.keep, self.poll_s, self.sandbox = keep, float(poll_s), sandbox
        self._dataset, self._env, self._endpoint = dataset, env or {}, endpoint

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
