"""Which files of a checkout travel, as `files` of the spec says it, and why a checkout is none that may.

Patterns are those of `mutable` in evogit.toml, seen from the problem's folder; one without a slash is for names at any depth, `dir/` and
`dir/**` are all below a folder. Whatever they say, what the command names and what the sandbox holds frozen travels too: a trial
without its ruler would measure nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from evogit.backends.cloud.spec import Files
from evogit.domain.trial import Job
from evogit.folders import listed
from evogit.problem import globs


def names(files: Files, job: Job) -> list[str] | None:
    """Paths below the job's source that travel, sorted; None where all of them do. O(files of the checkout)."""
    if not files.include and not files.exclude:
        return None
    folder = os.path.relpath(job.cwd, job.source)
    always = _always(job)
    found = []
    for name in listed(job.source):
        if os.path.isdir(os.path.join(job.source, name)) and not os.path.islink(os.path.join(job.source, name)):
            continue
        local = os.path.relpath(name, folder)
        is_included = not files.include or _is_one_of(files.include, local)
        if name in always or (is_included and not _is_one_of(files.exclude, local)):
            found.append(name)
    return sorted(found)


def refusal(files: Files, job: Job, chosen: Iterable[str] | None) -> str:
    """Why the spec does not let this checkout run, "" if it does: a required file is missing or stays here, a hash is another one."""
    folder = os.path.relpath(job.cwd, job.source)
    travelling = None if chosen is None else {os.path.relpath(name, folder) for name in chosen}
    for name in files.required:
        path = os.path.normpath(name)
        if not os.path.exists(os.path.join(job.cwd, path)):
            return f"cloud_runner.yaml requires {name}, which this checkout lacks"
        if travelling is not None and not any(each == path or each.startswith(path + os.sep) for each in travelling):
            return f"cloud_runner.yaml requires {name}, and its files.include or files.exclude leaves that out"
    for name, digest in files.hashes.items():
        if _sha256(os.path.join(job.cwd, name)) != digest.removeprefix("sha256:").lower():
            return f"{name} is not the file whose sha256 cloud_runner.yaml names"
    return ""


def _always(job: Job) -> set[str]:
    """What travels whatever is included: files that the command names, and those that a sandbox would hold frozen."""
    words = [os.path.normpath(os.path.join(job.cwd, word)) for word in job.argv if word and not word.startswith("-")]
    paths = [path for path in (*words, *job.view.frozen) if os.path.isfile(path)]
    return {os.path.relpath(path, job.source) for path in paths if path.startswith(job.source + os.sep)}


def _is_one_of(patterns: Iterable[str], path: str) -> bool:
    return any(_matches(pattern, path) for pattern in patterns)


def _matches(pattern: str, path: str) -> bool:
    pattern = pattern.removeprefix("./")
    if pattern.endswith("/"):
        pattern += "**"
    elif "/" not in pattern and pattern != "**":
        path = os.path.basename(path)
    return not path.startswith("..") and globs.pattern(pattern).fullmatch(path) is not None


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            return digest.hexdigest()
    except OSError:
        return ""
