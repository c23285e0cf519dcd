"""A test set made on the fly: exact α, F and B in scene-linear light, the same for a seed everywhere.

Eight families of what is hard to matte, over backgrounds with the statistics of photographs, with an artist's
trimaps; and clips of them whose motion is known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fbamatte.errors import UsageError
from fbamatte.evaluation.procedural import bodies, lens, strands, veils
from fbamatte.evaluation.procedural.arrays import Rng
from fbamatte.evaluation.procedural.background import background
from fbamatte.evaluation.procedural.clips import Clip, render_clip
from fbamatte.evaluation.procedural.raster import Layer
from fbamatte.evaluation.procedural.scene import Sample, assemble

__all__ = ["FAMILIES", "Clip", "Sample", "clip", "sample"]

Size = int | tuple[int, int]


def _in_motion(rng: Rng, height: int, width: int) -> Layer:
    """Return something caught in a fast move."""
    side = min(height, width)
    angle, extent = rng.uniform(0, np.pi), rng.uniform(0.02, 0.09) * side
    kernel = lens.streak(extent * np.cos(angle), extent * np.sin(angle), rng.normal(0, 0.1) * extent)
    return lens.blur_layer(_sharp(rng, height, width), kernel)


def _out_of_focus(rng: Rng, height: int, width: int) -> Layer:
    """Return something nearer than the lens is focused."""
    radius = rng.uniform(0.006, 0.03) * min(height, width)
    kernel = lens.disc(max(radius, 1.0), int(rng.choice([0, 6, 8])), rng.uniform(0, 1))
    return lens.blur_layer(_sharp(rng, height, width), kernel)


def _sharp(rng: Rng, height: int, width: int) -> Layer:
    maker = (strands.fur, strands.hair, veils.leaves, bodies.toy)[int(rng.choice(4, p=(0.3, 0.2, 0.2, 0.3)))]
    return maker(rng, height, width)


_MAKERS: dict[str, Callable[[Rng, int, int], Layer]] = {
    "hair": strands.hair,
    "fur": strands.fur,
    "motion": _in_motion,
    "defocus": _out_of_focus,
    "glass": veils.glass,
    "smoke": veils.smoke,
    "net": veils.net,
    "leaves": veils.leaves,
}
FAMILIES = tuple(_MAKERS)


def sample(seed: int, size: Size = 512, family: str = "", *, grain: float | None = None) -> Sample:
    """Return one picture of the test set.

    Parameters
    ----------
    seed : int
        0 or more; the same seed, size and family give the same picture.
    size : int or (int, int)
        Pixels, square or as (height, width); at least 64.
    family : str
        One of `FAMILIES`; empty takes them in turn by the seed.
    grain : float, optional
        Deviation of the noise at a signal of 1; left out, it is drawn: none for a third of the seeds, up to 0.04.

    Raises
    ------
    UsageError
        If there is no such family or the size is too small.
    """
    rng, height, width, family = _start(seed, size, family)
    layer = _MAKERS[family](rng, height, width)
    behind = background(rng, height, width)
    drawn = float(rng.choice([0.0, rng.uniform(0.005, 0.04)], p=(0.34, 0.66)))
    return assemble(rng, layer, behind, family, seed).with_grain(rng, drawn if grain is None else grain)


def clip(seed: int, frames: int = 8, size: Size = 256, family: str = "", *, grain: float = 0.01) -> Clip:
    """Return a short clip: an object that moves and turns in front of a background that a moving camera sees.

    Parameters
    ----------
    frames : int
        At least 2.

    Other parameters and errors are those of `sample`; the grain is new in each frame.
    """
    if frames < 2:
        raise UsageError(f"a clip has at least 2 frames, not {frames}")
    rng, height, width, family = _start(seed, size, family)
    return render_clip(rng, _MAKERS[family], frames, (height, width), grain, family, seed)


def _start(seed: int, size: Size, family: str) -> tuple[Rng, int, int, str]:
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 64:
        raise UsageError(f"a procedural picture has at least 64 pixels on each side, not {width}×{height}")
    family = family or FAMILIES[seed % len(FAMILIES)]
    if family not in _MAKERS:
        raise UsageError(f"no procedural family called {family!r}; there are: {', '.join(FAMILIES)}")
    return np.random.default_rng([seed, FAMILIES.index(family)]), height, width, family
