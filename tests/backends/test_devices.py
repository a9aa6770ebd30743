"""Which GPUs a job has: of a driver that is a small C library here, asked through NVIDIA's own binding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evogit.backends import devices, patience
from evogit.domain.trial import Status
from evogit.errors import UserError
from evogit.testing import output, run

# The calls of NVML that are made, for three devices, as nvml.h declares them.
NVML = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
static const char *names[] = {"NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"};
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int r) { return "error"; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)(names + i); return i < 3 ? 0 : 2; }
int nvmlDeviceGetName(void *h, char *out, unsigned len) { strncpy(out, *(const char **)h, len); return 0; }
int nvmlDeviceGetMinorNumber(void *h, unsigned *n) { *n = 2 - (unsigned)((const char **)h - names); return 0; }
int nvmlDeviceGetUUID(void *h, char *out, unsigned len) { strncpy(out, "GPU-0", len); out[4] += (const char **)h - names; return 0; }
int nvmlDeviceGetMemoryInfo(void *h, memory_t *m) { m->total = 80ULL << 30; m->used = 1ULL << 30; m->free = m->total - m->used; return 0; }
"""


@pytest.fixture
def three(monkeypatch):
    """Two H100 and an A100, as `found` would give them; locks in a folder of this test's own."""
    here = [
        devices.Device("0", "NVIDIA H100 80GB HBM3", 81920),
        devices.Device("1", "NVIDIA H100 80GB HBM3", 81920),
        devices.Device("2", "NVIDIA A100", 40960),
    ]
    monkeypatch.setattr(devices, "found", lambda: here)
    return here


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))


def test_the_driver_says_which_devices_there_are(tmp_path):
    (tmp_path / "nvml.c").write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(tmp_path / "libnvidia-ml.so.1"), str(tmp_path / "nvml.c")], check=True)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    program = f"from evogit.backends import devices; devices.DEV = {str(tmp_path / 'dev')!r}; print([tuple(d) for d in devices.found()])"

    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    told = [
        subprocess.run([sys.executable, "-c", program], env={**env, **more}, capture_output=True, text=True, check=True).stdout.strip()
        for more in ({}, {"CUDA_VISIBLE_DEVICES": "2,0"}, {"CUDA_VISIBLE_DEVICES": ""})
    ]

    h100, a100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"
    dev = str(tmp_path / "dev")
    first, second, third = (
        (str(n), name, 81920, 1024, f"{dev}/nvidia{2 - n}", f"GPU-{n}") for n, name in enumerate((h100, h100, a100))
    )  # files are numbered otherwise than devices
    assert told[0] == str([first, second, third])
    assert told[1] == str([third, first])
    assert told[2] == "[]"


def test_a_driver_that_does_not_answer_leaves_the_device_files(tmp_path, monkeypatch):
    for name in ("nvidia0", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "DEV", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert [device.name for device in devices.found()] == ["0", "1"]


def test_jobs_side_by_side_see_different_devices_and_a_third_waits_for_one(backend, make, tmp_path, three):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    os.chmod(gate, 0o666)
    source = "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); open(sys.argv[1]).read()"
    jobs = [make(source, str(gate), gpus=1, gpu_kind="h100") for _ in range(2)]
    quick = make("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])", gpus=1, gpu_kind="H100")

    held = [backend.start(job) for job in jobs]
    told = [next(data for stream, data in backend.follow(handle) if stream == "stdout") for handle in held]
    third = backend.start(quick)
    waits = backend.wait([third], 0.5) == []
    with open(gate, "w"):
        pass
    backend.wait([third], None)

    assert {line.decode().strip() for line in told} == {"0", "1"}
    assert waits
    assert output(backend.collect(third)).strip() in {"0", "1"}


def test_a_job_that_waits_for_a_device_can_be_cancelled(backend, make, tmp_path, three):
    first = backend.start(make("import time; print('on', flush=True); time.sleep(60)", gpus=3))
    next(backend.follow(first))
    second = backend.start(make("pass", gpus=1))

    backend.cancel(second)
    ended = backend.wait([second], 30)
    backend.cancel(first)

    assert ended == [second]
    assert backend.collect(second).status is Status.CANCELLED
    assert backend.wait([first], 30) == [first]


def test_a_person_hears_of_a_job_that_waits_long_for_a_device_and_only_while_it_does(backend, make, three, monkeypatch, until):
    monkeypatch.setattr(patience, "TOLD_S", 0.0)
    monkeypatch.setattr(patience, "AGAIN_S", 0.0)
    first = backend.start(make("import time; print('on', flush=True); time.sleep(60)", gpus=3))
    next(backend.follow(first))
    second, told = backend.start(make("import time; print('on', flush=True); time.sleep(60)", gpus=1)), []

    until(lambda: told.extend(backend.news() if backend.wait([first, second], 0) == [] else []) or told)
    backend.cancel(first)
    next(backend.follow(second))
    backend.wait([second], 0)

    assert told == [("a trial has waited 0 min for a GPU of this machine", told[0][1])]
    assert f"fuser -v {devices.locks()}/*" in told[0][1]
    assert backend.news() == []
    backend.cancel(second)
    assert backend.wait([first], 30) == [first] and backend.wait([second], 30) == [second]


def test_a_device_is_free_again_once_the_supervisor_was_killed(backend, make, three):
    first = backend.start(make("import time; print('on', flush=True); time.sleep(60)", gpus=3))
    next(backend.follow(first))
    os.kill(int(os.readlink(Path(json.loads(first)["folder"], "claim")).split()[0]), 9)
    backend.wait([first], 30)
    backend.collect(first)

    assert run(backend, make("pass", gpus=3)).status is Status.OK


def test_more_devices_than_there_are_is_refused_before_the_job_begins(backend, make, three):
    with pytest.raises(UserError, match=r"asks for 3 x H100, and this machine has 3 \(NVIDIA H100 80GB HBM3, NVIDIA A100\)"):
        backend.start(make("pass", gpus=3, gpu_kind="H100"))


def test_a_folder_of_locks_that_is_a_link_is_not_used(tmp_path, three):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"evogit-gpus-{os.getuid()}").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PermissionError):
        devices.request(three, 1)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """`shown(level, names)`: CUDA_VISIBLE_DEVICES and the device files of a job that holds these of three known devices."""
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "DEV", str(tmp_path))
    files = {"0": "nvidia1", "1": "nvidia0", "2": "nvidia10"}
    here = [devices.Device(name, file=f"{tmp_path}/{file}", uuid=f"GPU-{name}") for name, file in files.items()]

    def shown(level: str, *names: str) -> tuple[str, list[str]]:
        every = sorted(str(path) for path in tmp_path.glob("nvidia*"))
        room = ["bwrap", "--dev", "/dev", *(word for path in every for word in (devices.DEV_BIND, path, path)), "--tmpfs", "/tmp"]
        told = {
            "devices": devices.request(here, len(names)), "env": {},
            "room": room if level == "bubblewrap" else [], "fence": {"terms": {"devices": every}} if level == "landlock" else {},
        }  # fmt: skip
        devices.give(told, names)
        if level == "bubblewrap":
            words = told["room"]
            assert [words[:3], words[-2:]] == [room[:3], room[-2:]]
            assert words[3:-2:3] == [devices.DEV_BIND] * (len(words[3:-2]) // 3) and words[4:-2:3] == words[5:-2:3]
            left = words[4:-2:3]
        else:
            left = told["fence"]["terms"]["devices"] if level == "landlock" else every
        return told["env"]["CUDA_VISIBLE_DEVICES"], [Path(path).name for path in left]

    return shown


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_in_a_sandbox_a_job_has_the_files_of_its_own_devices_alone(shown, level):
    assert shown(level, "1") == ("GPU-1", ["nvidia-uvm", "nvidia0", "nvidiactl"])
    assert shown(level, "2", "0") == ("GPU-2,GPU-0", ["nvidia-uvm", "nvidia1", "nvidia10", "nvidiactl"])


def test_without_one_they_are_named_and_nothing_is_kept_from_it(shown):
    assert shown("none", "1") == ("1", ["nvidia-uvm", "nvidia0", "nvidia1", "nvidia10", "nvidiactl"])


def test_a_part_of_a_gpu_that_has_no_file_keeps_none_from_its_job(tmp_path):
    told = {"devices": devices.request([devices.Device("MIG-7")], 1), "env": {}, "room": ["--dev-bind-try", "/dev/nvidia0"], "fence": {}}

    devices.give(told, ["MIG-7"])

    assert (told["env"]["CUDA_VISIBLE_DEVICES"], told["room"]) == ("MIG-7", ["--dev-bind-try", "/dev/nvidia0"])
