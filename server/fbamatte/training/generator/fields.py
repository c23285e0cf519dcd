"""Random fields, and what is done to them: noise of every smoothness, warping, blurring."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fbamatte.training.generator.dice import Dice


def fractal(dice: Dice, count: int, size: int, slope: float, coarsest: float = 1.0) -> Tensor:
    """Return fields (count, size, size) whose amplitude falls as frequency to the slope; mean 0, deviation 1.

    Parameters
    ----------
    slope : float
        1 as in photographs, 2 as clouds, 0 white.
    coarsest : float
        The largest structure as a fraction of the size.
    """
    fy = torch.fft.fftfreq(size, device=dice.device)[:, None]
    fx = torch.fft.rfftfreq(size, device=dice.device)[None]
    frequency, lowest = torch.hypot(fy, fx), 1 / (coarsest * size)
    amplitude = torch.where(frequency >= 0.75 * lowest, frequency.clamp(min=lowest) ** -slope, 0)
    phase = dice.uniform(count, *amplitude.shape, high=2 * math.pi)
    field = torch.fft.irfft2(torch.polar(amplitude.expand_as(phase).contiguous(), phase), s=(size, size))
    scaled: Tensor = field / field.std(dim=(1, 2), keepdim=True).clamp(min=1e-9)
    return scaled


def grid(dice: Dice, size: int) -> tuple[Tensor, Tensor]:
    """Return x and y of each pixel's centre, in pixels."""
    line = torch.arange(size, device=dice.device, dtype=torch.float32) + 0.5
    return line[None, :].expand(size, size), line[:, None].expand(size, size)


def sample(planes: Tensor, x: Tensor, y: Tensor, mode: str = "bilinear") -> Tensor:
    """Return planes (C, H, W) read at pixel positions of shape (…,), shape (C, …); the border goes on outside."""
    height, width = planes.shape[1:]
    at = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1).reshape(1, 1, -1, 2)
    read = functional.grid_sample(planes[None], at, mode=mode, padding_mode="border", align_corners=False)
    return read.reshape(len(planes), *x.shape)


def blur(planes: Tensor, kernel: Tensor) -> Tensor:
    """Return planes (C, H, W) convolved with one odd kernel, border pixels repeated outside."""
    half_y, half_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = functional.pad(planes[None], (half_x, half_x, half_y, half_y), mode="replicate")[0]
    if kernel.numel() <= 81:
        return functional.conv2d(padded[:, None], kernel[None, None])[:, 0]
    size = padded.shape[1:]
    spectrum = torch.fft.rfft2(kernel, s=size)
    full: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * spectrum, s=size)
    # the transform's rounding must not make light negative
    return full[:, 2 * half_y :, 2 * half_x :].clamp(min=0)


def soften(planes: Tensor, sigma: float) -> Tensor:
    """Return planes (C, H, W) blurred by a Gaussian."""
    half = max(1, math.ceil(2.5 * sigma))
    line = torch.arange(-half, half + 1, device=planes.device, dtype=torch.float32)
    weights = (-0.5 * (line / sigma).square()).exp()
    weights = weights / weights.sum()
    return blur(blur(planes, weights[None]), weights[:, None])


def disc(dice: Dice, radius: float) -> Tensor:
    """Return a defocus kernel of sum 1: a disc or an iris of several blades, its rim a little brighter or darker."""
    half = math.ceil(radius) + 1
    line = torch.arange(-half, half + 1, device=dice.device, dtype=torch.float32)
    y, x = line[:, None], line[None]
    distance = torch.hypot(y, x)
    blades = dice.pick((0, 0, 5, 6, 8))
    if blades:
        turn = torch.remainder(torch.atan2(y, x) - dice.between(0, 6), 2 * math.pi / blades) - math.pi / blades
        distance = distance * turn.cos() / math.cos(math.pi / blades)
    kernel = (radius + 0.5 - distance).clamp(0, 1) * (1 + dice.between(-0.3, 0.5) * (distance / radius).square())
    return kernel / kernel.sum()


def streak(dice: Dice, length: float) -> Tensor:
    """Return a motion kernel of sum 1 along a bent path."""
    half = math.ceil(length * 0.75) + 1
    angle, bend = dice.between(0, 2 * math.pi), dice.between(-0.4, 0.4)
    t = torch.linspace(-0.5, 0.5, 8 * half, device=dice.device)
    heading = angle + bend * t
    x, y = length * t * heading.cos() + half, length * t * heading.sin() + half
    kernel = torch.zeros(2 * half + 1, 2 * half + 1, device=dice.device)
    splat(kernel[None], x, y, torch.ones_like(x)[None])
    return kernel / kernel.sum()


def splat(planes: Tensor, x: Tensor, y: Tensor, values: Tensor) -> None:
    """Add values (C, …) at pixel positions (…,) to planes (C, H, W), shared by the four pixels around."""
    count, height, width = planes.shape
    left, top = (x - 0.5).floor(), (y - 0.5).floor()
    fx, fy = x - 0.5 - left, y - 0.5 - top
    flat = planes.view(count, -1)
    for dx, wx in ((0, 1 - fx), (1, fx)):
        for dy, wy in ((0, 1 - fy), (1, fy)):
            column, row = (left + dx).long(), (top + dy).long()
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            at = torch.where(inside, row * width + column, 0).reshape(1, -1).expand(count, -1)
            flat.scatter_add_(1, at, (values * (wx * wy * inside)).reshape(count, -1))
