"""Convolutions for inference: weights laid out once, rows in, rows out."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models.devices import PACKS, widest
from fbamatte.models.fast_maps import FeatureMap, Place, Rows
from fbamatte.models.layers import WSConv2d, standardised
from fbamatte.models.tiles import Strips


class Convolution:
    """A convolution of a network, ready to be applied to strips.

    Parameters
    ----------
    module : Conv2d
        Its weights are standardised here where they are not folded yet.
    dtype : torch.dtype
        To compute in.
    inputs : slice
        Which of its input channels are convolved; all by default.
    exact : bool
        Multiply as if the weights were not rounded: each is taken as a sum of two values of ``dtype``.
    """

    def __init__(
        self, module: nn.Conv2d, dtype: torch.dtype, inputs: slice = slice(None), *, exact: bool = False
    ) -> None:
        weight = module.weight.detach()
        if isinstance(module, WSConv2d) and not module.folded:
            weight = standardised(weight.to(widest(weight.device)))
        self.stride, self.dilation = module.stride[0], module.dilation[0]
        self.kernel, self.pad = module.kernel_size[0], int(module.padding[0])
        self.outputs = module.out_channels
        weight, self._exact = weight[:, inputs], exact
        if exact:
            near = weight.to(dtype)
            weight = torch.cat([near, (weight - near).to(dtype)], dim=1)
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.inputs = self.weight.shape[1]
        self.bias = None if module.bias is None else module.bias.detach().to(dtype)
        self._packed: Optional[Tensor] = None

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.weight.dtype

    def __call__(self, x: Tensor, *, pad_rows: bool) -> Tensor:
        """Convolve; rows are padded with zeros only on request, columns always."""
        padding = (self.pad if pad_rows else 0, self.pad)
        if self._exact:
            x = torch.cat([x, x], dim=1)
        if x.dtype == torch.bfloat16 and x.shape[3] <= self.stride > 1:
            # oneDNN 3.12 gives wrong numbers, NaN among them, for a strided bf16 convolution one column wide
            return self._wide(x, padding)
        if PACKS and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16):
            return self._on_cpu(x, padding)
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation)

    def of_parts(self, parts: list[Tensor]) -> Tensor:
        """Return the convolution of maps side by side without laying them side by side; takes them out of the list."""
        out, at = None, 0
        while parts:
            x, bias = parts.pop(0), self.bias if out is None else None
            weight = self.weight[:, at : at + x.shape[1]].contiguous(memory_format=torch.channels_last)
            part = functional.conv2d(x, weight, bias, self.stride, self.pad, self.dilation)
            out, at = part if out is None else out.add_(part), at + x.shape[1]
        assert out is not None
        return out

    def _wide(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        bias = None if self.bias is None else self.bias.float()
        out = functional.conv2d(x.float(), self.weight.float(), bias, self.stride, padding, self.dilation)
        return out.to(x.dtype)

    def _on_cpu(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Convolve with weights in oneDNN's own layout: plain ones are laid out anew at every call."""
        stride, dilation = [self.stride] * 2, [self.dilation] * 2
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, list(padding), stride, dilation, 1, list(x.shape)
            )
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._packed, self.bias, list(padding), stride, dilation, 1, "none", [], ""
        )
        return out

    def over(self, source: Rows, width: int, place: Place, strips: Strips) -> FeatureMap:
        """Return the raw map of a source ``width`` columns wide, its statistics gathered."""
        height, width = source.height // self.stride, width // self.stride
        out = FeatureMap(place, self.outputs, height, width)
        row_bytes = width * (self.outputs + self.inputs * self.stride**2) * place.dtype.itemsize
        for first, last in strips.cut(height, row_bytes):
            out.write(first, self.rows(source, first, last))
        return out

    def rows(self, source: Rows, first: int, last: int) -> Tensor:
        """Return rows of the output."""
        whole = last - first == source.height // self.stride
        if whole:
            return self(source.rows(0, source.height), pad_rows=True)
        return self(source.rows(*self.reads(first, last)), pad_rows=False)

    def reads(self, first: int, last: int) -> tuple[int, int]:
        """Return first and last row (excluded) of the input that rows of the output are made of."""
        above = first * self.stride - self.pad
        return above, (last - 1) * self.stride - self.pad + self.dilation * (self.kernel - 1) + 1
