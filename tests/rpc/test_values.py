"""Attributes come back as they were, with their types."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fbamatte.errors import FrameError
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.rpc.values import read_attributes, write_attributes


def travel(attributes: dict[str, Any]) -> dict[str, Any]:
    info = pb.FrameInfo()
    write_attributes(info.attributes, attributes, "plate.exr, frame 7")
    return read_attributes(pb.FrameInfo.FromString(info.SerializeToString()).attributes)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        (1 << 63) - 1,
        -(1 << 63),
        1.0,
        -0.0,
        math.inf,
        5e-324,
        "",
        "日本語",
        b"",
        b"\x00\xff",
        (),
        [],
        (1, 2.0, "three"),
        [[1, 2], (3, 4)],
        {},
        {"a": {"b": None}},
        Fraction(24000, 1001),
        (0.64, 0.33),
    ],
)
def test_a_value_keeps_its_type(value: Any) -> None:
    found = travel({"it": value})["it"]
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_nan_travels() -> None:
    assert math.isnan(travel({"it": math.nan})["it"])


def test_numpy_values_travel_as_what_they_hold() -> None:
    found = travel({"scalar": np.float32(0.5), "count": np.int64(7), "matrix": np.eye(2)})
    assert found == {"scalar": 0.5, "count": 7, "matrix": [[1.0, 0.0], [0.0, 1.0]]}
    assert type(found["count"]) is int


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"big": 1 << 63}, "64 bits"),
        ({"thing": object()}, "object"),
        ({"n" * 256: 1}, "255"),
        ({"outer": {3: 1}}, "attribute name"),
    ],
)
def test_what_cannot_travel_is_refused_by_name(attributes: dict[str, Any], word: str) -> None:
    with pytest.raises(FrameError, match=word) as caught:
        travel(attributes)
    assert "plate.exr, frame 7" in str(caught.value)


def test_a_fraction_over_nothing_is_refused() -> None:
    info = pb.FrameInfo()
    info.attributes["rate"].rational.numerator = 24
    with pytest.raises(FrameError, match="24/0"):
        read_attributes(info.attributes)
