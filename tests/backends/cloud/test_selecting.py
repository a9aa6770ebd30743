"""Which files travel, and which checkouts may not."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from evogit.backends.cloud import selecting
from evogit.backends.cloud.spec import Files
from evogit.domain.trial import View
from evogit.testing import job_maker


@pytest.fixture
def job(tmp_path):
    """A checkout with a problem in a folder of it."""
    made = job_maker(tmp_path)("", argv=("python", "evaluate.py"))
    top = tmp_path / "checkout" / made.key
    for name in (
        "rp/train.py",
        "rp/evaluate.py",
        "rp/lib/deep/net.py",
        "rp/data/words.bin",
        "rp/old.pt",
        "rp/lib/best.pt",
        "rp/goal.md",
        "README.md",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    return msgspec.structs.replace(made, cwd=str(top / "rp"), view=View(frozen=(str(top / "rp/goal.md"),)))


def test_everything_travels_where_nothing_is_said(job):
    assert selecting.names(Files(), job) is None


def test_what_is_included_travels_with_what_the_command_names_and_what_is_frozen(job):
    found = selecting.names(Files(include=("train.py", "lib/**"), exclude=("*.pt",)), job)

    assert found == ["rp/evaluate.py", "rp/goal.md", "rp/lib/deep/net.py", "rp/train.py"]


def test_what_is_excluded_stays_and_all_else_travels(job):
    found = selecting.names(Files(exclude=("data/", "*.pt")), job)

    assert found == ["README.md", "main.py", "rp/evaluate.py", "rp/goal.md", "rp/lib/deep/net.py", "rp/train.py"]


@pytest.mark.parametrize(
    "files, why",
    [
        (Files(required=("train.py", "lib")), ""),
        (Files(required=("weights.npz",)), "cloud_runner.yaml requires weights.npz, which this checkout lacks"),
        (Files(include=("lib/**",), required=("train.py",)), "cloud_runner.yaml requires train.py, and its files.include"),
        (Files(hashes={"train.py": "sha256:" + hashlib.sha256(b"rp/train.py").hexdigest()}), ""),
        (Files(hashes={"train.py": "0" * 64}), "train.py is not the file whose sha256 cloud_runner.yaml names"),
        (Files(hashes={"gone.py": "0" * 64}), "gone.py is not the file"),
    ],
)
def test_a_checkout_that_lacks_what_is_required_or_has_another_file_is_refused(job, files, why):
    found = selecting.refusal(files, job, selecting.names(files, job))

    assert found.startswith(why)
    assert bool(found) == bool(why)
