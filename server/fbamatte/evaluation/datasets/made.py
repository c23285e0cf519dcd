"""The procedural set as a data set: nothing is read, everything is drawn when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fbamatte.errors import UsageError
from fbamatte.evaluation import procedural
from fbamatte.evaluation.datasets.base import Case, Shot
from fbamatte.imaging import color

# Tables and tests keep to their own: whoever trains on the same generator starts above these.
FIRST_SEED = 0
RESERVED_SEEDS = 10_000
_CLIP_FRAMES = 8


class Procedural:
    """Pictures of every family in turn; in place of a folder stands ``COUNT[@SIZE]``, as in ``48@512``."""

    name = "procedural"
    size = 512

    def __init__(self, root: Path, backgrounds: Path | None = None) -> None:
        del backgrounds
        self._count, self._size = _wish(str(root), self.size)

    def names(self) -> list[str]:
        """Return ``FAMILY-SEED``."""
        families = procedural.FAMILIES
        return [f"{families[n % len(families)]}-{FIRST_SEED + n:04d}" for n in range(self._count)]

    def load(self, name: str) -> Shot:
        """Draw one picture."""
        family, _, seed = name.rpartition("-")
        return Shot([_case(name, procedural.sample(int(seed), self._size, family))])


class ProceduralDisplay(Procedural):
    """The same pictures with F and B encoded for a display and composited so, as the published data sets are."""

    name = "procedural-display"

    def load(self, name: str) -> Shot:
        """Draw one picture."""
        family, _, seed = name.rpartition("-")
        return Shot([display_case(name, procedural.sample(int(seed), self._size, family))])


class ProceduralClips(Procedural):
    """Clips of eight frames with camera and object motion; in place of a folder stands ``COUNT[@SIZE]``."""

    name = "procedural-clips"
    size = 256

    def load(self, name: str) -> Shot:
        """Draw one clip."""
        family, _, seed = name.rpartition("-")
        clip = procedural.clip(int(seed), _CLIP_FRAMES, self._size, family)
        frames = [_case(f"{name}.{number}", sample) for number, sample in enumerate(clip.frames, 1)]
        return Shot(frames, clip.motion)


def _case(name: str, sample: procedural.Sample) -> Case:
    return Case(name, sample.plate, sample.trimap, sample.alpha, sample.foreground, sample.background, light="linear")


def display_case(name: str, sample: procedural.Sample) -> Case:
    """Return a sample in display light: its F and B encoded and cut to [0, 1], its plate composited of these."""
    foreground, background = (np.clip(color.encode(part), 0, 1) for part in (sample.foreground, sample.background))
    share = sample.alpha[..., None]
    plate = (share * foreground + (1 - share) * background).astype(np.float32)
    return Case(name, plate, sample.trimap, sample.alpha, foreground, background)


def _wish(text: str, size: int) -> tuple[int, int]:
    count, at, wanted = text.partition("@")
    if not count.isdigit() or not 0 < int(count) <= RESERVED_SEEDS or (at and not wanted.isdigit()):
        raise UsageError(
            f"procedural: {text!r} is no COUNT[@SIZE] with a count from 1 to {RESERVED_SEEDS}, as in 48@512"
        )
    return int(count), int(wanted) if at else size
