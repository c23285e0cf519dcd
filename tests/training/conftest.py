"""What training's tests share. One thread each, so that they do not wait for each other."""

import pytest
import torch

from fbamatte.training.generator import ProceduralSource
from fbamatte.training.loop import Plan


class OneBatch:
    """The same pictures at every step: what a network must be able to learn."""

    samples_per_epoch = 64

    def __init__(self, recipe):
        self.only = ProceduralSource(recipe, torch.device("cpu"), families=("blob",)).batch(0)

    def batch(self, step):
        return self.only


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def one_batch():
    return OneBatch


@pytest.fixture(scope="session")
def quiet():
    """A plan that logs every step and saves at the end alone."""
    return lambda folder, **more: Plan(folder, **{"log_every": 1, "sheet_every": 0, "save_every": 0, **more})
