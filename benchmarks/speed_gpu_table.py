"""The goals of the speed work against what the parts of `speed_gpu.py` left in a folder; and the curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

GIB = 1 << 30
UHD, HD, EIGHT_K = (2160, 3840), (1080, 1920), (4320, 7680)
Row = dict[str, Any]


def load(folder: Path, part: str) -> list[Row]:
    """Return a part's rows; none where it left no file."""
    path = folder / f"{part}.json"
    if not path.is_file():
        return []
    return [row for row in json.loads(path.read_text())["rows"] if "failed" not in row]


def table(folder: Path) -> str:
    """Return the goals as a table in Markdown, unmeasured where a figure is missing."""
    speed, memory, stream = (load(folder, part) for part in ("speed", "memory", "stream"))
    half = [f"{precision} streamed" for precision in ("fp16", "bf16")]
    lines = ["| what | figure | goal | met |", "|---|---|---|---|"]

    def add(what: str, value: float | None, goal: float, unit: str, better: Callable[[float, float], bool]) -> None:
        figure = "unmeasured" if value is None else f"{value:.4g} {unit}".strip()
        met = "" if value is None else "yes" if better(value, goal) else "no"
        lines.append(f"| {what} | {figure} | {goal:g} {unit} | {met} |")

    def least(rows: list[Row], key: str, size: tuple[int, int], *methods: str) -> float | None:
        found = [float(r[key]) for r in rows if of(r, size) and r["method"] in methods and key in r]
        return min(found) if found else None

    def below(value: float, goal: float) -> bool:
        return value <= goal

    def above(value: float, goal: float) -> bool:
        return value >= goal

    seconds = least(speed, "seconds", UHD, *half)
    add("UHD, network with transfers", None if seconds is None else seconds * 1000, 33, "ms", below)
    ratios = [float(r["times_eager"]) for r in speed if of(r, UHD) and r["method"] in half and "times_eager" in r]
    add("UHD against plain eager float32", max(ratios, default=None), 10, "times", above)
    for name, size, goal in (("1080p", HD, 1.5), ("UHD", UHD, 4), ("8K", EIGHT_K, 14)):
        for way in ("whole", "strips", "streamed"):
            used = least(memory, "peak", size, *(f"{p} {way}" for p in ("fp16", "bf16")))
            add(f"peak at {name}, half precision, {way}", None if used is None else used / GIB, goal, "GiB", below)
    whole, strips = (least(speed, "alpha_max", UHD, f"fp32 {way}") for way in ("whole", "strips"))
    add("UHD, fp32 whole, max alpha error against eager", whole, 1 / 1024, "", below)
    add("UHD, fp32 strips, max alpha error against eager", strips, 1 / 1024, "", below)
    add("UHD, fp32 strips, max colour error", least(speed, "colour_max", UHD, "fp32 strips"), 0.002, "", below)
    for precision in ("fp16", "bf16"):
        mean, worst = (least(speed, f"alpha_{which}", UHD, f"{precision} whole") for which in ("mean", "max"))
        add(f"UHD, {precision}, mean alpha error (synthetic weights magnify it)", mean, 0.002, "", below)
        add(f"UHD, {precision}, max alpha error (same)", worst, 0.02, "", below)
    shares = [float(r["share_of_slowest"]) for r in stream if of(r, UHD)]
    add(
        "UHD stream through the engine, slowest stage over all", max(shares, default=None), 0.9, "", lambda a, b: a >= b
    )
    worst = [float(row["worst_ratio"]) for row in memory_fits(folder)]
    add("memory model, worst predicted over actual", max(worst, default=None), 1.1, "", below)
    return "\n".join(lines) + "\n"


def of(row: Row, size: tuple[int, int]) -> bool:
    """Return whether a row is of a size."""
    return (row.get("height"), row.get("width")) == size


def memory_fits(folder: Path) -> list[Row]:
    """Return the fitted coefficients."""
    return [row for row in load(folder, "memory") if "fit" in row]


def draw(folder: Path) -> None:
    """Draw seconds and bytes against megapixels, where both or either was measured."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - only a plot needs it
    except ImportError:
        print("no plot: matplotlib is not here")
        return
    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5))
    for axes, part, key, scale in ((left, "speed", "seconds", 1), (right, "memory", "bytes", 1e9)):
        rows = [row for row in load(folder, part) if key in row and "height" in row]
        for name in dict.fromkeys(str(row["method"]) for row in rows):
            points = sorted(
                (int(r["height"]) * int(r["width"]) / 1e6, float(r[key]) / scale) for r in rows if r["method"] == name
            )
            axes.plot(*zip(*points), "o-", label=name)
        axes.set(xlabel="megapixels", xlim=0, ylim=0)
        if rows:
            axes.legend(fontsize=7)
    left.set_ylabel("seconds a frame")
    right.set_ylabel("peak GB above the loaded model")
    figure.savefig(folder / "curves.png", dpi=120, bbox_inches="tight")
