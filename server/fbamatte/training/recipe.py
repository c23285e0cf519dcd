"""A recipe: everything that decides what a training run makes, in one small file.

A recipe is TOML, ``name = value`` lines alone. ``base = "other"`` takes what it does not say from another.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fbamatte.errors import CheckpointError, UsageError
from fbamatte.models.config import NetworkConfig
from fbamatte.training.losses import ALPHA_TERMS, COLOR_TERMS, OTHER_TERMS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).with_name("recipes")
LIGHTS = ("linear", "display")
ARCHITECTURES = ("fba", "refine")


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, how.

    Parameters
    ----------
    name, title : str
        The file's name; one line for people, for a row of the paper's tables that row's.
    architecture : str
        ``fba``: the paper's network; ``refine``: a choice between closed-form and sampled alpha.
    norm, standardise, alpha_head, outputs, fusion, width
        As in `NetworkConfig`.
    alpha_terms, color_terms : tuple of str
        The losses, each of weight 1 on alpha and ``color_weight`` on F and B.
    color_weight : float
        0.25 in Eq. 2.
    alpha_region, color_region : str
        ``unknown`` or ``whole``: where the losses count.
    batch : int
        Pictures in a mini-batch, on each process.
    epochs, epoch_samples : int
        How long; an epoch is so many pictures where the data are endless, else the data once.
    learning_rate, drop, drop_after, warm_up : float, float, int, int
        RAdam's rate, multiplied by ``drop`` after epoch ``drop_after``; the steps over which it rises from 0.
    schedule : str
        ``step``: constant but for the drop; ``cosine``: falls to nothing at the end.
    decay_weights, decay_norms : float
        Weight decay on convolutions, and on norms (and biases).
    clip : float
        Largest norm of the gradient; 0: not clipped.
    ema : float
        How much of the averaged weights stays at each step; 0: no average is kept.
    precision : str
        ``fp32`` or ``bf16`` (autocast).
    crops : tuple of int
        Side of the crops, one drawn for each mini-batch; centred on unknown pixels.
    crop_to : int
        Crops are resized to this; 0 leaves them.
    trimap_radii : (int, int)
        Pixels of erosion and dilation.
    second_foreground : float
        Probability of another foreground in front.
    rescale : float
        Every second mini-batch comes from the pictures of the one before enlarged by this; 1: none.
    light : str
        ``linear``: composited in linear light, then encoded; ``display``: the paper's way.
    extend : str
        Of the prepared foregrounds: ``levin``, ``multilevel`` or ``none`` as they are in the files.
    bad_data : str
        ``refuse`` or ``skip``, with a count.
    data : str
        ``folders`` (fg, alpha, bg under --data), ``procedural``: drawn on the device, or ``pool``: made ahead with
        their closed-form solution into --data.
    pool, fresh : int
        Made pictures that are kept, to be mixed with each other's backgrounds, and how many new ones each step
        brings; 0: every picture is drawn anew and seen once.
    pretrained : bool
        Whether the encoder is meant to start from ImageNet weights (``--encoder``).
    tta : bool
        Whether the row is measured with test-time augmentation; training is the same.
    seed : int
        Of the weights and the samples.
    """

    name: str
    title: str
    architecture: str = "fba"
    norm: str = "group"
    standardise: bool = True
    alpha_head: str = "clip"
    outputs: str = "alpha_fb"
    fusion: bool = False
    width: float = 1.0
    alpha_terms: tuple[str, ...] = ALPHA_TERMS
    color_terms: tuple[str, ...] = COLOR_TERMS
    color_weight: float = 0.25
    alpha_region: str = "unknown"
    color_region: str = "unknown"
    batch: int = 1
    epochs: int = 45
    epoch_samples: int = 43100
    learning_rate: float = 1e-5
    drop: float = 0.1
    drop_after: int = 40
    warm_up: int = 0
    schedule: str = "step"
    decay_weights: float = 0.005
    decay_norms: float = 1e-5
    clip: float = 0.0
    ema: float = 0.0
    precision: str = "fp32"
    crops: tuple[int, ...] = (640, 480, 320)
    crop_to: int = 320
    trimap_radii: tuple[int, int] = (3, 25)
    second_foreground: float = 0.5
    rescale: float = 2.0
    light: str = "linear"
    extend: str = "levin"
    bad_data: str = "refuse"
    data: str = "folders"
    pool: int = 0
    fresh: int = 4
    pretrained: bool = True
    tta: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        known = {
            "architecture": ARCHITECTURES, "light": LIGHTS, "alpha_region": ("unknown", "whole"),
            "color_region": ("unknown", "whole"), "precision": ("fp32", "bf16"), "schedule": ("step", "cosine"),
            "extend": ("levin", "multilevel", "none"), "bad_data": ("refuse", "skip"),
            "data": ("folders", "procedural", "pool"),
        }  # fmt: skip
        for key, values in known.items():
            if getattr(self, key) not in values:
                raise UsageError(f"recipe {self.name}: {key} is {getattr(self, key)!r}; known: {', '.join(values)}")
        for key, values in (("alpha_terms", (*ALPHA_TERMS, *OTHER_TERMS)), ("color_terms", COLOR_TERMS)):
            for term in getattr(self, key):
                if term not in values:
                    raise UsageError(f"recipe {self.name}: no loss called {term!r}; known: {', '.join(values)}")
        if min(self.batch, self.epochs, self.epoch_samples, *self.crops) < 1 or not self.alpha_terms:
            raise UsageError(f"recipe {self.name}: batch, epochs, epoch_samples and crops are at least 1, with a loss")
        try:
            _ = self.network
        except CheckpointError as error:
            raise UsageError(f"recipe {self.name}: {error}") from error

    @property
    def network(self) -> NetworkConfig:
        """The network's configuration."""
        return NetworkConfig(
            norm=self.norm, standardise=self.standardise, alpha=self.alpha_head, outputs=self.outputs,
            fusion=self.fusion, width=self.width,
        )  # fmt: skip

    @property
    def weights(self) -> dict[str, float]:
        """Of the losses, by name; F and B have none where the network does not estimate them."""
        colors = self.color_terms if self.outputs == "alpha_fb" else ()
        return {**dict.fromkeys(self.alpha_terms, 1.0), **dict.fromkeys(colors, self.color_weight)}

    def as_json(self) -> str:
        """Return all settings as one line of JSON, for checkpoints and cards."""
        return json.dumps(asdict(self), sort_keys=True)


def names() -> list[str]:
    """Return the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name_or_path: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Return a recipe.

    Parameters
    ----------
    name_or_path : str or path
        One of `names`, or a file.
    changes : mapping, optional
        Settings to use instead of the file's.

    Raises
    ------
    UsageError
        If there is none, or it says something unknown or of the wrong kind; the message names both.
    """
    path = _find(name_or_path)
    values = {**_read(path, ()), **(changes or {})}
    known = {item.name: item for item in fields(Recipe)}
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{path}: no setting called {key!r}")
        default = known[key].default
        fits = isinstance(value, type(default)) or (isinstance(default, float) and type(value) is int)
        if isinstance(default, tuple):
            values[key] = tuple(value) if isinstance(value, (list, tuple)) else value
            fits = isinstance(value, (list, tuple))
        if not fits and isinstance(default, (str, int, float, bool, tuple)):
            raise UsageError(f"{path}: {key} is {value!r}, not a {type(default).__name__}")
    values.setdefault("title", path.stem)
    return Recipe(**{**values, "name": path.stem})


def tiny(recipe: Recipe, *, crop: int = 64, width: float = 0.125) -> Recipe:
    """Return a recipe made small enough to try in seconds; what it exercises stays."""
    return replace(
        recipe, width=width, crops=(crop,), crop_to=crop, trimap_radii=(1, 4), epochs=1, epoch_samples=64,
        learning_rate=1e-3, warm_up=0, precision="fp32",
    )  # fmt: skip


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml" and path.is_file():
        return path
    built_in = FOLDER / f"{path.name}.toml"
    if path.name == str(name_or_path) and built_in.is_file():
        return built_in
    raise UsageError(f"no recipe called {str(name_or_path)!r}; there are: {', '.join(names())}, or a .toml file")


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        raise UsageError(f"{path}: is its own base")
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a recipe: {error}") from error
    base = values.pop("base", None)
    if base is None:
        return values
    beside = path.with_name(f"{base}.toml")
    return {**_read(beside if beside.is_file() else _find(base), (*seen, path)), **values}
