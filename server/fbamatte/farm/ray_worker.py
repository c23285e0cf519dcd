"""What runs on a machine of a Ray cluster: an engine on its device, frames in by their path."""

from __future__ import annotations

import threading
import time

from fbamatte.errors import FbaMatteError
from fbamatte.farm import work
from fbamatte.farm.engines import make_engine
from fbamatte.farm.job import Job, Key
from fbamatte.farm.lock import OutputLock
from fbamatte.farm.progress import FrameReport
from fbamatte.farm.settings import MatteSettings

# One frame is read, one on the device, one written.
STAGES_AT_ONCE = 3


class Worker:
    """An engine for the frames of one job; Ray calls ``matte`` on several threads.

    Parameters
    ----------
    job : Job
    settings : MatteSettings
        Say which model, device and precision.
    """

    def __init__(self, job: Job, settings: MatteSettings) -> None:
        self._job = job
        self._engine = make_engine(settings)
        # the device has one owner at a time
        self._device = threading.Lock()

    def ready(self) -> bool:
        """Answer once the model is loaded."""
        return True

    def matte(self, key: Key) -> FrameReport:
        """Matte one frame, unless it is there already; return its report, also of a failure."""
        started = time.monotonic()
        try:
            lock = OutputLock(self._job.output.path(*key))
        except FbaMatteError as error:
            return work.failed(key, error)
        try:
            frame = work.load(self._job, key)
            if work.is_done(self._job, frame):
                return work.skipped(self._job, key)
            read_seconds = time.monotonic() - started
            prepared = self._engine.prepare(frame)
            with self._device:
                estimated = self._engine.estimate(prepared)
            return work.store(self._job, frame, self._engine.finish(estimated), read_seconds)
        except FbaMatteError as error:
            return work.failed(key, error)
        finally:
            lock.release()
