"""Several processes, one network: torch's own launcher, nothing else.

``torchrun --nproc-per-node 2 -m fbamatte.cli.train RECIPE --data ROOT``
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Group:
    """Which process it is, of how many; alone by default."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Return this process's own GPU of a machine's, or the device itself."""
        return torch.device("cuda", self.local_rank) if device.type == "cuda" and self.world > 1 else device

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network, its gradients averaged over the processes."""
        if self.world == 1:
            return network
        places = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=places)

    def all_finite(self, value: float, device: torch.device) -> bool:
        """Return whether a value is finite in every process, so that all stop together."""
        return not self.any(not math.isfinite(value), device)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether a flag is set in any process."""
        if self.world == 1:
            return flag
        count = torch.tensor(float(flag), device=device)
        distributed.all_reduce(count)
        return bool(count > 0)

    def close(self) -> None:
        """Leave."""
        if self.world > 1:
            distributed.destroy_process_group()


def join(device: torch.device) -> Group:
    """Return the group that torch's launcher describes in the environment; alone where it does not."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Group()
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Group(distributed.get_rank(), world, int(os.environ.get("LOCAL_RANK", "0")))
