"""One short name for everything that a matte was made from."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def digest(*inputs: Any) -> str:
    """Return a BLAKE2b digest of arrays, text, numbers and collections of these.

    Equal inputs give equal digests on every machine; an array counts with its shape and type, so
    that the same bytes in another shape are another input.

    Parameters
    ----------
    *inputs : ndarray, str, bytes, int, float, None, Window or another dataclass, mapping, sequence
        In the order given; mappings regardless of theirs.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    state = hashlib.blake2b(digest_size=16)
    for value in inputs:
        _feed(state, value)
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        _mark(state, f"array {value.dtype.newbyteorder('<').str} {value.shape}")
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        state.update(little.reshape(-1).view(np.uint8).data)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _mark(state, f"bytes {len(value)}")
        state.update(value)
    elif isinstance(value, dict):
        _mark(state, f"mapping {len(value)}")
        for key in sorted(value, key=str):
            _feed(state, str(key))
            _feed(state, value[key])
    elif isinstance(value, (list, tuple)):
        _mark(state, f"sequence {len(value)}")
        for item in value:
            _feed(state, item)
    else:
        _mark(state, f"{type(value).__name__} {value!r}")


def _mark(state: Any, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    state.update(len(data).to_bytes(8, "little") + data)
