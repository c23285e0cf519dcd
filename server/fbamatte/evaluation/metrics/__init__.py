"""The field's metrics, one function each.

`sad`, `mse`, `gradient` and `connectivity` are those of the Composition-1k benchmark, `dtssd` and `messddt` those of
the video matting benchmark; the rest say how good the colours are.
"""

from fbamatte.evaluation.metrics.alpha import connectivity, gradient, mse, sad, unknown_region
from fbamatte.evaluation.metrics.ciede2000 import ciede2000
from fbamatte.evaluation.metrics.color import (
    HALO_BACKGROUNDS,
    edge_halo,
    foreground_error,
    premultiplied_mse,
    premultiplied_sad,
)
from fbamatte.evaluation.metrics.temporal import dtssd, estimate_motion, messddt

__all__ = [
    "HALO_BACKGROUNDS",
    "ciede2000",
    "connectivity",
    "dtssd",
    "edge_halo",
    "estimate_motion",
    "foreground_error",
    "gradient",
    "messddt",
    "mse",
    "premultiplied_mse",
    "premultiplied_sad",
    "sad",
    "unknown_region",
]
