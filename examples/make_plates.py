"""Make the example plates and rotos from two photographs that scikit-image ships.

Needs ``fbamatte[train]`` for scikit-image; no network. The result is the same on every machine up
to the last bit of a half float.

    python examples/make_plates.py [--out FOLDER] [chelsea] [astronaut]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from skimage import data, measure

Array = NDArray[np.float64]
Points = Sequence[tuple[float, float]]

FIRST_FRAME = 1001
REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)

# Splines as an artist would set them, in pixels of the source photograph, (0, 0) its upper left corner.
# They leave the picture where the subject does.
CHELSEA = [
    *[(41, -25), (40, 8), (35, 33), (33, 60), (32, 82), (31, 98), (22, 112), (8, 122), (-25, 133), (-30, 330)],
    *[(254, 330), (256, 302), (263, 287), (284, 278), (302, 272), (311, 260), (314, 244), (315, 226), (319, 213)],
    *[(330, 203), (340, 192), (347, 178), (353, 165), (361, 152), (363, 138), (361, 122), (360, 108), (356, 95)],
    *[(355, 82), (358, 72), (367, 62), (373, 49), (379, 34), (381, 25), (389, 12), (398, 0), (412, -25)],
]
# Open strokes held at one half, which leaves a trimap unknown there whatever its widths: whiskers and brow hairs.
WHISKERS = [
    [(308, 236), (321, 236), (332, 237), (345, 239), (360, 241), (372, 243), (386, 248)],
    [(308, 239), (328, 242), (341, 244), (352, 248), (364, 251), (375, 256), (386, 260), (397, 267)],
    [(310, 252), (318, 255), (328, 261), (338, 267), (348, 273), (358, 281)],
    [(300, 255), (309, 258), (320, 263), (330, 270), (338, 277), (348, 287)],
    [(300, 262), (308, 271), (314, 278), (321, 288), (328, 303)],
    [(294, 264), (301, 272), (308, 279), (316, 291), (321, 303)],
    [(346, 81), (358, 79), (372, 79), (390, 81), (402, 84), (413, 90)],
    [(346, 93), (358, 91), (371, 90), (383, 92), (396, 97), (406, 102), (414, 108)],
]
ASTRONAUT = [
    *[(228, 15), (245, 17), (262, 24), (277, 32), (287, 41), (294, 54), (298, 66), (301, 78), (302, 88), (299, 102)],
    *[(295, 112), (288, 120), (279, 128), (275, 135), (269, 138), (266, 141), (264, 149), (258, 160), (255, 171)],
    *[(255, 176), (264, 180), (276, 190), (288, 202), (297, 214), (302, 226), (305, 235), (313, 239), (322, 245)],
    *[(331, 253), (340, 261), (346, 271), (351, 283), (355, 294), (357, 310), (361, 326), (362, 336), (365, 345)],
    *[(371, 348), (381, 345), (395, 343), (415, 343), (435, 348), (452, 357), (468, 371), (480, 386), (490, 406)],
    *[(495, 425), (498, 445), (504, 455), (509, 470), (516, 486), (545, 500), (545, 550), (36, 550), (36, 516)],
    *[(32, 500), (27, 480), (23, 460), (22, 440), (21, 420), (19, 400), (21, 384), (25, 370), (25, 350), (26, 336)],
    *[(31, 324), (35, 311), (40, 298), (44, 283), (51, 269), (57, 257), (63, 247), (72, 239), (79, 233), (88, 227)],
    *[(98, 220), (107, 211), (111, 204), (111, 197), (112, 188), (117, 183), (122, 177), (127, 168), (134, 160)],
    *[(145, 153), (158, 149), (172, 147), (184, 148), (182, 140), (180, 132), (175, 128), (171, 121), (167, 113)],
    *[(160, 107), (155, 98), (153, 85), (152, 70), (156, 60), (163, 50), (172, 42), (182, 37), (188, 34), (190, 29)],
    *[(197, 23), (208, 19)],
]


@dataclass(frozen=True)
class Shot:
    """One photograph, the move over it and the shapes drawn on it.

    ``overscan`` is how far the data window reaches beyond the display window on either side. ``centre``
    moves the window over the photograph off its middle; ``shift``, ``turn`` and ``zoom`` are what it
    travels in all: pixels, degrees, and growth of the picture. ``highlights`` is what is added,
    scene-linear, to a pure white.
    """

    name: str
    frames: int
    display: tuple[int, int]
    overscan: tuple[int, int]
    centre: tuple[float, float]
    shift: tuple[float, float]
    turn: float
    zoom: float
    highlights: float
    roto_channel: str
    body: Points
    strokes: Sequence[Points]
    owner: str
    comments: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the data window."""
        return self.display[0] + 2 * self.overscan[0], self.display[1] + 2 * self.overscan[1]


SHOTS = {
    "chelsea": Shot(
        name="chelsea",
        frames=6,
        display=(432, 288),
        overscan=(0, 0),
        centre=(0.0, 0.0),
        shift=(7.0, 2.6),
        turn=0.6,
        zoom=0.0,
        highlights=0.0,
        roto_channel="A",
        body=CHELSEA,
        strokes=WHISKERS,
        owner="Stefan van der Walt",
        comments="Chelsea the cat. CC0 1.0. From scikit-image; resampled in linear light with a slow pan.",
    ),
    "astronaut": Shot(
        name="astronaut",
        frames=5,
        display=(464, 484),
        overscan=(16, 6),
        centre=(0.0, -5.0),
        shift=(-5.0, 1.5),
        turn=-0.5,
        zoom=0.008,
        highlights=12.0,
        roto_channel="Y",
        body=ASTRONAUT,
        strokes=[],
        owner="NASA",
        comments="Eileen Collins. Public domain. From scikit-image; slow push in, highlights raised above 1.0.",
    ),
}


def scene_linear(shot: Shot) -> tuple[Array, Array]:
    """Return the photograph in linear light, in [0, 1], and the light to add to its highlights."""
    encoded = getattr(data, shot.name)() / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    # The least channel picks what clipped to white, and spares the saturated suit and the skin.
    above = np.clip((linear.min(axis=2) - 0.7) / 0.3, 0.0, 1.0)
    return linear, shot.highlights * above**4


def window_matrix(shot: Shot, frame: int) -> tuple[Array, Array]:
    """Return (M, t): a pixel (x, y) of the data window sees the source at M·(x, y) + t, both from pixel centres."""
    height, width = getattr(data, shot.name)().shape[:2]
    travelled = (frame - FIRST_FRAME) / (shot.frames - 1) - 0.5
    angle = np.radians(shot.turn * travelled)
    scale = 1.0 - shot.zoom * (travelled + 0.5)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array([width, height]) - 1) / 2 + np.array(shot.centre) + np.array(shot.shift) * travelled
    return matrix, middle - matrix @ ((np.array(shot.size) - 1) / 2)


def plate(shot: Shot, frame: int) -> Array:
    """Return the scene-linear plate of one frame, shape (H, W, 3)."""
    linear, extra = scene_linear(shot)
    matrix, offset = window_matrix(shot, frame)
    width, height = shot.size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    at = [matrix[1, 0] * x + matrix[1, 1] * y + offset[1], matrix[0, 0] * x + matrix[0, 1] * y + offset[0]]
    picture = [map_coordinates(linear[..., c], at, order=3, mode="mirror") for c in range(3)]
    # Without its prefilter the cubic B-spline is positive, as a lens is: no dark rings around strong lights.
    glow = map_coordinates(extra, at, order=3, mode="mirror", prefilter=False)
    seen: Array = np.stack(picture, axis=2) + glow[..., None]
    return seen


def hand(frame: int, count: int, shape: int) -> Array:
    """Return how far the artist missed each of ``count`` points, in pixels: key frames on twos, about 0.6 px."""
    point = np.arange(count, dtype=np.float64)[:, None]
    axis = np.array([[0.0, 1.7]])

    def key(n: int) -> Array:
        miss: Array = 0.5 * np.sin(2.1 * point + 3.7 * n + axis + shape) + 0.4 * np.sin(
            0.63 * point - 1.9 * n + 2.3 * axis
        )
        return miss

    step, between = divmod(frame - FIRST_FRAME, 2)
    missed: Array = key(step) + 0.5 * between * (key(step + 1) - key(step))
    return missed


def curve(points: Array, samples: int = 60) -> Array:
    """Return the closed centripetal Catmull–Rom spline through ``points``, shape (len(points), samples, 2)."""
    p0, p1, p2, p3 = (np.roll(points, n, axis=0)[:, None] for n in (1, 0, -1, -2))
    t1, t2, t3 = np.cumsum([np.linalg.norm(b - a, axis=2) ** 0.5 for a, b in ((p0, p1), (p1, p2), (p2, p3))], axis=0)
    t1, t2, t3 = t1[..., None], t2[..., None], t3[..., None]
    t = t1 + (t2 - t1) * np.linspace(0.0, 1.0, samples, endpoint=False)[None, :, None]
    a1 = p0 + (p1 - p0) * t / t1
    a2 = p1 + (p2 - p1) * (t - t1) / (t2 - t1)
    a3 = p2 + (p3 - p2) * (t - t2) / (t3 - t2)
    b1 = a1 + (a2 - a1) * t / t2
    b2 = a2 + (a3 - a2) * (t - t1) / (t3 - t1)
    smooth: Array = b1 + (b2 - b1) * (t - t1) / (t2 - t1)
    return smooth


def as_drawn(shot: Shot, frame: int, points: Points, shape: int) -> Array:
    """Return a shape's points where the artist put them on this frame, in pixels of the data window."""
    matrix, offset = window_matrix(shot, frame)
    # Points were read off a grid whose lines run along pixel edges; pixels are counted by their centres.
    return (np.array(points) - 0.5 - offset) @ np.linalg.inv(matrix).T + hand(frame, len(points), shape)


def edge(distance: Array, softness: float) -> Array:
    """Return coverage from a signed distance in pixels: a smooth ramp ``softness`` wide either side of 0."""
    ramp = np.clip(0.5 + 0.5 * distance / softness, 0.0, 1.0)
    coverage: Array = ramp * ramp * (3.0 - 2.0 * ramp)
    return coverage


def roto(shot: Shot, frame: int) -> Array:
    """Return the roto of one frame in [0, 1], shape (H, W)."""
    width, height = shot.size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2).reshape(-1, 2).astype(np.float64)
    outline = curve(as_drawn(shot, frame, shot.body, 0)).reshape(-1, 2)
    # Chords of every sixth sample stray from the spline by less than the ramp can show.
    inside = measure.points_in_poly(pixels, outline[::6])  # type: ignore[no-untyped-call]  # scikit-image has no types
    matte = edge(np.where(inside, 1.0, -1.0) * cKDTree(outline).query(pixels, distance_upper_bound=4.0)[0], 1.2)
    for number, points in enumerate(shot.strokes, start=1):
        # The last piece of the closed curve leads back to its start.
        stroke = curve(as_drawn(shot, frame, points, number))[:-1].reshape(-1, 2)
        matte = np.maximum(matte, 0.5 * edge(1.0 - cKDTree(stroke).query(pixels, distance_upper_bound=6.0)[0], 1.2))
    return matte.reshape(height, width)


def header(shot: Shot, frame: int) -> dict[str, object]:
    """Return the attributes that a scanned plate and its roto share."""
    overscan, last = np.array(shot.overscan, np.int32), np.array(shot.display, np.int32) - 1
    return {
        "type": OpenEXR.scanlineimage,
        "displayWindow": (np.zeros(2, np.int32), last),
        "dataWindow": (-overscan, last + overscan),
        "framesPerSecond": Fraction(24),
        "timeCode": OpenEXR.TimeCode(1, 0, frame // 24, frame % 24, *[0] * 14),
        "reelName": f"{shot.name.upper()}_A001",
        "imageCounter": frame,
    }


def write(shot: Shot, frame: int, folder: Path) -> None:
    """Write plate and roto of one frame as half-float EXR."""
    common = header(shot, frame)
    colour = {"chromaticities": REC709, "colorInteropID": "lin_rec709_scene"}
    about = {"owner": shot.owner, "comments": shot.comments}
    files = {
        "plate": ({**common, **colour, **about, "compression": OpenEXR.PIZ_COMPRESSION}, {"RGB": plate(shot, frame)}),
        "roto": ({**common, "compression": OpenEXR.ZIP_COMPRESSION}, {shot.roto_channel: roto(shot, frame)}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (attributes, channels) in files.items():
        half = {key: pixels.astype(np.float16) for key, pixels in channels.items()}
        with OpenEXR.File(attributes, half) as file:
            file.write(str(folder / f"{name}.{frame}.exr"))


def main() -> None:
    """Write the named shots, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shots", nargs="*", help=f"of {', '.join(SHOTS)}; all without")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "plates", help="folder to write into")
    args = parser.parse_args()
    for name in args.shots or SHOTS:
        for frame in range(FIRST_FRAME, FIRST_FRAME + SHOTS[name].frames):
            write(SHOTS[name], frame, args.out / name)
            print(f"{args.out / name} {frame}")


if __name__ == "__main__":
    main()
