"""Drawing with exact coverage: strands as thin tapered capsules, and the shapes that backgrounds are piled up from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fbamatte.evaluation.procedural.arrays import Array

ELLIPSE, BOX, LEAF = 0, 1, 2


@dataclass
class Layer:
    """A foreground in the making: what it covers, and its light times that.

    Parameters
    ----------
    alpha : ndarray, shape (H, W), float32
        Coverage in [0, 1].
    premultiplied : ndarray, shape (H, W, 3), float32
        αF, scene-linear.
    """

    alpha: Array
    premultiplied: Array

    @classmethod
    def empty(cls, height: int, width: int) -> Layer:
        """Return a layer that covers nothing."""
        return cls(np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.float32))

    def over(self, other: Layer) -> Layer:
        """Return this layer in front of another."""
        clear = 1 - self.alpha
        return Layer(self.alpha + clear * other.alpha, self.premultiplied + clear[..., None] * other.premultiplied)


@dataclass(frozen=True)
class Strands:
    """Curves with a width and a colour that change along them, drawn in their order.

    Parameters
    ----------
    points : ndarray, shape (N, M, 2), float32
        x, y in pixels; pixel centres are whole numbers.
    radius : ndarray, shape (N, M), float32
        Half the width in pixels; below 0.5 the strand covers a part of each pixel.
    color : ndarray, shape (N, M, 3), float32
        Scene-linear.
    opacity : ndarray, shape (N,), float32
        In [0, 1].
    """

    points: Array
    radius: Array
    color: Array
    opacity: Array


def draw_strands(layer: Layer, strands: Strands) -> None:
    """Draw strands over a layer, each in front of those before it.

    Coverage is that of the strip between the strand's edges, filtered by a pixel's width across it; a strand does not
    cover a pixel twice where two of its segments meet.
    """
    height, width = layer.alpha.shape
    _draw_strands(
        strands.points.astype(np.float32),
        strands.radius.astype(np.float32),
        strands.color.astype(np.float32),
        strands.opacity.astype(np.float32),
        layer.alpha,
        layer.premultiplied,
        np.full((height, width), -1, np.int32),
        np.empty((height, width), np.float32),
        np.empty((height, width, 3), np.float32),
    )


@njit(cache=True, nogil=True)
def _draw_strands(points, radius, color, opacity, alpha, premultiplied, stamp, cover, paint):  # type: ignore[no-untyped-def]  # numba infers the types
    height, width = alpha.shape
    touched = np.empty((height * width, 2), np.int32)
    for n in range(points.shape[0]):
        count = 0
        for m in range(points.shape[1] - 1):
            x0, y0 = points[n, m]
            dx, dy = points[n, m + 1, 0] - x0, points[n, m + 1, 1] - y0
            length2 = max(dx * dx + dy * dy, 1e-12)
            reach = max(radius[n, m], radius[n, m + 1]) + 0.5
            left, right = max(0, int(np.ceil(min(x0, x0 + dx) - reach))), min(width - 1, int(max(x0, x0 + dx) + reach))
            top, bottom = max(0, int(np.ceil(min(y0, y0 + dy) - reach))), min(height - 1, int(max(y0, y0 + dy) + reach))
            for y in range(top, bottom + 1):
                for x in range(left, right + 1):
                    along = min(max(((x - x0) * dx + (y - y0) * dy) / length2, 0.0), 1.0)
                    away = np.sqrt((x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2)
                    half = radius[n, m] + along * (radius[n, m + 1] - radius[n, m])
                    covered = min(away + 0.5, half) - max(away - 0.5, -half)
                    if covered <= 0:
                        continue
                    if stamp[y, x] != n:
                        stamp[y, x] = n
                        cover[y, x] = 0
                        touched[count, 0], touched[count, 1] = y, x
                        count += 1
                    if covered > cover[y, x]:
                        cover[y, x] = min(covered, 1.0)
                        for c in range(3):
                            paint[y, x, c] = color[n, m, c] + along * (color[n, m + 1, c] - color[n, m, c])
        for k in range(count):
            y, x = touched[k]
            a = cover[y, x] * opacity[n]
            alpha[y, x] = a + (1 - a) * alpha[y, x]
            for c in range(3):
                premultiplied[y, x, c] = a * paint[y, x, c] + (1 - a) * premultiplied[y, x, c]


def pile(height: int, width: int, kind: NDArray[np.int32], shape: Array) -> NDArray[np.int32]:
    """Return which of many opaque shapes is seen at each pixel, the last ones in front; −1 where none is.

    Parameters
    ----------
    kind : ndarray, shape (N,), int32
        `ELLIPSE`, `BOX` or `LEAF` (an ellipse pointed at both ends).
    shape : ndarray, shape (N, 5), float32
        Centre x, y, half axes, and the angle of the first in radians.
    """
    seen = np.full((height, width), -1, np.int32)
    _pile(kind.astype(np.int32), shape.astype(np.float32), seen)
    return seen


@njit(cache=True, nogil=True)
def _pile(kind, shape, seen):  # type: ignore[no-untyped-def]  # numba infers the types
    height, width = seen.shape
    for n in range(kind.shape[0]):
        cx, cy, a, b, angle = shape[n]
        cosine, sine = np.cos(angle), np.sin(angle)
        reach_x, reach_y = abs(a * cosine) + abs(b * sine), abs(a * sine) + abs(b * cosine)
        for y in range(max(0, int(cy - reach_y)), min(height, int(cy + reach_y) + 2)):
            for x in range(max(0, int(cx - reach_x)), min(width, int(cx + reach_x) + 2)):
                u = ((x - cx) * cosine + (y - cy) * sine) / a
                v = (-(x - cx) * sine + (y - cy) * cosine) / b
                if kind[n] == ELLIPSE:
                    inside = u * u + v * v <= 1
                elif kind[n] == BOX:
                    inside = abs(u) <= 1 and abs(v) <= 1
                else:
                    inside = abs(u) <= 1 and abs(v) <= (1 - u * u) * (1 - 0.3 * u)
                if inside:
                    seen[y, x] = n
