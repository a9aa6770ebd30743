"""Tricks that do harm: memory, processes, disk, output."""

from __future__ import annotations

from tamper.harness import Trick, Tried


def _few_left(tried: Tried) -> None:
    assert tried.seconds < 120


TRICKS = [
    Trick(
        "forks without end",
        "harm",
        must="dies|refused|earned",
        check=_few_left,
        in_train="import time\nchildren = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            while True:\n                try: os.fork()\n                except OSError: time.sleep(0.01)\nexcept OSError: time.sleep(30)",
        toml=(("timeout_s = 20", "timeout_s = 8"),),
    ),
    Trick(
        "memory without end", "harm", holds="none", must="dies|refused", in_train="hoard = []\nwhile True: hoard.append(bytearray(1 << 24))"
    ),
    Trick(
        "memory in many processes",
        "harm",
        holds="none",
        must="dies|refused",
        in_train="import time\nfor n in range(16):\n    if os.fork() == 0:\n        hoard = bytearray(b'x') * (96 << 20)\n        time.sleep(30)\ntime.sleep(30)",
    ),
    Trick(
        "shared memory without end",
        "harm",
        must="dies|refused|earned",
        in_train="try:\n    with open('/dev/shm/hoard', 'wb') as f:\n        while True: f.write(bytes(1 << 22))\nexcept OSError: pass\ntry:\n    with open('/tmp/hoard', 'wb') as f:\n        for n in range(2000): f.write(bytes(1 << 22))\nexcept OSError: pass",
    ),
    Trick(
        "output without end",
        "harm",
        holds="none",
        must="earned|dies|refused",
        in_train="line = 'x' * 999 + '\\n'\nimport sys\nfor n in range(300000): sys.stdout.write(line)",
    ),
    Trick(
        "output in one line",
        "harm",
        holds="none",
        must="earned|dies|refused",
        in_train="import sys\nfor n in range(20000): sys.stdout.write('y' * 4000)",
    ),
    Trick(
        "files without end",
        "harm",
        holds="none",
        must="earned|dies|refused",
        check=_few_left,
        in_train="(art / 'many').mkdir()\nfor n in range(50000): os.close(os.open(f'{art}/many/{n}', os.O_CREAT | os.O_WRONLY))",
    ),
    Trick(
        "folders without a floor",
        "harm",
        holds="none",
        must="earned|dies|refused",
        in_train="here = os.getcwd()\nos.chdir(art)\ntry:\n    for n in range(3000):\n        os.mkdir('d'); os.chdir('d')\nexcept OSError: pass\nos.chdir(here)",
    ),
    Trick(
        "locked folders",
        "harm",
        holds="none",
        must="earned|dies|refused",
        in_train="for top in (art, Path.cwd(), Path(os.environ['HOME'])):\n    (top / 'locked').mkdir()\n    (top / 'locked' / 'file').write_text('x')\n    os.chmod(top / 'locked', 0)",
    ),
    Trick(
        "everything deleted",
        "harm",
        holds="none",
        must="dies|refused",
        in_train="import shutil\nfor top in ('/', str(Path.cwd()), os.environ['HOME'], os.environ['EVOGIT_ARTIFACT_DIR']):\n    if top != '/' or os.getuid() != 0: shutil.rmtree(top, ignore_errors=True)",
    ),
    Trick(
        "every descriptor",
        "harm",
        holds="none",
        must="earned|dies|refused",
        in_train="held = []\ntry:\n    while True: held.append(open('/dev/null'))\nexcept OSError: pass\nfor f in held: f.close()",
    ),
    Trick(
        "a crash with a core",
        "harm",
        holds="none",
        must="dies|refused",
        in_train="import resource\ntry: resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))\nexcept (ValueError, OSError): pass\nos.abort()",
    ),
]
