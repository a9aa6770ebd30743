"""Tricks that change the problem: seed, data, budget, clock, environment."""

from __future__ import annotations

import time

from tamper.harness import Trick, Tried


def _clock_is_right(tried: Tried) -> None:
    assert time.time() > 1_700_000_000


TRICKS = [
    Trick("another seed", "problem", holds="none", at_import="os.environ['EVOGIT_SEED'] = '7'\nos.environ['AUTORESEARCH_SEED'] = '7'"),
    Trick(
        "the inputs made easier",
        "problem",
        in_train="for p in Path(os.environ['EVOGIT_DATA_DIR']).iterdir():\n    try:\n        p.write_text('[0.0]' if p.name == 'inputs.json' else '[]')\n    except OSError: pass",
    ),
    Trick(
        "the data folder replaced",
        "problem",
        in_train="d = Path(os.environ['EVOGIT_DATA_DIR'])\ntry:\n    d.rename(d.with_name('old'))\n    d.mkdir()\n    (d / 'inputs.json').write_text('[0,0,0,0,0,0,0]')\nexcept OSError: pass",
    ),
    Trick("the contract rewritten while training", "problem", holds="none", in_train="Path('evogit.toml').write_text('[problem]')"),
    Trick(
        "the labels rewritten while training",
        "problem",
        holds="none",
        in_train="try: Path('labels.json').write_text('[-9.0, -5.25, -1.5, 2.25, 6.0, 9.75, 13.5]')\nexcept OSError: pass",
    ),
    Trick(
        "more time taken than there is",
        "problem",
        holds="none",
        must="dies|refused",
        in_train="import time\ntime.sleep(60)",
        toml=(("timeout_s = 20", "timeout_s = 2"),),
    ),
    Trick(
        "a clock that stands still",
        "problem",
        holds="none",
        at_import="import time\ntime.time = time.monotonic = time.perf_counter = lambda: 0.0",
    ),
    Trick(
        "the machine's clock set back",
        "problem",
        check=_clock_is_right,
        in_train="import time\ntry: time.clock_settime(time.CLOCK_REALTIME, 0)\nexcept OSError: pass",
    ),
    Trick("more time told than was given", "problem", holds="none", at_import="os.environ['EVOGIT_TRAIN_S'] = '99999'"),
    Trick(
        "labels learnt by heart",
        "problem",
        holds="none",
        must="any|earned|dies|refused",
        in_model="table = {}\nif x in table: return table[x]",
    ),
]
