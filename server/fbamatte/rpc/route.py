"""What an exchange knows: the frames that are under way, the servers they may go to, its settings."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import grpc

from fbamatte.errors import FbaMatteError, from_status
from fbamatte.rpc import health
from fbamatte.rpc.endpoint import Endpoint
from fbamatte.rpc.jobs import Job, Request
from fbamatte.rpc.stream import Stream

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0
_CHECK_SECONDS = 5.0


class FrameProgress(NamedTuple):
    """Where a frame is.

    Parameters
    ----------
    stage : str
        ``sending``, ``queued``, ``decoding``, ``estimating``, ``encoding`` or ``waiting`` (to be sent again).
    queue_position : int
        While queued: frames that go first.
    fraction : float
        Of the whole way, 0 to 1; never goes back except when the frame is sent again.
    endpoint : str
        The server that has it.
    """

    stage: str
    queue_position: int = 0
    fraction: float = 0.0
    endpoint: str = ""


@dataclass(frozen=True)
class Settings:
    """How an exchange behaves; see `fbamatte.rpc.client.Client`."""

    request: Request
    timeout: Optional[float]
    patience: float
    window: int
    metadata: tuple[tuple[str, str], ...]
    shared_memory: bool
    on_error: Optional[Callable[[Any, FbaMatteError], None]] = None
    on_progress: Optional[Callable[[Any, FrameProgress], None]] = None


@dataclass(eq=False)
class Flight:
    """A frame that is not answered yet."""

    job: Job
    deadline: float
    frame_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempts: int = 0
    refusals: int = 0
    worked: bool = False
    not_before: float = 0.0
    route: Optional[Route] = None
    key: str = ""
    last: str = ""

    @property
    def is_suspect(self) -> bool:
        """Whether it was there more than once when something went wrong."""
        return self.attempts > 1


@dataclass(eq=False)
class Route:
    """A server as this exchange sees it."""

    endpoint: Endpoint
    up: bool = False
    checking: bool = False
    failures: int = 0
    retry_at: float = 0.0
    stream: Optional[Stream] = None
    cause: str = "not tried yet"

    def fail(self, cause: str) -> None:
        """Leave it alone for a while."""
        self.up, self.checking, self.cause = False, False, cause
        self.retry_at = time.monotonic() + delay(self.failures)
        self.failures += 1

    def check(self, post: Callable[[Checked], None]) -> None:
        """Ask whether it takes frames; ``post`` gets the answer, on some other thread."""
        self.checking = True
        check = self.endpoint.check(_CHECK_SECONDS)
        check.add_done_callback(lambda future: post(_checked(self, future)))

    def ask(self, timeout: float) -> bool:
        """Ask whether it takes frames, and wait for the answer; `cause` says why it does not.

        Raises
        ------
        AuthenticationError
            If it refuses the token.
        """
        found = _checked(self, self.endpoint.check(timeout))
        self.cause = found.error
        found.refuse()
        return not found.error

    def works(self) -> None:
        """Send frames there. Failures count until one is answered: being healthy is not yet doing well."""
        self.up, self.checking = True, False


class Checked(NamedTuple):
    """A health check is back: ``error`` is empty where the server takes frames."""

    route: Route
    error: str
    code: str

    def refuse(self) -> None:
        """Raise `AuthenticationError` where that is what is wrong: trying again would not help."""
        if self.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise from_status(self.code, f"{self.route.endpoint.name}: {self.error}")


def delay(failures: int) -> float:
    """Return the seconds to wait after that many failures in a row: doubling, with jitter."""
    return float(min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(failures, 16)) * random.uniform(0.5, 1.0))


def _checked(route: Route, future: Any) -> Checked:
    try:
        found = future.result()
    except grpc.FutureCancelledError:
        return Checked(route, "the client was closed", "CANCELLED")
    except grpc.RpcError as error:
        # A proxy such as Ray's has no health service and still passes frames on.
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Checked(route, "", "OK")
        return Checked(route, error.details() or error.code().name, error.code().name)
    if found in (health.SERVING, health.SERVICE_UNKNOWN):
        return Checked(route, "", "OK")
    return Checked(route, "is there but takes no frames: it is starting or draining", "UNAVAILABLE")
