"""Members and elements put into JSON text and taken out again without a change of any other byte.

A document that a person keeps by hand stays as it was written: what is put in stands at the end of its container, and
taking it out restores the text. It knows spans, not meanings; values are read by `json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from json.decoder import scanstring
from typing import Any

_BLANK = " \t\r\n"


@dataclass
class Node:
    """A value's span in the text, with the spans of what it holds. `children` of an object are its values, `keys` where their keys begin."""

    start: int
    end: int
    kind: str  # "object", "array" or "other"
    names: list[str] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    def member(self, name: str) -> Node | None:
        """The value of a key, the last one where it stands twice."""
        return self.children[self.place(name)] if name in self.names else None

    def place(self, name: str) -> int:
        """Index of that member. Raises ValueError if there is none."""
        return len(self.names) - 1 - self.names[::-1].index(name)

    def begins(self, index: int) -> int:
        """Where an item begins: an object's at its key."""
        return self.keys[index] if self.kind == "object" else self.children[index].start


def parse(text: str) -> Node:
    """The spans of a document. Raises ValueError as `json.loads` does, which also checks what this only measures."""
    json.loads(text)
    return _value(text, _skip(text, 0))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _value(text: str, at: int) -> Node:
    if text[at] not in "{[":
        _, end = json.JSONDecoder().raw_decode(text, at)
        return Node(at, end, "other")
    node = Node(at, at, "object" if text[at] == "{" else "array")
    close = "}" if text[at] == "{" else "]"
    at = _skip(text, at + 1)
    while text[at] != close:
        if node.kind == "object":
            name, after = scanstring(text, at + 1)
            node.names.append(name)
            node.keys.append(at)
            at = _skip(text, _skip(text, after) + 1)
        child = _value(text, at)
        node.children.append(child)
        at = _skip(text, child.end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    node.end = at + 1
    return node


def put(text: str, node: Node, item: Any, name: str = "") -> str:
    """The text with `item` as the last of a container (under `name` in an object).

    An empty container gets it right behind its bracket: so it is known, when it is taken out, that the container was there.
    """
    if not node.children:
        deep = _indent_of(text, node.start)
        said = _said(item, name, deep)
        return text[: node.start + 1] + said + text[node.start + 1 :]
    last = node.children[-1]
    first = node.begins(0)
    gap = text[node.start + 1 : first]
    if "\n" in gap:
        indent = gap[gap.rindex("\n") + 1 :]
        between = gap[gap.rindex("\n") :]
        return text[: last.end] + "," + between + _said(item, name, indent) + text[last.end :]
    return text[: last.end] + ", " + _said(item, name, _indent_of(text, node.start)) + text[last.end :]


def take(text: str, node: Node, index: int) -> tuple[str, bool]:
    """The text without the item at `index`, and True if its container is now empty and was made along with it."""
    start, end = node.begins(index), node.children[index].end
    if index:
        return text[: node.children[index - 1].end] + text[end:], False
    if len(node.children) > 1:
        return text[:start] + text[node.begins(1) :], False
    was_there = start == node.start + 1
    return text[:start] + text[end:], not was_there


def _said(item: Any, name: str, indent: str) -> str:
    step = "\t" if indent.startswith("\t") else "  "
    text = json.dumps(item, indent=step, ensure_ascii=False).replace("\n", "\n" + indent)
    return f"{json.dumps(name)}: {text}" if name else text


def _indent_of(text: str, at: int) -> str:
    """The blanks that the line of a position begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]
