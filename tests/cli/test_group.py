from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from evogit import registry
from evogit.cli.group import COMMANDS, SECTIONS, evogit
from evogit.cli.invocation import Invocation
from evogit.errors import BackendDown, RepositoryError, UnknownName, WorkFailed


def failing(fault: BaseException):
    def open_lab(*_: object, **__: object):
        raise fault

    return open_lab


def call(fault: BaseException, *args: str):
    return CliRunner().invoke(evogit, list(args), obj=Invocation(open_lab=failing(fault)), prog_name="evogit")


def python(code: str, *args: str, **more):
    return subprocess.run([sys.executable, "-c", code, *args], check=False, capture_output=True, text=True, timeout=60, **more)


COMMAND_LINE = "from evogit.cli import main; main()"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_one_line_help_of_the_group_is_the_commands_own(name):
    from importlib import import_module

    import_module(COMMANDS[name].partition(":")[0])
    command = evogit.get_command(None, name)
    listed = next(section[name] for section in SECTIONS.values() if name in section)

    assert command.name == name
    assert (command.help or "").splitlines()[0] == listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_each_option(name):
    command = evogit.get_command(None, name)

    assert all(p.help for p in command.params if p.param_type_name == "option")
    assert call(RepositoryError("no"), name, "--help").exit_code == 0


@pytest.mark.parametrize("name", ["log", "show", "diff", "leaderboard", "frontier", "lineage", "status", "doctor", "loop", "run", "start"])
def test_every_command_that_reads_prints_json_when_asked(name):
    assert "--json" in {option for p in evogit.get_command(None, name).params for option in p.opts}


@pytest.mark.parametrize(
    "fault, code", [(RepositoryError("a", hint="b"), 2), (WorkFailed("a", hint="b"), 1), (BackendDown("a", hint="b"), 3)]
)
def test_an_error_is_a_line_and_a_hint_and_the_exit_code_of_its_class(fault, code):
    done = call(fault, "log")

    assert done.exit_code == code
    assert done.stderr == "error: a\nhint: b\n"
    assert done.stdout == ""


def test_debug_shows_the_trace_and_keeps_the_exit_code():
    done = call(RepositoryError("this is no repository"), "--debug", "log")

    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("error: this is no repository\n")


@pytest.mark.parametrize(
    "line", [["lgo"], ["log", "--jsn"], ["loop", "--until", "soon"], ["loop", "digits"], ["show"], ["log", "--limit", "x"]]
)
def test_a_typing_error_is_one_line_a_hint_and_two(line):
    done = call(RepositoryError("never reached"), *line)

    assert done.exit_code == 2
    assert [text.split(":")[0] for text in done.stderr.splitlines()] == ["error", "hint"]
    assert "--help" in done.stderr


def test_a_mistyped_command_is_recognised():
    assert "did you mean leaderboard?" in call(RepositoryError(""), "leaderbord").stderr


def test_what_nobody_foresaw_is_one_line_that_calls_it_a_bug():
    code = "import sys\nfrom evogit.cli.group import evogit\nfrom evogit.cli.invocation import Invocation\n"
    code += "def broken(*a, **k): raise ZeroDivisionError('of all things')\nevogit.main(obj=Invocation(open_lab=broken))"

    done = python(code, "log")
    debugged = python(code, "--debug", "log")

    assert done.returncode == debugged.returncode == 1
    assert done.stderr == "error: ZeroDivisionError: of all things\nhint: this is a bug in evogit; --debug shows the trace\n"
    assert "Traceback" in debugged.stderr


def test_an_interrupt_is_130():
    done = call(KeyboardInterrupt(), "log")

    assert done.exit_code == 130
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_said_in_one_line():
    done = call(OSError(28, "No space left on device", "/data/x"), "log")

    assert done.exit_code == 2
    assert done.stderr.splitlines()[0] == "error: /data/x: no space left on device"


def test_a_reader_that_goes_away_is_met_with_silence():
    code = "import sys, click\nfrom evogit.cli.group import evogit\nfrom evogit.cli.invocation import Invocation\n"
    code += "class Lab:\n    def export(self): return 'row\\n' * 1000000\nevogit.main(obj=Invocation(open_lab=lambda *a, **k: Lab()))"
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run([sys.executable, "-c", code, "export"], check=False, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)

    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("before", [True, False])
def test_the_options_of_every_command_stand_before_or_after_it(invoke, lab, tmp_path, before):
    (tmp_path / "repo").mkdir()
    options = ["-C", "repo", "--problem", "rp/digits", "--tag", "nov20", "--no-color"]

    done = invoke(*options, "log") if before else invoke("log", *options)

    assert done.exit_code == 0
    assert lab.asked["open"] == ("repo", {"problem": "rp/digits", "tag": "nov20"})


def test_nothing_said_means_here_and_no_tag(invoke, lab):
    invoke("log")

    assert lab.asked["open"] == (".", {"problem": None, "tag": None})


def test_a_folder_that_is_not_there_is_the_users_to_mend(invoke):
    done = invoke("-C", "nowhere", "log")

    assert done.exit_code == 2
    assert "there is no folder nowhere" in done.stderr


def test_no_command_prints_the_help_and_all_commands():
    done = python(COMMAND_LINE)

    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_version_is_the_packages():
    from evogit import __version__

    assert python(COMMAND_LINE, "--version").stdout == f"evogit {__version__}\n"


def test_git_finds_us_as_its_own_subcommand():
    done = python("import sys; sys.argv[0] = '/bin/git-evogit'\n" + COMMAND_LINE, "lgo")

    assert done.stderr.splitlines()[1] == "hint: git evogit --help"


@pytest.mark.parametrize(
    "line, said",
    [
        (["log", "-n", "x"], "'x' is no whole number"),
        (["loop", "--max-hours", "x"], "'x' is no number"),
        (["loop", "--seed", "x"], "'x' is no whole number"),
    ],
)
def test_a_value_that_is_no_number_is_said_in_plain_words(line, said):
    done = subprocess.run([sys.executable, "-m", "evogit.cli", *line], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.splitlines()[0].endswith(f": {said}")


def test_a_hook_without_a_name_lists_the_hooks_and_is_no_error():
    done = subprocess.run([sys.executable, "-m", "evogit.cli", "hook"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "install" in done.stdout and "pre-tool-use" in done.stdout


def test_no_hand_of_any_kind_is_misspelt():
    for kind in registry.BUILT_IN:
        with pytest.raises(UnknownName, match=f"no {'policy' if kind == 'policies' else kind[:-1]} is called 'x'"):
            registry.find(kind, "x")
