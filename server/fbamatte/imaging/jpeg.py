"""Whether a JPEG is all there: its decoder fills what is missing with grey and calls that success."""

from __future__ import annotations

from pathlib import Path

_END, _SCAN = 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD8)])  # TEM and the restart markers


def is_whole_jpeg(path: Path) -> bool:
    """Say whether the file's markers lead to the end-of-image marker (ITU-T T.81, annex B)."""
    data = path.read_bytes()
    at = 2
    while 0 <= at < len(data) - 1:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return False
        marker = data[at + 1]
        if marker == _END:
            return True
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif marker == 0 or marker in _WITHOUT_LENGTH:  # a stuffed byte of the picture's data
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
