"""From a run to a model: half-precision weights with their card inside."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from fbamatte.models import refinement
from fbamatte.models.base import ModelInfo
from fbamatte.models.card import Card
from fbamatte.models.checkpoint import Checkpoint, weights_digest, write_checkpoint
from fbamatte.training.loop import Result
from fbamatte.training.recipe import Recipe


def export(result: Result, recipe: Recipe, path: Path, *, licence: str, commercial: bool) -> Path:
    """Write a run's averaged weights as half-precision ``.safetensors`` and return the file.

    Parameters
    ----------
    licence, commercial : str, bool
        What the training data permit.
    """
    state = result.average.half()
    count = sum(value.numel() for value in state.values() if value.is_floating_point())
    source = (
        f"Recipe {recipe.name}, seed {recipe.seed}, {result.step} of {result.steps} steps of {recipe.batch} pictures."
    )
    about: dict[str, Any] = {
        "name": path.stem, "title": recipe.title, "licence": licence, "commercial": commercial,
        "sha256": weights_digest(state), "parameters": count, "light": recipe.light,
    }  # fmt: skip
    if recipe.architecture == "refine":
        info = ModelInfo(**about, description=f"Chooses between closed-form and sampled alpha. {source}")
        refinement.save(cast("refinement.RefinementNetwork", result.network), path, asdict(info), state)
        return path
    described = f"The paper's network, trained from a recipe on {recipe.data} data."
    write_checkpoint(
        Checkpoint(state, Card(**about, description=described, config=recipe.network, source=source)), path
    )
    return path
