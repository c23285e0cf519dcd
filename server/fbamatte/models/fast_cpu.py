"""The network on a CPU: strips of a layer side by side on the cores, compiled loops between convolutions."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models import fast_loops
from fbamatte.models.decoder import POOL_SIZES, SLOPE
from fbamatte.models.fast import FastNetwork, Run
from fbamatte.models.fast_host import Affine, Arena, HostComputed, HostMap, scratch
from fbamatte.models.fast_loops import array
from fbamatte.models.fast_maps import Computed
from fbamatte.models.fast_planes import Planes
from fbamatte.models.fast_pyramid import PoolingMatrices
from fbamatte.models.fast_workers import each, led
from fbamatte.models.layers import Bottleneck
from fbamatte.models.tiles import Strips

CACHE_BUDGET = 8 << 20
"""Bytes of a strip: larger ones leave the cores' caches, and there would be fewer than cores."""


SHARE = 2
"""Of what number a layer's strips are a multiple, so that no core waits, whatever the number of threads: sums stay the
same."""

HEAD_BUDGET = 16 << 20
"""Bytes of a tile of the head: halo on all sides costs least where tiles are about square."""

TILE = 128
"""Columns of a tile of the head."""


class HostRun(Run):
    """One picture's way through the network on a CPU, in float32 or bfloat16; in float64 for tests."""

    def __init__(self, fast: FastNetwork, planes: Planes, strips: Strips) -> None:
        budget = min(strips.budget or CACHE_BUDGET, CACHE_BUDGET)
        super().__init__(fast, planes, Strips(budget, strips.folder, min(strips.head, HEAD_BUDGET), SHARE))
        self._arena = Arena()

    @staticmethod
    def can(fast: FastNetwork, planes: Planes) -> bool:
        """Return whether there are loops for this."""
        return planes.device.type == "cpu" and {fast.dtype, fast.head_dtype} <= fast_loops.KINDS

    def output(self) -> Tensor:
        """Encode, decode, head."""
        return led(super().output)

    def _map(self, channels: int, height: int, width: int) -> HostMap:
        return HostMap(self._place, self._arena, channels, height, width)

    def _bottleneck(self, held: list[HostMap], block: Bottleneck) -> HostMap:  # type: ignore[override]
        if block.downsample is not None:
            self._arena.clear()  # a new stage: other sizes
        return super()._bottleneck(held, block)  # type: ignore[arg-type, return-value]

    def _convolve(self, source: HostMap | HostComputed | Computed, width: int, module: nn.Module) -> HostMap:  # type: ignore[override]
        convolution = self._fast._convolutions[module]
        height, width = source.height // convolution.stride, width // convolution.stride
        out = self._map(convolution.outputs, height, width)
        settles = isinstance(source, HostMap) and source.joins and convolution.kernel == convolution.stride == 1
        read = source.settled if settles else source.rows  # type: ignore[union-attr]

        def work(first: int, last: int) -> None:
            above, below = convolution.reads(first, last)
            out.write(first, convolution(read(above, below), pad_rows=False))

        row_bytes = (
            width * (convolution.outputs + convolution.inputs * convolution.stride**2) * self._fast.dtype.itemsize
        )
        each(work, self._strips.cut(height, row_bytes))
        if settles:
            cast("HostMap", source).settle()
        return out

    def _pool(self, stem: HostMap) -> HostMap:  # type: ignore[override]
        out = self._map(stem.channels, stem.height // 2, stem.width // 2)

        def work(first: int, last: int) -> None:
            # rows beyond the picture are zeros, which no maximum after a ReLU notices
            x = functional.max_pool2d(stem.rows(2 * first - 1, 2 * last), 3, stride=2, padding=(0, 1))
            out.write(first, x, measure=False)

        each(work, self._strips.cut(out.height, out.width * stem.channels * 5 * self._fast.dtype.itemsize))
        return out

    def _pooled(self, deep: HostMap) -> list[Tensor]:  # type: ignore[override]
        pooling = PoolingMatrices(deep.height, deep.width, POOL_SIZES, deep.device, self._fast.output_dtype)
        across, down = pooling.across.numpy(), pooling.down.numpy()
        parts: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.floating]]] = {}

        def work(first: int, last: int) -> None:
            found = np.zeros((len(down), len(across), deep.channels), across.dtype)
            rows = np.ascontiguousarray(down[:, first:last])
            fast_loops.pool(array(deep.settled(first, last)), across, rows, found)
            parts[first] = found

        each(work, self._strips.cut(deep.height, deep.width * deep.channels * 2 * self._fast.dtype.itemsize))
        deep.settle()
        return pooling.pictures(torch.from_numpy(sum(parts[first] for first in sorted(parts))))

    def _add_pyramid(self, deep: HostMap, small: list[Tensor]) -> HostMap:  # type: ignore[override]
        self._arena.clear()
        term = self._fast._pyramid.of(small, deep.height, deep.width)
        convolution = self._fast._convolutions[self._network.decoder.conv_up1[0]]
        out = self._map(convolution.outputs, deep.height, deep.width)

        def work(first: int, last: int) -> None:
            x = convolution(deep.rows(*convolution.reads(first, last)), pad_rows=False)
            # torch adds types of two kinds one value at a time
            out.write(first, x.copy_(x.to(self._fast.output_dtype) + term.rows(first, last)))

        each(work, self._strips.cut(deep.height, deep.width * deep.channels * self._fast.dtype.itemsize))
        return out

    def _joined(self, x: HostMap, skip: HostMap, block: nn.Sequential) -> HostMap:  # type: ignore[override]
        """Double the features, join a skip and convolve."""

        def make(first: int, last: int, out: Tensor) -> None:
            x.double(first, last, out)
            skip.put(first, last, x.channels, out)

        source = HostComputed(x.channels + skip.channels, skip.height, skip.width, self._fast.dtype, make)
        return self._convolve(source, skip.width, block[0]).normalise(block[1], SLOPE)

    def _head(self, x: HostMap) -> Tensor:  # type: ignore[override]
        planes = self._planes
        height, width = planes.shape
        out = torch.empty(1, self._network.config.head_channels, height, width, dtype=self._fast.output_dtype)
        if self._fast.only_unknown:
            out[:] = planes.known()[:, : out.shape[1]]

        def work(first: int, last: int, left: int, right: int) -> None:
            if self._fast.only_unknown and not planes.unknown(first, last, left, right):
                return
            source, halo = self._head_source(x, max(left - 2, 0), min(right + 2, planes.width)), min(left, 2)
            raw = self._head_rows(source, first, last)[..., halo : halo + right - left]
            done = self._network.head(raw.to(out.dtype).contiguous(), planes.image_rows(first, last, left, right))
            out[:, :, first:last, left:right] = done[:, :, : height - first, : width - left]

        row_bytes = TILE * 4 * (8 + 2 * x.channels + 48 + 8)
        strips = list(self._strips.cut(planes.height, row_bytes, self._strips.head))
        columns = [(left, min(left + TILE, planes.width)) for left in range(0, width, TILE)]
        each(work, [strip + of for strip in strips for of in columns])
        return out

    def _rectified(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        out = scratch("rectified", *x.shape[1:], dtype)  # type: ignore[call-arg]
        by = Affine.rectifier(x.shape[1], SLOPE, np.float64 if dtype == torch.float64 else np.float32)
        fast_loops.apply(array(x), 0, by.scale, by.shift, by.slope, array(out))
        return out

    def _head_source(self, x: HostMap, left: int, right: int) -> HostComputed:  # type: ignore[override]
        """Return what the head sees of the columns; convolving pads with zeros, which is right at the borders alone."""
        planes = self._planes

        def make(first: int, last: int, out: Tensor) -> None:
            x.double(first, last, out, left)
            out[:, x.channels :] = planes.head_input(first, last, left, right)

        return HostComputed(x.channels + 8, planes.height, right - left, self._fast.head_dtype, make)
