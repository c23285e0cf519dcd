"""What is done to one frame's files, whoever mattes it: read, recognise as done, write."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from fbamatte.compositing.recomposition import recomposition_error
from fbamatte.compositing.trimap import from_roto
from fbamatte.engine.engine import frame_digest
from fbamatte.errors import FbaMatteError, ImageReadError, RetryableError
from fbamatte.farm.job import Job, Key
from fbamatte.farm.progress import FrameReport
from fbamatte.frame import Frame, Matte
from fbamatte.imaging import preview
from fbamatte.imaging.exr import read_exr
from fbamatte.imaging.frames import frame_from_images
from fbamatte.imaging.matte_exr import MATTE_CHANNELS, PROVENANCE, write_matte
from fbamatte.imaging.reader import read_image


def load(job: Job, key: Key) -> Frame:
    """Return one frame of a job from its files.

    Raises
    ------
    FrameError
        If a file is missing or cannot be read, or plate and trimap do not fit.
    """
    plate_path, matte_path = job.plate.path(*key), job.matte.path(*key)
    for path in (plate_path, matte_path):
        if not path.exists():
            raise ImageReadError(f"{path}: missing")
    number, view = key
    plate, matte = read_image(plate_path, view=view), read_image(matte_path, view=view)
    frame = frame_from_images(plate, matte, number=number, view=view, input_space=job.input_space)
    if job.widths is None:
        return frame
    return replace(frame, trimap=from_roto(frame.trimap, *job.widths))


def is_done(job: Job, frame: Frame) -> bool:
    """Whether a complete matte of these very inputs and settings is there, and is to stay."""
    output = job.output.path(frame.number, frame.view)
    if job.existing == "overwrite" or not output.exists():
        return False
    try:
        made = read_exr(output)
    except ImageReadError:
        return False
    said = made.metadata.get
    return (
        set(made.channels) >= MATTE_CHANNELS
        and said(f"{PROVENANCE}settings") == job.settings
        and said(f"{PROVENANCE}digest") == frame_digest(frame)
    )


def store(job: Job, frame: Frame, matte: Matte, read_seconds: float = 0.0) -> FrameReport:
    """Write a matte and its contact sheet; return the report of its frame.

    Raises
    ------
    ResourceError, OutputError
        If there is no room, or no right to write.
    """
    started = time.monotonic()
    output = job.output.path(matte.number, matte.view)
    clamped = write_matte(output, matte.with_provenance(settings=job.settings), job.format)
    sheet = _write_preview(job, output, frame, matte)
    worst = recomposition_error(frame.plate, matte.alpha, matte.foreground, matte.background)
    said = matte.provenance.get
    return FrameReport(
        matte.number,
        matte.view,
        state="done",
        output=str(output),
        seconds=float(said("seconds", 0)),
        read_seconds=round(read_seconds, 4),
        estimate_seconds=float(said("estimate_seconds", 0)),
        write_seconds=round(time.monotonic() - started, 4),
        recomposition_error=float(np.nanmax(worst)),
        clamped=clamped,
        nonfinite=int(said("nonfinite_pixels", 0)),
        preview=sheet,
    )


def skipped(job: Job, key: Key) -> FrameReport:
    """Return the report of a frame that was there already."""
    return FrameReport(*key, state="skipped", output=str(job.output.path(*key)))


def failed(key: Key, error: FbaMatteError) -> FrameReport:
    """Return the report of a frame that could not be made."""
    return FrameReport(*key, state="failed", error=str(error), retryable=isinstance(error, RetryableError))


def _write_preview(job: Job, output: Path, frame: Frame, matte: Matte) -> str:
    if job.preview is None:
        return ""
    sheet = job.preview / output.with_suffix(".png").name
    preview.write_png(sheet, preview.contact_sheet(frame, matte))
    return str(sheet)
