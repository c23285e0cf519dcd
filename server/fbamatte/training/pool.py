"""Made pictures with their evidence, worked out ahead: closed-form matting and sampling are what costs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from fbamatte.errors import ResourceError, UsageError
from fbamatte.models import evidence
from fbamatte.models.evidence import COLORS, NAMES
from fbamatte.training import objects
from fbamatte.training.batch import Batch
from fbamatte.training.folders import LINEAR, Pair, Tell, read_alpha, read_colors
from fbamatte.training.generator.scene import hash_of
from fbamatte.training.light import srgb_to_linear
from fbamatte.training.objects import Picture
from fbamatte.training.recipe import Recipe

SIZE = 320
USES = 3
OBJECTS = 634

EASY = 0.02
"""MSE at which a picture counts half as much as one that closed-form matting solves."""

FULL = 3
"""Power of a picture's mean alpha by which it counts more: unknown regions of photographs are as much F as B.

Drawn ones are less (0.42 of them on the mean, photographs 0.51), and a network that has learned what to expect where it
cannot tell finds too little alpha in photographs.
"""

SUFFIX = ".npz"

Plane = NDArray[np.float32]
Maker = Callable[[int], list[Picture]]
"""Makes a seed's pictures of one thing."""


def fill(folder: Path, seed: int, makers: Mapping[str, Maker], tell: Tell | None = None, workers: int = 1) -> int:
    """Make the pictures of these makers with their evidence; return how many were made. What is there stays.

    Parameters
    ----------
    folder : Path
    seed : int
    makers : mapping of str to callable
        By their names: `drawn` or `cut_outs`.
    tell : callable, optional
        Told of each maker that is done.
    workers : int
        Processes that work side by side.

    Raises
    ------
    OSError
        If the folder cannot be written.
    ResourceError
        If one of the processes is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    with _side_by_side(workers) as run:
        jobs = [(name, run(_fill, folder, seed, name, maker)) for name, maker in makers.items()]
        for done, (name, job) in enumerate(jobs, 1):
            made += job()
            if tell:
                tell(done, len(jobs), name)
    return made


def drawn(numbers: Iterable[int]) -> dict[str, Maker]:
    """Return what makes pictures of objects that `objects.draw` draws."""
    return {f"{number:07d}": partial(_draw, number) for number in numbers}


def cut_outs(pairs: Iterable[Pair]) -> dict[str, Maker]:
    """Return what makes pictures of foregrounds in files: rendered ones, for example."""
    return {f"cut-out-{pair.name}": partial(_photograph, pair) for pair in pairs}


def _draw(number: int, seed: int) -> list[Picture]:
    return objects.draw(seed, number, SIZE, USES)


def _photograph(pair: Pair, seed: int) -> list[Picture]:
    colors, alpha = read_colors(pair.foreground), read_alpha(pair.alpha)
    if pair.foreground.suffix.lower() not in LINEAR:
        colors = srgb_to_linear(torch.from_numpy(colors)).numpy()
    return objects.photograph(seed, crc32(pair.name.encode()), colors, alpha, SIZE, USES)


def _fill(folder: Path, seed: int, name: str, maker: Maker) -> int:
    paths = [folder / f"{name}-{use}{SUFFIX}" for use in range(USES)]
    if all(path.is_file() and path.with_suffix(".npy").is_file() for path in paths):
        return 0
    for path, picture in zip(paths, maker(seed)):
        image, trimap = _byte(picture.image), _byte(picture.trimap)
        _write(path, {"image": image, "alpha": picture.alpha.astype(np.float16), "trimap": trimap})
        evidence_of(path)
    return len(paths)


@contextmanager
def _side_by_side(workers: int) -> Iterator[Callable[..., Callable[[], int]]]:
    """Give a function that begins a call, here or in another process, and returns what waits for its result."""
    if workers <= 1:
        yield partial
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            yield lambda *call: pool.submit(*call).result
        except BrokenProcessPool:
            raise ResourceError(
                "a process that makes pictures was killed, most likely for memory; with fewer --workers it goes on "
                "where it stopped"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def read(path: Path) -> dict[str, Plane]:
    """Return what `fill` wrote, as float32 in [0, 1]; the trimap 0, 0.5, 1."""
    with np.load(path) as file:
        planes = {k: (v / np.float32(255) if v.dtype == np.uint8 else v).astype(np.float32) for k, v in file.items()}
    trimap = planes["trimap"]
    planes["trimap"] = np.where((trimap > 0) & (trimap < 1), np.float32(0.5), trimap)
    return planes


def evidence_of(path: Path) -> NDArray[np.float16]:
    """Return the evidence (PLANES, H, W) of one of `fill`'s pictures, worked out once and kept beside it."""
    kept = path.with_suffix(".npy")
    if not kept.is_file():
        p = read(path)
        planes = evidence.gather(p["image"], p["trimap"])
        part = kept.with_name(f".{kept.name}.{os.getpid()}.npy")
        np.save(part, planes.astype(np.float16))
        part.replace(kept)
    found: NDArray[np.float16] = np.load(kept, mmap_mode="r")
    return found


def _byte(plane: Plane) -> NDArray[np.uint8]:
    return np.round(255 * np.clip(plane, 0, 1)).astype(np.uint8)


def _write(path: Path, planes: dict[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **planes)  # type: ignore[arg-type]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(buffer.getbuffer())
    part.replace(path)


@dataclass(frozen=True, eq=False)
class Kept:
    """A picture of the pool: its evidence (PLANES, H, W), alpha (H, W), trimap (H, W) and unknown pixels (N, 2)."""

    name: str
    evidence: NDArray[np.float16]
    alpha: Plane
    trimap: Plane
    unknown: NDArray[np.intp]


class PoolSource:
    """Mini-batches of crops around unknown pixels, turned, mirrored and with their colour channels shuffled.

    Pictures on which closed-form matting does well count more, and fuller ones, as `share_of` says: they are what
    photographs are like. A step's mini-batch depends on the seed and the step alone.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Of `fill`.

    Raises
    ------
    UsageError
        If the pool is empty.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._kept = [kept for path in sorted(folder.glob(f"*{SUFFIX}")) if len((kept := _kept(path)).unknown)]
        if not self._kept:
            raise UsageError(f"{folder}: no prepared pictures; `fbamatte train {recipe.name} --prepare` makes them")
        smallest = min(min(kept.alpha.shape) for kept in self._kept)
        if recipe.crops[0] > smallest:
            raise UsageError(f"{folder}: crops of {recipe.crops[0]} do not fit into its pictures of {smallest} pixels")
        self.samples_per_epoch = recipe.epoch_samples
        self._recipe = recipe
        self._share = np.cumsum([share_of(kept) for kept in self._kept])

    def batch(self, step: int) -> Batch:
        """Return the mini-batch of a step."""
        count, side = self._recipe.batch, self._recipe.crops[0]
        rng = np.random.Generator(np.random.PCG64(hash_of(self._recipe.seed, step, 21)))
        chosen = np.searchsorted(self._share, rng.random(count) * self._share[-1])
        crops = [_crop(self._kept[at], side, rng) for at in chosen]
        gathered, alpha, trimap = (torch.from_numpy(np.stack(planes)) for planes in zip(*crops))
        none = torch.zeros(count, 3, side, side)
        names = tuple(self._kept[at].name for at in chosen)
        return Batch(none, alpha, none, none, trimap, names, evidence=gathered)


def share_of(kept: Kept) -> float:
    """Return how often a picture is drawn: its mean alpha to the power `FULL` by closed-form's MSE, bounded."""
    rows, columns = kept.unknown.T
    start, truth = kept.evidence[NAMES.index("closed-form alpha")].astype(np.float32), kept.alpha
    return float(truth[rows, columns].mean() ** FULL / (np.square(start - truth)[rows, columns].mean() + EASY))


def _crop(kept: Kept, side: int, rng: np.random.Generator) -> tuple[Plane, Plane, Plane]:
    """Return evidence, alpha and trimap, (C, side, side), of a crop with an unknown pixel in it."""
    at = kept.unknown[rng.integers(len(kept.unknown))]
    top, left = (
        int(np.clip(middle - rng.integers(side), 0, size - side)) for middle, size in zip(at, kept.alpha.shape)
    )
    here = (slice(None), slice(top, top + side), slice(left, left + side))
    shuffle, turns, mirrored = rng.permutation(3), int(rng.integers(4)), bool(rng.integers(2))
    gathered = kept.evidence[here].astype(np.float32)
    for group in COLORS:
        planes = np.array([NAMES.index(name) for name in group])
        gathered[planes] = gathered[planes[shuffle]]

    def turned(planes: Plane) -> Plane:
        planes = np.rot90(planes, turns, (1, 2))
        return np.ascontiguousarray(planes[..., ::-1] if mirrored else planes)

    return turned(gathered), turned(kept.alpha[None][here]), turned(kept.trimap[None][here])


def _kept(path: Path) -> Kept:
    planes = read(path)
    unknown = np.argwhere(planes["trimap"] == 0.5)
    return Kept(path.stem, evidence_of(path), planes["alpha"], planes["trimap"], unknown)
