"""EXR files that tests make with OpenEXR itself, so that reading is not checked against our own writing."""

from __future__ import annotations

import io

import numpy as np
import OpenEXR
import OpenImageIO

ZIP = OpenEXR.ZIP_COMPRESSION
SCANLINE, TILED = OpenEXR.scanlineimage, OpenEXR.tiledimage


def planes(names, width=40, height=30, dtype=np.float16, seed=0):
    """Noise from below 0 to far above 1, another for every channel, exact in ``dtype``."""
    random = np.random.default_rng(seed)
    return {n: (random.normal(size=(height, width)) * 3).astype(dtype) for n in names}


def header(width, height, *, origin=(0, 0), display=None, compression=ZIP, storage=SCANLINE, **more):
    left, top = origin
    display = display or ((0, 0), (width - 1, height - 1))
    window = ((left, top), (left + width - 1, top + height - 1))
    head = {"type": storage, "compression": compression, "dataWindow": window, "displayWindow": display, **more}
    if storage == TILED:
        tiles = OpenEXR.TileDescription()
        tiles.xSize, tiles.ySize = 16, 8
        tiles.mode, tiles.roundingMode = OpenEXR.ONE_LEVEL, OpenEXR.ROUND_DOWN
        head["tiles"] = tiles
    return head


def exr(channels, **more) -> bytes:
    """Return a single-part file of these planes."""
    height, width = next(iter(channels.values())).shape
    buffer = io.BytesIO()
    OpenEXR.File(header(width, height, **more), dict(channels)).write(buffer)
    return buffer.getvalue()


def multipart(*parts) -> bytes:
    """Return a file of several parts, each (name, planes, header entries)."""
    made = []
    for name, channels, more in parts:
        first = next(iter(channels.values()))
        made.append(OpenEXR.Part(header(first.shape[1], first.shape[0], **more), dict(channels), name))
    buffer = io.BytesIO()
    OpenEXR.File(made).write(buffer)
    return buffer.getvalue()


def read_by_oiio(path, subimage=0) -> dict[str, np.ndarray]:
    """Return the planes of a file as the independent reader sees them."""
    source = OpenImageIO.ImageInput.open(str(path))
    assert source, OpenImageIO.geterror()
    assert source.seek_subimage(subimage, 0)
    pixels = source.read_image(subimage, 0, 0, source.spec().nchannels, "float")
    assert pixels is not None, source.geterror()
    names = source.spec().channelnames
    source.close()
    return {name: pixels[..., i] for i, name in enumerate(names)}
