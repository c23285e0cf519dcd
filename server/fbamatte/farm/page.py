"""The report of a run as one page that needs nothing else: no script, no network, no other file."""

from __future__ import annotations

import base64
import io
import math
import statistics
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fbamatte.farm.progress import FrameReport

if TYPE_CHECKING:
    from fbamatte.farm.report import RunReport

# Contact sheets shown small in the table; beyond so many the page would be too heavy to open.
MOST_THUMBNAILS = 1000
THUMBNAIL = (264, 200)
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 1000, 200, 44, 22, 10
# The parts of a bar and where each begins.
_PARTS: dict[str, Callable[[FrameReport], float]] = {
    "read_seconds": lambda _: 0.0,
    "estimate_seconds": lambda frame: frame.read_seconds,
    "write_seconds": lambda frame: frame.read_seconds + frame.estimate_seconds,
}

_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#222, #ddd); --quiet: light-dark(#777, #8a8a8a);
  --rule: light-dark(#e3e3e3, #333); --bad: light-dark(#b3261e, #f2887f); --bar: light-dark(#3f6ea5, #7fb0e6);
  --far: light-dark(#b08a3e, #d9b469); }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: light-dark(#fff, #181818);
  max-width: 1100px; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.15rem; font-weight: 600; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: .95rem; font-weight: 600; margin: 2rem 0 .5rem; }
.quiet, th, dt { color: var(--quiet); font-weight: normal; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: 13px ui-monospace, monospace; }
.bad { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
.n { text-align: right; }
td.why { overflow-wrap: anywhere; }
img { display: block; max-width: 264px; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--quiet); }
svg .grid { stroke: var(--rule); } svg path { fill: none; }
.read_seconds { stroke: var(--quiet); color: var(--quiet); }
.estimate_seconds { stroke: var(--bar); color: var(--bar); }
.write_seconds { stroke: var(--far); color: var(--far); } h2 span { stroke: none; } svg .failed { stroke: var(--bad); }
"""


def page(report: RunReport) -> str:
    """Return the page of a run: summary, seconds per frame, a row for every frame, the failed ones first."""
    title = f"{Path(report.job.plate.pattern).name}: {_verdict(report)}"
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        _summary(report),
        _missing(report),
        _plot(report),
        _table(report),
        "</html>\n",
    ]
    return "\n".join(parts)


def _verdict(report: RunReport) -> str:
    if report.stopped_by:
        return "stopped before its end"
    failed = len(report.of_state("failed"))
    if failed:
        return f"{failed} of {len(report.job.frames)} frames failed"
    return f"all {len(report.job.frames)} frames are there"


def _summary(report: RunReport) -> str:
    done = report.of_state("done")
    seconds = [frame.work_seconds for frame in done]
    facts = {
        "frames": f"{len(done)} made, {len(report.of_state('skipped'))} there already, "
        f"{len(report.of_state('failed'))} failed, {len(report.not_reached)} not reached",
        "stopped by": report.stopped_by,
        "time": f"{report.seconds:.1f} s" + (f", {len(done) / max(report.seconds, 1e-3):.2f} frames per second"),
        "a frame's work": f"{statistics.median(seconds):.2f} s, the slowest {max(seconds):.2f} s" if seconds else "",
        "C = αF + (1−α)B": f"within {max(frame.recomposition_error for frame in done):.1e}" if done else "",
        "NaN and Inf": _count(done, "nonfinite", "plate pixels replaced by their neighbours"),
        "beyond half": _count(done, "clamped", "values written as the largest half, 65504"),
        "plates": report.job.plate.pattern,
        "mattes": report.job.output.pattern,
        "model": report.model,
        "exit code": str(report.code),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value)
    return f"<dl>{rows}</dl>\n<p class=quiet><code>{escape(' '.join(report.command))}</code></p>"


def _count(frames: Iterable[FrameReport], name: str, what: str) -> str:
    counts = [getattr(frame, name) for frame in frames]
    return f"{sum(counts)} {what}, in {sum(map(bool, counts))} frames" if any(counts) else ""


def _missing(report: RunReport) -> str:
    if not report.still_to_do:
        return ""
    return f"<h2 class=bad>Still to do</h2><p><code>--frames {escape(report.still_to_do)}</code></p>"


def _plot(report: RunReport) -> str:
    """Return seconds of work per frame, one part on the other, and a mark for each frame that failed."""
    done, failed = report.of_state("done"), report.of_state("failed")
    if not done:
        return ""
    numbers = sorted({number for number, _ in report.job.frames})
    first, last = numbers[0], numbers[-1]
    top = _round_up(max(frame.work_seconds for frame in done))
    room = _WIDTH - _LEFT - 10
    step = room / (last - first + 1)

    def x(frame: int) -> float:
        return _LEFT + (frame - first + 0.5) * step

    def y(seconds: float) -> float:
        return _HEIGHT - _BOTTOM - seconds / top * (_HEIGHT - _BOTTOM - _TOP)

    bars = "".join(
        f"<path class='bars {name}' stroke-width={max(0.8, min(14.0, 0.7 * step)):.1f} d='"
        + "".join(f"M{x(f.frame):.1f} {y(low(f)):.1f}V{y(low(f) + getattr(f, name)):.1f}" for f in done)
        + "'/>"
        for name, low in _PARTS.items()
    )
    marks = "".join(f"M{x(f.frame):.1f} {y(0):.1f}V{y(0) - 12:.1f}" for f in failed)
    grid = "".join(
        f"<path class=grid d='M{_LEFT} {y(value):.1f}H{_WIDTH - 10}'/>"
        f"<text x={_LEFT - 6} y={y(value) + 4:.1f} text-anchor=end>{value:g}</text>"
        for value in (0, top / 2, top)
    )
    ends = f"<text x={x(first):.1f} y={_HEIGHT - 6} text-anchor=middle>{first}</text>" + (
        f"<text x={x(last):.1f} y={_HEIGHT - 6} text-anchor=middle>{last}</text>" if last > first else ""
    )
    return (
        "<h2>Seconds per frame: <span class=read_seconds>reading</span>, "
        "<span class=estimate_seconds>device</span>, <span class=write_seconds>writing</span></h2>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='seconds per frame'>{grid}"
        f"{bars}<path class=failed stroke-width=2 d='{marks}'/>{ends}</svg>"
    )


def _round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(max(value, 1e-3)))
    return next((factor * power for factor in (1, 2, 5, 10) if value <= factor * power * 1.0001), 10 * power)


def _table(report: RunReport) -> str:
    order = [*report.of_state("failed"), *report.of_state("done"), *report.of_state("skipped")]
    with_pictures = any(frame.preview for frame in order)
    heads = ["frame", "state", "seconds", "reading", "device", "writing", "recomposition", ""]
    numeric = {"frame", "seconds", "reading", "device", "writing", "recomposition"}
    head = "".join(f"<th{' class=n' if name in numeric else ''}>{name}</th>" for name in heads)
    rows = "\n".join(_row(frame, with_pictures and index < MOST_THUMBNAILS) for index, frame in enumerate(order))
    return f"<h2>Frames</h2><table><tr>{head}</tr>\n{rows}</table>"


def _row(frame: FrameReport, with_picture: bool) -> str:
    cells = [f"<td class=n>{escape(frame.where)}</td>"]
    bad = " class=bad" if frame.state == "failed" else ""
    again = ", worth trying again" if frame.retryable else ""
    cells.append(f"<td{bad}>{frame.state}{again}</td>")
    times = (frame.work_seconds, frame.read_seconds, frame.estimate_seconds, frame.write_seconds)
    made = frame.state == "done"
    cells += [f"<td class=n>{value:.2f}</td>" if made else "<td></td>" for value in times]
    cells.append(f"<td class=n>{frame.recomposition_error:.0e}</td>" if made else "<td></td>")
    cells.append(f"<td class=why>{_note(frame, with_picture)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _note(frame: FrameReport, with_picture: bool) -> str:
    if frame.error:
        return escape(frame.error)
    notes = [f"{frame.nonfinite} NaN or Inf"] * bool(frame.nonfinite)
    notes += [f"{frame.clamped} beyond half"] * bool(frame.clamped)
    return escape(", ".join(notes)) + (_picture(frame.preview) if with_picture and frame.preview else "")


def _picture(path: str) -> str:
    """Return a small copy of a contact sheet, inside the page."""
    try:
        with Image.open(path) as sheet:
            small = sheet.convert("RGB")
            small.thumbnail(THUMBNAIL)
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=72)
    except OSError:
        return f"<span class=quiet>{escape(path)} cannot be read</span>"
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="contact sheet" loading="lazy">'
