"""Google Cloud on 127.0.0.1, as much of it as trials on Cloud Run meet, for the real clients.

    storage     Cloud Storage: gcp-storage-emulator's, with the preconditions that it leaves out
    run         Cloud Run: jobs and executions, out of the package's own message types; an execution really runs its container's command
    builds      Cloud Build: requests are checked against the package's own message types
    project     what a doctor asks about: APIs, registry, accounts, roles, quotas

Who imports it without the packages that it stands on is skipped.
"""

import pytest

pytest.importorskip("google.cloud.run_v2", reason="pip install 'evogit[gcp]'")
pytest.importorskip("google.cloud.devtools.cloudbuild_v1", reason="pip install 'evogit[gcp]'")
pytest.importorskip("yaml", reason="pip install 'evogit[gcp]'")
pytest.importorskip("gcp_storage_emulator", reason="pip install gcp-storage-emulator")

from loopback_cloud.server import BUCKET, PROJECT, REGION, Cloud

__all__ = ["BUCKET", "PROJECT", "REGION", "Cloud"]
