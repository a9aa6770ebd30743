"""Cloud Run: jobs and executions, read and written through the package's own message types, so that a wrong field is an error here too."""

from __future__ import annotations

import os
import re
import signal
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from google.cloud import run_v2
from google.longrunning import operations_pb2
from google.protobuf import json_format

if TYPE_CHECKING:
    from loopback_cloud.server import Answer, Cloud

JOBS = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+)/jobs")
JOB = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+/jobs/[^/:]+)(:run)?")
EXECUTIONS = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+/jobs/[^/]+)/executions")
EXECUTION = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+/jobs/[^/]+/executions/[^/:]+)(:cancel)?")
STATE = run_v2.Condition.State
GRACE_S = 10.0  # between SIGTERM and SIGKILL


class Run:
    """One project's jobs."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.jobs: dict[str, run_v2.Job] = {}
        self.executions: dict[str, run_v2.Execution] = {}
        self.gpus = {"nvidia-l4"}  # what the region has
        self.is_full = False  # True: executions wait, and no container is started
        self.hides_executions = False  # True: the listing does not show them
        self.begun: list[str] = []  # executions whose container was started
        self._pids: dict[str, int] = {}
        self._count = 0
        self._lock = threading.RLock()

    def answer(self, method: str, path: str, query: str, body: bytes) -> Answer:
        from loopback_cloud.server import refusal

        try:
            with self._lock:
                return self._answer(method, path, query, body) or refusal(404, f"no {path} here")
        except json_format.ParseError as error:
            return refusal(400, str(error))

    def _answer(self, method: str, path: str, query: str, body: bytes) -> Answer | None:
        if found := JOBS.fullmatch(path):
            return self._create(found[1], query, body)
        if found := JOB.fullmatch(path):
            job = self.jobs.get(found[1])
            if job is None:
                return None
            return self._begin(job, body) if found[2] else (200, _json(job))
        if found := EXECUTIONS.fullmatch(path):
            shown = [] if self.hides_executions else [e for e in reversed(self.executions.values()) if e.name.startswith(found[1] + "/")]
            return 200, _json(run_v2.ListExecutionsResponse(executions=shown))
        if found := EXECUTION.fullmatch(path):
            execution = self.executions.get(found[1])
            if execution is None:
                return None
            if found[2]:
                self._cancel(execution)
            elif method == "DELETE":
                del self.executions[found[1]]
            return 200, (_operation(execution) if found[2] or method == "DELETE" else _json(execution))
        return None

    def _create(self, parent: str, query: str, body: bytes) -> Answer:
        from loopback_cloud.server import refusal

        job = run_v2.Job.from_json(body)
        name = f"{parent}/jobs/{re.search(r'jobId=([^&]+)', query)[1]}"
        kind = job.template.template.node_selector.accelerator
        if name in self.jobs:
            return refusal(409, f"{name} exists")
        if kind and kind not in self.gpus:
            return refusal(400, f"template.node_selector.accelerator: GPU type {kind} is not available in this region")
        assert len(name.rpartition("/")[2]) <= 63
        job.name = name
        self.jobs[name] = job
        return 200, _operation(job)

    def _begin(self, job: run_v2.Job, body: bytes) -> Answer:
        overrides = run_v2.RunJobRequest.from_json(body).overrides
        self._count += 1
        execution = run_v2.Execution(
            name=f"{job.name}/executions/{job.name.rpartition('/')[2]}-{self._count:05d}",
            job=job.name,
            create_time=_now(),
            template=run_v2.TaskTemplate.deserialize(run_v2.TaskTemplate.serialize(job.template.template)),
        )
        container = execution.template.containers[0]
        for override in overrides.container_overrides:
            container.args = list(override.args)
            told = {variable.name: variable.value for variable in (*container.env, *override.env)}
            container.env = [{"name": name, "value": value} for name, value in told.items()]
        if "timeout" in overrides:
            execution.template.timeout = overrides.timeout
        self.executions[execution.name] = execution
        if not self.is_full:
            self._start(execution)
        else:
            waits = {"type_": "ResourcesAvailable", "state": STATE.CONDITION_PENDING, "message": "Waiting for GPU capacity."}
            execution.conditions = [waits]
        return 200, _operation(execution, done=False)

    def release(self) -> None:
        """There is room again."""
        with self._lock:
            self.is_full = False
            for execution in self.executions.values():
                if execution.name not in self.begun and "completion_time" not in execution:
                    self._start(execution)

    def _start(self, execution: run_v2.Execution) -> None:
        container, name = execution.template.containers[0], execution.name.rpartition("/")[2]
        env = {variable.name: variable.value for variable in container.env}
        env |= {"CLOUD_RUN_JOB": execution.job.rpartition("/")[2], "CLOUD_RUN_EXECUTION": name}
        env |= {"CLOUD_RUN_TASK_INDEX": "0", "CLOUD_RUN_TASK_ATTEMPT": "0", "CLOUD_RUN_TASK_COUNT": "1"}
        self._mount(execution)
        self.begun.append(execution.name)
        execution.start_time, execution.running_count = _now(), 1
        key = execution.name
        self._pids[key] = self.cloud.containers.start(
            [*container.command, *container.args], env, lambda code: self._end(key, f"The container exited with {code}." if code else "")
        )
        limit = threading.Timer(execution.template.timeout.total_seconds(), self._time_out, [key])
        limit.daemon = True
        limit.start()

    def _mount(self, execution: run_v2.Execution) -> None:
        """Volumes, as copies of what they show."""
        volumes = {volume.name: volume.gcs for volume in execution.template.volumes}
        for mount in execution.template.containers[0].volume_mounts:
            volume = volumes[mount.name]
            below = "".join(option.partition("=")[2].strip("/") + "/" for option in volume.mount_options if option.startswith("only-dir="))
            for name in self.cloud.storage.names(volume.bucket, below):
                path = Path(mount.mount_path, name.removeprefix(below))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.cloud.storage.read(volume.bucket, name))

    def _end(self, name: str, why: str, reason: str = "NON_ZERO_EXIT_CODE") -> None:
        with self._lock:
            execution = self.executions.get(name)
            if execution is None or "completion_time" in execution:
                return
            state = STATE.CONDITION_FAILED if why else STATE.CONDITION_SUCCEEDED
            condition = {"type_": "Completed", "state": state, "message": why}
            if why:
                condition["execution_reason"] = reason
            execution.conditions = [condition]
            execution.cancelled_count = int(reason == "CANCELLED" and bool(why))
            execution.completion_time, execution.running_count = _now(), 0
            execution.failed_count = int(bool(why) and reason != "CANCELLED")
            execution.succeeded_count = int(not why)

    def _cancel(self, execution: run_v2.Execution) -> None:
        if "completion_time" in execution:
            return
        self._stop(execution.name, "The execution was cancelled.", "CANCELLED")

    def _time_out(self, name: str) -> None:
        with self._lock:
            if name in self.executions and "completion_time" not in self.executions[name]:
                self._stop(name, "The configured timeout was reached.", "NON_ZERO_EXIT_CODE")

    def _stop(self, name: str, why: str, reason: str) -> None:
        """SIGTERM, and SIGKILL later. What the process does meanwhile counts; the execution is over at once."""
        pid = self._pids.get(name)
        if pid is not None:
            self.cloud.containers.signal(pid, signal.SIGTERM)
            later = threading.Timer(GRACE_S, self.cloud.containers.signal, [pid, signal.SIGKILL])
            later.daemon = True
            later.start()
        self._end(name, why, reason)

    def executions_restart(self) -> None:
        """Containers of executions that are over are started all the same: a service may be late to hear that they were cancelled."""
        with self._lock:
            for execution in self.executions.values():
                self._start(execution)

    def fail_pending(self, why: str) -> None:
        """Executions without a container fail."""
        for name in set(self.executions) - set(self.begun):
            self._end(name, why)

    def lose(self, name: str) -> None:
        """The machine of an execution is gone, with all that ran there."""
        self.cloud.containers.signal(self._pids[name], signal.SIGKILL)

    def evict(self, name: str) -> None:
        """The machine of an execution is wanted back: SIGTERM, as for a cancelled one, but nobody cancelled it."""
        os.kill(self._pids[name], signal.SIGTERM)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _json(message: object) -> dict:
    return json_format.MessageToDict(type(message).pb(message))


def _operation(message: object, *, done: bool = True) -> dict:
    operation = operations_pb2.Operation(name="projects/p/locations/l/operations/o", done=done)
    operation.metadata.Pack(type(message).pb(message))
    if done:
        operation.response.Pack(type(message).pb(message))
    return json_format.MessageToDict(operation)
