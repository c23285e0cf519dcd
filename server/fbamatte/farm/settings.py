"""What ``fbamatte matte`` can be told, and back again into the flags that say so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, dataclass, fields
from typing import Literal, Optional

from fbamatte.errors import UsageError
from fbamatte.settings import option, positional

# How progress is told, see `fbamatte.farm.progress` and `fbamatte.farm.dialects`.
PROGRESS = ("auto", "bar", "lines", "openjd", "deadline", "tractor", "json")


@dataclass(frozen=True)
class MatteSettings:
    """The settings of one run; flags, environment and defaults follow from here."""

    plate: str = positional(
        "plates: plate.%04d.exr, plate.####.exr, plate.1001-1100#.exr, %V and %v for views, one file"
    )
    trimap: str = option("", "trimaps: 0 background, 1 foreground, between unknown", metavar="TRIMAP")
    roto: str = option("", "rotos to make trimaps from, instead of --trimap", metavar="ROTO")
    inside: float = option(8.0, "pixels inwards from the roto's edge that go unknown", metavar="PX")
    outside: float = option(8.0, "pixels outwards from the roto's edge that go unknown", metavar="PX")
    output: str = option("", "mattes: a pattern as for plates, or a folder", metavar="OUT", flags=("-o", "--output"))
    frames: str = option(
        "",
        "frames to matte, as in 1001-1100x2,1120, negative ones as in --frames=-5--1 (default: all that the plate has)",
        metavar="RANGE",
    )
    frame_syntax: str = option("fileseq", "how --frames is meant", choices=("fileseq", "openjd"))
    start: Optional[int] = option(None, "first frame, with --end, instead of --frames", metavar="N")
    end: Optional[int] = option(None, "last frame, with --start", metavar="N")
    views: str = option("", "views for %V and %v, as in left,right (default: all that the plate has)", metavar="NAMES")
    model: str = option(
        "",
        "estimator by name (see `fbamatte models`) or checkpoint file (default: closed-form, or the server's own)",
        metavar="NAME|FILE",
    )
    input_space: str = option("", "colour space of the plates (default: as the files say)", metavar="NAME")
    device: str = option("auto", "where to run: auto, cpu, cuda:0, mps", metavar="DEVICE")
    precision: str = option("auto", "arithmetic of the network", choices=("auto", "fp32", "bf16", "fp16"))
    tta: bool = option(False, "ask the estimator about turned, mirrored and scaled views too, and average: slow")
    server: str = option("", "matte on this server: HOST:PORT or unix:PATH, several with commas", metavar="ADDRESS")
    token: str = option("", "token for the server", secret=True)
    engine: Literal["local", "ray"] = option("local", "matte in this process, or on the machines of a Ray cluster")
    address: str = option(
        "", "of the Ray cluster; auto: the one that this machine is in (default: start one here)", metavar="ADDRESS"
    )
    workers: int = option(
        0, "estimators on the Ray cluster (default: one for each GPU, else for each machine)", metavar="N"
    )
    existing: Literal["skip", "overwrite", "error"] = option(
        "skip", "frames that are there already: skip those that are whole, of these inputs and settings"
    )
    overwrite: bool = option(False, "the short word for --existing overwrite")
    retries: int = option(0, "times to try again what may yet succeed: a server that is away, a full disk", metavar="N")
    continue_on_error: bool = option(True, "go on with the other frames when one fails for good")
    rgba: Literal["premultiplied", "straight", "none"] = option("premultiplied", "what R, G and B hold")
    pixel_type: Literal["half", "float"] = option("half", "pixel type; alpha and trimap are float either way")
    compression: str = option("zip", "EXR compression", choices=("zip", "zips", "piz", "none", "dwaa"))
    write_trimap: bool = option(False, "write the trimap that was used as fba_trimap.A")
    preview: str = option("", "write a contact sheet per frame into this folder", metavar="FOLDER")
    report: str = option("", "write what became of every frame: a page (.html) or data (.json)", metavar="FILE")
    progress: str = option("auto", "how to tell what is done; auto: a bar on a terminal, else lines", choices=PROGRESS)
    json: bool = option(False, "the short word for --progress json: one object a frame on standard output")

    def __post_init__(self) -> None:
        if (self.start is None) != (self.end is None):
            raise UsageError("--start and --end belong together; one of them is missing")
        if self.start is not None and self.frames:
            raise UsageError("give either --frames or --start and --end, not both")
        if self.retries < 0:
            raise UsageError(f"--retries {self.retries}: needed 0 or more")
        if self.workers < 0:
            raise UsageError(f"--workers {self.workers}: needed 0 or more")
        if self.server and self.engine == "ray":
            raise UsageError("--engine ray and --server exclude each other: which of them is to matte?")
        if self.report and not self.report.lower().endswith((".html", ".json")):
            raise UsageError(f"--report {self.report}: a name that ends in .html or .json")
        if self.server and self.tta:
            raise UsageError("--tta and --server exclude each other: a server looks at each frame once")

    @property
    def told(self) -> str:
        """How progress is told, ``--json`` included."""
        return "json" if self.json else self.progress

    @property
    def onto_existing(self) -> str:
        """What happens to frames that are there, ``--overwrite`` included."""
        return "overwrite" if self.overwrite else self.existing


@dataclass(frozen=True)
class RaySettings:
    """How a server is spread over a cluster."""

    engine: str = option(
        "local", "serve from this process, or from the machines of a Ray cluster", choices=("local", "ray")
    )
    address: str = option(
        "", "of the Ray cluster; auto: the one that this machine is in (default: start one here)", metavar="ADDRESS"
    )
    replicas: int = option(0, "most replicas on the cluster, one for each GPU (default: as many as GPUs)", metavar="N")
    proxies: str = option("every", "take calls on every machine, or on the head alone", choices=("every", "head"))


def to_flags(settings: MatteSettings, without: Collection[str] = ()) -> list[str]:
    """Return the arguments of ``fbamatte matte`` that give these settings, defaults and secrets left out.

    Parameters
    ----------
    settings : MatteSettings
    without : collection of str
        Fields to leave out, since the caller writes them in its own way.
    """
    arguments: list[str] = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        about = item.metadata
        if item.name in without or about.get("secret"):
            continue
        if about.get("positional"):
            arguments.append(str(value))
        elif item.default is MISSING or value != item.default:
            # one word each, so that a value may begin with a minus
            flag = item.name.replace("_", "-")
            arguments.append(f"--{'' if value else 'no-'}{flag}" if isinstance(value, bool) else f"--{flag}={value}")
    return arguments
