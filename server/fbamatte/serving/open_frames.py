"""The frames of one stream that are in flight, and how the stream comes to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fbamatte.errors import FbaMatteError, ResourceError
from fbamatte.serving.inflight import InFlight
from fbamatte.serving.pace import is_slow


@dataclass(frozen=True)
class End:
    """The stream is over: well, or with an error."""

    error: FbaMatteError | None = None


class OpenFrames:
    """Frames in flight by key; any thread.

    Parameters
    ----------
    on_end : callable
        Called once, with how it ends, when no more frames are taken and none is left.
    """

    def __init__(self, on_end: Callable[[End], None]) -> None:
        self._on_end = on_end
        self._frames: dict[str, InFlight] = {}
        self._changed = threading.Condition()
        self._ending: End | None = None
        self._paused = False
        self._idle_since = time.monotonic()
        self.closed = False

    def __contains__(self, key: str) -> bool:
        return key in self._frames

    def get(self, key: str) -> InFlight | None:
        """Return the frame of a key that is in flight."""
        return self._frames.get(key)

    def all(self) -> list[InFlight]:
        """Return the frames in flight."""
        with self._changed:
            return list(self._frames.values())

    @property
    def takes_more(self) -> bool:
        """Whether the stream goes on."""
        return self._ending is None and not self.closed

    @property
    def has_partial(self) -> bool:
        """Whether a frame's payload is still coming in."""
        return any(not frame.complete for frame in self.all())

    def heard(self) -> None:
        """Note that the caller has said something."""
        self._idle_since = time.monotonic()

    def add(self, frame: InFlight) -> bool:
        """Take a frame in; False where the stream is over."""
        with self._changed:
            if self.closed:
                return False
            self._frames[frame.key] = frame
            return True

    def remove(self, frame: InFlight) -> None:
        """Let a frame go that is answered; the last one lets the stream end that wants to."""
        with self._changed:
            self._frames.pop(frame.key, None)
            self._idle_since = time.monotonic()
            self._changed.notify_all()
            if self._ending is not None and not self._frames:
                self._on_end(self._ending)

    def wait_for_room(self, most: int, label: str) -> None:
        """Wait until fewer than ``most`` are in flight, for as long as that can happen.

        Raises
        ------
        ResourceError
            If none of them is complete: they would wait for their own payload.
        """
        with self._changed, self.paused():
            while len(self._frames) >= most and self.takes_more:
                if not any(frame.complete for frame in self._frames.values()):
                    raise ResourceError(f"{label}: {most} frames of this stream are open and none is complete")
                self._changed.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the server does not read, its caller does not stand still."""
        begin = time.monotonic()
        self._paused = True
        try:
            yield
        finally:
            pause = time.monotonic() - begin
            for frame in self.all():
                frame.begun += pause
                frame.heard += pause
            self._paused = False

    def finish(self, error: FbaMatteError | None) -> list[InFlight]:
        """Take no more frames, and end once those in flight are answered.

        Returns
        -------
        list of InFlight
            Those whose payload will never be complete.
        """
        with self._changed:
            if self._ending is not None:
                return []
            self._ending = End(error)
            self._changed.notify_all()
            if not self._frames:
                self._on_end(self._ending)
            return [frame for frame in self._frames.values() if not frame.complete]

    def close(self) -> list[InFlight] | None:
        """Let all frames go at once and return them; None where that was done before."""
        with self._changed:
            if self.closed:
                return None
            self.closed = True
            frames, self._frames = list(self._frames.values()), {}
            self._changed.notify_all()
            return frames

    def unless_closed(self, action: Callable[[], None]) -> bool:
        """Act while the stream cannot be closed; return False, not acting, where it is."""
        with self._changed:
            if not self.closed:
                action()
            return not self.closed

    def slow(self, now: float, patience: float) -> InFlight | None:
        """Return a frame whose payload stands still or comes too slowly."""
        with self._changed:
            if self._paused:
                return None
            partial = (frame for frame in self._frames.values() if not frame.complete)
            return next((frame for frame in partial if _is_slow(frame, now, patience)), None)

    def idle(self, now: float) -> float:
        """Return the seconds since anything was in flight or said."""
        with self._changed:
            return 0.0 if self._frames else now - self._idle_since


def _is_slow(frame: InFlight, now: float, patience: float) -> bool:
    return is_slow(now, frame.begun, frame.heard, frame.admitted.payload_bytes, patience)
