"""Cloud Run's side: a job made once for each kind of container, and executions of it, one a trial.

It knows which executions there are and how they stand; what they were to do is in their tickets.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import msgspec

from evogit.backends.cloud.clients import CALL_S, CONFLICT, NOT_FOUND, Clients
from evogit.backends.cloud.spec import Size, Spec

KEY = "EVOGIT_JOB_KEY"  # in an execution's environment: the job that it is for
STORAGE = "STORAGE_EMULATOR_HOST"  # google-cloud-storage's own variable for a server in place of Google's
PYTHON = "/opt/evogit/bin/python"  # in the image
ENTRYPOINT = ("-m", "evogit.backends.cloud.entrypoint")
VOLUME = "dataset"
MADE_S = 300.0  # until a new job is ready
TEMPLATE_S = 3600  # each execution is given a time of its own


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An execution as it stands."""

    name: str
    key: str  # of the job that it is for, "" if it does not say
    is_over: bool
    waits_for: str | None = None  # where no container is at work yet: for what, in Cloud Run's words, "" if it does not say
    is_cancelled: bool = False
    why: str = ""  # in Cloud Run's words, where it failed


class Executions:
    """Jobs and executions of one spec. Raises as `Clients.ask`."""

    def __init__(self, clients: Clients, spec: Spec, image: str) -> None:
        self._clients, self._spec, self._image = clients, spec, image
        self._made: set[str] = set()
        self._lock = threading.Lock()

    def ensure(self, size: Size) -> str:
        """Full name of the job for containers of that size. The first call makes it where nobody has: 5 to 10 s."""
        from google.cloud import run_v2

        job = self._job(size)
        digest = hashlib.sha256(run_v2.Job.pb(job).SerializeToString(deterministic=True)).hexdigest()
        identity = f"evogit-{self._spec.name}-{digest[:12]}"
        name = f"{self._spec.parent}/jobs/{identity}"
        with self._lock:
            if name not in self._made:
                self._make(identity, job)
                self._made.add(name)
        return name

    def _make(self, identity: str, job: Any) -> None:
        jobs, request = self._clients.jobs, {"parent": self._spec.parent, "job": job, "job_id": identity}
        what = f"making the Cloud Run job {identity}"
        known = {"name": f"{self._spec.parent}/jobs/{identity}"}
        if self._clients.ask(what, lambda: jobs.get_job(known, timeout=CALL_S, retry=None), {NOT_FOUND: None}) is not None:
            return
        made = self._clients.ask(what, lambda: jobs.create_job(request, timeout=CALL_S, retry=None), {CONFLICT: None})
        if made is not None:
            self._clients.ask(what, lambda: made.result(timeout=MADE_S))

    def _job(self, size: Size) -> Any:
        from google.cloud import run_v2

        limits = {"cpu": size.cpu, "memory": size.memory}
        if size.gpu:
            limits["nvidia.com/gpu"] = str(size.gpu)
        data = self._spec.dataset
        is_mounted = data is not None and data.way == "mount"
        container = run_v2.Container(
            image=self._image,
            command=[PYTHON, *ENTRYPOINT],
            resources=run_v2.ResourceRequirements(limits=limits),
            volume_mounts=[run_v2.VolumeMount(name=VOLUME, mount_path=data.container_dir)] if is_mounted else [],
        )
        template = run_v2.TaskTemplate(
            containers=[container],
            volumes=[_volume(data.uri)] if is_mounted else [],
            max_retries=0,
            timeout={"seconds": TEMPLATE_S},
            service_account=self._spec.service_account,
            execution_environment=run_v2.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2,
            node_selector=run_v2.NodeSelector(accelerator=size.gpu_type) if size.gpu else None,
            gpu_zonal_redundancy_disabled=True if size.gpu else None,
        )
        labels = {"made-by": "evogit", "spec": self._spec.name}
        return run_v2.Job(labels=labels, template=run_v2.ExecutionTemplate(task_count=1, parallelism=1, template=template))

    def run(self, job: str, key: str, ticket: str, env: dict[str, str], timeout_s: int) -> str:
        """Begin an execution for a job's key; its full name, "" where the answer does not say it."""
        told = {**env, KEY: key, **({STORAGE: self._clients.endpoint} if self._clients.endpoint else {})}
        container = {"args": [ticket], "env": [{"name": name, "value": value} for name, value in told.items()]}
        overrides = {"container_overrides": [container], "task_count": 1, "timeout": {"seconds": timeout_s}}
        request = {"name": job, "overrides": overrides}
        begun = self._clients.ask("starting an execution", lambda: self._clients.jobs.run_job(request, timeout=CALL_S, retry=None))
        return getattr(begun.metadata, "name", "") or ""

    def listing(self, job: str, wanted: set[str]) -> list[Seen]:
        """Executions of a job, the newest first, until all of `wanted` (keys) were seen. One request for each hundred."""
        request = {"parent": job, "page_size": 100}

        def call() -> list[Seen]:
            found, left = [], set(wanted)
            for execution in self._clients.executions.list_executions(request, timeout=CALL_S, retry=None):
                found.append(seen := _seen(execution))
                left.discard(seen.key)
                if not left:
                    break
            return found

        return self._clients.ask("listing executions", call, {NOT_FOUND: []})

    def find(self, execution: str) -> Seen | None:
        """One execution as it stands, None where it is gone."""
        calls, known = self._clients.executions, {"name": execution}
        found = self._clients.ask(
            "asking for an execution", lambda: calls.get_execution(known, timeout=CALL_S, retry=None), {NOT_FOUND: None}
        )
        return None if found is None else _seen(found)

    def cancel(self, execution: str) -> None:
        """Ask an execution to end; no error if it has, or is gone."""
        calls = self._clients.executions
        request = {"name": execution}
        self._clients.ask(
            "cancelling an execution", lambda: calls.cancel_execution(request, timeout=CALL_S, retry=None), dict.fromkeys((400, 404, 409))
        )

    def delete(self, execution: str) -> None:
        """Remove an execution that is over; no error if it is gone."""
        calls = self._clients.executions
        request = {"name": execution}
        self._clients.ask(
            "removing an execution", lambda: calls.delete_execution(request, timeout=CALL_S, retry=None), dict.fromkeys((400, 404, 409))
        )


def _volume(uri: str) -> Any:
    from google.cloud import run_v2

    bucket, _, path = uri.removeprefix("gs://").partition("/")
    options = [f"only-dir={path.strip('/')}"] if path.strip("/") else []
    return run_v2.Volume(name=VOLUME, gcs=run_v2.GCSVolumeSource(bucket=bucket, read_only=True, mount_options=options))


def _seen(execution: Any) -> Seen:
    from google.cloud import run_v2

    containers = execution.template.containers
    key = next((variable.value for container in containers for variable in container.env if variable.name == KEY), "")
    completed = next((condition for condition in execution.conditions if condition.type_ == "Completed"), None)
    has_failed = completed is not None and completed.state == run_v2.Condition.State.CONDITION_FAILED
    counts = (
        execution.running_count,
        execution.succeeded_count,
        execution.failed_count,
        execution.cancelled_count,
        execution.retried_count,
    )
    unmet = [one.message for one in execution.conditions if one.message and one.state != run_v2.Condition.State.CONDITION_SUCCEEDED]
    cancelled = run_v2.Condition.ExecutionReason.CANCELLED
    return Seen(
        name=execution.name,
        key=key,
        is_over="completion_time" in execution,
        waits_for=None if any(counts) else " ".join((unmet or [""])[0].split())[:200],
        is_cancelled=bool(execution.cancelled_count) or (completed is not None and completed.execution_reason == cancelled),
        why=" ".join(completed.message.split())[:300] if has_failed else "",
    )
