"""Distances on a device against scipy's, on masks that are hard for a search."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from fbamatte.models.fast_distance import FAR, REACH, searched, squared_distances


def masks_of(name, height=61, width=97):
    mask = np.zeros((height, width), np.float32)
    rng = np.random.default_rng(3)
    if name == "corner":
        mask[-1, -1] = 1
    elif name == "two far apart":
        mask[0, 0] = mask[-1, -1] = 1
    elif name == "column":
        mask[:, 0] = 1
    elif name == "row":
        mask[-1] = 1
    elif name == "holes":
        mask[...] = rng.random(mask.shape) < 0.999
    elif name == "sparse":
        mask[...] = rng.random(mask.shape) < 0.003
    elif name == "diagonal":
        np.fill_diagonal(mask, 1)
    elif name == "full":
        mask[...] = 1
    return mask


CASES = ("corner", "two far apart", "column", "row", "holes", "sparse", "diagonal", "full")


def exact(mask):
    return np.square(distance_transform_edt(mask == 0)).round()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [(31, 47), (1, 90), (90, 1), (12, 400)], ids=str)
def test_a_search_finds_scipys_distances_to_the_last_bit(case, size):
    mask = masks_of(case, *size)
    pair = torch.from_numpy(np.stack([mask, 1 - mask]))[None]
    found = searched(pair)[0].numpy()
    for plane, given in zip(found, (mask, 1 - mask)):
        if not given.any():
            assert (plane == FAR).all()
            continue
        expected = exact(given)
        near = expected <= REACH**2
        assert np.array_equal(plane[near], expected[near])
        assert (plane[~near] > REACH**2).all()


def test_what_needs_no_search_agrees_with_it():
    pair = torch.from_numpy(np.stack([masks_of("sparse"), masks_of("corner")]))[None]
    assert torch.allclose(searched(pair), squared_distances(pair), rtol=1e-6)


KERNEL = """
import numpy as np, torch
from fbamatte.models.fast_distance import FAR, stepwise
from fbamatte.models.kernels import nearest_in_rows
torch.manual_seed(0)
for shape in ((2, 3, 37), (1, 2, 1100), (4, 1)):
    squared = torch.randint(0, 5000, shape).float()
    squared[torch.rand(shape) < 0.9] = FAR
    reach = min(29, shape[-1] - 1)
    assert torch.equal(nearest_in_rows(squared, reach, FAR), stepwise(squared, reach)), shape
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for CUDA only")
def test_the_kernel_computes_what_the_plain_steps_do():
    """In Triton's interpreter, so that it needs no GPU; in a process of its own, since Triton reads this once."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", KERNEL], check=True, env=environment)


@pytest.mark.cuda
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_finds_the_same(case):
    mask = torch.from_numpy(masks_of(case, 120, 1500))[None, None]
    assert torch.equal(searched(mask.cuda()).cpu(), searched(mask))
