"""The engine that settings ask for."""

from __future__ import annotations

from fbamatte.engine import Engine
from fbamatte.farm.settings import MatteSettings
from fbamatte.models import registry


def make_engine(settings: MatteSettings) -> Engine:
    """Return an engine of the settings' model, device and precision.

    Raises
    ------
    ModelNotFoundError, CheckpointError, UsageError
        If one of them is not to be had.
    """
    model = settings.model or registry.DEFAULT
    return Engine(model, settings.device, settings.precision, tta="paper" if settings.tta else "")
