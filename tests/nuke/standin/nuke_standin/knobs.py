"""Knobs: values, expressions, animation, and their form in scripts."""

from __future__ import annotations

import re
from typing import Any, Optional

from nuke_standin import expressions, runtime, tcl

_ELEMENT_END = re.compile(r"\s+i$")


class Knob(runtime.Guarded):
    """Any knob. Numbers are kept as a list of elements, each a number, an expression or a curve."""

    numbers = False
    size = 1

    def __init__(self, name: str = "", label: Optional[str] = None) -> None:
        self._name = name
        self._label = label
        self._tooltip = ""
        self._node: Any = None
        self._flags: set[int] = set()
        self._visible = self._enabled = True
        self._default: Any = None
        self._value: Any = None
        self._definition: list[tcl.Word] = []

    def Class(self) -> str:
        return type(self).__name__

    def name(self) -> str:
        return self._name

    def label(self) -> str:
        return self._label or ""

    def node(self) -> Any:
        return self._node

    def tooltip(self) -> str:
        return self._tooltip

    def setTooltip(self, tooltip: str) -> None:
        self._tooltip = tooltip

    def visible(self) -> bool:
        return self._visible

    def setVisible(self, visible: bool) -> None:
        self._visible = visible

    def enabled(self) -> bool:
        return self._enabled

    def setEnabled(self, enabled: bool) -> None:
        self._enabled = enabled

    def setFlag(self, flag: int) -> None:
        self._flags.add(flag)

    def clearFlag(self, flag: int) -> None:
        self._flags.discard(flag)

    def getFlag(self, flag: int) -> bool:
        return flag in self._flags

    def value(self, *args: Any, **kwargs: Any) -> Any:
        return self._at(runtime.state.frame)

    def getValue(self, *args: Any, **kwargs: Any) -> Any:
        return self.value()

    def setValue(self, *args: Any, **kwargs: Any) -> Any:
        new = self._accept(args[0])
        changed = new != self._value
        self._value = new
        if changed:
            self._changed()
        return True

    def toScript(self, *args: Any, **kwargs: Any) -> str:
        return tcl.quote(str(self._value if self._value is not None else ""))

    def fromScript(self, *args: Any, **kwargs: Any) -> None:
        word = tcl.words(args[0])
        self._read(word[0] if len(word) == 1 else tcl.Word(args[0], "bare"))
        self._changed()

    def hasExpression(self, index: int = -1) -> bool:
        return False

    def isAnimated(self, *args: Any, **kwargs: Any) -> bool:
        return False

    def _accept(self, value: Any) -> Any:
        return value

    def _read(self, word: tcl.Word) -> None:
        self._value = self._accept(word.text)

    def _at(self, frame: float) -> Any:
        return self._value

    def _is_default(self) -> bool:
        return bool(self._value == self._default)

    def _changed(self) -> None:
        if self._node is not None:
            self._node._knob_changed(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"


class Array_Knob(Knob):
    """Numbers."""

    numbers = True

    def hasExpression(self, *args: Any, **kwargs: Any) -> bool:
        return any(isinstance(element, str) for element in self._value)

    def isAnimated(self, *args: Any, **kwargs: Any) -> bool:
        return any(isinstance(element, dict) for element in self._value)

    def setExpression(self, expression: str, channel: int = -1, view: Any = None) -> bool:
        self._value = [expression if channel in (-1, index) else old for index, old in enumerate(self._value)]
        self._changed()
        return True

    def setValueAt(self, *args: Any, **kwargs: Any) -> bool:
        keys = self._value[0] if isinstance(self._value[0], dict) else {}
        self._value = [{**keys, float(args[1]): float(args[0])}]
        self._changed()
        return True

    def getValueAt(self, *args: Any, **kwargs: Any) -> Any:
        return self._at(args[0])

    def toScript(self, *args: Any, **kwargs: Any) -> str:
        plain = [element for element in self._value if isinstance(element, (int, float))]
        if len(plain) == len(self._value):
            text = " ".join(self._spell(element) for element in plain)
            return text if len(plain) == 1 else f"{{{text}}}"
        return "{" + " ".join(self._element(element) for element in self._value) + "}"

    def _element(self, element: Any) -> str:
        if isinstance(element, dict):
            return "{curve " + " ".join(f"x{frame:g} {value:g}" for frame, value in sorted(element.items())) + "}"
        if isinstance(element, str):
            return "{" + (tcl.quote(element) if " " in element else element) + "}"
        return self._spell(element)

    def _spell(self, number: float) -> str:
        return f"{number:.9g}"

    def _accept(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._number(element) for element in value]
        return [self._number(value)] * max(1, len(self._value or []))

    def _number(self, value: Any) -> Any:
        return float(value)

    def _read(self, word: tcl.Word) -> None:
        if word.kind != "braced":
            self._value = [self._number(part) for part in word.text.split()] or self._value
            return
        self._value = [self._read_element(element) for element in tcl.words(word.text)]

    def _read_element(self, element: tcl.Word) -> Any:
        if element.kind == "bare":
            return self._number(element.text)
        text = element.text.strip()
        if text.startswith('"'):
            text = tcl.words(text)[0].text
        if text.startswith("curve"):
            return self._curve(text.split()[1:])
        try:
            return self._number(text)
        except (ValueError, RuntimeError):
            return _ELEMENT_END.sub("", text)

    def _curve(self, parts: list[str]) -> dict[float, float]:
        keys, frame = {}, 0.0
        for part in parts:
            if part.startswith("x"):
                frame = float(part[1:])
            elif part not in {"i", "l", "s", "C", "K", "L", "R"}:
                keys[frame] = float(part)
                frame += 1
        return keys

    def _elements_at(self, frame: float) -> list[float]:
        return [self._element_at(element, frame) for element in self._value]

    def _element_at(self, element: Any, frame: float) -> float:
        if isinstance(element, dict):
            frames = sorted(element)
            below = max((key for key in frames if key <= frame), default=frames[0])
            above = min((key for key in frames if key >= frame), default=frames[-1])
            if below >= above:
                return element[above if frame < frames[0] else below]
            share = (frame - below) / (above - below)
            return element[below] * (1 - share) + element[above] * share
        if isinstance(element, str):
            return float(expressions.evaluate(element, lambda name: self._node._lookup(name, frame)))
        return float(element)

    def _at(self, frame: float) -> Any:
        elements = self._elements_at(frame)
        return elements[0] if len(elements) == 1 else elements


class Double_Knob(Array_Knob):
    pass


class WH_Knob(Array_Knob):
    pass


class XY_Knob(Array_Knob):
    pass


class BBox_Knob(Array_Knob):
    pass


class Color_Knob(Array_Knob):
    pass


class Int_Knob(Array_Knob):
    def _number(self, value: Any) -> Any:
        return int(float(value))

    def _at(self, frame: float) -> Any:
        return int(self._elements_at(frame)[0])


class Boolean_Knob(Array_Knob):
    def _number(self, value: Any) -> Any:
        if isinstance(value, str) and value.lower() in {"true", "false"}:
            return int(value.lower() == "true")
        return int(bool(float(value)))

    def setValue(self, b: Any) -> Any:
        return super().setValue(b)

    def value(self) -> bool:
        return bool(self._at(runtime.state.frame))

    def _spell(self, number: float) -> str:
        return "true" if number else "false"

    def _at(self, frame: float) -> Any:
        return bool(self._elements_at(frame)[0])


class Disable_Knob(Boolean_Knob):
    pass


class Enumeration_Knob(Array_Knob):
    def __init__(self, name: str = "", label: Optional[str] = None, values: Any = ()) -> None:
        super().__init__(name, label)
        self._values = list(values)

    def values(self) -> Any:
        return list(self._values)

    def numValues(self) -> int:
        return len(self._values)

    def getValue(self, *args: Any, **kwargs: Any) -> Any:
        return self._elements_at(runtime.state.frame)[0]

    def _read(self, word: tcl.Word) -> None:
        if word.kind == "braced":
            super()._read(word)
        else:
            # A value may have blanks in it.
            self._value = [self._number(word.text)]

    def _number(self, value: Any) -> Any:
        if isinstance(value, str):
            if value in self._values:
                return self._values.index(value)
            try:
                value = int(value)
            except ValueError:
                raise RuntimeError(f"{self._name}: {value!r} is none of {self._values}") from None
        if not 0 <= int(value) < len(self._values):
            raise RuntimeError(f"{self._name}: {value} is out of range")
        return int(value)

    def _spell(self, number: float) -> str:
        return tcl.quote(self._values[int(number)])

    def _at(self, frame: float) -> Any:
        return self._values[int(self._elements_at(frame)[0])]


class String_Knob(Knob):
    def setValue(self, val: Any, view: Any = None) -> None:
        super().setValue(val)

    def getText(self, oc: Any = None) -> str:
        return self.value()

    def value(self, oc: Any = None) -> str:
        return self._value or ""

    def _accept(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"{self._name}: needs text, got {type(value).__name__}")
        return value


class EvalString_Knob(String_Knob):
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        return self._evaluated(args[0] if args else runtime.state.frame)

    def _evaluated(self, frame: float) -> str:
        return substitute(self._value or "", lambda name: self._node._text(name, frame))


class Multiline_Eval_String_Knob(EvalString_Knob):
    pass


class File_Knob(EvalString_Knob):
    def value(self, *args: Any, **kwargs: Any) -> Any:
        return self._value or ""

    def getValue(self, *args: Any, **kwargs: Any) -> Any:
        return self.value()

    def setValue(self, *args: Any, **kwargs: Any) -> Any:
        return super().setValue(args[0])


class Text_Knob(Knob):
    """What a line of text shows; setValue changes it."""

    def value(self, *args: Any, **kwargs: Any) -> Any:
        return self._value or ""


class Script_Knob(String_Knob):
    def command(self) -> str:
        return self._value or ""

    def execute(self) -> None:
        runtime.check_thread("execute")
        self._execute()

    def _execute(self) -> None:
        runtime.fire("button", self._node, self, self._value or "")

    def setCommand(self, cmd: str) -> None:
        self._value = cmd

    def setValue(self, cmd: str) -> None:
        self._value = cmd

    def value(self) -> str:
        return self._value or ""


class PyScript_Knob(Script_Knob):
    pass


class Reload_Knob(Script_Knob):
    """The button of a Read that makes it look at its file again: its version goes up, and with it its hash."""

    def _execute(self) -> None:
        version = self._node.knob("version")
        version.setValue(version.value() + 1)


class Tab_Knob(Knob):
    pass


class Channel_Knob(String_Knob):
    pass


class Link_Knob(Knob):
    """Stands for another knob of the inside."""


class Format_Knob(String_Knob):
    pass


def substitute(text: str, lookup: Any) -> str:
    """Return ``text`` with the Tcl commands in it done: ``[value knob]`` and ``[file dirname …]``."""
    while True:
        match = re.search(r"\[([^\[\]]*)\]", text)
        if not match:
            return text
        text = text[: match.start()] + _command(match[1].split(None, 1), lookup) + text[match.end() :]


def _command(parts: list[str], lookup: Any) -> str:
    if parts[0] == "value":
        return str(lookup(parts[1]))
    if parts[0] == "file" and parts[1].startswith("dirname"):
        return parts[1].split(None, 1)[1].rpartition("/")[0]
    raise RuntimeError(f"the stand-in knows no Tcl command {parts[0]}")


# addUserKnob {TYPE …}
USER_TYPES: dict[int, type[Knob]] = {
    1: EvalString_Knob,
    2: File_Knob,
    3: Int_Knob,
    4: Enumeration_Knob,
    6: Boolean_Knob,
    7: Double_Knob,
    20: Tab_Knob,
    22: PyScript_Knob,
    26: Text_Knob,
    41: Link_Knob,
    43: Multiline_Eval_String_Knob,
}
INVISIBLE = 0x0000000000000400


def user_knob(word: tcl.Word) -> Knob:
    """Return the knob that an addUserKnob line defines."""
    parts = tcl.words(word.text)
    kind = int(parts[0].text)
    if kind not in USER_TYPES:
        raise tcl.ScriptError(f"addUserKnob of type {kind}")
    knob = USER_TYPES[kind](parts[1].text)
    knob._definition = parts
    at = 2
    while at < len(parts):
        key = parts[at].text
        if parts[at].kind == "bare" and key[0] in "+-" and len(key) > 1 and key[1:].isupper():
            if key == "+INVISIBLE":
                knob._visible = False
            at += 1
            continue
        _option(knob, key, parts[at + 1])
        at += 3 if key == "R" else 2
    _initial(knob)
    return knob


def _option(knob: Knob, key: str, word: tcl.Word) -> None:
    if key == "l":
        knob._label = word.text
    elif key == "t":
        knob._tooltip = word.text
    elif key == "T":
        knob._value = word.text
    elif key == "M" and isinstance(knob, Enumeration_Knob):
        knob._values = [value.text for value in tcl.words(word.text)]
    elif key not in {"R", "n", "M"}:
        raise tcl.ScriptError(f"addUserKnob {knob._name}: option {key}")


def _initial(knob: Knob) -> None:
    if isinstance(knob, Array_Knob):
        knob._value = [0]
    elif knob._value is None:
        knob._value = ""
    knob._default = list(knob._value) if isinstance(knob._value, list) else knob._value
