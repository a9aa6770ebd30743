"""`evogit cloud`: what is missing, the commands that make it, and what they need to run."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from evogit.backends.cloud import checks, images
from evogit.errors import UserError, WorkFailed
from loopback_cloud import BUCKET, PROJECT
from toys import TOML, evogit, make_toy

RUNNER = f"runner@{PROJECT}.iam.gserviceaccount.com"
GCLOUD = f"""\
#!{sys.executable}
import os, sys
with open(os.environ["GCLOUD_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == ["services", "enable"] and os.environ.get("GCLOUD_FAILS"):
    sys.exit("ERROR: (gcloud.services.enable) PERMISSION_DENIED: no billing account")
if sys.argv[1:4] == ["config", "get-value", "account"]:
    print("ada@example.org")
"""


@pytest.fixture
def gcloud(tmp_path, monkeypatch) -> Path:
    """A gcloud that writes down what it was asked; returns that file."""
    program, log = tmp_path / "bin" / "gcloud", tmp_path / "gcloud.log"
    program.parent.mkdir()
    program.write_text(GCLOUD)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("GCLOUD_LOG", str(log))
    return log


@pytest.fixture
def settings(made, spec, cloud):
    """A project in which all is there."""
    (spec.parent / "requirements.txt").write_text("numpy\n")
    spec.write_text(spec.read_text() + "build: {base_image: 'python:3.12', requirements: requirements.txt}\ncloud_run: {gpu: 1}\n")
    found = made().settings
    cloud.project.tags.add(found.image)
    cloud.storage.grant(BUCKET, f"serviceAccount:{RUNNER}", checks.ROLES)
    return found


def levels(checked: list[checks.Checked]) -> dict[str, str]:
    return {each.finding.check: each.finding.level for each in checked}


def test_nothing_is_wrong_where_all_is_there(settings):
    found = checks.examine(settings)

    assert set(levels(found).values()) == {"ok"}
    assert list(levels(found)) == ["spec", "apis", "bucket", "registry", "account", "roles", "permissions", "gpus", "image"]
    assert list(checks.commands_of(found)) == []


@pytest.mark.parametrize(
    "check, take, message, command",
    [
        (
            "apis",
            lambda c: c.project.apis.discard("run.googleapis.com"),
            "not enabled: run.googleapis.com",
            "services enable run.googleapis.com",
        ),
        ("bucket", lambda c: c.storage.drop(BUCKET), "there is no bucket", "storage buckets create gs://loopback-bucket"),
        ("registry", lambda c: c.project.repositories.clear(), "no repository images in loopback1", "artifacts repositories create images"),
        ("account", lambda c: c.project.accounts.clear(), "no service account runner@", "iam service-accounts create runner"),
        ("account", lambda c: c.project.forbidden.add("iam.serviceAccounts.actAs"), "you may not run jobs as runner@", "--member=user:ada"),
        (
            "roles",
            lambda c: c.storage.grant(BUCKET, "user:x", ()),
            "lacks roles/storage.objectViewer",
            "gs://loopback-bucket --member=serviceAccount",
        ),
        (
            "permissions",
            lambda c: c.project.forbidden.add("run.jobs.runWithOverrides"),
            "you lack run.jobs.runWithOverrides",
            "--role=roles/run.developer",
        ),
        ("gpus", lambda c: c.project.gpu_limits.update(nvidia_l4_gpu_allocation_no_zonal_redundancy=0), "nvidia-l4 in loopback1", ""),
        ("image", lambda c: c.project.tags.clear(), "there is no loopback1-docker.pkg.dev", ""),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_makes_it(settings, cloud, gcloud, check, take, message, command):
    take(cloud)

    found = checks.examine(settings)

    (wrong,) = [each for each in found if each.finding.check == check]
    assert wrong.finding.level == "error"
    assert message in wrong.finding.message
    assert any(command in shlex.join(words) for words in wrong.commands) if command else wrong.commands == ()
    assert wrong.finding.fix


def test_a_service_that_cannot_be_asked_is_an_error_of_its_own_and_the_others_are_asked(settings, cloud, monkeypatch):
    cloud.fail("/services:batchGet", 403, "serviceusage is not enabled")

    found = checks.examine(settings)

    assert levels(found)["apis"] == "error"
    assert levels(found)["bucket"] == "ok"
    assert [words[:3] for words in checks.commands_of(found)] == [("gcloud", "services", "enable")]


def test_without_credentials_the_commands_are_those_of_a_project_with_nothing_in_it(made, settings, gcloud, monkeypatch):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)

    found = checks.examine(made(endpoint="").settings)

    assert levels(found)["credentials"] == "error"
    commands = [shlex.join(words) for words in checks.commands_of(found)]
    assert [line.split(" ")[1:3] for line in commands[:4]] == [
        ["services", "enable"],
        ["storage", "buckets"],
        ["artifacts", "repositories"],
        ["iam", "service-accounts"],
    ]
    assert any("--role=roles/storage.objectCreator" in line for line in commands)


def test_commands_are_run_in_their_order_and_the_first_that_fails_is_told(settings, cloud, gcloud, monkeypatch):
    cloud.project.apis.clear()
    cloud.project.repositories.clear()
    found = checks.examine(settings)

    checks.mend(found, lambda line: None)
    monkeypatch.setenv("GCLOUD_FAILS", "1")
    with pytest.raises(WorkFailed, match="gcloud services enable .*: ERROR: .*no billing account"):
        checks.mend(found, lambda line: None)

    asked = [line for line in gcloud.read_text().splitlines() if not line.startswith("config")]
    assert [line.split()[:2] for line in asked] == [["services", "enable"], ["artifacts", "repositories"], ["services", "enable"]]


def test_without_gcloud_the_commands_are_for_a_person_to_run(settings, cloud, monkeypatch, tmp_path):
    cloud.project.apis.clear()
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UserError, match="gcloud is not installed here") as caught:
        checks.mend(checks.examine(settings), lambda line: None)

    assert "--dry-run" in caught.value.hint


def test_a_default_account_and_what_trials_do_not_use_are_said(made, spec, cloud):
    spec.write_text(
        spec.read_text().replace(f"service_account: {RUNNER}", "runtime: {command: [python, train.py]}\ncloud_run: {max_retries: 2}")
    )

    found = checks.examine(made().settings)

    said = [each.finding.message for each in found if each.finding.level in ("note", "warning")]
    assert any(line.startswith("runtime.command is not what runs") for line in said)
    assert any(line.startswith("cloud_run.max_retries is not used") for line in said)
    assert any("default account" in line for line in said)


@pytest.fixture
def toy(tmp_path, cloud, settings, spec):
    """A problem whose spec lies beside it."""
    toml = TOML + f'[backend.cloud-run]\nendpoint = "{cloud.url}"\npoll_s = 0.01\n'
    files = {"cloud_runner.yaml": spec.read_text(), "requirements.txt": "numpy\n"}
    return make_toy(tmp_path / "toy", toml=toml, extra=files)


def test_the_command_line_checks_builds_and_says_what_it_would_do(toy, cloud, gcloud):
    cloud.project.tags.clear()
    cloud.project.repositories.clear()

    checked = evogit(toy, "cloud", "doctor", check=False)
    dry = evogit(toy, "cloud", "doctor", "--dry-run")
    fixed = evogit(toy, "cloud", "doctor", "--fix", "--json", check=False)
    shown = evogit(toy, "cloud", "deploy-image", "--dry-run")
    built = evogit(toy, "cloud", "deploy-image")

    assert checked.returncode == 1 and "there is no repository images" in checked.stdout
    assert (
        dry.stdout == f"gcloud artifacts repositories create images --repository-format=docker --project={PROJECT} --location=loopback1\n"
    )
    assert fixed.stderr == f"$ {dry.stdout}"
    assert {json.loads(line)["check"] for line in fixed.stdout.splitlines()} >= {"registry", "image"}
    assert shown.stdout.startswith("# loopback1-docker.pkg.dev/") and "FROM python:3.12\n" in shown.stdout
    assert built.stdout == f"built {cloud.builds.asked[0].images[0]}\n"


def test_a_problem_without_a_spec_is_told_where_it_would_lie(tmp_path):
    toy = make_toy(tmp_path / "toy")

    refused = evogit(toy, "cloud", "doctor", check=False)
    unknown = evogit(toy, "loop", "--cloud-spec", "x.yaml", check=False)

    assert (refused.returncode, unknown.returncode) == (2, 2)
    assert "cloud_runner.yaml cannot be read: no such file or directory" in refused.stderr
    assert "--cloud-spec goes with --backend cloud-run" in unknown.stderr


def test_the_image_of_the_closure_is_small():
    assert len(images.modules()) < 45
