"""The EXR that comes back: a `Matte` as the contract's file, and that file as a `Matte` again."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fbamatte.errors import ImageReadError, OutputError, ResourceError, UsageError
from fbamatte.frame import Matte
from fbamatte.imaging import attributes
from fbamatte.imaging.exr import COMPRESSIONS, FloatChannels, encode_exr, read_exr
from fbamatte.imaging.exr_header import Limits
from fbamatte.imaging.frames import frame_from_images
from fbamatte.imaging.image import Image, Plane

__all__ = [
    "DEFAULT_FORMAT",
    "MATTE_CHANNELS",
    "MatteFormat",
    "decode_matte",
    "encode_counted",
    "encode_matte",
    "frame_from_images",
    "is_complete",
    "matte_of",
    "write_atomic",
    "write_matte",
]

PROVENANCE = "fbamatte/"
# What unfinished files are called: hidden, short in any folder, and part of no sequence.
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".fbamatte-", ".part"
MATTE_CHANNELS = frozenset(["A", *(f"{layer}.{c}" for layer in ("fba_fg", "fba_bg") for c in "RGB")])

# A disk that is full or a server that hiccups may be well again in a minute. Not all systems know all of these.
_PASSING = ("ENOSPC", "EDQUOT", "ENOMEM", "EMFILE", "ENFILE", "EIO", "ESTALE", "ETIMEDOUT")
_WORTH_RETRYING = frozenset(getattr(errno, name, None) for name in _PASSING)


@dataclass(frozen=True)
class MatteFormat:
    """How a matte is stored.

    Parameters
    ----------
    rgba : str
        ``premultiplied``: R G B hold αF; ``straight``: F; ``none``: no R G B, only A.
    pixel_type : str
        ``half`` (alpha and trimap in float all the same) or ``float``.
    compression : str
        ``zip``, ``zips``, ``piz``, ``none``, or the lossy ``dwaa``.
    write_trimap : bool
        Whether to add ``fba_trimap.A``.

    Raises
    ------
    UsageError
        A word that is none of these.
    """

    rgba: Literal["premultiplied", "straight", "none"] = "premultiplied"
    pixel_type: Literal["half", "float"] = "half"
    compression: str = "zip"
    write_trimap: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("rgba", self.rgba, ("premultiplied", "straight", "none")),
            ("pixel type", self.pixel_type, ("half", "float")),
            ("compression", self.compression, tuple(COMPRESSIONS)),
        ):
            if value not in known:
                raise UsageError(f"{what} {value!r}: known are {', '.join(known)}")


DEFAULT_FORMAT = MatteFormat()


def encode_matte(matte: Matte, fmt: MatteFormat = DEFAULT_FORMAT) -> bytes:
    """Return a matte as the bytes of the EXR that the contract describes.

    Values beyond the range of half floats are stored as the largest half; their number is in the
    file's ``fbamatte/halfOverflow`` and from `encode_counted`.
    """
    return encode_counted(matte, fmt)[0]


def encode_counted(matte: Matte, fmt: MatteFormat = DEFAULT_FORMAT) -> tuple[bytes, int]:
    """Return what `encode_matte` returns, and how many values were beyond the range of half."""
    float_channels: FloatChannels = "all" if fmt.pixel_type == "float" else frozenset(["A", "fba_trimap.A"])
    return encode_exr(
        Image(
            channels=_channels(matte, fmt),
            display_window=matte.display_window,
            data_window=matte.data_window,
            pixel_aspect=matte.pixel_aspect,
            view=matte.view,
            metadata=_metadata(matte),
            name=matte.label,
        ),
        compression=fmt.compression,
        float_channels=float_channels,
        overflow_attribute=PROVENANCE + "halfOverflow",
    )


def decode_matte(data: bytes, *, name: str = "matte", limits: Limits | None = None) -> Matte:
    """Return the matte that `encode_matte` made ``data`` from.

    The trimap is ``fba_trimap.A`` where the file has it; else what alpha tells: 0 and 1 where it is
    exactly that, unknown between.

    Raises
    ------
    ImageReadError
        Not an EXR, damaged, or without the contract's channels.
    """
    return matte_of(read_exr(data, name=name, limits=limits))


def matte_of(image: Image) -> Matte:
    """Return the matte that an image of the contract's channels holds."""
    if lacking := sorted(MATTE_CHANNELS - set(image.channels)):
        raise ImageReadError(f"{image.name}: is no matte of this program: lacks {', '.join(lacking)}")
    alpha = image.channels["A"]
    known = np.where(alpha <= 0, np.float32(0), np.where(alpha >= 1, np.float32(1), np.float32(0.5)))
    said = {key[len(PROVENANCE) :]: value for key, value in image.metadata.items() if key.startswith(PROVENANCE)}
    number, space = said.pop("frame", 1), said.pop("colorspace", "")
    return Matte(
        alpha=alpha,
        foreground=np.stack([image.channels[f"fba_fg.{c}"] for c in "RGB"], axis=-1),
        background=np.stack([image.channels[f"fba_bg.{c}"] for c in "RGB"], axis=-1),
        trimap=image.channels.get("fba_trimap.A", known),
        number=number if isinstance(number, int) else 1,
        view=image.view,
        display_window=image.display_window,
        data_window=image.data_window,
        pixel_aspect=image.pixel_aspect,
        colorspace=str(space),
        metadata={key: value for key, value in image.metadata.items() if not key.startswith(PROVENANCE)},
        name=image.name,
        provenance=said,
    )


def write_matte(path: str | os.PathLike[str], matte: Matte, fmt: MatteFormat = DEFAULT_FORMAT) -> int:
    """Write a matte so that ``path`` either holds all of it or is as it was before.

    Returns
    -------
    int
        Values beyond the range of half, stored as the largest half.

    Raises
    ------
    ResourceError
        Disk full or over quota; worth trying again.
    OutputError
        Folder missing or not writable.
    """
    data, beyond = encode_counted(matte, fmt)
    write_atomic(path, data)
    return beyond


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Put ``data`` at ``path`` at once: temporary file, fsync, rename, fsync of the folder.

    Raises
    ------
    ResourceError, OutputError
        As `write_matte`; nothing is left behind.
    """
    target = Path(path)
    temporary = target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    with _named_errors(target):
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)


def is_complete(path: str | os.PathLike[str]) -> bool:
    """Say whether ``path`` is a whole matte: every channel of the contract, every pixel readable."""
    try:
        image = read_exr(path)
    except ImageReadError:
        return False
    return set(image.channels) >= MATTE_CHANNELS


def _channels(matte: Matte, fmt: MatteFormat) -> dict[str, Plane]:
    planes: dict[str, Plane] = {"A": matte.alpha}
    for i, channel in enumerate("RGB"):
        foreground = matte.foreground[..., i]
        if fmt.rgba != "none":
            planes[channel] = foreground if fmt.rgba == "straight" else matte.alpha * foreground
        planes[f"fba_fg.{channel}"] = foreground
        planes[f"fba_bg.{channel}"] = matte.background[..., i]
    if fmt.write_trimap:
        planes["fba_trimap.A"] = matte.trimap
    return planes


def _metadata(matte: Matte) -> dict[str, Any]:
    """Return the plate's attributes and this matte's own, without what an earlier matte left in the plate."""
    plate: Mapping[str, Any] = matte.metadata
    found = {key: value for key, value in plate.items() if not key.startswith(PROVENANCE)}
    own = {"frame": matte.number, "colorspace": matte.colorspace, **matte.provenance}
    found.update({PROVENANCE + key: value for key, value in own.items() if value not in ("", None)})
    return {key: attributes.decode(*attributes.encode(value)) for key, value in found.items()}


@contextlib.contextmanager
def _named_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{target}: cannot be written: {error.strerror or error}"
        raise (ResourceError if error.errno in _WORTH_RETRYING else OutputError)(reason) from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to sync a folder; the file itself is safe by then.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
