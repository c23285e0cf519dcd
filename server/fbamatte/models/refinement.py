"""A network that starts where closed-form matting ends: it chooses between its alpha and a sampled one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.errors import CheckpointError, FrameError
from fbamatte.models import evidence, interruption
from fbamatte.models.base import Array, Estimate, ModelInfo
from fbamatte.models.card import REFINEMENT_KEY, read_refinement, show_licence
from fbamatte.models.checkpoint import weights_digest, write_file
from fbamatte.models.devices import resolve_device, resolve_precision
from fbamatte.models.evidence import NAMES, PLANES

T = TypeVar("T")
R = TypeVar("R")

FULL, WIDTHS, TOP = 24, (32, 48, 64, 96), 16
"""Channels at width 1: of the picture's size, of halves, quarters, eighths and sixteenths of it, of the last layer."""

STRIDE = 1 << len(WIDTHS)
"""Sides are multiples of this inside the network."""

TILE, HALO = 1024, 128
"""Side of what is decided at once, and what is seen around it: 105 pixels away nothing matters any more."""

TRUST = 0.01
"""Weight of the chosen alpha against the matting Laplacian, which has the last word between two colours."""

SNAP = 0.03
"""What of the range counts as an end of it in the two snapped candidates."""


class RefinementNetwork(nn.Module):
    """Decides for each pixel how much to believe of four alphas; with fresh weights mostly closed-form's.

    The four are closed-form alpha, sampled alpha fitted to the colours, and both with what is nearly 0 or 1 snapped
    to it. The output lies between them: whatever a network makes of a picture unlike those it was trained on, it can
    only choose. (A network free to add what it liked did better on made pictures and worse on photographs.) What
    surrounds a pixel is seen at five sizes, as in Ronneberger, Fischer and Brox, "U-Net", 2015. F and B are left to
    be fitted to alpha.

    Parameters
    ----------
    width : float
        Multiplies the layers' channels, rounded to multiples of 8.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        full, top, *sizes = (max(8, round(n * width / 8) * 8) for n in (FULL, TOP, *WIDTHS))
        self.stem = _layer(PLANES, full, 1)
        self.down = nn.ModuleList(
            nn.Sequential(_layer(wider, own), _layer(own, own)) for wider, own in zip((full, *sizes), sizes)
        )
        self.up = nn.ModuleList(_layer(own + deeper, own) for own, deeper in zip(sizes, sizes[1:]))
        self.across = nn.Sequential(nn.Conv2d(sizes[0], full, 1, bias=False), nn.BatchNorm2d(full))
        self.top = _layer(full, top)
        self.head = nn.Conv2d(top, 5, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0, 0.0]))

    def forward(self, evidence: Tensor) -> Tensor:
        """Return alpha in [0, 1], shape (N, 1, H, W); in training (N, 2, H, W), a free correction of it beside.

        What is asked to correct alpha learns to see what is wrong with it, in layers that the choice shares. Only the
        choice is used afterwards.

        Parameters
        ----------
        evidence : Tensor, shape (N, PLANES, H, W)
            Of `fbamatte.models.evidence.gather`.
        """
        height, width = evidence.shape[2:]
        padded = functional.pad(evidence, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        near = self.stem(padded)
        seen, skips = near, []
        for down in self.down:
            seen = down(functional.avg_pool2d(seen, 2))
            skips.append(seen)
        for up, skip in zip(reversed(self.up), reversed(skips[:-1])):
            seen = up(torch.cat([skip, _doubled(seen)], dim=1))
        decided = self.head(self.top(functional.relu(near + _doubled(self.across(seen)))))[..., :height, :width].float()
        share, correction = decided[:, :4].softmax(dim=1), decided[:, 4:]
        start, fitted = (evidence[:, NAMES.index(n), None] for n in ("closed-form alpha", "sampled alpha, fitted"))
        candidates = torch.cat([start, fitted, snapped(start), snapped(fitted)], dim=1)
        chosen: Tensor = (share * candidates).sum(dim=1, keepdim=True)
        return torch.cat([chosen, chosen.detach() + correction], dim=1) if self.training else chosen


def _layer(seen: int, made: int, side: int = 3) -> nn.Sequential:
    # a norm of values and not of positions: the same for a tile as for a whole plate
    convolution = nn.Conv2d(seen, made, side, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(made), nn.ReLU(inplace=True))


def _doubled(planes: Tensor) -> Tensor:
    return functional.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)


def snapped(alpha: Tensor) -> Tensor:
    """Return alpha stretched so that `SNAP` and less becomes 0 and as much short of 1 becomes 1."""
    return ((alpha - SNAP) / (1 - 2 * SNAP)).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network and what its file says about it."""

    network: RefinementNetwork
    info: ModelInfo


def save(network: RefinementNetwork, path: str | Path, info: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write a network's tensors and the fields of its `ModelInfo` as ``.safetensors``.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    about = json.dumps({"width": network.width, "evidence": NAMES, "info": info}, ensure_ascii=False)
    tensors = {key: value.contiguous().cpu() for key, value in state.items()}
    write_file(Path(path), safetensors.torch.save(tensors, {"format": "pt", REFINEMENT_KEY: about}))


def load(path: str | Path) -> Loaded:
    """Return the network of a file, in eval mode and float32.

    Raises
    ------
    CheckpointError
        If it is no such file, or its weights are not those that were saved.
    """
    info = read_refinement(path)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            about = json.loads(file.metadata()[REFINEMENT_KEY])
        if tuple(about["evidence"]) != NAMES:
            raise CheckpointError(f"{path}: was trained on other evidence than this version gathers")
        network, state = RefinementNetwork(float(about["width"])), safetensors.torch.load_file(str(path))
        if weights_digest(state) != info.sha256:
            raise CheckpointError(f"{path}: its weights have SHA-256 {weights_digest(state)}, not {info.sha256}")
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a refinement network: {error}") from error
    return Loaded(network.eval(), info)


def _tiles(unknown: NDArray[np.bool_]) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield where something is unknown, at most `TILE` high and wide, and what is to be seen around it.

    That begins at a multiple of `STRIDE`, as the whole does, so that the network's coarse pixels are the whole's.
    """
    height, width = unknown.shape
    for top, left in np.ndindex(-(-height // TILE), -(-width // TILE)):
        tile = unknown[top * TILE : (top + 1) * TILE, left * TILE : (left + 1) * TILE]
        if not tile.any():
            continue
        spans = (np.flatnonzero(tile.any(axis=axis)) for axis in (1, 0))
        inside = tuple(slice(at * TILE + int(s[0]), at * TILE + int(s[-1]) + 1) for at, s in zip((top, left), spans))
        around = tuple(
            slice(max(i.start - HALO, 0) // STRIDE * STRIDE, min(i.stop + HALO, size))
            for i, size in zip(inside, (height, width))
        )
        yield (inside[0], inside[1]), (around[0], around[1])


def _ahead(call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield what a call gives for each item; a thread works on the next one meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[R] | None = None
        for item in items:
            coming = thread.submit(call, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


class RefinementEstimator:
    """Closed-form matting, refined: an estimator.

    Parameters
    ----------
    path : path
        Of `save`.
    device, precision : str
        As in `fbamatte.models.registry.load`; a CPU computes in float32: fewer bits of so few weights save nothing.
    name : str
        What the user calls it; by default what its file says.
    """

    def __init__(self, path: str | Path, device: str = "auto", precision: str = "auto", *, name: str = "") -> None:
        place = resolve_device(device)
        self.precision, self._type = resolve_precision("fp32" if place.type == "cpu" else precision, place)
        loaded = load(path)
        self.info, self.device = replace(loaded.info, name=name or loaded.info.name), str(place)
        if not self.info.commercial:
            show_licence(self.info.name, self.info.licence)
        self._network: RefinementNetwork | None = loaded.network.to(place)

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B; see `fbamatte.models.base.Estimator.estimate`.

        Raises
        ------
        FrameError
            If a pixel is NaN or Inf.
        """
        from fbamatte.models.closed_form.alpha import closed_form_alpha  # noqa: PLC0415 - numba compiles at import
        from fbamatte.models.closed_form.foreground import FittedEstimate  # noqa: PLC0415

        assert self._network is not None, "the estimator is closed"
        if not np.isfinite(image).all():
            raise FrameError(f"picture of {image.shape[1]}×{image.shape[0]} has values that are NaN or Inf")
        image = np.ascontiguousarray(image, np.float32)
        trimap = np.ascontiguousarray(trimap, np.float32)
        chosen = self._chosen(evidence.prepare(image, trimap))
        alpha = closed_form_alpha(evidence.between_lights(image), trimap, near=chosen, trust=TRUST)
        return FittedEstimate(alpha, image)

    @torch.inference_mode()
    def _chosen(self, picture: evidence.Prepared) -> Array:
        """Return the network's alpha, tile by tile where anything is unknown; the same as of the whole at once."""
        assert self._network is not None, "the estimator is closed"
        lower = self._type != torch.float32
        unknown = (picture.trimap > 0) & (picture.trimap < 1)
        alpha: Array = picture.trimap.copy()
        tiles = list(_tiles(unknown))
        gathered = _ahead(lambda tile: picture.planes(*tile[1]), tiles)
        for (inside, around), planes in zip(tiles, gathered):
            interruption.check()
            seen = torch.from_numpy(planes)[None].to(self.device)
            with torch.autocast(torch.device(self.device).type, self._type, enabled=lower):
                found = self._network(seen)[0, 0].float().cpu().numpy()
            where = tuple(slice(i.start - a.start, i.stop - a.start) for i, a in zip(inside, around))
            alpha[inside] = np.where(unknown[inside], found[where], alpha[inside])
        return alpha

    def close(self) -> None:
        """Free the weights."""
        self._network = None
