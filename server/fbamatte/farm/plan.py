"""From what was asked for to a job: which frames, from where, to where."""

from __future__ import annotations

from pathlib import Path

from fbamatte.compositing import trimap
from fbamatte.errors import UsageError
from fbamatte.farm.job import Job, Key
from fbamatte.farm.settings import MatteSettings
from fbamatte.imaging import color
from fbamatte.imaging.digest import digest
from fbamatte.imaging.matte_exr import MatteFormat
from fbamatte.imaging.sequence import FrameSequence


def plan(settings: MatteSettings) -> Job:
    """Return the job that settings describe, without the name of its model: see `fingerprint`.

    Raises
    ------
    UsageError
        If they contradict each other or the files.
    ImageReadError
        If there are no plates.
    """
    _check(settings)
    views = tuple(view.strip() for view in settings.views.split(",") if view.strip())
    plate = FrameSequence.parse(settings.plate, _frames(settings), views=views, syntax=settings.frame_syntax)
    matte = FrameSequence.parse(settings.roto or settings.trimap, views=plate.views)
    if matte.is_single and len(plate.numbers) > 1:
        raise UsageError(
            f"{matte.pattern} is one picture, but there are {len(plate.numbers)} plates; nothing is repeated silently"
        )
    return Job(
        plate=plate,
        matte=matte,
        output=_output(settings, plate),
        frames=_keys(plate),
        widths=(settings.inside, settings.outside) if settings.roto else None,
        input_space=settings.input_space,
        format=MatteFormat(settings.rgba, settings.pixel_type, settings.compression, settings.write_trimap),
        existing=settings.onto_existing,
        retries=settings.retries,
        continue_on_error=settings.continue_on_error,
        preview=Path(settings.preview) if settings.preview else None,
    )


def fingerprint(settings: MatteSettings, model: str) -> str:
    """Return a name for whatever decides the pixels beside the frames: a matte of other settings is made again.

    Parameters
    ----------
    settings : MatteSettings
    model : str
        The hash of the model's weights, else its name.
    """
    chosen = (settings.precision, settings.rgba, settings.pixel_type, settings.compression, settings.write_trimap)
    return digest(model, *chosen, *(["tta"] if settings.tta else []))


def _check(settings: MatteSettings) -> None:
    trimap.check_widths(settings.inside, settings.outside)
    if not settings.output:
        raise UsageError("-o OUT is missing: where should the mattes go?")
    if bool(settings.trimap) == bool(settings.roto):
        raise UsageError("give either --trimap or --roto" + (", not both" if settings.trimap else ""))
    if settings.input_space:
        color.canonical(settings.input_space)


def _frames(settings: MatteSettings) -> str | list[int]:
    """Return ``--frames``, or the numbers from ``--start`` to ``--end``."""
    if settings.start is None or settings.end is None:
        return settings.frames
    if settings.end < settings.start:
        raise UsageError(f"--start {settings.start} comes after --end {settings.end}")
    return list(range(settings.start, settings.end + 1))


def _keys(plate: FrameSequence) -> tuple[Key, ...]:
    return tuple((number, view) for number in plate.numbers for view in plate.views or ("",))


def _output(settings: MatteSettings, plate: FrameSequence) -> FrameSequence:
    """Return the pattern of the mattes; a folder gets ``fba.####.exr`` in it."""
    pattern = settings.output
    if Path(pattern).suffix.lower() != ".exr":
        views = ".%V" if plate.views else ""
        numbers = "" if plate.is_single else f".%0{plate.padding}d"
        pattern = str(Path(pattern) / f"fba{views}{numbers}.exr")
    output = FrameSequence.parse(pattern, plate.numbers, plate.views)
    keys = _keys(plate)
    if len({output.path(*key) for key in keys}) < len(keys):
        raise UsageError(f"{pattern}: {len(plate.numbers)} frames need a frame number in the name, as in fba.####.exr")
    if any(output.path(*key).absolute() == plate.path(*key).absolute() for key in keys):
        raise UsageError(f"{pattern}: the mattes would overwrite the plates")
    return output
