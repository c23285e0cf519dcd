"""The engine that settings ask for."""

from __future__ import annotations

from fbamatte.engine import Engine
from fbamatte.engine.tta import Augmented
from fbamatte.farm.settings import MatteSettings
from fbamatte.models import registry


def make_engine(settings: MatteSettings) -> Engine:
    """Return an engine of the settings' model, device and precision.

    Raises
    ------
    ModelNotFoundError, CheckpointError, UsageError
        If one of them is not to be had.
    """
    estimator = registry.load(settings.model or registry.DEFAULT, settings.device, settings.precision)
    return Engine(estimator=Augmented(estimator) if settings.tta else estimator)
