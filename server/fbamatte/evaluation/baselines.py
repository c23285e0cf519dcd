"""PyMatting's methods as estimators, so that a run can put them beside ours.

``pymatting-cf``, ``-knn`` and ``-lbdm`` are its closed-form, KNN and learning-based α with its multi-level foreground;
with ``+cf`` after the name F and B come from its closed-form foreground instead. They are for comparison: the clamping
of F and B is theirs, and their memory is not bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fbamatte.models import registry
from fbamatte.models.base import Array, Estimate, Estimator, ModelInfo

_ALPHAS = {
    "cf": ("estimate_alpha_cf", "closed-form (Levin, Lischinski, Weiss 2008)"),
    "knn": ("estimate_alpha_knn", "KNN (Chen, Li, Tang 2013)"),
    "lbdm": ("estimate_alpha_lbdm", "learning-based (Zheng, Kambhamettu 2009)"),
}
_FOREGROUNDS = {
    "ml": ("estimate_foreground_ml", "multi-level foreground (Germer et al. 2020)"),
    "cf": ("estimate_foreground_cf", "closed-form foreground (Levin, Lischinski, Weiss 2008)"),
}
NAMES = tuple(f"pymatting-{alpha}" for alpha in _ALPHAS)


class Baseline:
    """One of PyMatting's α methods with one of its foreground methods."""

    device = "cpu"
    precision = "fp32"

    def __init__(self, alpha: str, foreground: str) -> None:
        # Slow to load, and compiled on first use.
        import pymatting  # noqa: PLC0415

        self._alpha: Callable[..., Any] = getattr(pymatting, _ALPHAS[alpha][0])
        self._foreground: Callable[..., Any] = getattr(pymatting, _FOREGROUNDS[foreground][0])
        suffix = "" if foreground == "ml" else f"+{foreground}"
        self.info = ModelInfo(
            name=f"pymatting-{alpha}{suffix}",
            title=f"PyMatting {_ALPHAS[alpha][1]}",
            licence="MIT",
            commercial=True,
            sha256="",
            parameters=0,
            description=f"PyMatting's {_ALPHAS[alpha][1]} with its {_FOREGROUNDS[foreground][1]}.",
        )

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B; see `fbamatte.models.base.Estimator.estimate`."""
        known = np.where(trimap <= 0, 0.0, np.where(trimap >= 1, 1.0, 0.5))
        picture: NDArray[np.float64] = image.astype(np.float64)
        alpha = known
        if (known == 0.5).any():
            alpha = np.clip(self._alpha(picture, known), 0, 1)
        foreground, background = self._foreground(picture, alpha, return_background=True)
        parts = [np.asarray(part, np.float32) for part in (alpha, foreground, background)]
        return Estimate(parts[0], parts[1], parts[2], fitted=True)

    def close(self) -> None:
        """Nothing is held."""


def load_model(name: str, device: str = "auto", precision: str = "auto") -> Estimator:
    """Return a baseline by its name, else what the registry has of that name.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    """
    parts = baseline_parts(name)
    return Baseline(*parts) if parts else registry.load(name, device, precision)


def describe_model(name: str) -> ModelInfo:
    """Return what is known of a model without loading weights; errors are those of `load_model`."""
    parts = baseline_parts(name)
    return Baseline(*parts).info if parts else registry.describe(name)


def baseline_parts(name: str) -> tuple[str, str] | None:
    """Return the α and the foreground method that a baseline's name stands for; None for any other name."""
    if not name.startswith("pymatting-") or Path(name).exists():
        return None
    alpha, _, foreground = name.removeprefix("pymatting-").partition("+")
    if alpha in _ALPHAS and (foreground or "ml") in _FOREGROUNDS:
        return alpha, foreground or "ml"
    return None
