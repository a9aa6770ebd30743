"""What a project has: APIs that are on, a registry with images, accounts, what the caller may do, quotas. In the services' own JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from loopback_cloud.server import Answer


class Project:
    """All is there until a test takes it away."""

    def __init__(self) -> None:
        self.apis = {"run.googleapis.com", "cloudbuild.googleapis.com", "artifactregistry.googleapis.com", "storage.googleapis.com"}
        self.apis |= {"iam.googleapis.com", "cloudresourcemanager.googleapis.com", "logging.googleapis.com"}
        self.repositories = {"images"}
        self.accounts = {"runner@loopback-project.iam.gserviceaccount.com"}
        self.tags: set[str] = set()  # whole references of images
        self.forbidden: set[str] = set()  # permissions that the caller lacks
        self.gpu_limits: dict[str, int] = {"nvidia_l4_gpu_allocation_no_zonal_redundancy": 3}

    def answer(self, method: str, path: str, query: str, body: bytes) -> Answer:
        from loopback_cloud.server import refusal

        for pattern, reply in (
            (r"/v1/projects/[^/]+/services:batchGet", self._services),
            (r"/v1/projects/[^/]+/locations/([^/]+)/repositories/([^/]+)", self._repository),
            (r"/v1/projects/([^/]+)/locations/([^/]+)/repositories/([^/]+)/packages/([^/]+)/tags/([^/]+)", self._tag),
            (r"/v1/projects/[^/]+/serviceAccounts/([^/:]+)(:testIamPermissions)?", self._account),
            (r"/v1/projects/[^/:]+:testIamPermissions", self._permissions),
            (r"/v1beta1/projects/[^/]+/services/run.googleapis.com/consumerQuotaMetrics", self._quotas),
        ):
            if found := re.fullmatch(pattern, path):
                said = reply(query, body, *map(unquote, (group or "" for group in found.groups())))
                return (200, said) if said is not None else refusal(404, f"{path} was not found")
        return refusal(404, f"no {path} here")

    def _services(self, query: str, _body: bytes) -> dict:
        asked = [unquote(part.partition("=")[2]) for part in query.split("&") if part.startswith("names=")]
        states = {name: "ENABLED" if name.rpartition("/")[2] in self.apis else "DISABLED" for name in asked}
        return {"services": [{"name": name, "state": state} for name, state in states.items()]}

    def _repository(self, _query: str, _body: bytes, region: str, name: str) -> dict | None:
        return {"name": name, "format": "DOCKER"} if name in self.repositories else None

    def _tag(self, _query: str, _body: bytes, project: str, region: str, repository: str, image: str, tag: str) -> dict | None:
        reference = f"{region}-docker.pkg.dev/{project}/{repository}/{image}:{tag}"
        return {"name": tag} if reference in self.tags else None

    def _account(self, _query: str, body: bytes, email: str, verb: str) -> dict | None:
        if email not in self.accounts:
            return None
        return self._permissions("", body) if verb else {"email": email}

    def _permissions(self, _query: str, body: bytes) -> dict:
        return {"permissions": [name for name in json.loads(body)["permissions"] if name not in self.forbidden]}

    def _quotas(self, _query: str, _body: bytes) -> dict:
        def metric(name: str, limit: int) -> dict:
            bucket = {"effectiveLimit": str(limit), "dimensions": {"region": "loopback1"}}
            return {
                "metric": f"run.googleapis.com/{name}",
                "displayName": name.replace("_", " "),
                "consumerQuotaLimits": [{"unit": "1/{project}/{region}", "quotaBuckets": [{"effectiveLimit": "0"}, bucket]}],
            }

        return {"metrics": [metric(name, limit) for name, limit in self.gpu_limits.items()]}
