from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evogit.errors import ProblemError
from evogit.problem import load_from

MINIMAL = """
[problem]
mutable = ["train.py"]
command = "python train.py"
[[metric]]
name = "val_loss"
direction = "minimize"
"""


class Memory:
    def __init__(self, **files: str | bytes) -> None:
        self.files = {"train.py": b"", "evaluate.py": b"", **{k: v.encode() if isinstance(v, str) else v for k, v in files.items()}}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def listing(self) -> list[str]:
        return sorted(self.files)


def parsed(text: str | bytes, **files: str | bytes):
    return load_from(Memory(**{"evogit.toml": text, **files}), "", top_name="lab")


def refused(text: str | bytes) -> ProblemError:
    with pytest.raises(ProblemError) as error:
        parsed(text)
    assert "\n" not in error.value.message
    assert error.value.hint
    return error.value


def test_a_minimal_contract_gets_the_defaults():
    problem = parsed(MINIMAL, **{"README.md": "goal"})

    assert (problem.name, problem.folder, problem.layout, problem.goal) == ("lab", "", "evogit", "README.md")
    assert problem.mutable == ("train.py",)
    assert problem.budget.seeds == (0,)
    assert problem.budget.timeout_s == 600
    assert problem.evaluate is None
    assert problem.primary.name == "val_loss"


def test_every_section_of_the_contract_is_read():
    problem = parsed(
        """
[problem]
name = "digits"
mutable = ["train.py", "src/**"]
command = "python train.py"
smoke = "python train.py --smoke"
requires = ["evaluate("]
frontier = ["params"]
append = ["--id", "{run_id}"]
metrics_file = "out/{run_id}.json"
[evaluate]
predict = "python train.py --predict"
command = "python evaluate.py"
[[metric]]
name = "val_loss"
direction = "minimize"
min_delta = 0.01
[[metric]]
name = "params"
direction = "maximize"
[budget]
train_s = 20
timeout_s = 120
memory_mib = 4096
cpus = 2
gpus = 1
seeds = [0, 1, 2]
usd_per_hour = 1.5
[data]
url = "https://example.org/x"
sha256 = "%s"
[sandbox]
network = true
require = "bubblewrap"
hide = ["labels/**"]
env = ["HF_HOME"]
[decide]
rule = "confirm"
accept = 0.9
simplicity = false
[search]
policy = "bandit"
floor = 0.1
strategy = "x"
[holdout]
command = "python evaluate.py --held"
data = "/held"
[backend.slurm]
partition = "gpu"
retries = 3
[prices."model-1"]
input = 3
output = 15.0
"""
        % ("ab" * 32)
    )

    assert problem.budget.seeds == (0, 1, 2)
    assert problem.budget.gpus == 1
    assert [m.name for m in problem.objectives] == ["params"]
    assert problem.metrics[0].min_delta == 0.01
    assert problem.evaluate.predict == "python train.py --predict"
    assert problem.sandbox.env == ("HF_HOME",)
    assert problem.backend == {"slurm": {"partition": "gpu", "retries": 3}}
    assert problem.prices["model-1"].input == 3.0
    assert problem.holdout.data == "/held"
    assert problem.metrics_file == "out/{run_id}.json"


CASES = [
    ("name = 1\n" + MINIMAL, "name", "under [problem]"),
    (MINIMAL.replace("mutable", "mutabel"), "problem.mutabel", "did you mean mutable"),
    (MINIMAL + "[budgt]\n", "budgt", "did you mean budget"),
    (MINIMAL + "min_detla = 1\n", "metric[0].min_detla", "did you mean min_delta"),
    (MINIMAL + '[prices."a b"]\ninput = 1\noutptu = 2\n', 'prices."a b".outptu', "output"),
    (MINIMAL + '[prices.m]\ninput = "1"\noutput = 2\n', 'prices."m".input', "a number"),
    (MINIMAL + "[prices]\nm = 3\n", 'prices."m"', "a table"),
    (MINIMAL + "[backend]\nslurm = 3\n", 'backend."slurm"', "a table"),
    (MINIMAL.replace('"minimize"', '"minimise"'), "metric[0].direction", "did you mean minimize"),
    (MINIMAL.replace('"minimize"', "3"), "metric[0].direction", "text"),
    (MINIMAL.replace('direction = "minimize"', ""), "metric[0].direction", "[[metric]]"),
    (MINIMAL.replace('name = "val_loss"', "name = 3"), "metric[0].name", "text"),
    (MINIMAL.replace("[[metric]]", "[metric]"), "metric", "[[metric]]"),
    (MINIMAL.replace('["train.py"]', '"train.py"'), "problem.mutable", "a list"),
    (MINIMAL.replace('["train.py"]', "[1]"), "problem.mutable[0]", "text"),
    (MINIMAL.replace('["train.py"]', "[]"), "problem.mutable", "train.py"),
    (MINIMAL.replace('["train.py"]', '["/abs.py"]'), "problem.mutable[0]", "relative"),
    (MINIMAL.replace('["train.py"]', '["../x.py"]'), "problem.mutable[0]", "down"),
    (MINIMAL.replace('["train.py"]', '["trian.py"]'), "problem.mutable[0]", "did you mean train.py"),
    (MINIMAL.replace('["train.py"]', '["evogit.toml"]'), "problem.mutable[0]", "frozen"),
    (MINIMAL.replace('["train.py"]', '["evaluate.py"]') + '[evaluate]\ncommand = "python evaluate.py"\n', "problem.mutable[0]", "frozen"),
    (MINIMAL.replace('mutable = ["train.py"]\n', ""), "problem.mutable", "[problem]"),
    (MINIMAL.replace('"python train.py"', '""'), "problem.command", "python train.py"),
    (MINIMAL.replace('"python train.py"', '"python trian.py"'), "problem.command", "did you mean train.py"),
    (MINIMAL.replace('"python train.py"', '"python \'train.py"'), "problem.command", "close the quotation"),
    (MINIMAL.replace("command", 'goal = "gaol.md"\ncommand'), "problem.goal", "known here"),
    (MINIMAL.replace("command", 'goal = "/etc/passwd"\ncommand'), "problem.goal", "relative"),
    (MINIMAL.replace("command", 'smoke = "python smok.py"\ncommand'), "problem.smoke", "known here"),
    (MINIMAL.replace("command", 'frontier = ["val_los"]\ncommand'), "problem.frontier[0]", "did you mean val_loss"),
    (MINIMAL.replace("command", 'name = "a\\nb"\ncommand'), "problem.name", "digits"),
    ("[problem]\nmutable = ['train.py']\ncommand = 'true'\n", "metric", "[[metric]]"),
    ("", "problem", "[problem]"),
    (MINIMAL + MINIMAL.split("python train.py")[1][2:], "metric[1].name", "own name"),
    (MINIMAL + "min_delta = -1\n", "metric[0].min_delta", "0.0 or more"),
    (MINIMAL + "min_delta = nan\n", "metric[0].min_delta", "0.0 or more"),
    (MINIMAL + "min_delta = inf\n", "metric[0].min_delta", "0.0 or more"),
    (MINIMAL.replace('"val_loss"', '"val loss"'), "metric[0].name", "without spaces"),
    (MINIMAL.replace('"val_loss"', '""'), "metric[0].name", "characters"),
    (MINIMAL + "[budget]\nseeds = []\n", "budget.seeds", "[0, 1, 2]"),
    (MINIMAL + "[budget]\nseeds = [1, 1]\n", "budget.seeds", "once"),
    (MINIMAL + "[budget]\nseeds = [-1]\n", "budget.seeds", "0 to"),
    (MINIMAL + '[budget]\nseeds = [0, "1"]\n', "budget.seeds[1]", "a whole number"),
    (MINIMAL + "[budget]\nseeds = 3\n", "budget.seeds", "a list"),
    (MINIMAL + "[budget]\ntimeout_s = 0\n", "budget.timeout_s", "more than 0"),
    (MINIMAL + "[budget]\ntimeout_s = nan\n", "budget.timeout_s", "more than 0"),
    (MINIMAL + '[budget]\ntimeout_s = "2m"\n', "budget.timeout_s", "a number"),
    (MINIMAL + "[budget]\ntimeout_s = true\n", "budget.timeout_s", "a number"),
    (MINIMAL + "[budget]\ncpus = 0\n", "budget.cpus", "1 or more"),
    (MINIMAL + "[budget]\ncpus = 1.5\n", "budget.cpus", "a whole number"),
    (MINIMAL + f"[budget]\nmemory_mib = 1{'0' * 400}\n", "budget.memory_mib", ""),
    (MINIMAL + f"[budget]\ntimeout_s = 1{'0' * 400}\n", "budget.timeout_s", ""),
    (MINIMAL + f"[budget]\ncpus = 1{'0' * 400}\n", "budget.cpus", ""),
    (MINIMAL + f"[budget]\ncpus = 1{'0' * 5000}\n", "not TOML", ""),
    (MINIMAL + "[budget]\ngpus = -1\n", "budget.gpus", "more than 0"),
    (MINIMAL + "[budget]\ntrain_s = 700\n", "budget.train_s", "timeout_s"),
    (MINIMAL + "[evaluate]\npredict = 'x'\n", "evaluate.command", "[evaluate]"),
    (MINIMAL + "[evaluate]\ncommand = ' '\n", "evaluate.command", "scores"),
    (MINIMAL + "[holdout]\ncommand = ''\n", "holdout.command", "held-out"),
    (MINIMAL + "[holdout]\ncommand = 'x'\ndata = 'here'\n", "holdout.data", "/ or ~"),
    (MINIMAL + "[holdout]\ncommand = 'x'\ndata = '/a'\nprepare = 'y'\n", "holdout:", "keep one"),
    (MINIMAL + "[data]\nurl = 'https://x'\n", "data.sha256", "sha256sum"),
    (MINIMAL + "[data]\nurl = 'https://x'\nsha256 = 'abc'\n", "data.sha256", "64"),
    (MINIMAL + "[data]\npath = 'x'\nprepare = 'y'\n", "data", "one of"),
    (MINIMAL + "[data]\nsha256 = 'x'\n", "data.sha256", "url"),
    (MINIMAL + f"[data]\nurl = 'x y'\nsha256 = '{'a' * 64}'\n", "data.url", "https"),
    (MINIMAL + "[sandbox]\nrequire = 'jail'\n", "sandbox.require", "bubblewrap"),
    (MINIMAL + "[sandbox]\nenv = ['A=1']\n", "sandbox.env[0]", "HF_HOME"),
    (MINIMAL + "[decide]\naccept = nan\n", "decide.accept", "number"),
    (MINIMAL + "budget = 3\n[x]\n", "", ""),
    ("budget = 3\n" + MINIMAL, "budget", "a table"),
    ("[problem\n", "not TOML", "quotes"),
    ("a = 1\na = 2\n", "not TOML", "quotes"),
    ("a = " + "[" * 100_000, "evogit.toml", ""),
    (b"\xff\xfe", "UTF-8", "UTF-8"),
    (MINIMAL.replace("train.py", "tra\\u0000in.py"), "problem.mutable[0]", ""),
    (b"#" * (1 << 20) + b"\n", "bytes", "page"),
]


@pytest.mark.parametrize(("text", "key", "fix"), CASES, ids=range(len(CASES)))
def test_a_broken_contract_is_one_line_with_file_key_and_fix(text, key, fix):
    error = refused(text)

    assert error.message.startswith("evogit.toml")
    assert key in error.message
    assert fix in error.hint


SNIPPETS = st.sampled_from(
    ["[problem]", "[[metric]]", "[budget]", "name", "=", '"x"', "1", "nan", "[", "]", "\n", "mutable", "seeds", "é", "\\", "'''"]
)


@given(st.lists(SNIPPETS, max_size=25).map("".join) | st.text(max_size=60))
def test_no_text_gets_another_error_than_a_problem_error(text):
    try:
        problem = parsed(text)
    except ProblemError as error:
        assert error.hint
        assert "\n" not in error.message
    else:
        assert problem.metrics


def test_every_key_of_the_contract_is_in_the_documentation():
    import msgspec

    from evogit.problem import contract

    page = (Path(__file__).parents[2] / "docs" / "problem.md").read_text(encoding="utf-8")
    missing = [
        f"{section}.{key}" for section, kind in contract._SECTIONS.items() for key in kind.__struct_fields__ if f"`{key}`" not in page
    ] + [key for key in contract._Contract.__struct_fields__ if f"[{key}" not in page]

    assert not missing
    assert contract._SECTIONS.keys() | {"backend", "prices"} == {f.name for f in msgspec.structs.fields(contract._Contract)}


SECOND = '[[metric]]\nname = "params"\ndirection = "minimize"\n'


@pytest.mark.parametrize(
    ("objective", "more"),
    [("primary", ""), ("lexicographic", ""), ("weighted", ""), ("weighted", "weights = { params = 1 }\n")],
)
def test_the_rule_pareto_beside_another_objective_is_refused_with_both_ways_out(objective, more):
    error = refused(MINIMAL + SECOND + f'[decide]\nrule = "pareto"\nobjective = "{objective}"\n{more}')

    assert error.message == f'evogit.toml: decide.rule: "pareto" and objective = "{objective}" contradict each other'
    assert "remove one of them" in error.hint
    assert objective in error.hint


@pytest.mark.parametrize("more", ["", 'objective = "pareto"\n'])
def test_the_rule_pareto_stands_alone_or_beside_its_objective(more):
    assert parsed(MINIMAL + SECOND + f'[decide]\nrule = "pareto"\n{more}').decide.rule == "pareto"


@pytest.mark.parametrize("rule", ["posterior", "greedy", "confirm"])
@pytest.mark.parametrize("objective", ["lexicographic", "pareto"])
def test_every_other_rule_goes_with_every_objective(rule, objective):
    assert parsed(MINIMAL + SECOND + f'[decide]\nrule = "{rule}"\nobjective = "{objective}"\n').decide.objective == objective
