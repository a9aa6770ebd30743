"""A job as it is to stand in a container: what its command is called there, and what else it is told.

It rewrites nouns; what travels is packed by `order`.
"""

from __future__ import annotations

import os

import msgspec

from evogit.backends.cloud.spec import MARGIN_S, ROOM_MIB, Size, Spec, mebibytes
from evogit.domain.trial import Job

UV_VALUES = ("--with", "--extra", "--group", "--python", "-p", "--project", "--directory", "--index", "--env-file", "--package")


def fitted(job: Job, spec: Spec, size: Size) -> Job:
    """The job for a container of that size. Names that the spec gives to folders there are the job's own folders.

    The image has the requirements, so `uv run` is left out. A container with a GPU gives it to the trial, whatever that asked for, and
    memory is limited below the container's.
    """
    names = {spec.runtime.workdir: job.cwd, spec.artifacts.container_dir: job.artifact_dir}

    def here(text: str) -> str:
        for name, path in names.items():
            if text == name or text.startswith(name + os.sep):
                return path + text[len(name) :]
        return text

    env = {**job.env, **place_env(spec), **dataset_env(spec), **{name: here(value) for name, value in spec.env.items()}}
    words = (_renamed(word, here) for word in without_uv(job.argv))
    return msgspec.structs.replace(
        job,
        argv=tuple(words),
        env=env,
        gpus=max(job.gpus, size.gpu),
        memory_mib=job.memory_mib or room_mib(size),
        timeout_s=job.timeout_s or size.timeout_s - MARGIN_S,
    )


def room_mib(size: Size) -> int:
    """Memory of a trial whose budget names none: the container's, less what files and uploads need. Beyond the container's own limit it
    would take with it who could tell."""
    whole = mebibytes(size.memory)
    return max(whole - ROOM_MIB, whole // 2)


def place_env(spec: Spec) -> dict[str, str]:
    """What a container is told of where it is."""
    return {"PROJECT_ID": spec.project_id, "GOOGLE_CLOUD_PROJECT": spec.project_id, "REGION": spec.region}


def dataset_env(spec: Spec) -> dict[str, str]:
    """What a container is told of its data."""
    return {"DATASET_DIR": spec.dataset.container_dir, "DATASET_URI": spec.dataset.uri} if spec.dataset else {}


def without_uv(argv: tuple[str, ...]) -> tuple[str, ...]:
    """`uv run [options] train.py` as what uv would run; any other command as it is."""
    if [os.path.basename(word) for word in argv[:2]] != ["uv", "run"]:
        return argv
    rest = list(argv[2:])
    while rest and rest[0].startswith("-") and rest[0] != "--":
        if rest.pop(0) in UV_VALUES and rest:
            rest.pop(0)
    rest = rest[1:] if rest[:1] == ["--"] else rest
    return ("python", *rest) if rest and rest[0].endswith(".py") else tuple(rest) or argv


def _renamed(word: str, here) -> str:
    name, equals, value = word.partition("=")
    return name + equals + here(value) if equals and here(word) == word else here(word)
