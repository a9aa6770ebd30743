"""What lies beside a run's story: its diff, the end of its log, one of its files. Text of candidates, made safe before it comes here or here."""

from __future__ import annotations

from collections.abc import Sequence

from evogit.domain.sight import LogTail
from evogit.present import clean_lines, size
from evogit.tui.code import Row
from evogit.tui.letters import Line
from evogit.tui.widgets.grid import Column, Grid
from evogit.tui.widgets.paper import Feed, Paper

SHOWN = 256 << 10  # bytes of a file


class DiffView(Paper):
    """Rows of a diff on their backgrounds."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._rows: Sequence[Row] = ()

    def show(self, rows: Sequence[Row], nothing: str) -> None:
        """Other rows, or words where there are none."""
        self._rows = rows or (Row([(nothing, "quiet")]),)
        self.write(lambda width: [[(self.letters.plain(text), ink) for text, ink in row.line] for row in self._rows], to_top=True)

    def below(self, at: int) -> str:
        return self._rows[at].below if at < len(self._rows) else ""


class LogView(Feed):
    """The end of a stream."""

    def show(self, tail: LogTail | None, nothing: str) -> None:
        """Other bytes, or words where there are none."""
        lines = as_text(tail.data) if tail is not None and tail.data else []
        head: list[Line] = []
        if tail is not None and tail.size > len(tail.data):
            head = [[(f"... the last {size(len(tail.data))} of {size(tail.size)}", "quiet")]]
        words: list[Line] = [[(self.letters.plain(line), "")] for line in lines] or [[(nothing, "quiet")]]
        self.write(lambda width: [*head, *words])


class FileView(Paper):
    """One artifact as text."""

    def show(self, data: bytes) -> None:
        """Its beginning, control characters gone."""
        lines: list[Line] = [[(self.letters.plain(line), "")] for line in as_text(data[:SHOWN])]
        if len(data) > SHOWN:
            lines.append([(f"... {size(len(data) - SHOWN)} more", "quiet")])
        self.write(lambda width: lines, to_top=True)


class FileList(Grid):
    """Artifacts of a run and how large they are."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self.paths: list[tuple[str, int]] = []

    def show(self, files: dict[str, int]) -> None:
        """Other files."""
        self.paths = sorted(files.items())
        self.renew()

    def columns(self) -> Sequence[Column]:
        return [Column("path", "file", 20, share=True), Column("size", "size", 10, right=True)]

    def count(self) -> int:
        return len(self.paths)

    def nothing(self) -> str:
        return "no files are kept here: they are not pushed with the branch"

    def cell(self, row: int, key: str) -> Line:
        path, count = self.paths[row]
        return [(self.letters.plain("".join(clean_lines(path))), "")] if key == "path" else [(size(count), "quiet")]


def as_text(data: bytes) -> list[str]:
    """Bytes of a candidate's as lines that are safe on a terminal. A carriage return begins its line again, as progress bars mean it."""
    text = data.decode("utf-8", "replace").rstrip("\n")
    return clean_lines("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))) if text else []
