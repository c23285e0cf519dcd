"""The networks that a recipe can train, behind one call."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fbamatte.errors import CheckpointError
from fbamatte.models import evidence
from fbamatte.models.network import FBANetwork
from fbamatte.models.refinement import RefinementNetwork
from fbamatte.training.batch import Batch
from fbamatte.training.recipe import Recipe


def make_network(recipe: Recipe) -> nn.Module:
    """Return a network with fresh weights, those of the recipe's seed."""
    torch.manual_seed(recipe.seed)
    if recipe.architecture == "refine":
        return RefinementNetwork(recipe.width)
    network = FBANetwork(recipe.network)
    if recipe.alpha_head == "clip":
        # a clipped alpha that begins below 0 would never learn: begin in the middle
        head = cast("nn.Conv2d", network.decoder.conv_up4[-1])
        with torch.no_grad():
            cast("Tensor", head.bias)[0] = 0.5
    return network


def estimate(network: nn.Module, batch: Batch, recipe: Recipe) -> Tensor:
    """Return alpha, F and B (N, 7, H, W), or alpha (N, 1, H, W), of a mini-batch.

    The refining network's evidence is gathered on the CPU where the mini-batch does not bring it.
    """
    if recipe.architecture == "refine":
        return cast("Tensor", network(gather(batch) if batch.evidence is None else batch.evidence))
    return cast("Tensor", network(batch.image, batch.masks, batch.encoding))


def gather(batch: Batch) -> Tensor:
    """Return the evidence (N, PLANES, H, W) of a mini-batch."""
    found = []
    for image, trimap in zip(batch.image.cpu(), batch.trimap.cpu()):
        picture = np.ascontiguousarray(image.permute(1, 2, 0))
        found.append(torch.from_numpy(evidence.gather(picture, trimap[0].numpy())))
    return torch.stack(found).to(batch.image.device)


def load_encoder(network: nn.Module, path: str) -> int:
    """Start the encoder from a ResNet-50 that the user has; return how many of its tensors fitted.

    The stem's filters for the picture are taken, those for the trimap start at 0. Batch statistics and the
    classifier are left out where the network has none.

    Raises
    ------
    CheckpointError
        If the file is no ResNet-50 of the network's width.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle raises whatever it likes
        raise CheckpointError(f"{path}: not a readable checkpoint: {str(error).splitlines()[0]}") from error
    state = state.get("state_dict", state)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    mine = cast("nn.Module", network.encoder).state_dict()
    stem = state.get("conv1.weight")
    if stem is None or stem.shape[2:] != mine["conv1.weight"].shape[2:]:
        raise CheckpointError(f"{path}: not a ResNet: it has no 7×7 'conv1.weight'")
    grown = torch.zeros_like(mine["conv1.weight"])
    fitted = {key: value for key, value in state.items() if key in mine and value.shape == mine[key].shape}
    if stem.shape[0] == grown.shape[0]:
        grown[:, :3] = stem[:, :3]
        fitted["conv1.weight"] = grown
    convolutions = [key for key, value in mine.items() if value.ndim == 4]
    missing = [key for key in convolutions if key not in fitted]
    if missing:
        raise CheckpointError(f"{path}: does not fit this encoder: {missing[0]!r} is missing or of another size")
    cast("nn.Module", network.encoder).load_state_dict({**mine, **fitted})
    return len(fitted)
