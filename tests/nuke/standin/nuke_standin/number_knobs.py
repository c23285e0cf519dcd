"""Knobs of numbers: values, expressions, animation, and their form in scripts."""

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
