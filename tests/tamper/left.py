"""Tricks that leave something for the host to trip over when it takes in what a job left: links, names, holes, floods."""

from __future__ import annotations

from tamper.harness import Trick, Tried
from tamper.host import CANARY


def _quick(tried: Tried) -> None:
    assert tried.seconds < 100


def _nothing_written(tried: Tried) -> None:
    assert (tried.home / "secret.txt").read_text() == CANARY
    assert (tried.home / "secret.txt").stat().st_mode & 0o200
    assert sorted(path.name for path in (tried.home / "host").iterdir()) == ["metrics.json"]


SHARED = "(art / 'forged').write_text('owned')\nfor n in range(12): os.link(art / 'forged', art / f'n{n}')\n"
TRICKS = [
    Trick(
        "a link where a copy is made",
        "left",
        holds="none",
        must="earned",
        check=_nothing_written,
        in_train=SHARED + "for n in range(12):\n    for name in (f'.n{n}.evogit', f'.n{n}.tmp', 'draft'):\n"
        "        if not os.path.lexists(art / name): os.symlink('@HOME@/secret.txt', art / name)",
    ),
    Trick(
        "a folder where a copy is made",
        "left",
        holds="none",
        must="earned",
        in_train=SHARED + "for n in range(12): (art / f'.n{n}.evogit').mkdir()",
    ),
    Trick(
        "shared files with the longest names of several bytes a letter",
        "left",
        holds="none",
        must="earned",
        in_train="(art / 'x').write_text('x')\nfor n in 'abc': os.link(art / 'x', art / (n + chr(233) * 127))",
    ),
    Trick(
        "holes under several names",
        "left",
        holds="none",
        must="earned",
        check=_quick,
        in_train="with open(art / 'big', 'wb') as f: f.truncate(1 << 38)\nfor n in range(5): os.link(art / 'big', art / f'big{n}')",
    ),
    Trick(
        "holes in its own source",
        "left",
        holds="none",
        must="earned",
        check=_quick,
        in_train="with open('train.py', 'r+b') as f: f.truncate(1 << 38)",
    ),
    Trick(
        "holes to be hashed",
        "left",
        holds="none",
        must="earned",
        check=_quick,
        in_train="for n in range(400):\n    with open(art / f'{n}', 'wb') as f: f.truncate(1 << 26)",
    ),
    Trick(
        "a folder of results that leads to the host's",
        "left",
        holds="none",
        must="earned",
        check=_nothing_written,
        in_train="os.makedirs('runs', exist_ok=True)\nfor n in range(9): os.symlink('@HOME@/host', f'runs/run_{n:06d}')",
    ),
    Trick(
        "a trash that leads to the host's",
        "left",
        holds="none",
        must="earned",
        check=_nothing_written,
        in_train="here = os.getcwd()\nos.chdir(art)\nfor n in range(1700):\n    os.symlink('@HOME@/host', '.trash'); os.mkdir('d'); os.chdir('d')\n"
        "os.chdir(here)",
    ),
    Trick(
        "names of any bytes",
        "left",
        holds="none",
        must="earned",
        in_train="for top in (art, Path.cwd()):\n    for name in (b'\\xff', b'\\xc3.py', b'new\\nline', b'\\x1b[2J'):\n"
        "        with open(os.path.join(os.fsencode(top), name), 'wb') as f: f.write(bytes(9))",
    ),
    Trick(
        "a flood of records of imports",
        "left",
        holds="none",
        must="earned",
        check=_quick,
        in_train="record, n = os.environ['EVOGIT_IMPORTS_FILE'], 0\nfor file in range(30):\n    with open(f'{record}.9{file}', 'w') as f:\n"
        "        f.write('{' + ','.join('\"/%x\":\"\"' % i for i in range(file * 100000, file * 100000 + 100000)) + '}')",
    ),
    Trick(
        "a record of imports that no word can be made of",
        "left",
        holds="none",
        must="dies",
        in_train="with open(os.environ['EVOGIT_IMPORTS_FILE'] + '.9', 'w') as f: f.write('{\"/' + chr(92) + 'ud800\": \"\"}')",
    ),
]
