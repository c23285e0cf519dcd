"""What every estimator is and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, eq=False)
class Estimate:
    """Alpha, foreground and background of one picture, in display-encoded light.

    Parameters
    ----------
    alpha : ndarray, shape (H, W), float32
        In [0, 1]; exactly 0 and 1 where the trimap says so.
    foreground, background : ndarray, shape (H, W, 3), float32
        Straight, in [0, 1]. Where alpha is 1 the foreground is the picture, where alpha is 0 the
        background is; elsewhere both are estimates, never undefined.
    fitted : bool
        Whether F and B were fitted to the picture for this very alpha. Such colours recompose it
        whatever alpha is, so they are no evidence about it.
    light : str
        In which alpha mixes F and B: ``linear``, or ``display`` where whoever made the estimate composites
        encoded values.
    """

    alpha: Array
    foreground: Array
    background: Array
    fitted: bool = False
    light: str = "linear"


@dataclass(frozen=True)
class ModelInfo:
    """What a user should know about a model before using it.

    Parameters
    ----------
    name : str
        What ``--model`` takes.
    title : str
        One line for people.
    licence : str
        Under which the model (its weights, where it has any) may be used.
    commercial : bool
        Whether that licence permits commercial use.
    sha256 : str
        Of the weights, in hexadecimal; empty for a method without weights.
    parameters : int
        Number of trained values.
    description : str
        A sentence or two: method, source.
    light : str
        In which its alpha mixes F and B; see `Estimate`.
    """

    name: str
    title: str
    licence: str
    commercial: bool
    sha256: str
    parameters: int
    description: str
    light: str = "linear"


class Estimator(Protocol):
    """A loaded model. Used by one thread at a time: the one that owns its device."""

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        ...

    @property
    def device(self) -> str:
        """Where it computes: ``cpu``, ``cuda:0``, ``mps``."""
        ...

    @property
    def precision(self) -> str:
        """How it computes: ``fp32``, ``bf16`` or ``fp16``."""
        ...

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B of one picture.

        Parameters
        ----------
        image : ndarray, shape (H, W, 3), float32
            Display-encoded, in [0, 1], finite.
        trimap : ndarray, shape (H, W), float32
            0 background, 1 foreground, anything between unknown.
        """
        ...

    def close(self) -> None:
        """Free what it holds. May be called twice."""
        ...
