"""Plates, rotos and trees for tests: small, with values below 0 and far above 1, with metadata and overscan."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from nuke_standin import exr

import nuke

WIDTH, HEIGHT = 96, 64
FRAMES = (1001, 1002, 1003)

ATTRIBUTES = {
    "timeCode": ("timecode", struct.pack("<II", 0x01020304, 0)),
    "framesPerSecond": ("rational", struct.pack("<iI", 24000, 1001)),
    "cameraModel": ("string", b"ALEXA 35"),
    "focalLength": ("float", struct.pack("<f", 35.0)),
    "worldToCamera": ("m44f", struct.pack("<16f", *range(16))),
}


def write_exr(
    path: Path, planes: dict[str, np.ndarray], window: Any = None, display: Any = None, aspect: float = 1.0, **more: Any
) -> None:
    """Write float planes; ``window`` and ``display`` as OpenEXR has them, ``more`` as (type, bytes)."""
    height, width = next(iter(planes.values())).shape
    full = ((0, 0), (width - 1, height - 1))
    header = {
        "type": OpenEXR.scanlineimage,
        "compression": OpenEXR.ZIPS_COMPRESSION,
        "dataWindow": window or full,
        "displayWindow": display or full,
        "pixelAspectRatio": aspect,
    }
    buffer = io.BytesIO()
    OpenEXR.File(header, {name: np.ascontiguousarray(plane, np.float32) for name, plane in planes.items()}).write(
        buffer
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(exr.inject(buffer.getvalue(), more))


def plate_pixels(frame: int, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> dict[str, np.ndarray]:
    """Return R, G, B from −0.02 to about 20."""
    random = np.random.default_rng(frame + seed)
    base = random.random((3, height, width)).astype(np.float32)
    base[:, 10:14, 10:20] = 20.0
    base[:, 20:24, 10:20] = -0.02
    return dict(zip("RGB", base))


def roto_pixels(frame: int, height: int = HEIGHT, width: int = WIDTH, radius: float = 20.0) -> dict[str, np.ndarray]:
    """Return A: a hard disc in the middle that moves with the frame."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - height / 2 + 0.5, columns - width / 2 + 0.5 - (frame - FRAMES[0]))
    return {"A": (distance < radius).astype(np.float32)}


def sequences(
    folder: Path,
    frames: tuple[int, ...] = FRAMES,
    views: tuple[str, ...] = ("main",),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **how: Any,
) -> None:
    """Write plate.%V.%04d.exr and roto.%V.%04d.exr."""
    width, height = size
    for number, view in enumerate(views):
        for frame in frames:
            write_exr(
                folder / f"plate.{view}.{frame:04d}.exr",
                plate_pixels(frame, height, width, 100 * number),
                **ATTRIBUTES,
                **how,
            )
            write_exr(folder / f"roto.{view}.{frame:04d}.exr", roto_pixels(frame, height, width), **how)


def read(folder: Path, name: str, frames: tuple[int, ...] = FRAMES) -> Any:
    """Return a Read of such a sequence."""
    return nuke.nodes.Read(
        file=f"{folder.as_posix()}/{name}.%V.%04d.exr",
        first=frames[0],
        last=frames[-1],
        raw=True,
        name=name,
        file_type="exr",
    )


def tree(folder: Path, frames: tuple[int, ...] = FRAMES, views: tuple[str, ...] = ("main",), **how: Any) -> Any:
    """Write sequences, build plate and roto into an FBA node, save the script beside them; return the node."""
    sequences(folder, frames, views, **how)
    root = nuke.root()
    root._views[:] = list(views)
    # What is not connected is black in the script's format.
    root["format"].fromScript(f'"{WIDTH + 10} {HEIGHT + 10} 0 0 {WIDTH + 10} {HEIGHT + 10} 1 small"')
    plate, roto = read(folder, "plate", frames), read(folder, "roto", frames)
    node = nuke.createNode("FBA")
    node.setInput(0, plate)
    node.setInput(1, roto)
    node["inside_width"].setValue(4)
    node["outside_width"].setValue(6)
    nuke.frame(frames[0])
    nuke.scriptSaveAs(str(folder / "shot.nk"), 1)
    return node
