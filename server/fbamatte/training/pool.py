"""Pictures with their closed-form solution, made ahead: the solution is what costs, so it is kept."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fbamatte.errors import UsageError
from fbamatte.models import evidence
from fbamatte.models.refinement import look
from fbamatte.training import objects
from fbamatte.training.batch import Batch
from fbamatte.training.generator.scene import hash_of
from fbamatte.training.recipe import Recipe

SIZE = 320
USES = 3
OBJECTS = 50
PIXELS = 4000
"""Of a picture that are trained on."""

EASY = 0.02
"""MSE at which a picture counts half as much as one that closed-form matting solves."""

SUFFIX = ".npz"

Plane = NDArray[np.float32]


def fill(folder: Path, seed: int, numbers: range) -> int:
    """Draw and solve the objects of these numbers; return how many pictures were made. What is there stays.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for number in numbers:
        paths = [folder / f"{number:07d}-{use}{SUFFIX}" for use in range(USES)]
        if all(path.is_file() for path in paths):
            continue
        for path, picture in zip(paths, objects.draw(seed, number, SIZE, USES)):
            _write(path, solved(picture))
            evidence_of(path)
            made += 1
    return made


def solved(picture: objects.Picture) -> dict[str, NDArray[Any]]:
    """Return a picture and its closed-form alpha, F and B in the few bytes that they are kept in."""
    from fbamatte.models.closed_form.alpha import closed_form_alpha  # noqa: PLC0415 - numba compiles at import
    from fbamatte.models.closed_form.foreground import estimate_foreground  # noqa: PLC0415

    alpha = closed_form_alpha(picture.image, picture.trimap)
    foreground, background = estimate_foreground(picture.image, alpha)
    return {
        "image": _byte(picture.image), "alpha": picture.alpha.astype(np.float16), "trimap": _byte(picture.trimap),
        "closed_form": alpha.astype(np.float16), "foreground": _byte(foreground), "background": _byte(background),
    }  # fmt: skip


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
        planes = evidence.planes(p["image"], p["trimap"], p["closed_form"], p["foreground"], p["background"])
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


class PoolSource:
    """Mini-batches of unknown pixels from all over a pool, each with what is seen of its surroundings.

    The refining network decides pixel by pixel, so a mini-batch need not be a picture: it is crops of the recipe's
    size filled with pixels at random. Pictures on which closed-form matting does well count more, as `weights_of`
    says: they are what photographs are like. A step's mini-batch depends on the seed and the step alone.

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
        found = [_pixels(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
        kept = [pair for pair in found if len(pair[0])]
        if not kept:
            raise UsageError(f"{folder}: no prepared pictures; `fbamatte train {recipe.name} --prepare` makes them")
        self.samples_per_epoch = recipe.epoch_samples
        self._recipe = recipe
        self._seen, self._alpha = (np.concatenate(side) for side in zip(*kept))
        self._share = np.cumsum(np.concatenate([np.full(len(p[0]), w) for p, w in zip(kept, weights_of(kept))]))

    def batch(self, step: int) -> Batch:
        """Return the mini-batch of a step."""
        count, side = self._recipe.batch, self._recipe.crops[0]
        rng = np.random.Generator(np.random.PCG64(hash_of(self._recipe.seed, step, 21)))
        chosen = np.searchsorted(self._share, rng.random(count * side * side) * self._share[-1])
        seen, alpha = (torch.from_numpy(x[chosen].astype(np.float32)) for x in (self._seen, self._alpha))
        gathered = seen.reshape(count, side, side, -1).permute(0, 3, 1, 2)
        truth = alpha.reshape(count, 1, side, side)
        none = torch.zeros(count, 3, side, side)
        unknown = torch.full_like(truth, 0.5)
        return Batch(none, truth, none, none, unknown, (f"pixels of step {step}",), evidence=gathered)


def weights_of(pictures: list[tuple[NDArray[np.float16], Plane]]) -> NDArray[np.float64]:
    """Return how often each picture's pixels are drawn: the inverse of closed-form's MSE on it, bounded."""
    errors = [np.square(seen[:, 0].astype(np.float64) - alpha).mean() for seen, alpha in pictures]
    return 1 / (np.array(errors) + EASY)


def _pixels(path: Path) -> tuple[NDArray[np.float16], Plane]:
    """Return what is seen (N, SEEN) at some unknown pixels of a picture, the same ones each time, and their alpha."""
    planes = read(path)
    rows, columns = np.nonzero(planes["trimap"] == 0.5)
    few = np.random.Generator(np.random.PCG64(len(rows))).permutation(len(rows))[:PIXELS]
    rows, columns = rows[few], columns[few]
    where = torch.zeros(planes["trimap"].shape, dtype=torch.bool)
    where[rows, columns] = True
    seen = look(torch.from_numpy(evidence_of(path).astype(np.float32))[None], where)[0, :, 0].numpy()
    return seen.T.astype(np.float16), planes["alpha"][where.numpy()]
