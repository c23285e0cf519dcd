"""A network that starts where closed-form matting ends: it chooses between its alpha and a sampled one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from fbamatte.errors import CheckpointError, FrameError
from fbamatte.models import evidence
from fbamatte.models.base import Array, Estimate, ModelInfo
from fbamatte.models.card import REFINEMENT_KEY, read_refinement, show_licence
from fbamatte.models.checkpoint import weights_digest, write_file
from fbamatte.models.devices import resolve_device, resolve_precision
from fbamatte.models.evidence import NAMES, PLANES

HIDDEN = 32
"""Channels of the two hidden layers at width 1."""

RADII = (2, 7)
"""Of the windows whose means a pixel's decision sees beside the pixel's own evidence."""

AVERAGED = (
    "closed-form alpha", "sampled alpha", "sampled residual", "sampled alpha, fitted", "foreground's colour, coarse",
    "foreground's colour, fine", "unlike background here", "unlike foreground here", "closed-form residual", "contrast",
)  # fmt: skip

SEEN = PLANES + len(RADII) * len(AVERAGED)
"""Planes that a decision is made from."""

TRUST = 0.01
"""Weight of the chosen alpha against the matting Laplacian, which has the last word between two colours."""

SNAP = 0.03
"""What of the range counts as an end of it in the two snapped candidates."""


class RefinementNetwork(nn.Module):
    """Decides for each pixel how much to believe of four alphas; with fresh weights closed-form's alone.

    The four are closed-form alpha, sampled alpha fitted to the colours, and both with what is nearly 0 or 1 snapped
    to it. The output lies between them: whatever a network makes of a picture unlike those it was trained on, it can
    only choose. (A network free to add what it liked to closed-form alpha did better on made pictures and worse on
    photographs.) F and B are left to be fitted to alpha.

    Parameters
    ----------
    width : float
        Multiplies the hidden layers' channels, rounded to multiples of 8.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        hidden = max(8, round(HIDDEN * width / 8) * 8)
        # a norm of values and not of positions: the same for some pixels as for a whole plate
        self.norm = nn.BatchNorm2d(SEEN, affine=False)
        self.layers = nn.Sequential(
            nn.Conv2d(SEEN, hidden, 1), nn.SiLU(), nn.Conv2d(hidden, hidden, 1), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Conv2d(hidden, 4, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0]))

    def forward(self, seen: Tensor) -> Tensor:
        """Return alpha in [0, 1], shape (N, 1, H, W).

        Parameters
        ----------
        seen : Tensor, shape (N, SEEN, H, W)
            Of `look`. Each pixel is decided by itself: they may come from anywhere, in any order.
        """
        share = self.head(self.layers(self.norm(seen))).float().softmax(dim=1)
        start, fitted = (seen[:, NAMES.index(n), None] for n in ("closed-form alpha", "sampled alpha, fitted"))
        candidates = torch.cat([start, fitted, snapped(start), snapped(fitted)], dim=1)
        chosen: Tensor = (share * candidates).sum(dim=1, keepdim=True)
        return chosen


def look(evidence: Tensor, where: Tensor | None = None) -> Tensor:
    """Return evidence with its means around.

    Parameters
    ----------
    evidence : Tensor, shape (N, PLANES, H, W)
        Of `fbamatte.models.evidence.planes`.
    where : Tensor, shape (H, W), bool, optional
        The pixels that matter.

    Returns
    -------
    Tensor, shape (N, SEEN, H, W), or (N, SEEN, 1, pixels that matter).
    """
    found = []
    for radius in (0, *RADII):
        for name in AVERAGED if radius else NAMES:
            plane = evidence[:, NAMES.index(name), None]
            plane = _mean(plane, radius) if radius else plane
            found.append(plane if where is None else plane[:, :, None, where])
    return torch.cat(found, dim=1)


def snapped(alpha: Tensor) -> Tensor:
    """Return alpha stretched so that `SNAP` and less becomes 0 and as much short of 1 becomes 1."""
    return ((alpha - SNAP) / (1 - 2 * SNAP)).clamp(0, 1)


def _mean(planes: Tensor, radius: int) -> Tensor:
    """Return means of square windows, the border repeated: rows, then columns."""
    padded = functional.pad(planes, [radius] * 4, mode="replicate")
    rows = functional.avg_pool2d(padded, (1, 2 * radius + 1), stride=1)
    return functional.avg_pool2d(rows, (2 * radius + 1, 1), stride=1)


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
        from fbamatte.models.closed_form.foreground import FittedEstimate, estimate_foreground  # noqa: PLC0415

        assert self._network is not None, "the estimator is closed"
        if not np.isfinite(image).all():
            raise FrameError(f"picture of {image.shape[1]}×{image.shape[0]} has values that are NaN or Inf")
        image = np.ascontiguousarray(image, np.float32)
        trimap = np.ascontiguousarray(trimap, np.float32)
        started = closed_form_alpha(image, trimap)
        gathered = evidence.planes(image, trimap, started, *estimate_foreground(image, started))
        chosen = self._chosen(gathered, trimap)
        return FittedEstimate(closed_form_alpha(image, trimap, near=chosen, trust=TRUST), image)

    def _chosen(self, gathered: Array, trimap: Array) -> Array:
        """Return the network's alpha, asked for unknown pixels alone: they are a few per cent of a plate."""
        assert self._network is not None, "the estimator is closed"
        lower = self._type != torch.float32
        unknown = (trimap > 0) & (trimap < 1)
        alpha: Array = trimap.copy()
        if not unknown.any():  # no convolution takes no pixels
            return alpha
        planes = torch.from_numpy(gathered)[None].to(self.device)
        with torch.inference_mode(), torch.autocast(torch.device(self.device).type, self._type, enabled=lower):
            seen = look(planes, torch.from_numpy(unknown).to(self.device))
            alpha[unknown] = self._network(seen)[0, 0, 0].float().cpu().numpy()
        return alpha

    def close(self) -> None:
        """Free the weights."""
        self._network = None
