"""Primaries and white points of the colour spaces that plates come in.

A linear space of an OpenColorIO configuration is recognised by its matrix to ACES, not by its name:
the published primaries below are turned into that matrix with each of the two chromatic adaptations
in use and compared. So a studio's own names work, and a space that is not listed is left unnamed
rather than given wrong primaries.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Chromaticities = tuple[float, float, float, float, float, float, float, float]
Matrix = NDArray[np.float64]

_D65 = (0.3127, 0.3290)
_ACES_WHITE = (0.32168, 0.33767)

# Red, green and blue x, y, then white, as each vendor or standard publishes them.
GAMUTS: dict[str, Chromaticities] = {
    "ACES AP0": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, *_ACES_WHITE),
    "ACES AP1": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, *_ACES_WHITE),
    "Rec.709": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65),
    "P3-D65": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65),
    "Rec.2020": (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    "Adobe RGB (1998)": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65),
    "ARRI Wide Gamut 3": (0.6840, 0.3130, 0.2210, 0.8480, 0.0861, -0.1020, *_D65),
    "ARRI Wide Gamut 4": (0.7347, 0.2653, 0.1424, 0.8576, 0.0991, -0.0308, *_D65),
    "S-Gamut3": (0.730, 0.280, 0.140, 0.855, 0.100, -0.050, *_D65),
    "S-Gamut3.Cine": (0.766, 0.275, 0.225, 0.800, 0.089, -0.087, *_D65),
    "Venice S-Gamut3": (0.7404643, 0.2793644, 0.0892411, 0.8938095, 0.1104882, -0.0525793, *_D65),
    "Venice S-Gamut3.Cine": (0.7759019, 0.2745024, 0.1886829, 0.8286849, 0.1013374, -0.0891875, *_D65),
    "REDWideGamutRGB": (0.780308, 0.304253, 0.121595, 1.493994, 0.095612, -0.084589, *_D65),
    "V-Gamut": (0.730, 0.280, 0.165, 0.840, 0.100, -0.030, *_D65),
    "BMD Wide Gamut Gen 5": (0.7177215, 0.3171181, 0.2280410, 0.8615690, 0.1005841, -0.0820452, *_D65),
    "DaVinci Wide Gamut": (0.8000, 0.3130, 0.1682, 0.9877, 0.0790, -0.1155, *_D65),
    "Canon Cinema Gamut": (0.74, 0.27, 0.17, 1.14, 0.08, -0.10, *_D65),
    "Apple Wide Gamut": (0.725, 0.301, 0.221, 0.814, 0.068, -0.076, *_D65),
    "DJI D-Gamut": (0.71, 0.31, 0.21, 0.88, 0.09, -0.08, *_D65),
}

# Cone responses of the two adaptations that colour configurations use.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_CAT02 = np.array([[0.7328, 0.4296, -0.1624], [-0.7036, 1.6975, 0.0061], [0.0030, 0.0136, 0.9834]])

# The nearest two gamuts above differ by 0.026 in this matrix; the two adaptations by 0.003.
_SAME_MATRIX = 1e-3


def named_by_matrix(to_aces: Matrix) -> Chromaticities | None:
    """Return the chromaticities of the space that ``to_aces`` brings to ACES2065-1, if it is a known one.

    Parameters
    ----------
    to_aces : ndarray, shape (3, 3)
        ACES = to_aces · RGB.
    """
    distances = {name: min(np.abs(matrix - to_aces).max() for matrix in _to_aces(name)) for name in GAMUTS}
    nearest = min(distances, key=lambda name: distances[name])
    return GAMUTS[nearest] if distances[nearest] < _SAME_MATRIX else None


def same(one: Sequence[float], other: Sequence[float], tolerance: float = 1e-3) -> bool:
    """Say whether two sets of chromaticities mean the same primaries and white."""
    return len(one) == len(other) and max(abs(a - b) for a, b in zip(one, other)) <= tolerance


@functools.cache
def _to_aces(name: str) -> tuple[Matrix, Matrix]:
    primaries = GAMUTS[name]
    from_aces = np.linalg.inv(_to_xyz(GAMUTS["ACES AP0"]))
    own, aces = _xyz(*primaries[6:]), _xyz(*_ACES_WHITE)
    bradford, cat02 = (
        from_aces @ np.linalg.inv(cone) @ np.diag((cone @ aces) / (cone @ own)) @ cone @ _to_xyz(primaries)
        for cone in (_BRADFORD, _CAT02)
    )
    return bradford, cat02


def _to_xyz(primaries: Chromaticities) -> Matrix:
    """Return the matrix from linear RGB to CIE XYZ of these primaries, white at Y = 1 (SMPTE RP 177)."""
    columns = np.array([[x, y, 1 - x - y] for x, y in zip(primaries[0:6:2], primaries[1:6:2])]).T
    scaled: Matrix = columns * np.linalg.solve(columns, _xyz(*primaries[6:]))
    return scaled


def _xyz(x: float, y: float) -> Matrix:
    return np.array([x / y, 1.0, (1 - x - y) / y])
