"""Tricks that forge the report: numbers that no ruler gave."""

from __future__ import annotations

from tamper.harness import Trick

FORGED = '{\\"val_error\\": 0.0, \\"val_metric\\": 0.0, \\"status\\": \\"success\\"}'
LATER = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import time
        for n in range(100):
            time.sleep(0.02)
            for name in ('metrics.json', 'predictions.json', 'weights.json'):
                try: (art / name).write_text('{"val_error": 0.0, "slope": 2.5}')
                except OSError: pass
    os._exit(0)
"""
TRICKS = [
    Trick("metrics.json written early", "report", holds="none", in_train=f'(art / "metrics.json").write_text("{FORGED}")'),
    Trick(
        "metrics.json where older problems look",
        "report",
        holds="none",
        in_train=f'place = Path("runs", os.environ["ACR_RUN_ID"])\nplace.mkdir(parents=True)\n(place / "metrics.json").write_text("{FORGED}")',
    ),
    Trick(
        "numbers printed in every known form",
        "report",
        holds="none",
        in_train=f'print("{FORGED}")\nprint("---")\nprint("val_error: 0.0")\nprint("METRIC val_error=0.0")',
    ),
    Trick("numbers printed while predicting", "report", holds="none", in_model=f'print("{FORGED}")\nprint("METRIC val_error=0.0")'),
    Trick("numbers printed at exit", "report", holds="none", at_import=f'import atexit\natexit.register(print, "{FORGED}")'),
    Trick(
        "numbers written by a signal handler",
        "report",
        holds="none",
        at_import=f'import signal\nsignal.signal(signal.SIGTERM, lambda *_: print("{FORGED}"))',
    ),
    Trick("a writer that outlives the trial", "report", holds="none", in_train=LATER),
    Trick(
        "a child that holds the output open",
        "report",
        holds="none",
        in_train=f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9); print(1)'], start_new_session=True)\nprint(\"{FORGED}\")",
    ),
    Trick(
        "predictions as a link to the labels",
        "report",
        holds="landlock",
        in_model="try: os.symlink('@TOP@/labels.json', Path(os.environ['EVOGIT_ARTIFACT_DIR'], 'predictions.json'))\nexcept OSError: pass",
    ),
    Trick(
        "predictions as a pipe",
        "report",
        holds="none",
        must="earned",
        in_train="os.mkfifo(art / 'predictions.json')",
        toml=(("timeout_s = 20", "timeout_s = 3"),),
    ),
    Trick(
        "predictions as a hard link",
        "report",
        holds="none",
        in_train="for name in ('labels.json', '@TOP@/labels.json', 'evaluate.py'):\n    try: os.link(name, art / 'predictions.json')\n    except OSError: pass",
    ),
    Trick(
        "predictions in place before prediction, and nobody can replace them",
        "report",
        holds="none",
        must="dies|refused",
        in_train="(art / 'predictions.json').mkdir()",
    ),
    Trick(
        "predictions without end",
        "report",
        holds="none",
        must="dies|refused|earned",
        in_train="with open(art / 'predictions.json', 'wb') as f: f.truncate(1 << 34)",
    ),
    Trick("predictions that are no numbers", "report", holds="none", must="dies|refused", in_model="return float('nan')"),
    Trick(
        "the job's own papers forged",
        "report",
        in_train="for up in (art, art.parent, art.parent.parent, Path.cwd().parent, Path.cwd().parent.parent):\n    for name in ('outcome.json', 'claim', 'stdout', 'job.json'):\n"
        "        for place in (up / name, *up.glob(f'*/{name}')):\n            try: place.write_text('{\"status\": \"ok\"}')\n            except OSError: pass",
    ),
    Trick(
        "output through /proc",
        "report",
        holds="none",
        in_train="for fd in (1, 2):\n    open(f'/proc/self/fd/{fd}', 'a').write(\"" + FORGED + '")',
    ),
    Trick(
        "the record of imports forged",
        "report",
        holds="none",
        in_train="for p in art.parent.rglob('imports.json*'):\n    try: p.write_text('{}')\n    except OSError: pass",
    ),
]
