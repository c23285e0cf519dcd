"""Means of what is known around, against box filters of another library in float64."""

import numpy as np
import pytest
from scipy import ndimage

from fbamatte.models import known_means
from fbamatte.models.evidence import WIDER


def expected(image, mask, everywhere):
    values = np.concatenate([image, np.square(image)], axis=-1).astype(np.float64)
    total, mean = np.zeros(mask.shape), np.zeros_like(values)
    for radius in WIDER:
        box = 2 * radius + 1
        count = ndimage.uniform_filter(mask.astype(np.float64), box, mode="constant") * box**2
        summed = ndimage.uniform_filter(values * mask[..., None], (box, box, 1), mode="constant") * box**2
        new = np.clip(np.round(count) / known_means.ENOUGH, 0, 1) * (1 - total)
        mean += new[..., None] * summed / np.maximum(count, 1e-9)[..., None]
        total += new
    return mean + (1 - total)[..., None] * everywhere


@pytest.mark.parametrize("share", [0.0, 0.0003, 0.02, 1.0])
def test_the_nearest_known_say_most(share):
    rng = np.random.default_rng(3)
    image = rng.random((150, 260, 3), np.float32) * 2
    mask = rng.random((150, 260)) < share
    mask[:40, :50] |= share > 0
    everywhere = np.arange(6.0)
    found = known_means.carried(image, mask, everywhere, WIDER)
    np.testing.assert_allclose(found, expected(image, mask, everywhere), atol=2e-6)


def test_where_nothing_is_known_it_is_what_counts_everywhere():
    none = np.zeros((5, 7), bool)
    everywhere = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    found = known_means.carried(np.ones((5, 7, 3), np.float32), none, everywhere, WIDER)
    np.testing.assert_allclose(found, np.broadcast_to(everywhere, (5, 7, 6)), rtol=1e-6)
