"""cloud_runner.yaml, as Evolyth's users wrote it, and as people mistype it."""

from __future__ import annotations

import pytest

pytest.importorskip("yaml", reason="pip install 'evogit[gcp]'")

from evogit.backends.cloud import reading
from evogit.backends.cloud.spec import mebibytes, seconds
from evogit.errors import ProblemError, UserError

EVOLYTHS = """\
name: torch-train
project_id: ${PROJECT_ID}
region: ${REGION}
bucket: ${BUCKET_NAME}
artifact_repo: ${AR_REPO}
service_account: ${SA_EMAIL}
image:
  name: acr-torch-runner
  tag: latest
build:
  base_image: pytorch/pytorch:2.3.1-cuda12.1-cudnn8-runtime
  requirements: requirements.txt
files:
  include: ["train.py", "src/**", "configs/**", "requirements.txt"]
  required: ["train.py"]
  exclude: ["data/**", "artifacts/**", "checkpoints/**", "*.pt", "*.pth"]
  hashes: {}
source:
  gcs_prefix: gs://${BUCKET_NAME}/acr-sources/torch-train
runtime:
  command: ["python", "train.py"]
  workdir: /workspace/app
dataset:
  uri: gs://${BUCKET_NAME}/datasets/example-dataset/data.tar.gz
  container_dir: /workspace/dataset
  mode: auto
  unpack: auto
cloud_run:
  gpu: 1
  gpu_type: nvidia-l4
  cpu: 4
  memory: 16Gi
  task_timeout: 3600s
artifacts:
  container_dir: /workspace/artifacts
  gcs_prefix: gs://${BUCKET_NAME}/training-runs/torch-train
"""
# An older one: what the image is built from stands under `runtime`, and there is more that trials do not use.
OLDER = """\
name: minimal-train
files:
  include: ["train.py"]
runtime:
  base_image: pytorch/pytorch:2.3.1-cuda12.1-cudnn8-runtime
  requirements: requirements.txt
  command: ["python", "train.py"]
  apt_packages: []
  extra_pip: [einops]
cloud_run:
  gpu: 1
  tasks: 1
  parallelism: 1
  max_retries: 0
artifacts:
  local_dir: ./artifacts/latest
env:
  WANDB_MODE: disabled
  STEPS: 200
"""
NAMES = {"PROJECT_ID": "p", "REGION": "r", "BUCKET_NAME": "my-bucket", "AR_REPO": "images", "SA_EMAIL": "sa@p.iam.gserviceaccount.com"}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """`read(text, **options)`: the spec that a file of that text holds, Evolyth's variables set."""
    for name, value in NAMES.items():
        monkeypatch.setenv(name, value)

    def read(text: str, **options):
        path = tmp_path / "cloud_runner.yaml"
        path.write_text(text)
        return reading.load(path, **options)

    return read


def test_a_file_that_was_written_for_evolyth_is_taken_as_it_is(read):
    spec = read(EVOLYTHS)

    assert (spec.project_id, spec.region, spec.bucket, spec.artifact_repo) == ("p", "r", "my-bucket", "images")
    assert spec.dataset.uri == "gs://my-bucket/datasets/example-dataset/data.tar.gz"
    assert spec.dataset.way == "object"
    assert spec.build.base_image.startswith("pytorch/pytorch:2.3.1")
    assert spec.source.gcs_prefix == "gs://my-bucket/acr-sources/torch-train"
    assert (spec.cloud_run.gpu, spec.cloud_run.cpu, spec.cloud_run.memory) == (1, "4", "16Gi")


def test_an_older_file_is_taken_too_and_what_it_lacks_comes_from_the_environment(read):
    spec = read(OLDER, env={"EPOCHS": "3"})

    assert (spec.project_id, spec.bucket, spec.service_account) == ("p", "my-bucket", NAMES["SA_EMAIL"])
    assert (spec.build.requirements, spec.build.extra_pip) == ("requirements.txt", ("einops",))
    assert spec.env == {"WANDB_MODE": "disabled", "STEPS": "200", "EPOCHS": "3"}
    assert spec.artifacts.gcs_prefix == "gs://my-bucket/evogit-trials/minimal-train"
    assert spec.dataset is None


def test_variables_may_stand_in_a_dotenv_beside_the_file_and_the_environment_goes_before_it(read, tmp_path, monkeypatch):
    monkeypatch.delenv("REGION")
    (tmp_path / ".env").write_text("REGION=us-central1\nPROJECT_ID=other\n")

    spec = read(EVOLYTHS)

    assert (spec.region, spec.project_id) == ("us-central1", "p")


def test_a_dataset_on_the_command_line_goes_before_the_files(read):
    spec = read(EVOLYTHS, dataset="gs://elsewhere/v2/")

    assert (spec.dataset.uri, spec.dataset.way, spec.dataset.container_dir) == ("gs://elsewhere/v2/", "prefix", "/workspace/dataset")
    assert read(OLDER, dataset="gs://elsewhere/v2/").dataset.container_dir == "/workspace/dataset"


@pytest.mark.parametrize(
    "old, new, message, hint",
    [
        ("${REGION}", "${REGOIN}", "region: ${REGOIN} is not set", "export REGOIN=..., or write it into a .env there"),
        ("gpu_type:", "gpu_typ:", "cloud_run.gpu_typ: is no key of this format", "did you mean gpu_type?"),
        ("artifacts:\n", "artefacts:\n", "artefacts: is no key of this format", "did you mean artifacts?"),
        ("gpu: 1", "gpu: one", "cloud_run.gpu: expected int | null, got str", ""),
        ("gpu: 1", "gpu: [1]", "cloud_run.gpu: expected int | null, got array", ""),
        ("mode: auto", "mode: fetch", "dataset.mode: 'fetch' is none of auto, prefix, object, download, mount, none", ""),
        ("memory: 16Gi", "memory: lots", "cloud_run.memory: 'lots' is no amount of memory", "write 16Gi or 512Mi"),
        ("3600s", "soon", "cloud_run.task_timeout: 'soon' is no duration", "write 3600s, 60m or 1h"),
        ("gs://${BUCKET_NAME}/acr-sources", "s3://bucket/acr-sources", "is no gs:// address", "write gs://BUCKET/PATH"),
        ("/workspace/dataset", "dataset", "dataset.container_dir: 'dataset' is no absolute path of a folder", ""),
        ("hashes: {}", "hashes: {train.py: abc}", "files.hashes.train.py: is no sha256", "write what `sha256sum train.py` prints"),
        ("  gpu: 1", "  tasks: 4", "cloud_run.tasks: is not 1, and a trial is one task", ""),
        ("region: ${REGION}", "region: [", "cloud_runner.yaml:4: is no YAML: expected", ""),
        ("  tag: latest", "  tag: latest\nenv: {EVOGIT_SEED: 1}", "env.EVOGIT_SEED: is told to a trial by evogit itself", "take it out"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_key_and_fix(read, old, new, message, hint):
    assert old in EVOLYTHS

    with pytest.raises(ProblemError) as caught:
        read(EVOLYTHS.replace(old, new, 1))

    assert "cloud_runner.yaml" in caught.value.message
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_is_not_there_and_a_place_that_is_not_named_say_how_to_name_them(read, tmp_path, monkeypatch):
    monkeypatch.delenv("PROJECT_ID")

    with pytest.raises(UserError, match=r"nowhere.yaml cannot be read") as absent:
        reading.load(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match=r"project_id: is missing") as unnamed:
        read(OLDER)

    assert "--cloud-spec" in absent.value.hint
    assert "PROJECT_ID" in unnamed.value.hint


def test_amounts_are_read_as_cloud_run_writes_them():
    assert [mebibytes(text) for text in ("16Gi", "512Mi", "2G", "1.5Gi")] == [16384, 512, 2048, 1536]
    assert [seconds(text) for text in ("3600s", "60m", "1h", "90")] == [3600, 3600, 3600, 90]


def test_a_container_is_as_large_as_the_spec_says_and_as_the_budget_asks_where_it_says_nothing(read, make):
    job = make("", cpus=2, memory_mib=3000, gpus=1, timeout_s=600.0)

    said, asked = read(EVOLYTHS).size(job), read("name: x").size(job)

    assert (said.cpu, said.memory, said.gpu, said.gpu_type, said.timeout_s) == ("4", "16Gi", 1, "nvidia-l4", 3600)
    assert (asked.cpu, asked.memory, asked.gpu, asked.gpu_type, asked.timeout_s) == ("4", "16Gi", 1, "nvidia-l4", 1500)
    assert read("name: x").size(make("", cpus=2, memory_mib=3000)).memory == "4024Mi"


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"gpus": 2}, "a trial asks for 2 GPUs, and cloud_run.gpu is 1"),
        ({"gpus": 1, "gpu_kind": "H100"}, "a trial asks for a GPU 'H100', and Cloud Run would give it nvidia-l4"),
        ({"memory_mib": 20_000}, "a trial may use 20,000 MiB, and cloud_run.memory is 16Gi"),
        ({"timeout_s": 3600.0}, "a trial may take 3600 s, and cloud_run.task_timeout is 3600 s"),
    ],
)
def test_a_trial_that_asks_for_more_than_the_spec_gives_is_refused_in_one_line(read, make, asked, message):
    with pytest.raises(UserError) as caught:
        read(EVOLYTHS).size(make("", **asked))

    assert caught.value.message.startswith(message)
    assert caught.value.hint
