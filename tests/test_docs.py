"""What people read agrees with what the program does: links, command lines, options, fields, version, pictures."""

from __future__ import annotations

import importlib.util
import re
import shlex
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import get_args

import click
import pytest

from evogit import sheets
from evogit.cli.command import everywhere
from evogit.cli.group import COMMANDS, evogit
from evogit.cli.invocation import Invocation
from evogit.domain import event as events
from evogit.domain.report import Finding, Started, Status

TOP = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [TOP / "README.md", TOP / "CHANGELOG.md", TOP / "program.md", TOP / "benchmarks/README.md", TOP / "evogit/git/FORMAT.md"]
    + list((TOP / "docs").glob("*.md"))
    + list(TOP.glob("rp/*/program.md"))
)
PICTURES = sorted((TOP / "docs/pictures").glob("*.svg"))
REFERENCE = (TOP / "docs/reference.md").read_text()
ASKED_EVERYWHERE = {option for parameter in everywhere(hidden=False) for option in parameter.opts}

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(TOP).as_posix())


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that a renderer makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fenced_commands(path: Path) -> list[str]:
    """`evogit ...` command lines in a page's blocks, without comments, pipes and what follows them."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    pieces = [piece.strip() for block in blocks for line in block.splitlines() for piece in re.split(r" (?:\||&&|;|#) ?", line)]
    return [piece.removeprefix("git ") for piece in pieces if re.match(r"(git )?evogit\b", piece)]


def spoken_commands(path: Path) -> list[str]:
    """`evogit ...` in running text and tables, where values may be placeholders."""
    return [words for words in re.findall(r"`(?:git )?(evogit [^`]+)`", prose(path)) if "..." not in words]


def options_of(command: click.Command) -> set[str]:
    """All spellings of a command's own options."""
    shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return {spelling for option in shown for spelling in option.opts}


def command_of(name: str) -> click.Command:
    found = evogit.get_command(click.Context(evogit), name)
    assert found is not None, f"there is no command {name}"
    return found


def split_at_command(line: str) -> tuple[list[str], str, list[str]]:
    """Options before the command, its name, and the rest."""
    words = shlex.split(line)[1:]
    at = next((i for i, word in enumerate(words) if word in COMMANDS), None)
    assert at is not None, f"no command in: {line}"
    return words[:at], words[at], words[at + 1 :]


def sections() -> dict[str, tuple[str, str]]:
    """Command -> (its heading, its text) in the reference."""
    parts = re.split(r"^(?=#{2,3} )", REFERENCE, flags=re.MULTILINE)
    found = [(re.match(r"### `(evogit (\w+)[^`]*)`\n", part), part) for part in parts]
    return {match[2]: (match[1], part) for match, part in found if match}


def first_cells(text: str) -> set[str]:
    """Options that the first column of a text's tables names."""
    cells = re.findall(r"^\| (`-[^|]*) \|", text, flags=re.MULTILINE)
    return {option for cell in cells for option in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", cell)}


def row(text: str, name: str) -> set[str]:
    """Words in backticks of the table row that begins with `name`, the first cell left out; parentheses are remarks."""
    line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", line.split("|", 2)[2])))


@page
def test_every_link_inside_the_repository_leads_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", prose(path))
    links += [(source, "") for source in re.findall(r'<img src="([^"]+)"', prose(path))]

    for target, anchor in links:
        place = (path.parent / target).resolve() if target else path
        assert place.exists(), f"{path.name} links to {target}, which is not there"
        assert place.is_relative_to(TOP), f"{path.name} links out of the repository: {target}"
        assert not anchor or anchor in anchors(place), f"{path.name} links to {target}#{anchor}, and there is no such heading"


@page
def test_every_command_line_in_a_block_is_one_that_the_program_takes(path):
    for line in fenced_commands(path):
        before, name, rest = split_at_command(line)

        assert command_of(name).make_context(name, rest, obj=Invocation()), line
        assert {word for word in before if word.startswith("-")} <= ASKED_EVERYWHERE, line


@page
def test_every_command_and_option_in_running_text_exists(path):
    for words in spoken_commands(path):
        if words.split()[1].startswith("-"):
            assert words.split()[1] in {*ASKED_EVERYWHERE, "--help", "--version"}, words
            continue
        name = words.split()[1]
        assert name in COMMANDS or name.isupper(), f"{path.name}: {words}"
        if name in COMMANDS:
            asked = set(re.findall(r"(?<=\s)--?[a-zA-Z][\w-]*", words.partition(" -- ")[0]))
            assert asked <= options_of(command_of(name)) | ASKED_EVERYWHERE | {"--help"}, f"{path.name}: {words}"


def test_the_reference_has_every_command_and_invents_none():
    assert list(sections()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_every_option_and_invents_none(name):
    _, text = sections()[name]

    assert first_cells(text) == options_of(command_of(name))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_shows_the_arguments_that_the_help_shows(name):
    command = command_of(name)
    pieces = [piece for piece in command.collect_usage_pieces(click.Context(command)) if piece != "[OPTIONS]"]

    assert sections()[name][0] == " ".join(["evogit", name, *pieces])


def test_the_reference_has_the_options_of_every_command():
    text = REFERENCE.partition("## Options of every command")[2].partition("\n## ")[0]

    assert first_cells(text) == ASKED_EVERYWHERE | {"-h", "--help"}


@pytest.mark.parametrize("kind", get_args(events.Event), ids=lambda kind: kind.__struct_config__.tag)
def test_the_reference_has_every_field_of_every_event(kind):
    fields = set(kind.__struct_fields__) - {"time"}

    assert row(REFERENCE.partition("## Events of")[2], kind.__struct_config__.tag) == fields


@pytest.mark.parametrize("name, kind", [("start", Started), ("status", Status), ("doctor", Finding)])
def test_the_reference_has_every_field_of_a_json_object(name, kind):
    assert row(sections()[name][1], "--json") == set(kind.__struct_fields__)


@pytest.mark.parametrize("name", sheets.COLUMNS)
def test_the_reference_has_every_column_of_a_table_for_scripts_in_its_order(name):
    text = REFERENCE.partition("\n## Tables for scripts")[2].partition("\n## ")[0]
    line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))

    assert tuple(re.findall(r"`([\w.]+)`", line.split("|")[2])) == sheets.COLUMNS[name]


def test_the_changelog_speaks_of_the_version_that_is_packaged():
    version = re.search(r'^version = "([^"]+)"', (TOP / "pyproject.toml").read_text(), flags=re.MULTILINE)[1]

    assert re.search(rf"^## {re.escape(version)}\b", (TOP / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_whole_and_loads_nothing(path):
    text = path.read_text()

    assert xml.fromstring(text).tag.endswith("svg")
    assert len(text.encode()) < 100_000
    assert re.findall(r"https?://[^\"' )]+", text) == ["http://www.w3.org/2000/svg"]


@pytest.fixture
def recorder():
    spec = importlib.util.spec_from_file_location("record_pictures", TOP / "docs/pictures/record.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_recorded_picture_is_shown_and_every_one_shown_is_recorded(recorder):
    shown = {name for path in PAGES for name in re.findall(r"pictures/([\w-]+)\.svg", prose(path))}

    assert shown == set(recorder.PICTURES) == {path.stem for path in PICTURES}


def test_a_picture_holds_what_a_command_printed_on_a_terminal(recorder, tmp_path):
    script = "import sys; print('\\x1b[32mgreen\\x1b[0m <&>' if sys.stdout.isatty() else 'a pipe')"

    output = recorder.capture(["python3", "-c", script], tmp_path, 60)
    picture = recorder.draw("say green", output, 60, "test")

    assert output == "\x1b[32mgreen\x1b[0m <&>"
    assert "".join(xml.fromstring(picture).itertext()).count("green") == 2  # the command, and what it said
