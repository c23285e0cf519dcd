"""Foregrounds continued over the whole picture (paper, section 3.5), once, and kept.

A data set's foreground means nothing where its alpha is 0. A network that is taught F everywhere, and every
augmentation that resizes or blurs, needs it to: there it is estimated, elsewhere it stays as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fbamatte.errors import OutputError, UsageError
from fbamatte.training.folders import Array, Pair, Tell, read_alpha, read_colors

METHODS = ("levin", "multilevel")


def extend(colors: Array, alpha: Array, method: str) -> Array:
    """Return F (H, W, 3) that goes on smoothly where alpha is 0.

    Parameters
    ----------
    colors : ndarray, shape (H, W, 3)
        In [0, 1]; F where alpha is above 0.
    alpha : ndarray, shape (H, W)
    method : str
        ``levin``: closed-form colours (Levin et al. 2008); ``multilevel``: Germer et al. 2020.

    Notes
    -----
    The methods are asked for F of a cut-out whose every covered pixel is opaque: its picture is F, so that F there
    is what the file says. With the soft alpha they would explain F as a mixture and invent brighter colours.
    """
    cut_out = (alpha > 0).astype(np.float32)
    if method not in METHODS:
        raise UsageError(f"no extension called {method!r}; there are: {', '.join(METHODS)}")
    from fbamatte.models.closed_form.foreground import estimate_foreground  # noqa: PLC0415 - compiles at import

    estimate = estimate_foreground(np.ascontiguousarray(colors, np.float32), cut_out)[0]
    if method == "levin":
        from pymatting import estimate_foreground_cf  # noqa: PLC0415 - compiles at import

        # Far from the cut-out next to nothing holds F: begun from black, the solver stops before it gets there.
        picture, start = colors.astype(np.float64), estimate.astype(np.float64)
        estimate = estimate_foreground_cf(picture, cut_out.astype(np.float64), foreground_guess=start)
    extended: Array = np.where(cut_out[..., None] > 0, colors, np.clip(estimate, 0, 1)).astype(np.float32)
    return extended


def prepare(pairs: Sequence[Pair], cache: Path, method: str, tell: Tell | None = None) -> int:
    """Extend what is not in the cache yet and return how many that were; stopping and starting again is fine.

    Raises
    ------
    OutputError
        If the cache cannot be written.
    """
    made = 0
    for number, pair in enumerate(pairs):
        path = extended_path(pair, cache, method)
        if not path.is_file():
            _write(path, extend(read_colors(pair.foreground), read_alpha(pair.alpha), method))
            made += 1
        if tell:
            tell(number + 1, len(pairs), pair.name)
    return made


def extended_path(pair: Pair, cache: Path, method: str) -> Path:
    """Return where an extended foreground is kept: named after what both files contain."""
    digest = hashlib.sha256()
    for path in (pair.foreground, pair.alpha):
        digest.update(path.read_bytes())
    return cache / method / f"{pair.name}-{digest.hexdigest()[:16]}.npy"


def _write(path: Path, colors: Array) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, colors.astype(np.float16))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot keep the extended foreground: {error.strerror or error}") from error
