"""The engine's colour and solving on a device, in torch: two passes over the pixels.

The same arithmetic as `fbamatte.imaging.curve` and `fbamatte.engine.solve`, which remain its definition;
tests hold the two together. On a GPU each function is compiled to one kernel: bringing a network's raw
estimate to the processor and solving there takes longer than the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fbamatte.engine.solve import ENCODED_ERROR, RATIOS, UNHELD
from fbamatte.imaging import curve
from fbamatte.models.fused import Fused


class LinearLight:
    """What a device needs to know of light to take a plate and give back a matte."""

    def encode(self, plate: Tensor) -> Tensor:
        """Return a scene-linear plate (H, W, 3) as estimators see it, in [0, 1]."""
        return _ENCODED(plate)

    def solve(
        self, plate: Tensor, encoded: Tensor, alpha: Tensor, colours: Tensor, light: str = "linear"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return α (H, W), F and B (H, W, 3) in linear light that recompose the plate.

        Parameters
        ----------
        plate, encoded : Tensor, shape (H, W, 3)
            Scene-linear, and as the estimator saw it.
        alpha : Tensor, shape (H, W)
            The estimate; 0 and 1 are kept.
        colours : Tensor, shape (6, H, W)
            F and B, display-encoded.
        light : str
            In which alpha mixes them; see `fbamatte.models.base.Estimate`.
        """
        return _SOLVED[light](plate, encoded.amin(), encoded.amax(), alpha, colours)


def encoded(plate: Tensor) -> Tensor:
    """Return `curve.encode` of a plate, cut to [0, 1]."""
    s = plate.clamp(curve.BEND_END, curve.SHOULDER_START).sqrt()
    middle = (curve.A * s * s + curve.B * s + curve.C) / (s + curve.D)
    above = (plate.clamp(min=curve.SHOULDER_START) - curve.SHOULDER_START) / curve.SHOULDER_SCALE
    shoulder = curve.SHOULDER_BASE + curve.SHOULDER_GAIN * above.log1p()
    t = plate.clamp(0, curve.BEND_END) / curve.BEND_END
    u = t * (1 - t)
    rise = curve.BEND_RISE * (curve.BEND_CHORD * t * t + curve.TOE_SLOPE * u)
    bend = curve.BLACK + rise / (curve.BEND_CHORD + curve.BEND_K * u)
    toe = curve.BLACK + curve.TOE_SLOPE * plate
    dark = torch.where(plate < 0, toe, bend)
    light = torch.where(plate > curve.SHOULDER_START, shoulder, middle)
    return torch.where(plate < curve.BEND_END, dark, light).clamp(0, 1)


def decoded(colour: Tensor) -> Tensor:
    """Return `curve.decode` of a colour."""
    m = colour.clamp(curve.BEND_TOP, curve.SHOULDER_BASE)
    product, b = m * curve.D - curve.C, curve.B - m
    middle = 4 * (product / (b + (b * b + 4 * curve.A * product).sqrt())).square()
    above = (colour.clamp(min=curve.SHOULDER_BASE) - curve.SHOULDER_BASE) / curve.SHOULDER_GAIN
    shoulder = curve.SHOULDER_START + curve.SHOULDER_SCALE * above.expm1()
    y = ((colour - curve.BLACK) / curve.BEND_RISE).clamp(0, 1)
    p = curve.TOE_SLOPE - curve.BEND_K * y
    root = (p * p + 4 * curve.BEND_CHORD * y * (curve.BEND_CHORD - p)).sqrt()
    bend = 2 * curve.BEND_CHORD * curve.BEND_END * y / (p + root)
    toe = (colour - curve.BLACK) / curve.TOE_SLOPE
    dark = torch.where(colour < curve.BLACK, toe, bend)
    light = torch.where(colour > curve.SHOULDER_BASE, shoulder, middle)
    return torch.where(colour < curve.BEND_TOP, dark, light)


def solved(
    plate: Tensor, lowest: Tensor, highest: Tensor, alpha: Tensor, colours: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `fbamatte.engine.solve.in_linear_light` of a network's estimate; see `LinearLight.solve`."""
    seen = [colour.clamp(lowest, highest) for colour in colours.unbind(0)]
    return _solved(plate.unbind(-1), alpha, [decoded(x) for x in seen], [_variance(x) for x in seen], RATIOS["linear"])


def solved_from_display(
    plate: Tensor, lowest: Tensor, highest: Tensor, alpha: Tensor, colours: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same where alpha mixes encoded colours."""
    seen = [colour.clamp(lowest, highest) for colour in colours.unbind(0)]
    linear, unsure = [decoded(x) for x in seen], [_variance(x) for x in seen]
    mixed = [decoded(alpha * seen[k] + (1 - alpha) * seen[k + 3]) for k in range(3)]
    alpha = _likeliest(mixed, alpha, linear, unsure, UNHELD)
    return _solved(plate.unbind(-1), alpha, linear, unsure, RATIOS["display"])


Planes = Sequence[Tensor]


def _solved(c: Planes, alpha: Tensor, layers: Planes, unsure: Planes, ratio: float) -> tuple[Tensor, Tensor, Tensor]:
    alpha = _likeliest(c, alpha, layers, unsure, ratio)
    # float64: with F and B of opposite sign α·F and (1−α)·B cancel, and float32 would show it
    a = alpha.double()
    foreground, background = [], []
    for k in range(3):
        f, b, owed_f, owed_b = layers[k], layers[k + 3], a * unsure[k], (1 - a) * unsure[k + 3]
        share = (c[k] - a * f - (1 - a) * b) / (a * owed_f + (1 - a) * owed_b)
        foreground.append(torch.where(a >= 1, c[k], (f + owed_f * share).float()))
        background.append(torch.where(a <= 0, c[k], (b + owed_b * share).float()))
    return alpha, torch.stack(foreground, -1), torch.stack(background, -1)


def _likeliest(c: Planes, alpha: Tensor, layers: Planes, unsure: Planes, ratio: float) -> Tensor:
    """Return `fbamatte.compositing.recomposition.solve_alpha`."""
    along = length = torch.zeros_like(alpha)
    for k in range(3):
        weight = 1 / (alpha**2 * unsure[k] + (1 - alpha) ** 2 * unsure[k + 3])
        line = layers[k] - layers[k + 3]
        along, length = along + weight * (c[k] - layers[k + 3]) * line, length + weight * line * line
    value = ((ratio**2 * alpha + along) / (ratio**2 + length)).clamp(0, 1)
    return torch.where((alpha <= 0) | (alpha >= 1), alpha, value)


def _variance(seen: Tensor) -> Tensor:
    """Return `fbamatte.engine.solve.variance` of an encoded colour's light."""
    return ((decoded(seen) - decoded(seen - ENCODED_ERROR)) / ENCODED_ERROR).square()


_ENCODED = Fused(encoded)
_SOLVED = {"linear": Fused(solved), "display": Fused(solved_from_display)}
