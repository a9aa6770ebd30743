from __future__ import annotations

from evogit.domain.options import resuming


def test_the_line_to_go_on_with_names_the_places_and_what_was_chosen_for_them():
    assert resuming("t1", "local") == "evogit loop --tag t1"
    chosen = {"ray": {"address": "ray://head:10001"}, "slurm": {"sbatch": "--mem=1G --qos=low"}, "modal": {"gpu": "H100"}}

    line = resuming("t1", "ray+slurm", chosen)

    assert line == (
        "evogit loop --tag t1 --backend ray --backend slurm --backend-option ray.address=ray://head:10001"
        " --backend-option 'slurm.sbatch=--mem=1G --qos=low'"
    )


def test_an_environment_is_not_said_in_the_line_to_go_on_with():
    line = resuming("t1", "cloud-run", {"cloud-run": {"spec": "cloud.yaml", "env": {"TOKEN": "secret"}}})

    assert line == "evogit loop --tag t1 --backend cloud-run --backend-option cloud-run.spec=cloud.yaml"
