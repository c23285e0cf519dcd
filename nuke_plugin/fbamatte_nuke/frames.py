"""Frame ranges as compositors type them: ``1001-1100``, ``1001-1100x2``, ``1001 1010, -5--1``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fbamatte_nuke.problems import Problem

_PART = re.compile(r"(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?$")
MOST_FRAMES = 100_000


def parse_frames(text: str) -> list[int]:
    """Return the frame numbers of ``text``, each once, in the order written.

    Raises
    ------
    Problem
        If a part is no range, runs backwards, or there are more than `MOST_FRAMES`.
    """
    found: dict[int, None] = {}
    for part in re.split(r"[\s,]+", text.strip()):
        frames = _part(part) if part else range(0)
        # Before they are made: somebody may have typed a digit too many.
        if len(found) + len(frames) > MOST_FRAMES:
            raise Problem(f"frames {text!r} are more than {MOST_FRAMES}", "Shorten the range")
        found.update(dict.fromkeys(frames))
    return list(found)


def _part(part: str) -> range:
    match = _PART.match(part)
    if not match:
        raise Problem(f"{part!r} is no frame range", "Write it as 1001-1100 or 1001-1100x2")
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    step = int(match[3] or 1)
    if last < first:
        raise Problem(f"frame range {part!r} runs backwards", "Write the lower frame first")
    if not step:
        raise Problem(f"frame range {part!r} has a step of 0", "Write a step of 1 or more")
    return range(first, last + 1, step)


def format_frames(frames: Iterable[int]) -> str:
    """Return ``frames`` as a short range that `parse_frames` reads, such as ``1001-1003 1007``."""
    runs: list[list[int]] = []
    for frame in sorted(set(frames)):
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
