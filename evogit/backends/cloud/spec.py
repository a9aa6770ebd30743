"""What `cloud_runner.yaml` says, as nouns: where trials run, in which image, in containers of what size, with which data.

The format is Evolyth's, so a file that was written for it is taken as it is. Files are read by `reading`; this module asks nothing.
"""

from __future__ import annotations

import re

import msgspec

from evogit.domain.trial import Job
from evogit.errors import UserError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
MODES = ("auto", "prefix", "object", "download", "mount", "none")
UNPACKING = {"auto": True, "true": True, "yes": True, "always": True, "false": False, "no": False, "never": False, "none": False}
GPU_LEAST = {"nvidia-l4": ("4", "16Gi"), "nvidia-rtx-pro-6000": ("20", "80Gi")}  # CPUs and memory that Cloud Run asks for beside one
GPU_DEFAULT = "nvidia-l4"
MARGIN_S = 60  # of a task's time, for fetching before a trial and uploading after it
ROOM_S = 900  # the same where the spec names no task_timeout: an image is pulled, a data set fetched
ROOM_MIB = 1024  # of a container's memory beside the trial's: its files live there too
LONGEST_S = 24 * 3600


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """The image that containers are made of: a whole reference, or a name and tag in the project's own registry."""

    uri: str = ""
    name: str = ""
    tag: str = "latest"


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """What the image is built from. No base image: somebody else builds it."""

    base_image: str = ""
    requirements: str = ""  # path beside the spec
    apt_packages: tuple[str, ...] = ()
    extra_pip: tuple[str, ...] = ()


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Which files of the problem's folder travel; all of them where `include` is empty."""

    include: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hashes: dict[str, str] = {}  # path -> sha256, with or without "sha256:" before it


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where source bundles lie."""

    gcs_prefix: str = ""


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is started elsewhere. Trials run the problem's own command; `workdir` is another name for its folder."""

    command: tuple[str, ...] = ()
    entrypoint: str = ""
    workdir: str = "/workspace/app"
    base_image: str = ""  # these four are read as parts of `build` where that lacks them
    requirements: str = ""
    apt_packages: tuple[str, ...] = ()
    extra_pip: tuple[str, ...] = ()


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Data that containers fetch, or have mounted, before a trial begins."""

    uri: str = ""
    container_dir: str = "/workspace/dataset"
    mode: str = "auto"  # one of MODES
    unpack: str = "auto"  # one of UNPACKING

    @property
    def way(self) -> str:
        """ "object", "prefix", "mount" or "none": what `mode` comes to for this URI."""
        if self.mode in ("auto", "download"):
            return "object" if self.uri.lower().endswith(ARCHIVES) else "prefix"
        return self.mode


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """Size of a container. What is None or "" follows from the problem's budget."""

    gpu: int | None = None
    gpu_type: str = ""
    cpu: str = ""
    memory: str = ""
    tasks: int = 1
    parallelism: int = 1
    max_retries: int = 0  # accepted; a trial that was lost is tried again by the loop, which counts
    task_timeout: str = ""


class Artifacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where a trial's outputs go. `container_dir` is another name for its artifact folder."""

    container_dir: str = "/workspace/artifacts"
    gcs_prefix: str = ""
    local_dir: str = ""  # accepted; evogit keeps outputs where it keeps those of every trial


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What one container gets."""

    cpu: str
    memory: str
    gpu: int
    gpu_type: str  # "" without a GPU
    timeout_s: int


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One cloud_runner.yaml, its defaults filled in."""

    name: str
    project_id: str
    region: str
    bucket: str
    artifact_repo: str = "evogit"
    service_account: str = ""
    image: Image = Image()
    build: Build = Build()
    files: Files = Files()
    source: Source = Source()
    runtime: Runtime = Runtime()
    dataset: Dataset | None = None
    cloud_run: Container = Container()
    artifacts: Artifacts = Artifacts()
    env: dict[str, str] = {}

    @property
    def parent(self) -> str:
        """Cloud Run's name of the place."""
        return f"projects/{self.project_id}/locations/{self.region}"

    def size(self, job: Job) -> Size:
        """The container for a job: what the spec says, and what the budget asks for where it says nothing.

        Raises UserError where the job asks for more than the spec gives it.
        """
        asked = self.cloud_run
        gpu = job.gpus if asked.gpu is None else asked.gpu
        kind = (asked.gpu_type or _named(job.gpu_kind)) if gpu else ""
        if job.gpus > gpu:
            raise UserError(f"a trial asks for {job.gpus} GPUs, and cloud_run.gpu is {gpu}", hint="change [budget] gpus or cloud_run.gpu")
        if gpu and job.gpu_kind and _plain(job.gpu_kind) not in _plain(kind):
            raise UserError(
                f"a trial asks for a GPU {job.gpu_kind!r}, and Cloud Run would give it {kind}",
                hint=f"its kinds are {', '.join(GPU_LEAST)}: see [budget] gpu_kind and cloud_run.gpu_type",
            )
        cpu, memory = GPU_LEAST.get(kind, ("1", "2Gi"))
        memory = asked.memory or max(memory, f"{job.memory_mib + ROOM_MIB}Mi", key=mebibytes)
        if job.memory_mib > mebibytes(memory):
            raise UserError(
                f"a trial may use {job.memory_mib:,} MiB, and cloud_run.memory is {memory}", hint="raise it, or lower [budget] memory_mib"
            )
        cpu = asked.cpu or max(cpu, str(job.cpus), key=float)
        return Size(cpu=cpu, memory=memory, gpu=gpu, gpu_type=kind, timeout_s=self._timeout_s(job))

    def _timeout_s(self, job: Job) -> int:
        """Seconds of a task: those of the spec, which the trial's own must fit into, else the trial's and room around them."""
        if not self.cloud_run.task_timeout:
            return int(min(job.timeout_s + ROOM_S, LONGEST_S)) if job.timeout_s else LONGEST_S
        limit = seconds(self.cloud_run.task_timeout)
        if job.timeout_s > limit - MARGIN_S:
            raise UserError(
                f"a trial may take {job.timeout_s:g} s, and cloud_run.task_timeout is {limit} s, of which {MARGIN_S} s are for transfers",
                hint="raise it, or lower [budget] timeout_s",
            )
        return limit


def mebibytes(text: str) -> int:
    """Memory as Cloud Run writes it ("16Gi", "512Mi", "2G"), in MiB. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG])i?B?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is no amount of memory")
    return int(float(found[1]) * {"K": 1 / 1024, "M": 1, "G": 1024}[found[2].upper()])


def seconds(text: str) -> int:
    """A duration ("3600s", "60m", "1h", "3600") in seconds. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is no duration")
    return int(float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2].lower()])


def _named(kind: str) -> str:
    """Cloud Run's name of a GPU that is called `kind` elsewhere; the kind itself where it has none, for it to refuse."""
    if not kind:
        return GPU_DEFAULT
    return next((name for name in GPU_LEAST if _plain(kind) in _plain(name)), kind)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
