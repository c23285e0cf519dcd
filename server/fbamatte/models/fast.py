"""The network for inference: the same output layer by layer in strips, in little memory and few passes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Optional, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.models import fast_maps
from fbamatte.models.decoder import POOL_SIZES, SLOPE
from fbamatte.models.fast_layers import Convolution
from fbamatte.models.fast_maps import Computed, FeatureMap, Place, Rows, doubled
from fbamatte.models.fast_planes import Planes
from fbamatte.models.fast_pyramid import PoolingMatrices, PyramidTerm
from fbamatte.models.layers import Bottleneck
from fbamatte.models.network import FBANetwork
from fbamatte.models.tiles import WHOLE, Strips


class FastNetwork:
    """An `FBANetwork` for inference alone.

    Parameters
    ----------
    network : FBANetwork
        In eval mode; its convolutions' weights may be in half precision already.
    dtype : torch.dtype
        Of features and convolutions; statistics, the full-size head and the fusion stay in float32.
    head : torch.dtype, optional
        Of what the head's convolutions multiply; by default float32, but with bfloat16 on a CPU the first of them
        takes bfloat16: it is the large one, and the error that reaches alpha comes from the other two.
    consume : bool
        Empty the network's own convolutions as they are taken over, so that weights exist once.
    only_unknown : bool
        Leave the head out where the trimap knows, on a CPU: alpha is the trimap's there, F and B are the picture.
        Where the trimap does not know nothing changes.
    """

    def __init__(
        self,
        network: FBANetwork,
        dtype: torch.dtype,
        head: Optional[torch.dtype] = None,
        *,
        consume: bool = False,
        only_unknown: bool = False,
    ) -> None:
        self._network, self.dtype, self.only_unknown = network, dtype, only_unknown
        self._convolutions: dict[nn.Module, Convolution] = {}
        encoder, decoder = network.encoder, network.decoder
        self._stages = [list(s) for s in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4)]
        self._deep = cast("Bottleneck", encoder.layer4[-1]).conv3.out_channels
        behind = cast("nn.Conv2d", decoder.conv_up1[0])
        self._pyramid = PyramidTerm(behind, self._deep, POOL_SIZES)
        self._convolutions[behind] = Convolution(behind, dtype, slice(self._deep))
        self.output_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        on_cpu = next(network.parameters()).device.type == "cpu"
        self.head_dtype = head or (dtype if on_cpu and dtype == torch.bfloat16 else self.output_dtype)
        kinds = dict.fromkeys(decoder.conv_up4.modules(), head or self.output_dtype)
        kinds[decoder.conv_up4[0]] = self.head_dtype
        # what the first layers round, all others carry on
        exact = {encoder.conv1, *encoder.layer1.modules()} if on_cpu and dtype == torch.bfloat16 else set()
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module not in self._convolutions:
                self._convolutions[module] = Convolution(module, kinds.get(module, dtype), exact=module in exact)
        if consume:
            for module in self._convolutions:
                module.weight = nn.Parameter(torch.empty(0), requires_grad=False)

    def __call__(self, planes: Planes, strips: Strips = WHOLE) -> Tensor:
        """Return alpha, F and B after fusion, (1, 7, H, W), or (1, 1, H, W) for alpha alone."""
        if find_spec("numba"):
            from fbamatte.models.fast_cpu import HostRun  # noqa: PLC0415 - a GPU machine may lack numba

            if HostRun.can(self, planes):
                return HostRun(self, planes, strips).output()
        return Run(self, planes, strips).output()


class Run:
    """One picture's way through the network."""

    def __init__(self, fast: FastNetwork, planes: Planes, strips: Strips) -> None:
        self._fast, self._planes, self._strips = fast, planes, strips
        self._network = fast._network
        self._place = Place(planes.device, fast.dtype, strips.folder)

    def output(self) -> Tensor:
        """Encode, decode, head."""
        planes, encoder, decoder = self._planes, self._network.encoder, self._network.decoder
        source = Computed(planes.height, lambda a, b: planes.encoder_input(a, b).to(self._fast.dtype))
        stem = self._convolve(source, planes.width, encoder.conv1).normalise(encoder.bn1, 0)
        stages = self._fast._stages
        shallow = self._stage(self._pool(stem), stages[0])
        deep = self._stage(shallow, [*stages[1], *stages[2], *stages[3]])
        x = self._behind_pyramid(deep)
        del deep
        x = self._convolve(x, x.width, decoder.conv_up1[3]).normalise(decoder.conv_up1[4], SLOPE)
        x = self._joined(x, shallow, decoder.conv_up2)
        del shallow
        x = self._joined(x, stem, decoder.conv_up3)
        del stem
        return self._head(x)

    def _convolve(self, source: FeatureMap | Computed, width: int, module: nn.Module) -> FeatureMap:
        return self._fast._convolutions[module].over(source, width, self._place, self._strips)

    def _pool(self, stem: FeatureMap) -> FeatureMap:
        height, width = stem.height // 2, stem.width // 2
        out = FeatureMap(self._place, stem.channels, height, width)
        for first, last in self._strips.cut(height, width * stem.channels * 5 * self._fast.dtype.itemsize):
            # rows beyond the picture are zeros, which no maximum after a ReLU notices
            x = functional.max_pool2d(stem.rows(2 * first - 1, 2 * last), 3, stride=2, padding=(0, 1))
            out.write(first, x, measure=False)
        return out

    def _stage(self, x: FeatureMap, blocks: list[nn.Module]) -> FeatureMap:
        held = [x]
        del x
        for block in blocks:
            held.append(self._bottleneck(held, cast("Bottleneck", block)))
        return held.pop()

    def _bottleneck(self, held: list[FeatureMap], block: Bottleneck) -> FeatureMap:
        """Return a block's output; its input is taken out of ``held``, so that it goes as soon as it is read."""
        x = held.pop()
        out = self._convolve(x, x.width, block.conv1).normalise(block.bn1, 0)
        if block.downsample is not None:
            x = self._convolve(x, x.width, block.downsample[0]).normalise(block.downsample[1], 1)
        out = self._convolve(out, out.width, block.conv2).normalise(block.bn2, 0)
        out = self._convolve(out, out.width, block.conv3)
        return out.normalise(block.bn3, 0, x)

    def _behind_pyramid(self, deep: FeatureMap) -> FeatureMap:
        """Pyramid pooling and the first convolution of ``conv_up1``."""
        decoder = self._network.decoder
        small = []
        for picture, branch in zip(self._pooled(deep), decoder.ppm):
            small.append(self._branch(picture, list(cast("nn.Sequential", branch))))
        return self._add_pyramid(deep, small).normalise(decoder.conv_up1[1], SLOPE)

    def _pooled(self, deep: FeatureMap) -> list[Tensor]:
        """Return (1, C, k, k) averages for each size k, summed in float32."""
        kind = torch.float64 if self._fast.dtype == torch.float64 else torch.float32
        pooling = PoolingMatrices(deep.height, deep.width, POOL_SIZES, deep.device, kind)
        total = None
        for first, last in self._strips.cut(deep.height, deep.width * deep.channels * 6):
            part = pooling.part(deep.rows(first, last), first, last)
            total = part if total is None else total + part
        assert total is not None
        return pooling.pictures(total)

    def _add_pyramid(self, deep: FeatureMap, small: list[Tensor]) -> FeatureMap:
        """Return what the convolution behind the pyramid makes of the features and the pooled pictures."""
        term = self._fast._pyramid.of(small, deep.height, deep.width)
        convolution = self._fast._convolutions[self._network.decoder.conv_up1[0]]
        out = FeatureMap(self._place, convolution.outputs, deep.height, deep.width)
        for first, last in self._strips.cut(deep.height, deep.width * deep.channels * self._fast.dtype.itemsize):
            x = convolution.rows(deep, first, last)
            out.write(first, x.add_(term.rows(first, last)))
        return out

    def _branch(self, picture: Tensor, layers: list[nn.Module]) -> Tensor:
        """Convolve and normalise one pooled picture: a few values, in float32."""
        _, convolution, norm, _ = layers
        weights = self._fast._convolutions[convolution]
        x = functional.conv2d(picture, weights.weight.to(picture.dtype), weights.bias.to(picture.dtype))  # type: ignore[union-attr]
        return functional.leaky_relu(norm(x), SLOPE)

    def _joined(self, x: FeatureMap, skip: FeatureMap, block: nn.Sequential) -> FeatureMap:
        """Double the features, join a skip and convolve."""
        if x.device.type in fast_maps.IN_ONE_PASS and not self._strips.budget:
            convolution = self._fast._convolutions[block[0]]
            out = FeatureMap(self._place, convolution.outputs, skip.height, skip.width)
            out.write(0, convolution.of_parts([doubled(x, 0, skip.height), skip.rows(0, skip.height)]))
            return out.normalise(block[1], SLOPE)

        def make(first: int, last: int) -> Tensor:
            parts = [doubled(x, first, last), skip.rows(first, last)]
            return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)

        return self._convolve(Computed(skip.height, make), skip.width, block[0]).normalise(block[1], SLOPE)

    def _head(self, x: FeatureMap) -> Tensor:
        planes = self._planes
        height, width = planes.shape
        channels = self._network.config.head_channels
        out = torch.empty(1, channels, height, width, dtype=self._fast.output_dtype, device=planes.device)
        row_bytes = planes.width * 4 * (8 + 2 * x.channels + 48 + 8)
        for first, last in self._strips.cut(planes.height, row_bytes, self._strips.head):
            raw = self._head_rows(self._head_source(x), first, last).to(out.dtype)
            done = self._network.head(raw, planes.image_rows(first, last))
            out[:, :, first:last] = done[:, :, : height - first, :width]
        return out

    def _head_rows(self, source: Rows, first: int, last: int) -> Tensor:
        """Return raw head channels; three convolutions without a norm run as one, two rows of halo."""
        planes = self._planes
        one, two, three = (self._fast._convolutions[self._network.decoder.conv_up4[k]] for k in (0, 2, 4))
        hidden = self._rectified(one(source.rows(first - 2, last + 2), pad_rows=False), two.dtype)
        if first == 0:
            hidden[:, :, 0] = 0
        if last == planes.height:
            hidden[:, :, -1] = 0
        return three(self._rectified(two(hidden, pad_rows=False), three.dtype), pad_rows=False)

    def _rectified(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the head's hidden features as the next convolution takes them; ``x`` is lost."""
        return functional.leaky_relu_(x, SLOPE).to(dtype)

    def _head_source(self, x: FeatureMap) -> Computed:
        """Return what the head sees: doubled features, the picture, the masks."""
        planes, kind = self._planes, self._fast.head_dtype

        def make(above: int, below: int) -> Tensor:
            parts = [doubled(x, above, below).to(kind), planes.head_input(above, below).to(kind)]
            return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)

        return Computed(planes.height, make)
