"""What has to be there once before trials run on Cloud Run, what is missing of it, and the gcloud commands that make it.

Each check asks the service one question and says what it heard. What cannot be asked is said, never guessed. Commands are run by
`mend` alone, as the person that gcloud is logged in as.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import msgspec

from evogit.backends.cloud import images
from evogit.backends.cloud.clients import NOT_FOUND
from evogit.backends.cloud.settings import Settings
from evogit.backends.cloud.spec import Spec
from evogit.domain.report import Finding
from evogit.errors import EvogitError, UserError, WorkFailed

APIS = ("run.googleapis.com", "storage.googleapis.com", "artifactregistry.googleapis.com", "cloudbuild.googleapis.com")
ROLES = (
    "roles/storage.objectViewer",
    "roles/storage.objectCreator",
)  # of the service account, in the bucket: it can replace and remove nothing
ENOUGH = ("roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin")
MINE = {  # what the person needs -> the role that has it
    "run.jobs.create": "roles/run.developer",
    "run.jobs.run": "roles/run.developer",
    "run.jobs.runWithOverrides": "roles/run.developer",
    "run.executions.list": "roles/run.developer",
    "run.executions.cancel": "roles/run.developer",
    "run.executions.delete": "roles/run.developer",
    "cloudbuild.builds.create": "roles/cloudbuild.builds.editor",
}


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found, and the commands that mend it."""

    finding: Finding
    commands: tuple[tuple[str, ...], ...] = ()


Check = Callable[[Settings], Checked]


def examine(settings: Settings) -> list[Checked]:
    """All checks, in the order in which what they miss has to be made. A service that cannot be asked is an error of its own.

    Raises UserError, ProblemError where there is no spec to check.
    """
    spec = settings.spec
    found = [_ok("spec", f"{settings.path}: {spec.name} in {spec.project_id}, {spec.region}"), *_notes(spec)]
    try:
        _ = settings.clients.credentials
    except UserError as error:
        return [*found, _error("credentials", error.message, error.hint), *(_unasked(check, settings) for check in CHECKS)]
    return [*found, *(_asked(check, settings) for check in CHECKS)]


def _asked(check: Check, settings: Settings) -> Checked:
    try:
        return check(settings)
    except EvogitError as error:
        return msgspec.structs.replace(_unasked(check, settings), finding=_error(_name(check), error.message, error.hint).finding)


def _unasked(check: Check, settings: Settings) -> Checked:
    """Nobody can tell whether it is there: the commands that make it are those of one where it is not."""
    finding = Finding(level="note", check=_name(check), message="could not be asked")
    return Checked(finding=finding, commands=COMMANDS.get(check, lambda spec: ())(settings.spec))


def mend(checked: Sequence[Checked], say: Callable[[str], None]) -> None:
    """Run the commands of what is missing. Raises UserError without gcloud, WorkFailed for the first command that fails."""
    commands = list(commands_of(checked))
    if commands and shutil.which("gcloud") is None:
        raise UserError("gcloud is not installed here", hint="install the Google Cloud CLI, or run what --dry-run prints where it is")
    for command in commands:
        say(f"$ {shlex.join(command)}")
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise WorkFailed(f"{shlex.join(command)}: {why}", hint="mend that, then `evogit cloud doctor --fix` goes on")


def commands_of(checked: Sequence[Checked]) -> Iterator[tuple[str, ...]]:
    """Commands of what is missing, each once, in order."""
    yield from dict.fromkeys(command for each in checked for command in each.commands)


# the checks ----------------------------------------------------------------------------------------------------------


def _apis(settings: Settings) -> Checked:
    spec = settings.spec
    names = "&".join(f"names=projects/{spec.project_id}/services/{api}" for api in APIS)
    path = f"/v1/projects/{spec.project_id}/services:batchGet?{names}"
    reply = settings.clients.json("asking which APIs are on", "serviceusage.googleapis.com", path) or {}
    on = {each["name"].rpartition("/")[2] for each in reply.get("services", ()) if each.get("state") == "ENABLED"}
    if missing := [api for api in APIS if api not in on]:
        return _missing(
            "apis", f"not enabled: {', '.join(missing)}", [("gcloud", "services", "enable", *missing, f"--project={spec.project_id}")]
        )
    return _ok("apis", f"{len(APIS)} are enabled")


def _bucket(settings: Settings) -> Checked:
    spec, clients = settings.spec, settings.clients
    bucket = clients.ask("looking for the bucket", lambda: clients.storage.get_bucket(spec.bucket, retry=None), {NOT_FOUND: None})
    if bucket is None:
        return _missing("bucket", f"there is no bucket gs://{spec.bucket}", _make_bucket(spec))
    return _ok("bucket", f"gs://{spec.bucket} in {(bucket.location or 'an unknown place').lower()}")


def _repository(settings: Settings) -> Checked:
    spec = settings.spec
    path = f"/v1/{spec.parent}/repositories/{spec.artifact_repo}"
    if settings.clients.json("looking for the registry", "artifactregistry.googleapis.com", path) is None:
        return _missing("registry", f"there is no repository {spec.artifact_repo} in {spec.region}", _make_repository(spec))
    return _ok("registry", f"{spec.artifact_repo} in {spec.region}")


def _account(settings: Settings) -> Checked:
    spec = settings.spec
    if not spec.service_account:
        message = "trials run as the project's default account, which may do far more than they need"
        return Checked(finding=Finding(level="warning", check="account", message=message, fix="name one as service_account"))
    path = f"/v1/projects/{spec.project_id}/serviceAccounts/{spec.service_account}"
    if settings.clients.json("looking for the service account", "iam.googleapis.com", path) is None:
        return _missing("account", f"there is no service account {spec.service_account}", _make_account(spec))
    asked = {"permissions": ["iam.serviceAccounts.actAs"]}
    may = settings.clients.json("asking who you may act as", "iam.googleapis.com", f"{path}:testIamPermissions", asked) or {}
    if not may.get("permissions"):
        return _missing("account", f"you may not run jobs as {spec.service_account}", [_act_as(spec)])
    return _ok("account", spec.service_account)


def _roles(settings: Settings) -> Checked:
    spec, clients = settings.spec, settings.clients
    if not spec.service_account:
        return _ok("roles", "of the default account: not looked at")
    policy = clients.ask(
        "reading the bucket's roles", lambda: clients.storage.bucket(spec.bucket).get_iam_policy(retry=None), {NOT_FOUND: None}
    )
    if policy is None:
        return _missing("roles", f"{spec.service_account} has none in gs://{spec.bucket}", _grant(spec, ROLES))
    member = f"serviceAccount:{spec.service_account}"
    has = {binding["role"] for binding in policy.bindings if member in binding["members"]}
    if has.isdisjoint(ENOUGH) and (missing := [role for role in ROLES if role not in has]):
        return _missing("roles", f"{spec.service_account} lacks {', '.join(missing)} in gs://{spec.bucket}", _grant(spec, missing))
    return _ok("roles", f"the account reads and writes gs://{spec.bucket}")


def _permissions(settings: Settings) -> Checked:
    spec = settings.spec
    path = f"/v1/projects/{spec.project_id}:testIamPermissions"
    reply = settings.clients.json(
        "asking what you may do", "cloudresourcemanager.googleapis.com", path, {"permissions": list(MINE)}
    ) or {}  # fmt: skip
    if missing := [name for name in MINE if name not in reply.get("permissions", ())]:
        return _missing("permissions", f"you lack {', '.join(missing)}", _grant_me(spec, [MINE[name] for name in missing]))
    return _ok("permissions", "you may build, run, list, cancel and remove")


def _gpus(settings: Settings) -> Checked:
    spec = settings.spec
    kind = spec.cloud_run.gpu_type or "nvidia-l4"
    if not spec.cloud_run.gpu:
        return _ok("gpus", "none are asked for by cloud_run.gpu")
    path = f"/v1beta1/projects/{spec.project_id}/services/run.googleapis.com/consumerQuotaMetrics?pageSize=500"
    reply = settings.clients.json("asking for GPU quotas", "serviceusage.googleapis.com", path) or {}
    limits = dict(_limits(reply, kind.replace("-", "_"), spec.region))
    if not limits:
        return Checked(finding=Finding(level="note", check="gpus", message=f"no quota of {kind} in {spec.region} is told"))
    said = ", ".join(f"{name} {limit}" for name, limit in limits.items())
    if max(limits.values()) < spec.cloud_run.gpu:
        fix = "ask for a larger quota in the Cloud console, or choose another region"
        return Checked(finding=Finding(level="error", check="gpus", message=f"{kind} in {spec.region}: {said}", fix=fix))
    return _ok("gpus", f"{kind} in {spec.region}: {said}")


def _limits(reply: dict, kind: str, region: str) -> Iterator[tuple[str, int]]:
    for metric in reply.get("metrics", ()):
        name = metric.get("metric", "").rpartition("/")[2]
        buckets = [bucket for limit in metric.get("consumerQuotaLimits", ()) for bucket in limit.get("quotaBuckets", ())]
        here = [bucket for bucket in buckets if bucket.get("dimensions", {}).get("region") == region]
        if kind in name and here:
            yield name, max(int(bucket.get("effectiveLimit", 0)) for bucket in here)


def _image(settings: Settings) -> Checked:
    image = settings.image
    if settings.spec.image.uri:
        return Checked(finding=Finding(level="note", check="image", message=f"{image}, which is built elsewhere, is not looked for"))
    if not images.is_there(settings):
        return Checked(finding=Finding(level="error", check="image", message=f"there is no {image}", fix="evogit cloud deploy-image"))
    if not settings.spec.build.base_image:
        message = f"{image} is taken as it is: no build.base_image says what it holds, and trials need evogit's part in it"
        return Checked(finding=Finding(level="note", check="image", message=message))
    return _ok("image", image)


CHECKS: tuple[Check, ...] = (_apis, _bucket, _repository, _account, _roles, _permissions, _gpus, _image)


# commands ------------------------------------------------------------------------------------------------------------


def _make_bucket(spec: Spec) -> list[tuple[str, ...]]:
    where = (f"--project={spec.project_id}", f"--location={spec.region}")
    return [("gcloud", "storage", "buckets", "create", f"gs://{spec.bucket}", *where, "--uniform-bucket-level-access")]


def _make_repository(spec: Spec) -> list[tuple[str, ...]]:
    where = (f"--project={spec.project_id}", f"--location={spec.region}")
    return [("gcloud", "artifacts", "repositories", "create", spec.artifact_repo, "--repository-format=docker", *where)]


def _make_account(spec: Spec) -> list[tuple[str, ...]]:
    name = spec.service_account.partition("@")[0]
    return [("gcloud", "iam", "service-accounts", "create", name, f"--project={spec.project_id}"), _act_as(spec)]


def _act_as(spec: Spec) -> tuple[str, ...]:
    binding = ("gcloud", "iam", "service-accounts", "add-iam-policy-binding", spec.service_account)
    return (*binding, f"--member={me()}", "--role=roles/iam.serviceAccountUser", f"--project={spec.project_id}")


def _grant(spec: Spec, roles: Sequence[str]) -> list[tuple[str, ...]]:
    binding = ("gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{spec.bucket}")
    return [(*binding, f"--member=serviceAccount:{spec.service_account}", f"--role={role}") for role in roles]


def _grant_me(spec: Spec, roles: Sequence[str]) -> list[tuple[str, ...]]:
    binding = ("gcloud", "projects", "add-iam-policy-binding", spec.project_id)
    return [(*binding, f"--member={me()}", f"--role={role}") for role in dict.fromkeys(roles)]


def me() -> str:
    """The person, as gcloud's commands name them; a placeholder where gcloud is not here or not logged in."""
    account = os.environ.get("CLOUDSDK_CORE_ACCOUNT", "") or _account_of(shutil.which("gcloud") or "")
    kind = "serviceAccount" if account.endswith(".gserviceaccount.com") else "user"
    return f"{kind}:{account or 'YOU@EXAMPLE.COM'}"


@cache
def _account_of(gcloud: str) -> str:
    """Who that gcloud is logged in as, "" if nobody. Two seconds, once."""
    asked = [gcloud, "config", "get-value", "account"]
    return subprocess.run(asked, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout.strip() if gcloud else ""


COMMANDS: dict[Check, Callable[[Spec], Sequence[tuple[str, ...]]]] = {
    _apis: lambda spec: [("gcloud", "services", "enable", *APIS, f"--project={spec.project_id}")],
    _bucket: _make_bucket,
    _repository: _make_repository,
    _account: lambda spec: _make_account(spec) if spec.service_account else [],
    _roles: lambda spec: _grant(spec, ROLES) if spec.service_account else [],
    _permissions: lambda spec: _grant_me(spec, list(MINE.values())),
}


# words ---------------------------------------------------------------------------------------------------------------


def _name(check: Check) -> str:
    return {_repository: "registry"}.get(check, check.__name__.lstrip("_"))


def _ok(check: str, message: str) -> Checked:
    return Checked(finding=Finding(level="ok", check=check, message=message))


def _error(check: str, message: str, fix: str) -> Checked:
    return Checked(finding=Finding(level="error", check=check, message=message, fix=fix))


def _missing(check: str, message: str, commands: Sequence[tuple[str, ...]]) -> Checked:
    fix = "; ".join(shlex.join(command) for command in commands)
    return Checked(finding=Finding(level="error", check=check, message=message, fix=fix), commands=tuple(commands))


def _notes(spec: Spec) -> Iterator[Checked]:
    """What the spec says that trials do not do."""
    if spec.runtime.command or spec.runtime.entrypoint:
        message = "runtime.command is not what runs: trials run the command of the problem"
        yield Checked(finding=Finding(level="note", check="spec", message=message))
    if spec.cloud_run.max_retries:
        message = "cloud_run.max_retries is not used: the loop tries lost trials again"
        yield Checked(finding=Finding(level="note", check="spec", message=message))
