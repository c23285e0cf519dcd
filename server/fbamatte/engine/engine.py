"""The engine: colour in, estimate, colour out, solve in linear light."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Optional, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fbamatte import __version__
from fbamatte.compositing import trimap as trimaps
from fbamatte.engine.overlap import overlap
from fbamatte.engine.repair import replace_nonfinite
from fbamatte.engine.solve import in_linear_light
from fbamatte.engine.tta import Augmented
from fbamatte.errors import FbaMatteError, InternalError, ResourceError
from fbamatte.frame import Frame, Matte
from fbamatte.imaging import curve
from fbamatte.imaging.digest import digest
from fbamatte.models import registry
from fbamatte.models.base import Estimate, Estimator, ModelInfo

if TYPE_CHECKING:
    from fbamatte.engine.device_light import LinearLight
    from fbamatte.models.fba import NetworkEstimator
    from fbamatte.models.transfers import Download

log = logging.getLogger(__name__)

Plane = NDArray[np.float32]
OnError = Callable[[Frame, FbaMatteError], None]
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked frame in the light that estimators see.

    Parameters
    ----------
    frame : Frame
        Its plate has no NaN or Inf left.
    encoded : ndarray, shape (H, W, 3)
        The plate, display-encoded, in [0, 1]. None where nobody asks for it: the trimap knows every pixel, or
        the estimator's device encodes for itself.
    known : bool
        Whether the trimap knows every pixel: then there is nothing to estimate.
    nonfinite : int
        Pixels that were NaN or Inf.
    digest : str
        Of the frame as it came.
    started : float
        Monotonic time at which work on this frame began.
    """

    frame: Frame
    encoded: Optional[Plane]
    known: bool
    nonfinite: int
    digest: str
    started: float


@dataclass(frozen=True, eq=False)
class Estimated:
    """A prepared frame with what the estimator says of it, display-encoded, or what its device is still at."""

    prepared: Prepared
    estimate: Optional[Estimate | Download]
    seconds: float


def frame_digest(frame: Frame) -> str:
    """Return one short name for all of a frame that decides its matte."""
    return digest(
        frame.plate, frame.trimap, frame.display_window, frame.data_window, frame.pixel_aspect, frame.colorspace
    )


class Engine:
    """Mattes frames on one device.

    ``prepare`` and ``finish`` run on any thread; ``estimate`` belongs to the one thread that owns the
    device. ``matte`` runs the three side by side.

    Parameters
    ----------
    model : str
        A registered name or the path of a checkpoint.
    device : str
        ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
    precision : str
        ``auto``, ``fp32``, ``bf16`` or ``fp16``.
    tta : str
        Test-time augmentation: a set as `fbamatte.engine.tta.parse` takes it; empty for none.
    estimator : Estimator, optional
        Used instead of loading ``model``.

    Raises
    ------
    ModelNotFoundError, CheckpointError, UsageError
        If the model, its file, the device, the precision or the augmentation is not to be had.
    """

    def __init__(
        self,
        model: str = "closed-form",
        device: str = "auto",
        precision: str = "auto",
        *,
        tta: str = "",
        estimator: Optional[Estimator] = None,
    ) -> None:
        self._estimator = estimator or registry.load(model, device, precision)
        if tta:
            self._estimator = Augmented(self._estimator, tta)
        self._light: Optional[LinearLight] = None
        if getattr(self._estimator, "overlaps", False):
            from fbamatte.engine.device_light import LinearLight  # noqa: PLC0415 - brings torch

            self._light = LinearLight()

    @property
    def info(self) -> ModelInfo:
        """What the model is and under which licence."""
        return self._estimator.info

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._estimator.device

    @property
    def precision(self) -> str:
        """Which precision was chosen."""
        return self._estimator.precision

    def matte(self, frames: Iterable[Frame], on_error: Optional[OnError] = None) -> Iterator[Matte]:
        """Yield the matte of each frame, in order, preparing the next while the last is finished.

        Parameters
        ----------
        frames : iterable of Frame
            Read as they are needed.
        on_error : callable, optional
            Told of a frame that cannot be matted and why; the others go on. Without it the error is
            raised.
        """
        prepared = overlap(_guarded(self.prepare, lambda frame: frame), frames)
        estimated = overlap(_guarded(self.estimate, lambda prepared: prepared.frame), prepared)
        finished = overlap(_guarded(self.finish, lambda estimated: estimated.prepared.frame), estimated)
        for result in finished:
            if not isinstance(result, _Failed):
                yield result
            elif on_error is None:
                raise result.error
            else:
                on_error(result.frame, result.error)

    def matte_one(self, frame: Frame) -> Matte:
        """Return the matte of one frame."""
        return self.finish(self.estimate(self.prepare(frame)))

    def prepare(self, frame: Frame) -> Prepared:
        """Check a frame and encode its plate for the estimator.

        Raises
        ------
        TrimapError
            If the trimap has unknown pixels but no foreground or no background.
        FrameError
            If no pixel of the plate is finite.
        """
        started = time.monotonic()
        trimaps.check(frame.trimap, frame.label)
        plate, nonfinite = replace_nonfinite(frame.plate, frame.label)
        known = bool(trimaps.is_known(frame.trimap).all())
        encoded = None
        if not known and not self._light:
            encoded = curve.encode(plate)
            np.clip(encoded, 0, 1, out=encoded)
        repaired = replace(frame, plate=plate) if nonfinite else frame
        return Prepared(repaired, encoded, known, nonfinite, frame_digest(frame), started)

    def estimate(self, prepared: Prepared) -> Estimated:
        """Run the estimator; only the thread that owns the device calls this.

        A GPU is only handed the frame; `finish` waits for it, while the next one is handed over.

        Raises
        ------
        ResourceError
            If memory does not suffice.
        """
        started = time.monotonic()
        result = None
        if not prepared.known:
            try:
                result = self._asked(prepared)
            except MemoryError as error:
                frame = prepared.frame
                raise ResourceError(
                    f"{frame.label}: not enough memory for {frame.data_window.width}×{frame.data_window.height} pixels "
                    f"with {self.info.name} on {self.device}"
                ) from error
        return Estimated(prepared, result, time.monotonic() - started)

    def _asked(self, prepared: Prepared) -> Estimate | Download:
        frame = prepared.frame
        if self._light is not None:
            started: Download = cast("NetworkEstimator", self._estimator).start(frame.plate, frame.trimap, self._light)
            return started
        assert prepared.encoded is not None
        return self._estimator.estimate(prepared.encoded, frame.trimap)

    def finish(self, estimated: Estimated) -> Matte:
        """Bring an estimate back to scene-linear light and make it recompose exactly."""
        prepared = estimated.prepared
        frame = prepared.frame
        if estimated.estimate is None:
            # every pixel is known: α is the trimap, F and B are the plate
            alpha, foreground, background = np.clip(frame.trimap, 0, 1), frame.plate, frame.plate
        elif prepared.encoded is None:
            download = cast("Download", estimated.estimate)
            alpha, foreground, background = download.wait()
            estimated = replace(estimated, seconds=download.seconds)
        else:
            found = cast("Estimate", estimated.estimate)
            unknown = ~trimaps.is_known(frame.trimap)
            alpha, foreground, background = in_linear_light(frame.plate, prepared.encoded, found, unknown)
        return Matte.for_frame(frame, alpha, foreground, background, self._provenance(estimated))

    def _provenance(self, estimated: Estimated) -> dict[str, str | float | int]:
        frame = estimated.prepared.frame
        return {
            "model": self.info.name,
            "model_sha256": self.info.sha256,
            "licence": self.info.licence,
            "version": __version__,
            "precision": self.precision,
            "colorspace": frame.colorspace,
            "seconds": round(time.monotonic() - estimated.prepared.started, 4),
            "estimate_seconds": round(estimated.seconds, 4),
            "nonfinite_pixels": estimated.prepared.nonfinite,
            "digest": estimated.prepared.digest,
        }

    def close(self) -> None:
        """Free the device."""
        self._estimator.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class _Failed:
    """Travels down the pipeline in a frame's place, so that the other frames keep theirs."""

    frame: Frame
    error: FbaMatteError


def _guarded(stage: Callable[[In], Out], frame_of: Callable[[In], Frame]) -> Callable[[In | _Failed], Out | _Failed]:
    """Let a stage pass on frames that failed before it, and mark those that fail in it."""

    def run(item: In | _Failed) -> Out | _Failed:
        if isinstance(item, _Failed):
            return item
        try:
            return stage(item)
        except FbaMatteError as error:
            return _Failed(frame_of(item), error)
        except Exception as error:  # our own mistake in one frame must not cost the others
            frame = frame_of(item)
            log.exception("%s", frame.label)
            return _Failed(frame, InternalError(f"{frame.label}: {type(error).__name__}: {error}"))

    return run
