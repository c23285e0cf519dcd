"""What can go wrong, as an artist reads it: what failed, where, and what to do about it."""

from __future__ import annotations

import errno


class Problem(Exception):  # noqa: N818 - it is what artists read
    """Something that a user can put right.

    Parameters
    ----------
    message : str
        What failed, naming node, frame, file or address.
    todo : str
        What to do about it.
    status : str
        A gRPC status name where a server said it, else empty.
    fatal : bool
        Nothing further can succeed until it is put right, so a range stops here.
    """

    def __init__(self, message: str, todo: str = "", *, status: str = "", fatal: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.todo = todo
        self.status = status
        self.fatal = fatal

    def __str__(self) -> str:
        return f"{self.message}. {self.todo}" if self.todo else self.message


class Cancelled(Problem):
    """The user asked to stop."""

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message, "What is finished stays; render again to go on", status="CANCELLED", fatal=True)


# What a server's answer means for a range, and what helps. Statuses as in fbamatte.errors.
_TODO = {
    "UNAVAILABLE": ("Start the server (fbamatte serve) or correct the server knob, then render again", True),
    "UNAUTHENTICATED": ("Put the right token into FBAMATTE_TOKEN or the FBA preferences", True),
    "NOT_FOUND": ("Choose a model that the server has; the FBA panel lists them", True),
    "RESOURCE_EXHAUSTED": (
        "The server is full or out of memory: wait, or use a smaller plate or another server",
        False,
    ),
    "DEADLINE_EXCEEDED": ("The server is too busy: render again later", False),
    "FAILED_PRECONDITION": ("See the message, then render again", True),
    "INVALID_ARGUMENT": ("Put it right, then render again", False),
    "INTERNAL": ("See the server's log for this frame", False),
    "CANCELLED": ("Render again to go on", True),
}


def from_server(status: str, message: str, where: str) -> Problem:
    """Return the problem that a server's ``status`` and ``message`` stand for.

    Parameters
    ----------
    status : str
        A gRPC status name.
    message : str
        The server's or the client's own words.
    where : str
        Which frame, such as ``FBA1, frame 1001``; put in front unless the message has it.
    """
    todo, fatal = _TODO.get(status, ("", False))
    text = message if where in message else f"{where}: {message}"
    if status == "CANCELLED":
        return Cancelled(text)
    return Problem(text.rstrip("."), todo, status=status, fatal=fatal)


def from_os(error: OSError, doing: str) -> Problem:
    """Return the problem that an operating system error stands for, such as a full disk.

    Parameters
    ----------
    error : OSError
        What was raised.
    doing : str
        What was being done, such as ``FBA1, frame 1001: writing /cache/fba.1001.exr``.
    """
    full = {errno.ENOSPC: "the disk is full", getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up"}
    if error.errno in full:
        return Problem(f"{doing}: {full[error.errno]}", "Make room or choose another cache folder", fatal=True)
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return Problem(f"{doing}: no permission", "Choose a cache folder that may be written", fatal=True)
    return Problem(f"{doing}: {error.strerror or error}", "Check the folder, then render again", fatal=True)


def where(node_name: str, frame: int, view: str = "") -> str:
    """Return how messages name a frame of a node, as `fbamatte.frame` does; ``view`` where there are several."""
    text = f"{node_name}, frame {frame}"
    return f"{text} ({view})" if view else text
