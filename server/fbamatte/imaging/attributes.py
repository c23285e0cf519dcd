"""Attributes of an EXR header as plain Python values, without loss.

A value is ``str`` (EXR ``string``), ``int`` (``int``), ``float`` (``float``) or, for every other
type, the tuple ``(type name, bytes)`` exactly as the file holds it. So any attribute of any plate,
known to this program or not, goes through pickle, JSON and the wire and comes back bit for bit.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, TypeGuard

Typed = tuple[str, bytes]
Value = str | int | float | Typed

INT32 = range(-(2**31), 2**31)

# struct formats of the types of fixed size, OpenEXR file layout, "Predefined attribute types".
_LAYOUTS = {
    "box2i": "<4i",
    "box2f": "<4f",
    "chromaticities": "<8f",
    "compression": "<B",
    "deepImageState": "<B",
    "double": "<d",
    "envmap": "<B",
    "float": "<f",
    "int": "<i",
    "keycode": "<7i",
    "lineOrder": "<B",
    "m33f": "<9f",
    "m33d": "<9d",
    "m44f": "<16f",
    "m44d": "<16d",
    "rational": "<iI",
    "tiledesc": "<IIB",
    "timecode": "<II",
    "v2i": "<2i",
    "v2f": "<2f",
    "v2d": "<2d",
    "v3i": "<3i",
    "v3f": "<3f",
    "v3d": "<3d",
}


def decode(type_name: str, data: bytes) -> Value:
    """Return the plain value of an attribute that a file holds as ``data`` of type ``type_name``."""
    value: Value
    if type_name == "string":
        try:
            value = data.decode("utf-8")
        except UnicodeDecodeError:
            return type_name, data
    elif type_name == "int":
        value = int(struct.unpack("<i", data)[0])
    elif type_name == "float":
        value = float(struct.unpack("<f", data)[0])
    else:
        return type_name, data
    # A signalling NaN, for one, does not survive the way through a Python float.
    return value if encode(value) == (type_name, data) else (type_name, data)


def encode(value: Any) -> Typed:
    """Return the EXR type and the bytes that stand for ``value``.

    Beside the values of this module it takes what a program likes to note down: truth values become
    ``int``, integers beyond 32 bits and anything else become strings (JSON where possible).
    """
    if isinstance(value, str):
        return "string", value.encode("utf-8", "surrogateescape")
    if is_typed(value):
        return value[0], bytes(value[1])
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a numpy scalar
        value = value.item()
    if isinstance(value, (bool, int)):
        return ("int", struct.pack("<i", value)) if int(value) in INT32 else encode(str(value))
    if isinstance(value, float):
        try:
            return "float", struct.pack("<f", value)
        except OverflowError:  # beyond single precision: a double brings it back
            return "double", struct.pack("<d", value)
    return encode(json.dumps(value, ensure_ascii=False, default=str))


def is_typed(value: Any) -> TypeGuard[Typed]:
    """Say whether ``value`` is a ``(type name, bytes)`` pair."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], bytes)


def typed(type_name: str, *numbers: float) -> Typed:
    """Return an attribute of a type of fixed size, such as ``typed("rational", 24000, 1001)``."""
    return type_name, struct.pack(_LAYOUTS[type_name], *numbers)


def numbers_of(value: Value) -> tuple[float, ...]:
    """Return the numbers in an attribute of a type of fixed size or a ``floatvector``; else nothing."""
    if not is_typed(value):
        return (value,) if isinstance(value, (int, float)) else ()
    type_name, data = value
    if type_name == "floatvector":
        return struct.unpack(f"<{len(data) // 4}f", data)
    layout = _LAYOUTS.get(str(type_name))
    return struct.unpack(layout, data) if layout else ()


def strings_of(value: Value) -> tuple[str, ...]:
    """Return the strings of a ``stringvector``; else nothing."""
    if not is_typed(value) or value[0] != "stringvector":
        return ()
    data, at, found = bytes(value[1]), 0, []
    while at + 4 <= len(data):
        size = struct.unpack_from("<i", data, at)[0]
        found.append(data[at + 4 : at + 4 + size].decode("utf-8", "replace"))
        at += 4 + size
    return tuple(found)


def problem(name: str, type_name: str, data: bytes) -> str:
    """Return what is wrong with an attribute that no header can hold or no reader understands; else empty.

    Parameters
    ----------
    name, type_name : str
    data : bytes
        What the header holds or is to hold.
    """
    for text in (name, type_name):
        if "\0" in text or not 1 <= len(text.encode("utf-8", "surrogateescape")) <= 255:
            return f"attribute {name!r} of type {type_name!r}: a name has 1 to 255 bytes, none of them zero"
    size = len(data)
    if type_name in _LAYOUTS:
        wrong = size != struct.calcsize(_LAYOUTS[type_name])
    elif type_name == "floatvector":
        wrong = size % 4 != 0
    elif type_name == "stringvector":
        wrong = not _is_stringvector(data)
    elif type_name == "preview":
        wrong = size < 8 or size != 8 + 4 * math.prod(struct.unpack_from("<II", data))
    else:
        wrong = False
    return f"attribute {name!r} of type {type_name!r} has {size} bytes, which that type never has" if wrong else ""


def _is_stringvector(data: bytes) -> bool:
    at = 0
    while at + 4 <= len(data):
        size = struct.unpack_from("<i", data, at)[0]
        if size < 0:
            return False
        at += 4 + size
    return at == len(data)


def describe(value: Value) -> str:
    """Return ``value`` in words for a person."""
    if not is_typed(value):
        return str(value)
    numbers = numbers_of(value) or strings_of(value)
    content = ", ".join(str(n) for n in numbers) if numbers else f"{len(value[1])} bytes"
    return f"{value[0]}({content})"


def to_json(metadata: Mapping[str, Any]) -> str:
    """Return ``metadata`` as a JSON object that `from_json` turns back without loss."""
    entries = {name: encode(value) for name, value in metadata.items()}
    return json.dumps({name: [kind, base64.b64encode(data).decode()] for name, (kind, data) in entries.items()})


def from_json(text: str) -> dict[str, Value]:
    """Return the metadata that `to_json` wrote."""
    return {name: decode(kind, base64.b64decode(data)) for name, (kind, data) in json.loads(text).items()}
