"""Every error that a user can cause, each with the one gRPC status and exit code it maps to.

::

    FbaMatteError
    ├── UsageError           INVALID_ARGUMENT      2    wrong option, unknown colour space, bad frame syntax
    ├── ModelNotFoundError   NOT_FOUND             2    no model of that name
    ├── CheckpointError      INVALID_ARGUMENT      2    a file that is no checkpoint, or a wrong hash
    ├── AuthenticationError  UNAUTHENTICATED       2    token or certificate missing or wrong
    ├── FrameError           INVALID_ARGUMENT      1    a frame that cannot be matted as it is
    │   ├── ImageReadError                              missing, truncated or refused file
    │   └── TrimapError                                 a trimap that says too little
    ├── OutputError          FAILED_PRECONDITION   2    output that cannot be written or is being written
    ├── RetryableError                             75   worth trying again later
    │   ├── ResourceError    RESOURCE_EXHAUSTED         memory, queue, disk full
    │   ├── UnavailableError UNAVAILABLE                server away or draining
    │   └── DeadlineError    DEADLINE_EXCEEDED          not finished in time
    ├── CancelledError       CANCELLED             130  the caller went away or asked to stop
    └── InternalError        INTERNAL              1    our mistake
"""

from __future__ import annotations

from typing import ClassVar


class FbaMatteError(Exception):
    """Root of the tree. ``status`` is a gRPC status name, ``exit_code`` a process exit code."""

    status: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1


class UsageError(FbaMatteError):
    """An option or argument that cannot be right."""

    status = "INVALID_ARGUMENT"
    exit_code = 2


class ModelNotFoundError(FbaMatteError):
    """No model of that name is registered or installed."""

    status = "NOT_FOUND"
    exit_code = 2


class CheckpointError(FbaMatteError):
    """A file that is no checkpoint of a known network, or whose hash is not the recorded one."""

    status = "INVALID_ARGUMENT"
    exit_code = 2


class AuthenticationError(FbaMatteError):
    """A token or certificate is missing or wrong."""

    status = "UNAUTHENTICATED"
    exit_code = 2


class FrameError(FbaMatteError):
    """A frame that cannot be matted as it is; other frames can."""

    status = "INVALID_ARGUMENT"
    exit_code = 1


class ImageReadError(FrameError):
    """A file that is missing, truncated, of an unknown kind, or refused for its size."""


class TrimapError(FrameError):
    """A trimap that says too little to matte with."""


class OutputError(FbaMatteError):
    """Output that cannot be written, or that somebody else is writing."""

    status = "FAILED_PRECONDITION"
    exit_code = 2


class RetryableError(FbaMatteError):
    """Nothing wrong with the request: worth trying again later."""

    status = "UNAVAILABLE"
    exit_code = 75


class ResourceError(RetryableError):
    """Out of memory, disk or queue places."""

    status = "RESOURCE_EXHAUSTED"


class UnavailableError(RetryableError):
    """The server is away, still starting, or draining."""

    status = "UNAVAILABLE"


class DeadlineError(RetryableError):
    """Not finished before the caller's deadline."""

    status = "DEADLINE_EXCEEDED"


class CancelledError(FbaMatteError):
    """The caller went away or asked to stop."""

    status = "CANCELLED"
    exit_code = 130


class InternalError(FbaMatteError):
    """A mistake of this program, not of its user."""


_BY_STATUS: dict[str, type[FbaMatteError]] = {
    "INVALID_ARGUMENT": FrameError,
    "OUT_OF_RANGE": FrameError,
    "NOT_FOUND": ModelNotFoundError,
    "UNAUTHENTICATED": AuthenticationError,
    "PERMISSION_DENIED": AuthenticationError,
    "FAILED_PRECONDITION": OutputError,
    "RESOURCE_EXHAUSTED": ResourceError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineError,
    "CANCELLED": CancelledError,
}


def from_status(status: str, message: str) -> FbaMatteError:
    """Return the error that a gRPC status name stands for on the caller's side."""
    return _BY_STATUS.get(status, InternalError)(message)
