"""Closed-form alpha of the unknown region: assemble, factorise, solve; in blocks where memory says so."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fbamatte.errors import InternalError
from fbamatte.models.base import Array
from fbamatte.models.closed_form import laplacian
from fbamatte.models.closed_form.cholesky import Factor, NotDefiniteError, factorise
from fbamatte.models.closed_form.dissection import dissect
from fbamatte.models.closed_form.laplacian import Doubles, System

Mask = NDArray[np.bool_]

log = logging.getLogger(__name__)

PRIORS = (1e-10, 1e-7, 1e-4)
"""Weights of the pull towards 0.5, tried in turn until the matrix factorises."""

MAX_UNKNOWNS = 3_000_000
"""Unknowns solved in one piece: about 5 GB. More are solved in blocks around a coarse solution."""

BLOCK, OVERLAP = 768, 96
"""Side of a block, and how far beyond it a block's own solve reaches, in pixels."""

TOLERANCE = 1e-6
"""Relative residual at which refinement stops."""


def closed_form_alpha(
    image: Array, trimap: Array, *, max_unknowns: int = MAX_UNKNOWNS, near: Array | None = None, trust: float = 0.0
) -> Array:
    """Return alpha by the matting Laplacian, known pixels as boundary values.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3), float32
        Display-encoded, in [0, 1].
    trimap : ndarray, shape (H, W), float32
        0 background, 1 foreground, anything between unknown.
    max_unknowns : int
        Above this the region is solved in overlapping blocks whose outer values come from a solve at
        half the size: an approximation that the log mentions.
    near : ndarray, shape (H, W), float32, optional
        An estimate of alpha from elsewhere, to stay near to.
    trust : float
        The weight of that, above 0, against the matting Laplacian, whose rows have about 1 on their diagonals.

    Returns
    -------
    ndarray, shape (H, W), float32
        In [0, 1], exactly 0 and 1 in the known regions. 0.5 in an unknown region that touches
        nothing known.

    References
    ----------
    Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting, PAMI 2008.
    """
    height, width = trimap.shape
    if min(height, width) < 3:  # no 3×3 window fits: repeat the edge until one does
        pad = ((0, max(3 - height, 0)), (0, max(3 - width, 0)))
        wider = None if near is None else np.pad(near, pad, "edge")
        padded = closed_form_alpha(
            np.pad(image, (*pad, (0, 0)), "edge"), np.pad(trimap, pad, "edge"), near=wider, trust=trust
        )
        return padded[:height, :width]
    unknown = (trimap > 0) & (trimap < 1)
    alpha: Array = (trimap >= 1).astype(np.float32)
    if unknown.any():
        if np.count_nonzero(unknown) <= max_unknowns:
            alpha[unknown] = _solve_region(image, unknown, alpha, near, trust)
        else:
            _solve_in_blocks(image, trimap, unknown, alpha, max_unknowns, near, trust)
    return alpha


def _solve_region(image: Array, unknown: Mask, alpha: Array, near: Array | None, trust: float) -> Array:
    """Return alpha of the unknown pixels, row by row, alpha elsewhere given."""
    part = _bounding_box(unknown, margin=2)
    beside = None if near is None else near[part]
    for prior in PRIORS if near is None else (trust,):
        system = laplacian.build(image[part], unknown[part], alpha[part], prior=prior, near=beside)
        try:
            factor = factorise(system, dissect(system.index))
        except NotDefiniteError:
            log.warning("closed-form: %d unknowns do not factorise with prior %g", len(system.rhs), prior)
            continue
        return np.clip(_refine(system, factor), 0, 1).astype(np.float32)
    raise InternalError(f"closed-form: the matting Laplacian of {len(system.rhs)} unknowns cannot be factorised")


def _refine(system: System, factor: Factor, steps: int = 4) -> Doubles:
    """Solve in single precision, then give the solution the digits of the double-precision residual."""
    norm = float(np.linalg.norm(system.rhs))
    x = factor.solve(system.rhs)
    for _ in range(steps):
        residual = system.residual(x)
        left = float(np.linalg.norm(residual))
        if left <= TOLERANCE * norm:
            return x
        x += factor.solve(residual)
    log.warning("closed-form: residual %.1e after %d refinements, %.1e wanted", left / norm, steps, TOLERANCE)
    return x


def _bounding_box(mask: Mask, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def _solve_in_blocks(
    image: Array, trimap: Array, unknown: Mask, alpha: Array, max_unknowns: int, near: Array | None, trust: float
) -> None:
    """Fill alpha from a half-size solve, then solve each block again with that around it."""
    log.info("closed-form: %d unknowns, solved in blocks of %d pixels", np.count_nonzero(unknown), BLOCK)
    coarse = closed_form_alpha(
        _halved_image(image), _halved_trimap(trimap), max_unknowns=max_unknowns,
        near=None if near is None else _halved_image(near[..., None])[..., 0], trust=trust,
    )  # fmt: skip
    alpha[unknown] = _doubled(coarse, alpha.shape)[unknown]
    outside = alpha.copy()
    for top in range(0, alpha.shape[0], BLOCK):
        for left in range(0, alpha.shape[1], BLOCK):
            _solve_block(image, unknown, outside, alpha, (top, left), near, trust)


def _solve_block(
    image: Array, unknown: Mask, outside: Array, alpha: Array, corner: tuple[int, int], near: Array | None, trust: float
) -> None:
    """Write one block of alpha; its solve reaches `OVERLAP` further, and is held to ``outside`` there."""
    top, left = corner
    core = (slice(top, top + BLOCK), slice(left, left + BLOCK))
    if not unknown[core].any():
        return
    margin = OVERLAP + laplacian.BORDER
    view = tuple(slice(max(at - margin, 0), at + BLOCK + margin) for at in (top, left))
    inside = unknown[view].copy()
    for axis, at in enumerate((top, left)):  # the outermost pixels of the view are boundary values
        places = np.arange(view[axis].start, view[axis].start + inside.shape[axis])
        beyond = (places < at - OVERLAP) | (places >= at + BLOCK + OVERLAP)
        inside &= ~(beyond[:, None] if axis == 0 else beyond)
    solved = outside[view].copy()
    solved[inside] = _solve_region(image[view], inside, solved, None if near is None else near[view], trust)
    y, x = top - view[0].start, left - view[1].start
    alpha[core] = solved[y : y + BLOCK, x : x + BLOCK]


def _halved_image(image: Array) -> Array:
    return _mean_of_four(np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge"))


def _halved_trimap(trimap: Array) -> Array:
    """Return 0 or 1 where all four pixels are, unknown elsewhere."""
    three = np.where(trimap <= 0, 0, np.where(trimap >= 1, 1, 0.5)).astype(np.float32)
    return _mean_of_four(np.pad(three, ((0, three.shape[0] % 2), (0, three.shape[1] % 2)), "edge"))


def _mean_of_four(even: Array) -> Array:
    four = (even[::2, ::2], even[1::2, ::2], even[::2, 1::2], even[1::2, 1::2])
    return sum(four[1:], start=four[0]) * np.float32(0.25)


def _doubled(small: Array, shape: tuple[int, ...]) -> Array:
    rows, columns = ((np.arange(n, dtype=np.float32) - 0.5) / 2 for n in shape)
    double: Array = ndimage.map_coordinates(small, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    return double
