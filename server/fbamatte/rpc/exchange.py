"""One call of a client: frames out to the least busy server, answers back, what got lost sent again.

All decisions are made on the caller's own thread, in `Exchange.run`; streams and health checks only
put events into its queue.
"""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from fbamatte.errors import CancelledError, DeadlineError, FbaMatteError, FrameError, UnavailableError, from_status
from fbamatte.rpc.endpoint import Endpoint
from fbamatte.rpc.framing import CHUNK_BYTES
from fbamatte.rpc.jobs import Job
from fbamatte.rpc.route import Checked, Flight, FrameProgress, Route, Settings, delay
from fbamatte.rpc.stream import Answered, Ended, Failed, Progressed, Stream
from fbamatte.rpc.v1 import matting_pb2 as pb

RETRY_STREAM = frozenset({"OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "CANCELLED", "ABORTED"})
"""How a stream may end with frames unanswered that are then worth sending again. INTERNAL is what Ray's
proxy says when a replica dies, CANCELLED what other proxies say; OK: the server hung up politely."""
RETRY_FRAME = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
MOST_ATTEMPTS = 6
"""Times that a frame may be there when its stream breaks, or run out of memory."""


class Exchange:
    """See the module. Used once, through `run`; `cancel` may come from any thread."""

    def __init__(self, endpoints: Sequence[Endpoint], jobs: Iterator[Job], settings: Settings) -> None:
        self._routes = [Route(endpoint) for endpoint in endpoints]
        self._jobs = jobs
        self._more = True
        self._settings = settings
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting: list[Flight] = []
        self._flying: dict[str, Flight] = {}
        self._keys = 0
        self._dark_since: Optional[float] = None

    def cancel(self) -> None:
        """End `run` with `CancelledError`, soon."""
        self._events.put(None)

    def run(self) -> Iterator[Any]:
        """Yield what the caller gets, as frames are answered."""
        try:
            while True:
                self._expire()
                self._pull()
                if not self._waiting and not self._flying:
                    return
                self._place()
                event = self._next_event()
                if isinstance(event, Answered):
                    yield from self._answered(event)
                elif event is not None:
                    self._handle(event)
        finally:
            self._close()

    # Out

    def _pull(self) -> None:
        """Take frames from the caller while there is room for them."""
        room = self._settings.window * max(1, sum(route.up for route in self._routes))
        while self._more and len(self._flying) + len(self._waiting) < room:
            job = next(self._jobs, None)
            if job is None:
                self._more = False
                return
            limit = float("inf") if self._settings.timeout is None else time.monotonic() + self._settings.timeout
            self._waiting.append(Flight(job, limit))

    def _place(self) -> None:
        """Send what may be sent; look after servers that are down."""
        now = time.monotonic()
        self._check_routes(now)
        for flight in [flight for flight in self._waiting if flight.not_before <= now]:
            ready = [route for route in self._routes if route.up and self._has_room(route, flight)]
            if ready:
                self._send(flight, min(ready, key=lambda route: route.endpoint.outstanding))

    def _has_room(self, route: Route, flight: Flight) -> bool:
        """Return whether ``flight`` may go there now.

        A frame that may be what breaks the server travels alone, so that it takes no other down with it.
        """
        others = [other for other in self._flying.values() if other.route is route]
        if flight.is_suspect or any(other.is_suspect for other in others):
            return not others
        return len(others) < self._settings.window

    def _check_routes(self, now: float) -> None:
        if any(route.up for route in self._routes):
            self._dark_since = None
        elif self._dark_since is None:
            # From when it is noticed: the caller may have kept us from looking for a long time.
            self._dark_since = now
        if self._is_overdue(now):
            # A check that is under way may still bring good news, and ends by itself.
            if any(route.checking for route in self._routes):
                return
            causes = "; ".join(f"{route.endpoint.name}: {route.cause}" for route in self._routes)
            raise UnavailableError(f"no server takes frames: {causes}")
        for route in self._routes:
            if not route.up and not route.checking and route.retry_at <= now:
                route.check(self._events.put)

    def _is_overdue(self, now: float) -> bool:
        return self._dark_since is not None and now - self._dark_since > self._settings.patience

    def _send(self, flight: Flight, route: Route) -> None:
        self._waiting.remove(flight)
        if route.stream is None:
            settings = self._settings
            route.stream = Stream(route.endpoint, self._events.put, settings.metadata, settings.shared_memory)
        self._keys += 1
        flight.key, flight.route = f"{self._keys}", route
        try:
            header = flight.job.header(flight.key)
            self._settings.request.apply(header)
            if header.ByteSize() > CHUNK_BYTES:
                raise FrameError(f"{flight.job.label}: its attributes take {header.ByteSize()} bytes, at most 1 MiB")
        except FbaMatteError as error:
            self._give_up(flight, error)
            return
        header.frame_id = flight.frame_id
        # Also tells a frame that found no place from one that ran out of memory.
        header.progress, flight.worked = True, False
        if flight.deadline != float("inf"):
            header.timeout_ms = max(1, int((flight.deadline - time.monotonic()) * 1000))
        self._flying[flight.key] = flight
        route.endpoint.occupy(1)
        route.stream.send(flight.job, header)
        self._report(flight, FrameProgress("sending", endpoint=route.endpoint.name))

    # Back

    def _next_event(self) -> Any:
        """Return the next event; None when a deadline or a delay is over first."""
        try:
            event = self._events.get(timeout=self._pause())
        except queue.Empty:
            return None
        if event is None:
            raise CancelledError("cancelled by the caller")
        return event

    def _pause(self) -> Optional[float]:
        now = time.monotonic()
        times = [flight.deadline for flight in self._flying.values()]
        times += [min(flight.deadline, flight.not_before) for flight in self._waiting if flight.not_before > now]
        times += [flight.deadline for flight in self._waiting]
        if not self._is_overdue(now):
            times += [route.retry_at for route in self._routes if not route.up and not route.checking]
            if self._dark_since is not None:
                times.append(self._dark_since + self._settings.patience)
        # The small extra makes sure that the time has really come when we look.
        nearest = min(times, default=float("inf"))
        return None if nearest == float("inf") else max(0.0, nearest - now) + 0.001

    def _handle(self, event: Any) -> None:
        if isinstance(event, Progressed):
            self._progressed(event)
        elif isinstance(event, Failed):
            self._failed(event.key, event.error)
        elif isinstance(event, Checked):
            self._checked(event)
        elif isinstance(event, Ended):
            self._ended(event)

    def _answered(self, event: Answered) -> Iterator[Any]:
        flight = self._land(event.key)
        if flight is None:
            return
        if flight.route is not None:
            flight.route.failures = 0
            self._report(flight, FrameProgress("done", fraction=1.0, endpoint=flight.route.endpoint.name))
        yield event.result

    def _progressed(self, event: Progressed) -> None:
        flight = self._flying.get(event.key)
        if flight is None or flight.route is None:
            return
        flight.worked |= event.progress.stage in (pb.Progress.STAGE_ESTIMATING, pb.Progress.STAGE_ENCODING)
        stage = pb.Progress.Stage.Name(event.progress.stage)[len("STAGE_") :].lower()
        at = FrameProgress(stage, event.progress.queue_position, event.progress.fraction, flight.route.endpoint.name)
        self._report(flight, at)

    def _failed(self, key: str, error: pb.FrameError) -> None:
        flight = self._land(key)
        if flight is None:
            return
        route = flight.route
        assert route is not None
        message = _name(error.message, flight.job.label, route.endpoint.name)
        if error.code not in RETRY_FRAME or error.permanent:
            self._give_up(flight, from_status(error.code, message))
            return
        if error.code == "UNAVAILABLE" and route.up:
            # Draining: what it has it finishes, what comes next goes elsewhere.
            route.fail(error.message)
        flight.refusals += 1
        # A full queue is worth waiting for as long as the deadline allows, a frame that fits nowhere is not.
        flight.attempts += flight.worked
        wait = error.retry_after_ms / 1000 * random.uniform(1.0, 1.5) or delay(flight.refusals)
        self._again(flight, wait, from_status(error.code, message))

    def _checked(self, event: Checked) -> None:
        if not event.error:
            event.route.works()
            return
        event.refuse()
        event.route.fail(event.error)

    def _ended(self, event: Ended) -> None:
        """Send again what a broken stream leaves unanswered."""
        route = next((route for route in self._routes if route.stream is event.stream), None)
        if route is None:
            return
        route.stream = None
        lost = [flight for flight in self._flying.values() if flight.route is route]
        message = f"{route.endpoint.name}: {event.details or 'the server ended the stream'}"
        if event.code not in RETRY_STREAM:
            raise from_status(event.code, message)
        if lost or event.code != "OK":
            route.fail(event.details or "the server ended the stream")
        for flight in lost:
            self._land(flight.key)
            # A server that was never reached, or had no room, tells nothing about the frame.
            seen = flight.key in event.reached and event.code != "RESOURCE_EXHAUSTED"
            flight.attempts += seen or event.code == "INTERNAL"
            self._again(flight, 0.0, UnavailableError(f"{flight.job.label}: {message}"))

    # A frame's fate

    def _land(self, key: str) -> Optional[Flight]:
        flight = self._flying.pop(key, None)
        if flight is not None and flight.route is not None:
            flight.route.endpoint.occupy(-1)
        return flight

    def _again(self, flight: Flight, wait: float, error: FbaMatteError) -> None:
        if flight.attempts >= MOST_ATTEMPTS:
            self._give_up(flight, type(error)(f"{error}; gave up after {flight.attempts} attempts"))
            return
        flight.not_before, flight.last = time.monotonic() + wait, str(error)
        self._waiting.append(flight)
        self._report(flight, FrameProgress("waiting"))

    def _give_up(self, flight: Flight, error: FbaMatteError) -> None:
        if self._settings.on_error is None:
            raise error
        self._settings.on_error(flight.job.frame, error)

    def _expire(self) -> None:
        now = time.monotonic()
        late = [flight for flight in (*self._flying.values(), *self._waiting) if flight.deadline <= now]
        for flight in late:
            where = ""
            if flight in self._waiting:
                self._waiting.remove(flight)
            else:
                self._land(flight.key)
                if flight.route is not None and flight.route.stream is not None:
                    where = f" by {flight.route.endpoint.name}"
                    flight.route.stream.cancel_frame(flight.key)
            last = f"; last: {flight.last}" if flight.last else ""
            message = f"{flight.job.label}: not answered{where} within {self._settings.timeout:g} s{last}"
            self._give_up(flight, DeadlineError(message))

    def _report(self, flight: Flight, progress: FrameProgress) -> None:
        if self._settings.on_progress is not None:
            self._settings.on_progress(flight.job.frame, progress)

    def _close(self) -> None:
        """Leave politely where all is answered; else drop what is under way, so that the server can too."""
        unfinished = bool(self._more or self._waiting or self._flying)
        for key in list(self._flying):
            self._land(key)
        for route in self._routes:
            if route.stream is not None:
                (route.stream.cancel if unfinished else route.stream.finish)()


def _name(message: str, label: str, endpoint: str) -> str:
    """Return a server's message with the frame and the server in it."""
    named = message if label in message else f"{label}: {message}"
    return f"{named} [{endpoint}]"
