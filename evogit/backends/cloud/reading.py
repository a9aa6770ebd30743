"""`cloud_runner.yaml` -> Spec: `${VAR}` filled in, every key known, every value of its type; else one line that names file, key and fix.

Variables come from the environment, then from a `.env` beside the file, of which nothing else is taken. It asks no service.
"""

from __future__ import annotations

import difflib
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from evogit import keys
from evogit.backends.cloud import spec as nouns
from evogit.backends.cloud.spec import Build, Dataset, Spec
from evogit.errors import ProblemError, UserError

NAME = "cloud_runner.yaml"
SPOKEN_FOR = ("EVOGIT_", "ACR_", "AUTORESEARCH_")  # what evogit itself tells a trial begins so
FROM_ENVIRONMENT = {
    "project_id": "PROJECT_ID",
    "region": "REGION",
    "bucket": "BUCKET_NAME",
    "artifact_repo": "AR_REPO",
    "service_account": "SA_EMAIL",
}
NEEDED = ("project_id", "region", "bucket")
OTHER_NAMES = {"runner_image": "image"}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load(path: Path, *, dataset: str = "", env: Mapping[str, str] | None = None) -> Spec:
    """The spec in a file. `dataset` takes the place of its dataset's URI, `env` is added to its `env`.

    Raises ProblemError (a UserError) for what is wrong in it, UserError where PyYAML is missing.
    """
    data = _parsed(path)
    variables = {**keys.read(path.parent / ".env")[0], **os.environ} if (path.parent / ".env").is_file() else dict(os.environ)
    data = _expanded(_named(data), variables, path, "")
    for key, variable in FROM_ENVIRONMENT.items():
        if not data.get(key) and variables.get(variable):
            data[key] = variables[variable]
    if missing := [key for key in NEEDED if not data.get(key)]:
        raise ProblemError(f"{path}: {missing[0]}", "is missing", fix=f"write it there, or set {FROM_ENVIRONMENT[missing[0]]}")
    if dataset:
        data["dataset"] = {**(data.get("dataset") or {}), "uri": dataset}
    data["env"] = {**(data.get("env") or {}), **(env or {})}
    data["name"] = _slug(data.get("name") or path.resolve().parent.name)
    return _checked(_filled(_converted(data, path)), path)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise UserError(f"{path} is YAML, which takes PyYAML to read", hint="pip install 'evogit[gcp]'") from error
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = f"{path} cannot be read: {(error.strerror or 'unknown').lower()}"
        raise UserError(what, hint="name the file with --cloud-spec, or as `spec` under [backend.cloud-run]") from error
    except UnicodeDecodeError as error:
        raise ProblemError(str(path), "is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ProblemError(where, f"is no YAML: {getattr(error, 'problem', None) or 'it cannot be parsed'}") from error
    if not isinstance(data, dict):
        raise ProblemError(str(path), "holds no keys", fix="docs/backends.md shows one that works")
    return data


def _named(data: dict[str, Any]) -> dict[str, Any]:
    """The same with the format's shorthands written out."""
    data = {OTHER_NAMES.get(str(key), str(key)): value for key, value in data.items()}
    image = data.get("image")
    if isinstance(image, str):
        data["image"] = {"uri": image}
    elif isinstance(image, dict) and isinstance(image.get("build"), dict):
        data["image"] = {key: value for key, value in image.items() if key != "build"}
        data.setdefault("build", image["build"])
    if isinstance(data.get("dataset"), str):
        data["dataset"] = {"uri": data["dataset"]}
    return data


def _expanded(value: Any, variables: Mapping[str, str], path: Path, at: str) -> Any:
    """Text with `${VAR}` filled in, numbers and truth values as text, sections without a value left out."""
    if isinstance(value, dict):
        inside = ((str(key), item) for key, item in value.items() if item is not None)
        return {key: _expanded(item, variables, path, f"{at}.{key}".lstrip(".")) for key, item in inside}
    if isinstance(value, list):
        return [_expanded(item, variables, path, at) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        if missing := [name for name in _VARIABLE.findall(value) if name not in variables]:
            raise ProblemError(
                f"{path}: {at}", f"${{{missing[0]}}} is not set", fix=f"export {missing[0]}=..., or write it into a .env there"
            )
        return _VARIABLE.sub(lambda found: variables[found[1]], value)
    return str(value)


def _converted(data: dict[str, Any], path: Path) -> Spec:
    _check_keys(data, Spec, path, "")
    try:
        return msgspec.convert(data, Spec, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.strip("`.").replace("[...]", "")
        raise ProblemError(f"{path}: {key}" if key else str(path), what[0].lower() + what[1:].replace("`", "")) from error


def _check_keys(data: dict[str, Any], noun: type, path: Path, at: str) -> None:
    """Raise ProblemError for the first key that the format lacks, with the nearest that it has."""
    known = typing.get_type_hints(noun)
    for key, value in data.items():
        where = f"{at}.{key}".lstrip(".")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            fix = f"did you mean {near[0]}?" if near else f"its keys are {', '.join(known)}"
            raise ProblemError(f"{path}: {where}", "is no key of this format", fix=fix)
        inner = _struct_of(known[key])
        if inner is not None and isinstance(value, dict):
            _check_keys(value, inner, path, where)


def _struct_of(hint: Any) -> type | None:
    """The struct that a field holds, if it holds one."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else (hint,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)), None)


def _filled(spec: Spec) -> Spec:
    """Defaults that follow from other fields."""
    runtime, build = spec.runtime, spec.build
    build = Build(
        base_image=build.base_image or runtime.base_image,
        requirements=build.requirements or runtime.requirements,
        apt_packages=build.apt_packages or runtime.apt_packages,
        extra_pip=build.extra_pip or runtime.extra_pip,
    )
    here = f"gs://{spec.bucket}"
    source = (spec.source.gcs_prefix or f"{here}/evogit-sources/{spec.name}").rstrip("/")
    outputs = (spec.artifacts.gcs_prefix or f"{here}/evogit-trials/{spec.name}").rstrip("/")
    return msgspec.structs.replace(
        spec,
        build=build,
        image=msgspec.structs.replace(spec.image, name=_slug(spec.image.name or f"{spec.name}-runner")),
        source=msgspec.structs.replace(spec.source, gcs_prefix=source),
        artifacts=msgspec.structs.replace(spec.artifacts, gcs_prefix=outputs),
        dataset=spec.dataset if spec.dataset and spec.dataset.uri else None,
    )


def _checked(spec: Spec, path: Path) -> Spec:
    """The spec, if its values mean something. Raises ProblemError."""

    def refuse(key: str, what: str, fix: str = "") -> typing.NoReturn:
        raise ProblemError(f"{path}: {key}", what, fix=fix)

    data, asked = spec.dataset, spec.cloud_run
    urls = {"source.gcs_prefix": spec.source.gcs_prefix, "artifacts.gcs_prefix": spec.artifacts.gcs_prefix}
    for key, url in {**urls, **({"dataset.uri": data.uri} if data else {})}.items():
        if not re.fullmatch(r"gs://[a-z0-9][\w.-]+(/.*)?", url):
            refuse(key, f"{url!r} is no gs:// address", "write gs://BUCKET/PATH")
    if data:
        _one_of(refuse, "dataset.mode", data.mode, nouns.MODES)
        _one_of(refuse, "dataset.unpack", data.unpack, tuple(nouns.UNPACKING))
        _absolute(refuse, "dataset.container_dir", data)
    if asked.tasks != 1 or asked.parallelism != 1:
        refuse("cloud_run.tasks", "is not 1, and a trial is one task", "evogit runs trials side by side itself: --workers N")
    for key, text, parse in (("memory", asked.memory, nouns.mebibytes), ("task_timeout", asked.task_timeout, nouns.seconds)):
        try:
            parse(text) if text else None
        except ValueError as error:
            refuse(f"cloud_run.{key}", str(error), "write 16Gi or 512Mi" if key == "memory" else "write 3600s, 60m or 1h")
    if asked.cpu and not re.fullmatch(r"\d+(\.\d+)?", asked.cpu):
        refuse("cloud_run.cpu", f"{asked.cpu!r} is no number of CPUs")
    for name in spec.env:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith(SPOKEN_FOR):
            why = "is told to a trial by evogit itself" if name.startswith(SPOKEN_FOR) else "is no name of a variable"
            refuse(f"env.{name}", why, "take it out")
    for name, digest in spec.files.hashes.items():
        if not re.fullmatch(r"(sha256:)?[0-9a-fA-F]{64}", digest):
            refuse(f"files.hashes.{name}", "is no sha256", f"write what `sha256sum {name}` prints")
    return spec


def _one_of(refuse: typing.Callable[..., typing.NoReturn], key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        refuse(key, f"{value!r} is none of {', '.join(allowed)}")


def _absolute(refuse: typing.Callable[..., typing.NoReturn], key: str, data: Dataset) -> None:
    if not data.container_dir.startswith("/") or os.path.normpath(data.container_dir) == "/":
        refuse(key, f"{data.container_dir!r} is no absolute path of a folder")


def _slug(name: str) -> str:
    """A name that Cloud Run, registries and buckets take: at most 36 of [a-z0-9-]."""
    text = re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-")
    if not text or not text[0].isalpha():
        text = f"run-{text}".strip("-")
    return text[:36].rstrip("-")
