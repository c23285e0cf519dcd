"""What a run tells: a CSV of its terms, picture sheets, a line with the time left."""

from __future__ import annotations

import csv
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor

from fbamatte.training.batch import Batch

ROWS = 4
"""Pictures on a sheet."""

Row = dict[str, float | int]


class Log:
    """A CSV with one row for every step that is logged; a resumed run drops rows that it will write again."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) < step]
        self._names = list(rows[0]) if rows else []
        if path.is_file():
            path.unlink()
        for row in rows:
            self._append(row)

    def write(self, row: Row) -> None:
        """Add a row."""
        self._names = self._names or list(row)
        self._append({k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in row.items()})

    def _append(self, row: dict[str, str]) -> None:
        new = not self._path.is_file()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self._names, extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow(row)


class Progress:
    """A bar on a terminal, lines elsewhere; both say how much time is left."""

    def __init__(self, first: int, last: int, stream: TextIO | None = None) -> None:
        self._first, self._last, self._begun = first, last, time.monotonic()
        self._stream = stream or sys.stderr

    def show(self, step: int, loss: float) -> None:
        """Say how far it is after a step."""
        done, seconds = step + 1 - self._first, max(time.monotonic() - self._begun, 1e-6)
        left = int((self._last - step - 1) * seconds / done)
        share = (step + 1) / self._last
        text = (
            f"step {step + 1}/{self._last} {share:4.0%}  loss {loss:.4f}  {done / seconds:.2f} steps/s  "
            f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        )
        if self._stream.isatty():
            self._stream.write(f"\r{'█' * int(20 * share):░<20} {text}" + ("\n" if step + 1 == self._last else ""))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def write_sheet(path: Path, batch: Batch, estimate: Tensor) -> None:
    """Write a PNG: for each picture the plate, trimap, true and estimated alpha, and both Fs and Bs."""
    rows = []
    for n in range(min(ROWS, len(batch.image))):
        tiles = [batch.image[n], _gray(batch.trimap[n]), _gray(batch.alpha[n]), _gray(estimate[n, :1])]
        if estimate.shape[1] == 7:
            tiles += [batch.foreground[n], estimate[n, 1:4], batch.background[n], estimate[n, 4:7]]
        rows.append(torch.cat(tiles, dim=2))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(torch.cat(rows, dim=1)))


def png(picture: Tensor) -> bytes:
    """Return a picture (3, H, W) in [0, 1] as an 8-bit PNG."""
    pixels = (picture.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().contiguous()
    height, width = pixels.shape[:2]
    lines = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), pixels.view(height, -1)], dim=1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.numpy().tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _gray(plane: Tensor) -> Tensor:
    return plane.expand(3, -1, -1)
