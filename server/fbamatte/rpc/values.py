"""Attributes of any Python type to wire values and back, types kept."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from fbamatte.errors import FrameError
from fbamatte.rpc.v1 import matting_pb2

_INT64 = range(-(1 << 63), 1 << 63)
_NAME_BYTES = 255


def write_attributes(target: Any, attributes: Mapping[str, Any], label: str) -> None:
    """Fill the ``map<string, Value>`` field ``target``.

    Parameters
    ----------
    target : map field of a message
    attributes : mapping
        None, bool, int, float, str, bytes, `Fraction`, and lists, tuples and mappings of these.
        numpy scalars travel as the Python number they hold, arrays as lists.
    label : str
        What to call the frame in an error.

    Raises
    ------
    FrameError
        If a value cannot travel.
    """
    for name, value in attributes.items():
        _check_name(name, label)
        _write(target[name], value, f"{label}: attribute {name!r}")


def read_attributes(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Python values of a ``map<string, Value>`` field."""
    return {name: _read(source[name]) for name in source}


def _check_name(name: Any, label: str) -> None:
    if not isinstance(name, str) or len(name.encode()) > _NAME_BYTES:
        raise FrameError(f"{label}: attribute name {str(name)[:40]!r} is not text of at most {_NAME_BYTES} bytes")


def _write(target: matting_pb2.Value, value: Any, label: str) -> None:
    # bool before int: True is an int to Python.
    if value is None:
        target.Clear()
    elif isinstance(value, bool):
        target.flag = value
    elif isinstance(value, int):
        if value not in _INT64:
            raise FrameError(f"{label} is {value}, which does not fit into 64 bits")
        target.integer = value
    elif isinstance(value, float):
        target.real = value
    elif isinstance(value, str):
        target.text = value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        target.data = bytes(value)
    else:
        _write_composite(target, value, label)


def _write_composite(target: matting_pb2.Value, value: Any, label: str) -> None:
    if isinstance(value, Fraction):
        target.rational.numerator, target.rational.denominator = value.numerator, value.denominator
    elif isinstance(value, (list, tuple)):
        target.list.fixed = isinstance(value, tuple)
        for item in value:
            _write(target.list.values.add(), item, label)
    elif isinstance(value, Mapping):
        target.map.SetInParent()
        for name, item in value.items():
            _check_name(name, label)
            _write(target.map.values[name], item, label)
    elif hasattr(value, "tolist"):
        _write(target, value.tolist(), label)
    else:
        raise FrameError(f"{label} is a {type(value).__name__}, which cannot travel")


def _read(value: matting_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "list":
        items = [_read(item) for item in found.values]
        return tuple(items) if found.fixed else items
    if kind == "map":
        return read_attributes(found.values)
    if kind == "rational":
        if found.denominator < 1:
            raise FrameError(f"an attribute is the fraction {found.numerator}/{found.denominator}")
        return Fraction(found.numerator, found.denominator)
    return found
