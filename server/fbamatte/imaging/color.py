"""Colour in one place: the curve networks see through, and the spaces plates come in."""

from fbamatte.imaging.curve import decode, encode, encode_slope
from fbamatte.imaging.spaces import (
    Resolved,
    canonical,
    chromaticities,
    from_scene_linear,
    interop_id,
    linear_partner,
    resolve,
    space_of,
    to_scene_linear,
)

__all__ = [
    "Resolved",
    "canonical",
    "chromaticities",
    "decode",
    "encode",
    "encode_slope",
    "from_scene_linear",
    "interop_id",
    "linear_partner",
    "resolve",
    "space_of",
    "to_scene_linear",
]
