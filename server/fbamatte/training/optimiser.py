"""RAdam as the paper runs it, the rate's schedule, and the average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fbamatte.training.recipe import Recipe


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.RAdam:
    """Return RAdam with the weight decay of convolutions, and another one for norms and biases."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.decay_weights},
        {"params": others, "weight_decay": recipe.decay_norms},
    ]
    return torch.optim.RAdam(groups, lr=recipe.learning_rate)


def rate_at(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step; steps count from 0."""
    rise = min(1.0, (step + 1) / recipe.warm_up) if recipe.warm_up else 1.0
    if recipe.schedule == "cosine":
        through = step / max(recipe.epochs * steps_per_epoch, 1)
        return recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * min(through, 1)))
    dropped = recipe.drop if step >= recipe.drop_after * steps_per_epoch else 1.0
    return recipe.learning_rate * rise * dropped


def clip_gradient(network: nn.Module, largest: float) -> float:
    """Cut the gradient to a norm and return what it was; 0 only measures."""
    limit = largest if largest > 0 else math.inf
    return float(nn.utils.clip_grad_norm_(network.parameters(), limit))


class Average:
    """An exponential average of a network's tensors; its decay grows from 0 so that the start is forgotten.

    Parameters
    ----------
    network : nn.Module
        Averaged from here on.
    decay : float
        How much stays at each step in the long run; 0 follows the network.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the network as it is after a step."""
        stays = min(self.decay, (1 + step) / (10 + step))
        for key, value in network.state_dict().items():
            if self.decay and value.is_floating_point():
                self.state[key].lerp_(value, 1 - stays)
            else:
                self.state[key].copy_(value)

    def half(self) -> dict[str, Tensor]:
        """Return the average as it ships: on the CPU in half precision."""
        return {
            key: (value.half() if value.is_floating_point() else value).cpu().contiguous()
            for key, value in self.state.items()
        }
