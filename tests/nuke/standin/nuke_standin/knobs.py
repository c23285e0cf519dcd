"""All knobs: those of text and buttons here, those of numbers from `number_knobs`; and addUserKnob."""

from __future__ import annotations

import re
from typing import Any

from nuke_standin import runtime, tcl
from nuke_standin.number_knobs import (
    Array_Knob,
    BBox_Knob,
    Boolean_Knob,
    Color_Knob,
    Disable_Knob,
    Double_Knob,
    Enumeration_Knob,
    Int_Knob,
    Knob,
    WH_Knob,
    XY_Knob,
)

__all__ = [
    "Array_Knob",
    "BBox_Knob",
    "Boolean_Knob",
    "Color_Knob",
    "Disable_Knob",
    "Double_Knob",
    "Enumeration_Knob",
    "Int_Knob",
    "Knob",
    "WH_Knob",
    "XY_Knob",
]


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
