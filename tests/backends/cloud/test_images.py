"""The image: when it is another one, what it is built from, how Cloud Build is asked, and that what is in it carries a job out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.backends.cloud import images
from evogit.errors import ProblemError, UserError, WorkFailed
from evogit.testing import output, run
from loopback_cloud import BUCKET

BUILD = "build: {base_image: 'python:3.12-slim', requirements: requirements.txt, apt_packages: [git], extra_pip: ['einops>=0.8']}\n"


@pytest.fixture
def buildable(spec):
    """A spec with all that an image is built from."""
    spec.write_text(spec.read_text() + BUILD)
    (spec.parent / "requirements.txt").write_text("numpy==2.4.6\n")
    return spec


def test_an_image_is_another_one_when_its_base_its_requirements_or_evogits_part_changes(made, buildable, monkeypatch):
    first, again = made().settings.image, made().settings.image

    (buildable.parent / "requirements.txt").write_text("numpy==2.4.5\n")
    requirements = made().settings.image
    buildable.write_text(buildable.read_text().replace("3.12", "3.13"))
    base = made().settings.image
    monkeypatch.setattr(images, "NEEDS", ("msgspec",))
    needs = made().settings.image

    assert first == again
    assert len({first, requirements, base, needs}) == 4
    assert first.startswith("loopback1-docker.pkg.dev/loopback-project/images/toy-runner:latest-")


def test_an_image_that_somebody_else_builds_is_taken_by_its_name(made, spec):
    spec.write_text(spec.read_text().replace("image: {name: toy-runner}", "image: example.org/somebody/runner:7"))

    settings = made().settings

    assert settings.image == "example.org/somebody/runner:7"
    with pytest.raises(UserError, match="image.uri names an image that is built elsewhere"):
        images.check_buildable(settings)


def test_the_dockerfile_holds_what_the_spec_says_and_evogits_part_apart_from_it(made, buildable):
    lines = images.dockerfile(made().settings.spec).splitlines()

    assert lines[0] == "FROM python:3.12-slim"
    assert any(line.startswith("RUN python -m venv /opt/evogit ") and "google-cloud-storage" in line for line in lines)
    assert lines.index("RUN python -m pip install -r /opt/requirements.txt") < lines.index("COPY evogit /opt/evogit/lib/evogit")
    assert "RUN python -m pip install 'einops>=0.8'" in lines
    assert any(line.endswith("--no-install-recommends git && rm -rf /var/lib/apt/lists/*") for line in lines)
    assert lines[-1] == 'ENTRYPOINT ["/opt/evogit/bin/python", "-m", "evogit.backends.cloud.entrypoint"]'


def test_requirements_that_are_not_there_are_named(made, buildable):
    (buildable.parent / "requirements.txt").unlink()

    with pytest.raises(ProblemError, match="build.requirements: .*requirements.txt cannot be read"):
        _ = made().settings.image


def test_a_build_is_asked_for_once_and_waited_for(made, buildable, cloud):
    settings, said = made().settings, []

    first, second = images.deploy(settings, said.append), images.deploy(settings, said.append)

    (build,) = cloud.builds.asked
    assert (first, second) == (True, False)
    assert list(build.images) == [settings.image, "loopback1-docker.pkg.dev/loopback-project/images/toy-runner:latest"]
    assert list(build.steps[0].args) == ["build", "--tag", build.images[0], "--tag", build.images[1], "."]
    assert said[-1].endswith(": success")
    assert set(cloud.builds.contexts[0]) == {"Dockerfile", "requirements.txt", *images.modules(), *images.DATA}
    assert cloud.storage.names(BUCKET, "evogit-builds/")


def test_a_build_that_fails_says_why_and_where_its_log_is(made, buildable, cloud):
    cloud.builds.fails = "no matching distribution found for numpy==2.4.6"

    with pytest.raises(WorkFailed, match="the image was not built: failure: no matching distribution") as caught:
        images.deploy(made().settings, lambda line: None)

    assert caught.value.hint == "its log: https://logs.example/0"


def test_what_is_in_the_image_carries_a_job_out_by_itself(made, cloud, make, tmp_path_factory, monkeypatch):
    inside = tmp_path_factory.mktemp("image")
    for name in (*images.modules(), *images.DATA):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).write_bytes((images.TOP / name).read_bytes())
    cloud.run.is_full = True
    backend = made()
    handle = backend.start(make("print('from the image')"))
    (execution,) = cloud.run.executions.values()
    container = execution.template.containers[0]
    env = {variable.name: variable.value for variable in container.env}

    ran = subprocess.run(
        [sys.executable, "-P", *container.command[1:], *container.args],
        env={"PATH": os.defpath, "PYTHONPATH": str(inside), "CLOUD_RUN_EXECUTION": execution.name.rpartition("/")[2], **env},
        cwd=inside, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    assert '"event": "ended"' in ran.stdout
    assert output(backend.collect(handle)) == "from the image\n"


def test_the_entrypoint_says_how_it_is_called():
    ran = subprocess.run([sys.executable, "-m", images.ENTRY], cwd=Path(images.TOP), capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr.startswith("usage: ")) == (2, True)


def test_an_image_that_is_not_there_is_what_the_service_says(made, buildable, cloud, make):
    cloud.fail("/jobs?", 400, "Image 'loopback1-docker.pkg.dev/x' not found.")

    with pytest.raises(UserError, match="not found") as caught:
        run(made(), make("pass"))

    assert caught.value.hint == "evogit cloud deploy-image"
