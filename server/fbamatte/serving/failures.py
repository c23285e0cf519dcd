"""What goes wrong below is told to the caller in the house's own errors."""

from __future__ import annotations

from fbamatte.errors import FbaMatteError, InternalError, ResourceError, RetryableError

# Spoken by torch on CUDA and MPS, by numpy and by the allocators below them.
_MEMORY_WORDS = ("out of memory", "cannot allocate memory", "unable to allocate", "not enough memory")


class LimitError(ResourceError):
    """A limit that does not change: sending the same frame again cannot help."""

    exit_code = 1


def is_permanent(error: FbaMatteError) -> bool:
    """Return whether sending the same frame again cannot help."""
    return isinstance(error, LimitError) or (error.exit_code in {1, 2} and not isinstance(error, RetryableError))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the host or on a device.

    torch is not imported for this: its error is known by name.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _MEMORY_WORDS)


def as_our_error(error: BaseException, label: str) -> FbaMatteError:
    """Return the error that a caller is told, without the frames that hold its pixels.

    Parameters
    ----------
    label : str
        What it happened to; errors of our own name it already.
    """
    if isinstance(error, FbaMatteError):
        told = error
    elif is_out_of_memory(error):
        told = ResourceError(f"{label}: out of memory; send a smaller frame or try again later")
    else:
        told = InternalError(f"{label}: {type(error).__name__}: {error}")
    # A traceback keeps every local of every frame in it alive, which here are pictures.
    told.__context__ = told.__cause__ = None
    return told.with_traceback(None)
