"""``fbamatte matte``: a sequence of plates and trimaps or rotos in, EXRs with alpha, F and B out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fbamatte.errors import UsageError
from fbamatte.settings import add_flags, from_arguments, option, positional

if TYPE_CHECKING:
    from fbamatte.farm.batch import Job, MatteVerb
    from fbamatte.farm.progress import FrameReport, Progress
    from fbamatte.imaging.sequence import FrameSequence


@dataclass(frozen=True)
class MatteSettings:
    """What the verb can be told."""

    plate: str = positional(
        "plates: plate.%04d.exr, plate.####.exr, plate.1001-1100#.exr, %V and %v for views, one file"
    )
    trimap: str = option("", "trimaps: 0 background, 1 foreground, between unknown", metavar="TRIMAP")
    roto: str = option("", "rotos to make trimaps from, instead of --trimap", metavar="ROTO")
    inside: float = option(8.0, "pixels inwards from the roto's edge that go unknown", metavar="PX")
    outside: float = option(8.0, "pixels outwards from the roto's edge that go unknown", metavar="PX")
    output: str = option("", "mattes: a pattern as for plates, or a folder", metavar="OUT", flags=("-o", "--output"))
    frames: str = option(
        "", "frames to matte, as in 1001-1100x2,1120 (default: all that the plate has)", metavar="RANGE"
    )
    frame_syntax: str = option("fileseq", "how --frames is meant", choices=("fileseq", "openjd"))
    views: str = option("", "views for %V and %v, as in left,right (default: all that the plate has)", metavar="NAMES")
    model: str = option(
        "closed-form", "estimator by name (see `fbamatte models`) or checkpoint file", metavar="NAME|FILE"
    )
    input_space: str = option("", "colour space of the plates (default: as the files say)", metavar="NAME")
    device: str = option("auto", "where to run: auto, cpu, cuda:0, mps", metavar="DEVICE")
    precision: str = option("auto", "arithmetic of the network", choices=("auto", "fp32", "bf16", "fp16"))
    server: str = option("", "matte on this server: HOST:PORT or unix:PATH, several with commas", metavar="ADDRESS")
    token: str = option("", "token for the server", secret=True)
    overwrite: bool = option(False, "make frames again that are there already")
    rgba: Literal["premultiplied", "straight", "none"] = option("premultiplied", "what R, G and B hold")
    pixel_type: Literal["half", "float"] = option("half", "pixel type; alpha and trimap are float either way")
    compression: str = option("zip", "EXR compression", choices=("zip", "zips", "piz", "none", "dwaa"))
    write_trimap: bool = option(False, "write the trimap that was used as fba_trimap.A")
    preview: str = option("", "write a contact sheet per frame into this folder", metavar="FOLDER")
    json: bool = option(False, "one JSON object a frame on standard output")


def add_parser(verbs: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "matte",
        help="matte a sequence",
        description="Matte a sequence. Every option also comes from the environment, as FBAMATTE_ and its name.",
        epilog="exit codes: 0 all done, 1 some frame failed for good, 2 wrong usage, 75 try again later, 130 stopped",
    )
    add_flags(parser, MatteSettings)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Matte what the options say."""
    settings = from_arguments(MatteSettings, options)
    job = _job(settings)
    from fbamatte.farm.batch import Batch, exit_code

    started = time.monotonic()
    with _matte_verb(settings) as matte:
        reports = Batch(job, matte, _progress(settings)).run()
    if not settings.json:
        _summarise(reports, time.monotonic() - started)
    return exit_code(reports)


def _job(settings: MatteSettings) -> Job:
    from fbamatte.farm.batch import Job
    from fbamatte.imaging.matte_exr import MatteFormat
    from fbamatte.imaging.sequence import FrameSequence

    _check(settings)
    views = tuple(view.strip() for view in settings.views.split(",") if view.strip())
    plate = FrameSequence.parse(settings.plate, settings.frames, views=views, syntax=settings.frame_syntax)
    matte = FrameSequence.parse(settings.roto or settings.trimap, views=plate.views)
    if matte.is_single and len(plate.numbers) > 1:
        raise UsageError(
            f"{matte.pattern} is one picture, but there are {len(plate.numbers)} plates; nothing is repeated silently"
        )
    return Job(
        plate=plate,
        matte=matte,
        output=_output(settings, plate),
        frames=tuple((number, view) for number in plate.numbers for view in plate.views or ("",)),
        widths=(settings.inside, settings.outside) if settings.roto else None,
        input_space=settings.input_space,
        settings=_fingerprint(settings),
        format=MatteFormat(settings.rgba, settings.pixel_type, settings.compression, settings.write_trimap),
        overwrite=settings.overwrite,
        preview=Path(settings.preview) if settings.preview else None,
    )


def _check(settings: MatteSettings) -> None:
    from fbamatte.compositing import trimap
    from fbamatte.imaging import color

    trimap.check_widths(settings.inside, settings.outside)
    if not settings.output:
        raise UsageError("-o OUT is missing: where should the mattes go?")
    if bool(settings.trimap) == bool(settings.roto):
        raise UsageError("give either --trimap or --roto" + (", not both" if settings.trimap else ""))
    if settings.input_space:
        color.canonical(settings.input_space)


@contextmanager
def _matte_verb(settings: MatteSettings) -> Iterator[MatteVerb]:
    """Yield the verb of an engine here, or of a server elsewhere: the batch cannot tell."""
    if settings.server:
        from fbamatte.rpc.client import Client

        with Client(settings.server, settings.token or None) as client:
            yield partial(client.matte, model=settings.model, precision=settings.precision, priority="batch")
        return
    from fbamatte.engine import Engine

    with Engine(settings.model, settings.device, settings.precision) as engine:
        yield engine.matte


def _output(settings: MatteSettings, plate: FrameSequence) -> FrameSequence:
    """Return the pattern of the mattes; a folder gets ``fba.####.exr`` in it."""
    from fbamatte.imaging.sequence import FrameSequence

    pattern = settings.output
    if Path(pattern).suffix.lower() != ".exr":
        views = ".%V" if plate.views else ""
        numbers = "" if plate.is_single else f".%0{plate.padding}d"
        pattern = str(Path(pattern) / f"fba{views}{numbers}.exr")
    output = FrameSequence.parse(pattern, plate.numbers, plate.views)
    paths = {output.path(number, view) for number in plate.numbers for view in plate.views or ("",)}
    if len(paths) < len(plate.numbers) * max(1, len(plate.views)):
        raise UsageError(f"{pattern}: {len(plate.numbers)} frames need a frame number in the name, as in fba.####.exr")
    for number in plate.numbers:
        for view in plate.views or ("",):
            if output.path(number, view).absolute() == plate.path(number, view).absolute():
                raise UsageError(f"{pattern}: the mattes would overwrite the plates")
    return output


def _fingerprint(settings: MatteSettings) -> str:
    """Whatever decides the pixels beside the frames themselves; a matte made with other settings is made again."""
    from fbamatte.imaging.digest import digest
    from fbamatte.models import registry

    # a server knows models that this machine does not have
    model = settings.model if settings.server else registry.describe(settings.model).sha256 or settings.model
    chosen = (settings.precision, settings.rgba, settings.pixel_type, settings.compression, settings.write_trimap)
    return digest(model, *chosen)


def _progress(settings: MatteSettings) -> Progress:
    from fbamatte.farm.progress import Bar, JsonLines, Lines

    if settings.json:
        return JsonLines()
    return Bar() if sys.stderr.isatty() else Lines()


def _summarise(reports: list[FrameReport], seconds: float) -> None:
    from fbamatte.imaging.sequence import compact

    done = [report for report in reports if report.state == "done"]
    skipped = sum(report.state == "skipped" for report in reports)
    failed = [report for report in reports if report.state == "failed"]
    if done:
        worst = max(report.recomposition_error for report in done)
        rate = len(done) / seconds
        print(f"{len(done)} done at {rate:.2f} frames per second, worst recomposition error {worst:.1e}")
    if skipped:
        print(f"{skipped} skipped: complete, of the same inputs and settings (--overwrite makes them again)")
    if failed:
        print(f"{len(failed)} failed: --frames {compact({report.frame for report in failed})}", file=sys.stderr)
