#!/usr/bin/env python3
"""Draws the nodes' icons: FBA.png and FBATrimap.png, 24 pixels, and twice that for dense screens. Needs Pillow.

FBA is a head with loose hair in front of a plate; FBATrimap the same head as a trimap: sure inside,
unknown around it, sure outside.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

SIZE = 24
FINE = 16
"""Drawn so many times larger and then made small, for smooth edges."""
BACK, PLATE_TOP, PLATE_BOTTOM = (38, 42, 46), (96, 133, 158), (52, 76, 94)
HEAD, UNKNOWN, KNOWN = (244, 240, 232), (128, 128, 128), (250, 250, 250)


def main() -> int:
    """Write the four files beside this script, or into the folder given."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, draw in (("FBA", fba), ("FBATrimap", trimap)):
        for scale, suffix in ((1, ""), (2, "@2x")):
            side = SIZE * scale
            draw().resize((side, side), Image.Resampling.LANCZOS).save(folder / f"{name}{suffix}.png", optimize=True)
    return 0


def fba() -> Image.Image:
    """Return the head with its hair over a plate."""
    side = SIZE * FINE
    plate = Image.new("RGB", (1, side))
    for row in range(side):
        share = row / side
        plate.putpixel((0, row), tuple(round(a + (b - a) * share) for a, b in zip(PLATE_TOP, PLATE_BOTTOM)))
    plate = plate.resize((side, side))
    plate.paste(HEAD, mask=ImageChops.lighter(head(), hair()))
    return rounded(plate)


def trimap() -> Image.Image:
    """Return black, a grey band and a white core."""
    side = SIZE * FINE
    picture = Image.new("RGB", (side, side), (0, 0, 0))
    picture.paste(UNKNOWN, mask=head(grow=2.6))
    picture.paste(KNOWN, mask=head(grow=-1.6))
    return rounded(picture)


def head(grow: float = 0.0) -> Image.Image:
    """Return the mask of head and shoulders, larger or smaller by ``grow`` pixels of the icon."""
    side = SIZE * FINE
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    ellipse(draw, 12, 10, 4.8 + grow, 5.4 + grow)
    ellipse(draw, 12, 25, 8.6 + grow, 8.6 + grow)
    return mask


def hair() -> Image.Image:
    """Return the mask of single hairs that leave the head."""
    side = SIZE * FINE
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    for number in range(11):
        angle = math.radians(200 + number * 140 / 10)
        reach = 7.3 + 1.0 * math.sin(number * 2.4)
        bend = angle + 0.16 * math.sin(number * 1.7)
        start = (12 + 4.2 * math.cos(angle), 10 + 4.8 * math.sin(angle))
        end = (12 + reach * math.cos(bend), 10.4 + reach * math.sin(bend))
        line = [tuple(value * FINE for value in point) for point in (start, end)]
        draw.line(line, fill=255, width=round(0.7 * FINE))
    return mask


def ellipse(draw: ImageDraw.ImageDraw, x: float, y: float, across: float, down: float) -> None:
    """Fill an ellipse given in pixels of the icon."""
    draw.ellipse([value * FINE for value in (x - across, y - down, x + across, y + down)], fill=255)


def rounded(picture: Image.Image) -> Image.Image:
    """Return ``picture`` in a frame with round corners."""
    side = SIZE * FINE
    outer, inner = Image.new("L", (side, side)), Image.new("L", (side, side))
    ImageDraw.Draw(outer).rounded_rectangle([0, 0, side - 1, side - 1], 4.5 * FINE, fill=255)
    edge = round(0.9 * FINE)
    ImageDraw.Draw(inner).rounded_rectangle([edge, edge, side - 1 - edge, side - 1 - edge], 3.6 * FINE, fill=255)
    framed = Image.new("RGB", (side, side), BACK)
    framed.paste(picture, mask=inner)
    framed.putalpha(outer)
    return framed


if __name__ == "__main__":
    sys.exit(main())
