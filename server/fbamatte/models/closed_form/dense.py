"""Dense linear algebra in place, without the interpreter lock.

SciPy's own wrappers hold the lock for as long as a call takes, seconds for a large front, and every other stage of a
sequence stands still meanwhile. The same routines, which SciPy offers to compiled code in `scipy.linalg.cython_blas`,
are called through `ctypes`, which lets go of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_blas, cython_lapack

Doubles = NDArray[np.float64]

_Int, _Double, _Pointer = ctypes.c_int, ctypes.c_double, ctypes.c_void_p
_ONE, _MINUS_ONE = _Double(1.0), _Double(-1.0)


def _routine(module: Any, name: str, arguments: int) -> Callable[..., None]:
    """Return a Fortran routine, all of whose arguments are pointers."""
    pointer_of, name_of = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_GetName
    pointer_of.restype, pointer_of.argtypes = _Pointer, [ctypes.py_object, ctypes.c_char_p]
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    capsule = module.__pyx_capi__[name]
    return ctypes.CFUNCTYPE(None, *[_Pointer] * arguments)(pointer_of(capsule, name_of(capsule)))


_potrf = _routine(cython_lapack, "dpotrf", 5)
_trsm = _routine(cython_blas, "dtrsm", 11)
_syrk = _routine(cython_blas, "dsyrk", 10)


def eliminate(panel: Doubles, rest: Doubles) -> bool:
    """Factor the first columns of a symmetric matrix, in place; only lower triangles are read and written.

    Parameters
    ----------
    panel : ndarray, shape (n, k), Fortran order
        Those columns; becomes the first k columns of the Cholesky factor.
    rest : ndarray, shape (n − k, n − k), Fortran order
        The other columns' own rows; becomes the Schur complement.

    Returns
    -------
    bool
        Whether all k pivots were positive.
    """
    size, count = panel.shape
    assert panel.flags.f_contiguous, "columns one after the other"
    assert rest.flags.f_contiguous, "columns one after the other"
    n, k, b, failed = _Int(size), _Int(count), _Int(size - count), _Int(0)
    lead, lead_rest = _Int(max(1, size)), _Int(max(1, size - count))
    by = ctypes.byref
    _potrf(b"L", by(k), panel.ctypes.data, by(lead), by(failed))
    if failed.value:
        return False
    if count < size:
        below = panel.ctypes.data + count * panel.itemsize
        _trsm(b"R", b"L", b"T", b"N", by(b), by(k), by(_ONE), panel.ctypes.data, by(lead), below, by(lead))
        _syrk(b"L", b"N", by(b), by(k), by(_MINUS_ONE), below, by(n), by(_ONE), rest.ctypes.data, by(lead_rest))
    return True
