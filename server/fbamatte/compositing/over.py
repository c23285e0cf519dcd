"""Porter and Duff's over for straight colour, and the two ways to hold a foreground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def over(foreground: Plane, alpha: Plane, background: Plane) -> Plane:
    """Return αF + (1−α)B.

    Parameters
    ----------
    foreground, background : ndarray, shape (H, W, 3) or (3,)
        Straight colour, scene-linear, unbounded.
    alpha : ndarray, shape (H, W)
        In [0, 1].

    Notes
    -----
    Source: T. Porter and T. Duff, "Compositing Digital Images", 1984.
    """
    a = alpha[..., None]
    return a * foreground + (1 - a) * background


def premultiply(foreground: Plane, alpha: Plane) -> Plane:
    """Return αF for straight F, shape (H, W, 3)."""
    return foreground * alpha[..., None]


def unpremultiply(premultiplied: Plane, alpha: Plane) -> Plane:
    """Return F for αF, shape (H, W, 3); 0 where α is 0, since nothing is known of F there."""
    a = alpha[..., None]
    return np.divide(premultiplied, a, out=np.zeros_like(premultiplied), where=a > 0)
