from __future__ import annotations

import pytest

from evogit.models import plain

GOOD = """\
Here is my change.

WRITE train.py
````
LR = 0.1
```not a fence of this block```
````

FINISH
```json
{"mutation_summary": "x"}
```
"""


def test_files_and_objects_are_read_from_fenced_blocks():
    write, finish = plain.uses_of(GOOD)

    assert (write.name, write.arguments) == ("write_file", {"path": "train.py", "text": "LR = 0.1\n```not a fence of this block```\n"})
    assert (finish.name, finish.arguments) == ("finish", {"mutation_summary": "x"})
    assert write.id != finish.id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would raise LR.",
        "```python\nLR = 1\n```",
        "WRITE train.py\n````\nLR = 1\n",
        "WRITE train.py\nLR = 1\n",
        "write train.py\n```\nx\n```\n",
    ],
)
def test_what_is_not_exactly_so_is_not_read(text):
    assert plain.uses_of(text) == ()


def test_a_block_that_is_no_json_says_so():
    (use,) = plain.uses_of("FINISH\n```\nnot json\n```\n")

    assert use.name == "finish" and "no JSON object" in use.fault
