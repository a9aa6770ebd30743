"""Shell text is read as bash reads it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evogit.hooks import lexer, shell

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "-",
        "=",
        "\\ ",
        "\\'",
        '\\"',
        "''",
        '""',
        "'a b'",
        '"a b"',
        '"a\\"b"',
        "$'a\\tb'",
        "$'\\x41'",
        "'$x'",
        '"\\$x"',
        "\\$x",
        ",",
        "%",
    ]
    + ["'`'", '"\\`"', "#", "a#", '"#"', "'\\'", '"\\a"', "\\a", "$'\\''", "{", "}", "x{", "'{a,b}'", "$'\\101'"]
)
WORDS = st.lists(st.lists(PIECES, min_size=1, max_size=4).map("".join), min_size=1, max_size=5)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@settings(max_examples=120, deadline=None)
@given(WORDS)
def test_words_come_out_of_their_quotes_as_bash_takes_them_out(words):
    script = " ".join(["printf", "'%s\\0'", *words])

    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, check=False)
    [simple] = [one for one in shell.commands(script, "/", {}) if one.name == "printf"]

    if done.returncode == 0:
        known = [arg.text for arg in simple.argv[2:]]
        assert known == (done.stdout.decode().split("\0")[:-1] if known else [])


def names(script: str) -> list[str | None]:
    return [one.name for one in shell.commands(script, "/w", {"HOME": "/h"})]


@pytest.mark.parametrize(
    "script",
    [
        "ls; marker",
        "ls && marker",
        "ls || marker",
        "ls | marker",
        "ls |& marker",
        "ls & marker",
        "ls\nmarker",
        "(marker)",
        "{ marker; }",
        "! marker",
        "if ls; then marker; fi",
        "while marker; do ls; done",
        "for f in a b; do marker; done",
        "case x in a|b) marker;; esac",
        "f() { marker; }",
        "echo $(case x in a) ls;; (b) marker;; esac)",
        "echo $(case x in a) ls;; esac); marker",
        "function f { marker; }",
        "echo $(marker)",
        'echo "a $(marker) b"',
        "echo `marker`",
        'echo "`marker`"',
        "echo ${X:-$(marker)}",
        "X=$(marker)",
        "X=(a $(marker))",
        "echo $((1 + $(marker)))",
        "echo $((marker) | cat)",
        "diff <(marker) a",
        "ls > >(marker)",
        "cat <<EOF\n$(marker)\nEOF",
        "cat <<-EOF\n\ta\n\tEOF\nmarker",
        "cat <<'EOF'; marker\ntext\nEOF",
        "cat <<A <<B\na\nA\nb\nB\nmarker",
        "[[ a > b ]] && marker",
        "((x > 1)) && marker",
        "mar\\\nker",
        "A=1 B=2 marker",
        "> out marker",
        "2>&1 marker",
        "time -p marker",
        "echo a#b; marker",
        "x=1 # a\nmarker",
        'echo "$(echo "$(marker)")"',
        "[[ -n $(marker) ]]",
        "$'\\x6darker'",
        "m''arker",
        'm"ark"er',
        "/usr/bin/marker",
        "\\marker",
        "M=marker; $M",
        "M=mark; ${M}er",
        "export M=marker; $M",
        "{marker,b}",
    ],
)
def test_a_command_is_found_wherever_it_stands(script):
    assert "marker" in names(script)


@pytest.mark.parametrize(
    "script",
    [
        "# marker",
        "echo marker",
        "echo 'x; marker'",
        'echo "x; marker"',
        "cat <<'EOF'\n$(marker)\nEOF",
        "echo \\$(true) # marker",
        "[[ a == marker ]]",
    ],
)
def test_text_is_not_taken_for_a_command(script):
    try:
        assert "marker" not in names(script)
    except lexer.Unreadable:
        assert script.startswith("echo \\$(")  # bash refuses it as well


@pytest.mark.parametrize("script", ["'a", '"a', "`a", "$(a", "${a", "(a", "a <", "$'a", "[[ a", "(" * 100])
def test_what_no_shell_could_read_is_said_to_be_unreadable(script):
    with pytest.raises(lexer.Unreadable):
        shell.commands(script, "/", {})


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab $`'\"\\(){}[]<>|&;#\n=~*?!01", max_size=40))
def test_no_text_breaks_it(text):
    try:
        found = shell.commands(text, "/", {})
    except lexer.Unreadable:
        return

    assert all(isinstance(one, shell.Simple) for one in found)


def test_a_folder_is_followed_and_left_with_its_subshell():
    found = shell.commands("cd a && (cd b; one); two; cd $X; three", "/w", {})

    assert [(one.name, one.cwd) for one in found if one.name != "cd"] == [("one", "/w/a/b"), ("two", "/w/a"), ("three", None)]


def test_outputs_are_told_with_what_they_send():
    [one] = shell.commands("run 2>&1 >a.log 2>> b &> 'c d'", "/w", {})

    assert [(o.op, o.fd, o.target.text) for o in one.outputs] == [(">", "", "a.log"), (">>", "2", "b"), ("&>", "", "c d")]


def test_a_variable_that_a_loop_sets_is_not_known():
    found = shell.commands("F=a; for F in b c; do rm $F; done", "/w", {"F": "z"})

    assert [arg.text for arg in found[-1].argv] == ["rm", None]
