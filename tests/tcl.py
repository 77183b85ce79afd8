"""A small Tcl reader: commands and words of Vivado's constraint files and of plain `set` scripts.

Reads Tcl's quoting (braces, double quotes, brackets, backslash-newline, comments, semicolons). Substitutes
$name and nothing else; a bracketed word stays one word, brackets included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

_CLOSE = {"{": "}", "[": "]"}


class TclError(Exception):
    """A script that Tcl's `info complete` would refuse, or a variable that is not set."""


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.text = text.replace("\\\n", " ")
        self.at = 0
        self.where = where

    def fail(self, what: str) -> TclError:
        line = self.text.count("\n", 0, self.at) + 1
        return TclError(f"{self.where}: near line {line}: {what}")

    def nested(self, opening: str) -> str:
        """What is inside a brace or bracket that starts here; leaves it behind."""
        closing, start, depth = _CLOSE[opening], self.at + 1, 0
        while self.at < len(self.text):
            c = self.text[self.at]
            if c == "\\":
                self.at += 1
            elif c == opening:
                depth += 1
            elif c == closing:
                depth -= 1
                if not depth:
                    self.at += 1
                    return self.text[start : self.at - 1]
            self.at += 1
        raise self.fail(f"no {closing}")

    def word(self) -> str:
        c = self.text[self.at]
        if c == "{":
            return self.nested("{")
        if c == '"':
            end = self.text.find('"', self.at + 1)
            if end < 0:
                raise self.fail('no closing "')
            word, self.at = self.text[self.at + 1 : end], end + 1
            return word
        start = self.at
        while self.at < len(self.text) and not self.text[self.at].isspace() and self.text[self.at] != ";":
            if self.text[self.at] == "[":
                self.nested("[")
            else:
                self.at += 2 if self.text[self.at] == "\\" else 1
        return self.text[start : self.at]

    def commands(self) -> Iterator[list[str]]:
        words: list[str] = []
        while self.at < len(self.text):
            c = self.text[self.at]
            if c in "\n;":
                self.at += 1
                if words:
                    yield words
                words = []
            elif c.isspace():
                self.at += 1
            elif c == "#" and not words:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                words.append(self.word())
        if words:
            yield words


def commands(text: str, where: str = "script") -> list[list[str]]:
    """The commands of a script as lists of words. Raises TclError."""
    return list(_Reader(text, where).commands())


def check(text: str, where: str) -> None:
    """Raises TclError unless the script is complete, bodies of control commands included."""
    for words in commands(text, where):
        control = {"if": words[2::3], "foreach": words[-1:], "proc": words[-1:]}
        bodies = words[-1:] if words[:2] == ["dict", "for"] else control.get(words[0], [])
        for body in bodies:
            check(body, where)


def variables(path: Path) -> dict[str, str]:
    """Variables that a script of plain `set` commands leaves. Raises TclError for any other command."""
    out: dict[str, str] = {}
    for words in commands(path.read_text(), str(path)):
        if words[0] != "set" or len(words) != 3 or "$" in words[2] or "[" in words[2]:
            raise TclError(f"{path}: not a plain set: {' '.join(words)}")
        out[words[1]] = words[2]
    return out


def pairs(text: str) -> Mapping[str, str]:
    """A Tcl list of keys and values."""
    words = [w for c in commands(text) for w in c]
    return dict(zip(words[::2], words[1::2], strict=True))
