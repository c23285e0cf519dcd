"""Closed-form matting (Levin et al. 2008) with multi-level F and B (Germer et al. 2020)."""

from __future__ import annotations

import numpy as np

from fbamatte.models.base import Array, Estimate, ModelInfo

INFO = ModelInfo(
    name="closed-form",
    title="Closed-form matting, multi-level foreground",
    licence="MIT",
    commercial=True,
    sha256="",
    parameters=0,
    description="Levin, Lischinski, Weiss 2008 for alpha; Germer et al. 2020 for F and B. No trained weights.",
)


def create(device: str, precision: str) -> ClosedForm:  # noqa: ARG001  # every estimator is made this way
    """Return the estimator. It computes on the CPU in float, whatever is asked for."""
    return ClosedForm()


class ClosedForm:
    """Alpha by the matting Laplacian, F and B by the multi-level estimator."""

    info = INFO
    device = "cpu"
    precision = "fp32"

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B; see `fbamatte.models.base.Estimator.estimate`."""
        from pymatting import estimate_alpha_cf, estimate_foreground_ml

        three = np.where(trimap <= 0, 0.0, np.where(trimap >= 1, 1.0, 0.5))
        alpha = three
        if (three == 0.5).any():
            alpha = estimate_alpha_cf(image.astype(np.float64), three)
        foreground, background = estimate_foreground_ml(image, alpha, return_background=True)
        alpha = alpha.astype(np.float32)
        foreground = np.where((alpha == 1)[..., None], image, foreground)
        background = np.where((alpha == 0)[..., None], image, background)
        return Estimate(alpha, foreground.astype(np.float32), background.astype(np.float32))

    def close(self) -> None:
        """Nothing is held."""
