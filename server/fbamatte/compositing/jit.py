"""Compiled loops, with their types kept: the one way in which this house compiles."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over arrays on its first call; keep the machine code between processes.

    Compiled on first use, not at import: importing costs nothing, and a fresh machine compiles only
    what it runs. Releases the interpreter lock while it runs. Where neither the package's folder nor
    the user's can be written to, each process compiles for itself.
    """
    return _compiled(function)


def summing_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as `kernel` does, sums in whatever order is fastest."""
    return _compiled(function, fastmath={"reassoc", "contract"})


def _compiled(function: Callable[P, R], **options: object) -> Callable[P, R]:
    settings: Any = {"nogil": True, "error_model": "numpy", **options}
    try:
        compiled = numba.njit(cache=True, **settings)(function)
    except RuntimeError as error:  # no place for a cache: found when decorating
        log.info("compiled loops cannot be kept, set NUMBA_CACHE_DIR to a folder: %s", error)
        compiled = numba.njit(**settings)(function)
    return cast("Callable[P, R]", compiled)
