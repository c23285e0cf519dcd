"""Nuke scripts as Tcl: words, lists and the commands that .nk files are made of."""

from __future__ import annotations

from typing import NamedTuple

ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class Word(NamedTuple):
    """One word: its text, already unescaped, and how it was written: bare, quoted or braced."""

    text: str
    kind: str


class ScriptError(RuntimeError):
    """What Nuke says when a script does not parse."""


class _Reader:
    def __init__(self, text: str, at: int = 0) -> None:
        self.text = text
        self.at = at

    def word(self) -> Word:
        character = self.text[self.at]
        if character == "{":
            return self._braced()
        if character == '"':
            return self._quoted()
        return self._bare()

    def _braced(self) -> Word:
        depth, start = 0, self.at
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "\\":
                self.at += 1
            elif character == "{":
                depth += 1
            elif character == "}":
                depth -= 1
                if not depth:
                    self.at += 1
                    return Word(self.text[start + 1 : self.at - 1], "braced")
            self.at += 1
        raise ScriptError("missing close-brace")

    def _quoted(self) -> Word:
        found = []
        self.at += 1
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "\\":
                self.at += 1
                found.append(ESCAPES.get(self.text[self.at], self.text[self.at]))
            elif character == '"':
                self.at += 1
                return Word("".join(found), "quoted")
            elif character == "[":
                raise ScriptError("a [ in quotes without a backslash is run by Tcl when the script is read")
            else:
                found.append(character)
            self.at += 1
        raise ScriptError('missing "')

    def _bare(self) -> Word:
        found = []
        while self.at < len(self.text) and not self.text[self.at].isspace() and self.text[self.at] not in "{}":
            if self.text[self.at] == "\\":
                self.at += 1
            found.append(self.text[self.at])
            self.at += 1
        if not found:
            raise ScriptError(f"unexpected {self.text[self.at]!r}")
        return Word("".join(found), "bare")


def words(text: str) -> list[Word]:
    """Return the words of a list, across lines."""
    reader, found = _Reader(text), []
    while True:
        while reader.at < len(text) and text[reader.at].isspace():
            reader.at += 1
        if reader.at >= len(text):
            return found
        found.append(reader.word())


def commands(text: str) -> list[list[Word]]:
    """Return the commands of a script, one per line, braces and quotes spanning lines; ``[stack 0]`` is a word."""
    reader, found, current = _Reader(text), [], []
    while reader.at < len(text):
        character = text[reader.at]
        if character == "#" and not current:
            end = text.find("\n", reader.at)
            reader.at = len(text) if end < 0 else end
        elif character in "\n;":
            if current:
                found.append(current)
                current = []
            reader.at += 1
        elif character.isspace():
            reader.at += 1
        elif character == "[":
            end = text.index("]", reader.at) + 1
            current.append(Word(text[reader.at : end], "bare"))
            reader.at = end
        else:
            current.append(reader.word())
    return [*found, current] if current else found


def pairs(body: str) -> list[tuple[str, Word]]:
    """Return the knobs of a node's body, in order; addUserKnob may come several times."""
    found = words(body)
    if len(found) % 2:
        raise ScriptError(f"a node's body has {len(found)} words; needed pairs of knob and value")
    return [(found[index].text, found[index + 1]) for index in range(0, len(found), 2)]


def quote(text: str) -> str:
    """Return ``text`` as one word."""
    if text and all(character.isalnum() or character in "_.-/%:+#@," for character in text):
        return text
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("[", "\\["), ("$", "\\$"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
