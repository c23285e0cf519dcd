"""How long a UHD frame takes in the imaging room, and what refusing a bad file costs.

Run: ``python benchmarks/imaging.py``. Prints the best of several runs of each step, one thread pool of
all cores for OpenEXR, everything else on one.
"""

from __future__ import annotations

import argparse
import io
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fbamatte import Matte, Window
from fbamatte.errors import ImageReadError
from fbamatte.imaging import attributes, color
from fbamatte.imaging.digest import digest
from fbamatte.imaging.exr import encode_exr, read_exr
from fbamatte.imaging.exr_chunks import assemble
from fbamatte.imaging.image import Image
from fbamatte.imaging.matte_exr import MatteFormat, decode_matte, encode_matte, is_complete, write_matte


def best(name: str, work: Callable[[], Any], runs: int) -> Any:
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        taken.append(time.perf_counter() - start)
    print(f"{name:55s} {min(taken) * 1000:7.0f} ms")
    return result


def picture(width: int, height: int) -> np.ndarray:
    """Return a smooth picture with grain and a few highlights: it compresses like a plate, not like noise."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    smooth = np.stack([x / width, y / height, (x + y) / (width + height)], axis=-1) ** 2
    grain = np.random.default_rng(0).normal(0, 0.01, smooth.shape).astype(np.float32)
    return smooth + grain * (0.1 + smooth) + 8 * (smooth > 0.9)


def frame_of(pixels: np.ndarray) -> Matte:
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = np.clip(0.5 + (height / 3 - np.hypot(x - width / 2, y - height / 2)) / 80, 0, 1).astype(np.float32)
    window = Window.of_size(width, height)
    return Matte(alpha, pixels * 1.1, pixels * 0.9, alpha.round(1), 1, "", window, window, 1.0, "ACEScg", {})


def refusals() -> None:
    """Headers that ask for too much: how long, and how much memory."""
    big = 2**31 - 1
    for name, window, channels in (
        ("2^31 × 2^31 pixels", (0, 0, big, big), ["R", "G", "B"]),
        ("10^6 channels", (0, 0, 9, 9), [f"c{i:07}" for i in range(10**6)]),
        ("16K picture in 400 bytes", (0, 0, 15359, 15359), ["R", "G", "B"]),
    ):
        listed = b"".join(c.encode() + b"\0" + struct.pack("<iB3xii", 1, 0, 1, 1) for c in channels) + b"\0"
        head = {
            "channels": ("chlist", listed),
            "compression": attributes.typed("compression", 3),
            "dataWindow": attributes.typed("box2i", *window),
            "displayWindow": attributes.typed("box2i", 0, 0, 9, 9),
        }
        with tempfile.NamedTemporaryFile(suffix=".exr") as file:
            file.write(assemble(head, [struct.pack("<ii4s", 0, 4, b"abcd")]))
            file.flush()
            before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
            try:
                read_exr(file.name)
                sys.exit(f"{name} was read")
            except ImageReadError:
                taken = time.perf_counter() - start
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            print(f"refusing {name:46s} {taken * 1000:7.1f} ms, +{grown:.0f} MB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", default="3840x2160")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    refusals()
    pixels = picture(width, height)
    window = Window.of_size(width, height)
    plate = Image(dict(zip("RGB", np.moveaxis(pixels, -1, 0))), window, window)
    print(f"{width}×{height}, best of {given.runs}:")
    for kind, floats in (("half", frozenset()), ("float", "all")):
        data = best(
            f"write plate, R G B {kind}, zip", lambda f=floats: encode_exr(plate, float_channels=f)[0], given.runs
        )
        best(f"read plate, R G B {kind}, zip ({len(data) >> 20} MiB)", lambda d=data: read_exr(d).rgb(), given.runs)
        best("  the same by OpenEXR.File alone", lambda d=data: by_openexr(d), given.runs)
    encoded = best("encode, networks' curve", lambda: color.encode(pixels), given.runs)
    best("decode, networks' curve", lambda: color.decode(encoded), given.runs)
    noise = np.random.default_rng(0).normal(size=pixels.shape).astype(np.float32)
    encoded_noise = best("encode, worst case (noise around 0 and above 1)", lambda: color.encode(noise), given.runs)
    best("decode, worst case", lambda: color.decode(encoded_noise), given.runs)
    for space in ("ACEScg", "ARRI LogC3 (EI800)", "sRGB - Texture"):
        best(f"to scene-linear from {space}", lambda s=space: color.to_scene_linear(encoded, s), given.runs)
    best("digest of the plate", lambda: digest(pixels), given.runs)
    matte = frame_of(pixels)
    for fmt in (MatteFormat(), MatteFormat(compression="zips"), MatteFormat(compression="piz")):
        data = best(
            f"encode matte, {fmt.pixel_type}, {fmt.compression}", lambda f=fmt: encode_matte(matte, f), given.runs
        )
        best(f"decode matte ({len(data) >> 20} MiB)", lambda d=data: decode_matte(d), given.runs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.exr"
        best("write matte, half, zip, with fsync", lambda: write_matte(path, matte), given.runs)
        best("verify it (is_complete)", lambda: is_complete(path), given.runs)


def by_openexr(data: bytes) -> Any:
    import OpenEXR  # noqa: PLC0415  the yardstick, not a part of what is measured

    return OpenEXR.File(io.BytesIO(data), separate_channels=True)


if __name__ == "__main__":
    main()
