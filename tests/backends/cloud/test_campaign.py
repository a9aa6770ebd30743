"""A whole campaign with its trials on Cloud Run, killed and resumed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loopback_cloud import BUCKET, PROJECT, REGION
from toys import TOML, TRAIN, evogit, git, make_toy

TOP = Path(__file__).resolve().parents[3]
SPEC = f"""\
name: toy
project_id: {PROJECT}
region: {REGION}
bucket: ${{BUCKET_NAME}}
files: {{include: [train.py], required: [train.py]}}
"""


@pytest.fixture
def toy(tmp_path, cloud, monkeypatch, unheld):
    monkeypatch.setenv("BUCKET_NAME", BUCKET)
    toml = TOML.replace("[0, 1]", "[0]") + f'[backend.cloud-run]\nendpoint = "{cloud.url}"\npoll_s = 0.01\nenv = {{ PACE = "1" }}\n'
    train = TRAIN.replace("import random\n", "import random\nimport time\n").replace(
        'if __name__ == "__main__":\n', 'if __name__ == "__main__":\n    time.sleep(0.2 * float(os.environ["PACE"]))\n'
    )
    return make_toy(tmp_path / "toy", toml=toml, train=train, extra={"cloud_runner.yaml": SPEC})


def test_a_problem_that_requires_a_sandbox_is_told_that_none_is_known_there(toy, cloud):
    toml = toy / "evogit.toml"
    toml.write_text(toml.read_text() + '[sandbox]\nrequire = "bubblewrap"\n')
    git(toy, "commit", "-qam", "no trial without a sandbox")

    refused = evogit(toy, "loop", "--backend", "cloud-run", check=False)

    assert refused.returncode == 2
    assert "nothing is known to hold them there" in " ".join(refused.stderr.split())
    assert cloud.run.begun == []


def test_a_campaign_runs_on_cloud_run_and_goes_on_where_a_quota_or_a_kill_ended_it(toy, cloud, until):
    command = [sys.executable, "-m", "evogit.cli", "loop", "--backend", "cloud-run", "--max-runs", "2", "--workers", "2", "--seed", "3"]
    cloud.fail(":run", 429, "Quota exceeded for quota metric 'GPUs'", times=5)
    refused = evogit(toy, *command[3:], check=False)

    loop = subprocess.Popen([*command, "--cloud-env", "PACE=5"], cwd=toy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: cloud.run.begun, 60)
    os.kill(loop.pid, signal.SIGKILL)
    loop.wait()

    evogit(toy, *command[3:], timeout=240)

    assert refused.returncode == 3
    assert "over a quota: " in refused.stderr
    runs = [json.loads(line) for line in evogit(toy, "log", "--json").stdout.splitlines()]
    assert len(runs) >= 3
    assert runs[0]["verdict"] == "keep" and runs[0]["metrics"]["val_loss"]["n"] >= 1
    notes = git(toy, "notes", "--ref=evogit/metrics", "show", runs[0]["commit"])
    assert '"backend":"cloud-run"' in notes.replace(" ", "")
    trials = [json.loads(line) for line in notes.splitlines() if line.strip()]
    assert len({trial["id"] for trial in trials}) == len(trials)
    assert cloud.asked(":run") == 5 + len(cloud.run.begun)
    assert [name for name in cloud.storage.names(BUCKET, "evogit-trials/") if "/parcels/" in name or name.endswith("ticket.json")] == []


def test_any_command_runs_there_and_its_output_and_exit_code_come_back(toy, cloud):
    script = [sys.executable, str(TOP / "scripts/run_experiment.py"), "--backend", "cloud-run", "--no-sandbox"]
    command = ["python", "-c", "import train, sys; print('width', train.WIDTH); sys.exit(7)"]

    ran = subprocess.run([*script, "--", *command], cwd=toy, capture_output=True, text=True, check=False)

    assert (ran.stdout, ran.returncode) == ("width 8\n", 7), ran.stderr
    assert len(cloud.run.begun) == 1
