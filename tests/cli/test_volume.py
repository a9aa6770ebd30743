"""`evogit frontier --hypervolume` on the fake lab."""

from __future__ import annotations

import json
from types import SimpleNamespace

STEPS = [SimpleNamespace(run=str(n), seq=n, volume=v) for n, v in enumerate([0.0, 0.0, 0.25, 0.25, 0.5])]


def test_the_volume_is_told_where_it_grew(invoke, lab):
    lab.hypervolume = lambda over: STEPS if over == ("params", "val_loss") else []

    printed = invoke("frontier", "--hypervolume", "--over", "params,val_loss").stdout

    assert [line.split()[0] for line in printed.splitlines()[1:4]] == ["0", "2", "4"]
    assert "0.5000 of the room from worst to best is covered after 5 runs (params, val_loss)" in printed


def test_the_volume_as_json_is_one_object_a_run(invoke, lab):
    lab.hypervolume = lambda over: STEPS

    lines = invoke("frontier", "--hypervolume", "--json").stdout.splitlines()

    assert [json.loads(line) for line in lines][2] == {"run": "2", "seq": 2, "hypervolume": 0.25}


def test_a_campaign_without_numbers_has_no_volume(invoke, lab):
    lab.hypervolume = lambda over: []

    done = invoke("frontier", "--hypervolume")

    assert done.stdout == ""
    assert "no run has all these numbers yet" in done.stderr
