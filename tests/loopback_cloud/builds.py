"""Cloud Build: takes a build that the package's own types can read, fetches its source, and pushes nothing but a name."""

from __future__ import annotations

import io
import re
import tarfile
from typing import TYPE_CHECKING

from google.cloud.devtools import cloudbuild_v1
from google.longrunning import operations_pb2
from google.protobuf import json_format

if TYPE_CHECKING:
    from loopback_cloud.server import Answer, Cloud

PATH = re.compile(r"/v1/projects/([^/]+)/builds(?:/([^/]+))?")
STATUS = cloudbuild_v1.Build.Status


class Builds:
    """One project's builds. `fails` says why the next ones do not succeed."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.asked: list[cloudbuild_v1.Build] = []
        self.contexts: list[dict[str, bytes]] = []
        self.fails = ""

    def answer(self, method: str, path: str, query: str, body: bytes) -> Answer:
        from loopback_cloud.server import refusal

        found = PATH.fullmatch(path)
        if found is None:
            return refusal(404, f"no {path} here")
        try:
            return 200, (self._stand(int(found[2])) if found[2] else self._begin(body))
        except json_format.ParseError as error:
            return refusal(400, str(error))

    def _begin(self, body: bytes) -> dict:
        build = cloudbuild_v1.Build.from_json(body)
        assert build.steps and build.images and all(image in build.steps[-1].args for image in build.images)
        where = build.source.storage_source
        with tarfile.open(fileobj=io.BytesIO(self._cloud.storage.read(where.bucket, where.object_)), mode="r:gz") as tar:
            self.contexts.append({entry.name: tar.extractfile(entry).read() for entry in tar if entry.isreg()})
        build.id, build.status = str(len(self.asked)), STATUS.QUEUED
        build.log_url = f"https://logs.example/{build.id}"
        self.asked.append(build)
        operation = operations_pb2.Operation(name=f"operations/build/{build.id}")
        operation.metadata.Pack(cloudbuild_v1.BuildOperationMetadata.pb(cloudbuild_v1.BuildOperationMetadata(build=build)))
        return json_format.MessageToDict(operation)

    def _stand(self, number: int) -> dict:
        """Each look sees it one step further."""
        build = self.asked[number]
        if build.status == STATUS.QUEUED:
            build.status = STATUS.WORKING
        elif build.status == STATUS.WORKING and self.fails:
            build.status = STATUS.FAILURE
            build.failure_info = {"type_": "USER_BUILD_STEP", "detail": self.fails}
        elif build.status == STATUS.WORKING:
            build.status = STATUS.SUCCESS
            self._cloud.project.tags |= set(build.images)
        return json_format.MessageToDict(cloudbuild_v1.Build.pb(build))
