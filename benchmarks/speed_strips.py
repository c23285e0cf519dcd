"""Strips against the network as it is written, both in float32: what cutting a picture changes.

    python benchmarks/speed_strips.py [--size 1080x1920] [--gain 1] [--model FILE]

``--gain`` scales the last norm of each of the encoder's blocks: synthetic weights at 1 magnify rounding as no trained
network does.
"""

from __future__ import annotations

import argparse
import json

import torch
from speed_cases import network, picture, tensors

from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_distance import squared_distances
from fbamatte.models.fast_planes import Planes
from fbamatte.models.layers import Bottleneck


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1080x1920", metavar="HxW")
    parser.add_argument("--gain", type=float, default=1)
    parser.add_argument("--model", default="")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    plain = network(options.model)
    for module in plain.modules():
        if isinstance(module, Bottleneck):
            module.bn3.weight.data *= options.gain
    given = tensors(*picture(height, width))
    with torch.inference_mode():
        found = FastNetwork(plain, torch.float32)(Planes(given[0], given[1], squared_distances(given[1])))
        error = (found - plain(*given)).abs()[0]
    named = {"size": options.size, "gain": options.gain}
    print(json.dumps({**named, "alpha_max": float(error[0].max()), "colour_max": float(error[1:].max())}))


if __name__ == "__main__":
    main()
