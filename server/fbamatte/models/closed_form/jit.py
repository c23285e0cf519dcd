"""Compiled loops, with their types kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over arrays on its first call; keep the machine code between processes.

    Compiled on first use, not at import: importing costs nothing, and a fresh machine compiles only
    what it runs. Releases the interpreter lock while it runs.
    """
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
