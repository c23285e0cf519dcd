"""Closed-form matting (Levin et al. 2008) with multi-level F and B (Germer et al. 2020).

The default: it needs no weights and its licence permits everything.
"""

from __future__ import annotations

import logging
from functools import cache

import numpy as np

from fbamatte.errors import FrameError
from fbamatte.models.base import Array, Estimate, ModelInfo
from fbamatte.models.closed_form.alpha import closed_form_alpha
from fbamatte.models.closed_form.foreground import FittedEstimate

INFO = ModelInfo(
    name="closed-form",
    title="Closed-form matting, multi-level foreground",
    licence="MIT",
    commercial=True,
    sha256="",
    parameters=0,
    description="Levin, Lischinski, Weiss 2008 for alpha; Germer et al. 2020 for F and B. No trained weights.",
)

log = logging.getLogger(__name__)


def create(device: str, precision: str) -> ClosedForm:
    """Return the estimator, its loops compiled. It computes on the CPU in fp32, whatever is asked for."""
    if device not in ("auto", "cpu") or precision not in ("auto", "fp32", "bf16"):  # bf16: what a server makes of auto
        log.warning("closed-form computes on the CPU in fp32; %s and %s are not used", device, precision)
    _compile()
    return ClosedForm()


class ClosedForm:
    """Alpha by the matting Laplacian, F and B by the multi-level estimator."""

    info = INFO
    device = "cpu"
    precision = "fp32"

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B; see `fbamatte.models.base.Estimator.estimate`.

        Raises
        ------
        FrameError
            If a pixel is NaN or Inf: one would spread over the whole unknown region.
        """
        image = np.ascontiguousarray(image, np.float32)
        finite = np.isfinite(image)
        if not finite.all():
            bad = image.size - np.count_nonzero(finite)
            raise FrameError(f"picture of {image.shape[1]}×{image.shape[0]} has {bad} values that are NaN or Inf")
        return FittedEstimate(closed_form_alpha(image, trimap), image)

    def close(self) -> None:
        """Nothing is held."""


@cache
def _compile() -> None:
    """Matte a few pixels, so that the first frame does not wait for the compiler."""
    trimap = np.full((16, 16), 0.5, np.float32)
    trimap[:, :4], trimap[:, 12:] = 0, 1
    closed_form_alpha(np.random.default_rng(0).random((16, 16, 3), np.float32), trimap)
