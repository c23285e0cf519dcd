"""Colour spaces through OpenColorIO: which one a file is in, and the way to linear light and back.

The configuration is ``$OCIO`` if set, else the newest built-in ACES studio configuration.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
import PyOpenColorIO as ocio  # noqa: N813  the name by which everybody knows it
from numpy.typing import NDArray

from fbamatte.errors import FrameError, UsageError
from fbamatte.imaging import attributes, gamuts
from fbamatte.imaging.gamuts import Chromaticities
from fbamatte.imaging.image import Image

BUILT_IN = "ocio://studio-config-latest"

# Attributes in which a file says what space it is in, the most deliberate first.
SAYS_SPACE = ("fbamatte/colorspace", "colorInteropID", "oiio:ColorSpace")

# What older OpenImageIO wrote, in words that configurations know.
_OLDER_NAMES = {"srgb": "srgb_rec709_scene", "linear": "lin_rec709_scene", "rec709": "rec709_camera"}

# A conversion between spaces of the same primaries has 1e-7 of crosstalk, the nearest others 2e-2.
_NO_CROSSTALK = 1e-3
_PROBES = np.array([[0.4, 0.4, 0.4], [0.6, 0.4, 0.4], [0.4, 0.6, 0.4], [0.4, 0.4, 0.6]], np.float32)


P = ParamSpec("P")
R = TypeVar("R")


def _per_config(function: Callable[P, R]) -> Callable[P, R]:
    """Remember what ``function`` returned, separately for each configuration that was in force."""
    kept: dict[Any, R] = {}

    @functools.wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        key = (os.environ.get("OCIO"), args, tuple(kwargs.items()))
        if key not in kept:
            kept[key] = function(*args, **kwargs)
        return kept[key]

    return remembered


@dataclass(frozen=True)
class Resolved:
    """A colour space, and who said so: the user, the file, or the configuration's file rules."""

    name: str
    source: Literal["option", "file", "rule"]


def space_of(path: str | os.PathLike[str], image: Image, input_space: str = "") -> str:
    """Return the name of the colour space that a picture is in; empty for linear in unnamed primaries.

    Parameters
    ----------
    path : path
        For the file rules.
    image : Image
        For what the file says of itself.
    input_space : str
        What the user says; decides where given.

    Raises
    ------
    UsageError
        ``input_space`` is unknown; lists close names.
    FrameError
        A picture that is no EXR says that it is in a space that the configuration lacks.
    """
    return resolve(path, image, input_space).name


def resolve(path: str | os.PathLike[str], image: Image, input_space: str = "") -> Resolved:
    """Return what `space_of` returns, and who said so."""
    if input_space:
        return Resolved(canonical(input_space), "option")
    said = [str(image.metadata[key]) for key in SAYS_SPACE if image.metadata.get(key)]
    for text in [*said, image.colorspace]:
        if found := find(text):
            return Resolved(found, "file")
    primaries = attributes.numbers_of(image.metadata.get("chromaticities", ""))
    if primaries:
        return Resolved(_linear_space_with(primaries), "file")
    if said and not image.windowed:
        raise FrameError(f"{image.name}: says its colour space is {said[0]!r}, unknown here; name one (--input-space)")
    name = os.fspath(path) if not image.windowed or str(path).lower().endswith(".exr") else f"{path}.exr"
    return Resolved(canonical(config().getColorSpaceFromFilepath(name)[0]), "rule")


def canonical(name: str) -> str:
    """Return the configuration's own name of a space given by name, alias or role.

    Raises
    ------
    UsageError
        There is none; lists close names.
    """
    if found := find(name):
        return found
    names = {alias.lower(): space for space in _spaces() for alias in (space, *_aliases(space))}
    near = difflib.get_close_matches(name.lower(), names, n=8, cutoff=0.5)
    within = [key for key in names if name.lower() in key] if name.strip() else []
    close = list(dict.fromkeys(names[key] for key in [*within, *near]))[:6]
    hint = f"close names: {', '.join(close)}" if close else f"for example {', '.join(_linear_spaces()[:4])}"
    known_as = config().getName() or os.environ.get("OCIO", "")
    raise UsageError(f"colour space {name!r} is unknown to {known_as}; {hint}")


@_per_config
def linear_partner(space: str) -> str:
    """Return the scene-linear space of the same primaries as ``space``.

    Found by trying: the linear space to which each channel is converted by itself, all three by the
    same curve. A space that mixes its channels (an optical film density, say) has none; it goes to
    the configuration's ``scene_linear`` role.

    Parameters
    ----------
    space : str
        Name, alias or role.
    """
    own = canonical(space)
    if config().getColorSpace(own).isData() or own in _linear_spaces():
        return own
    crosstalk = {linear: _crosstalk(own, linear) for linear in _linear_spaces()}
    best = min(crosstalk, key=lambda name: crosstalk[name], default="")
    if best and crosstalk[best] < _NO_CROSSTALK:
        return best
    return canonical(str(ocio.ROLE_SCENE_LINEAR))


def to_scene_linear(pixels: NDArray[np.float32], space: str) -> tuple[NDArray[np.float32], str]:
    """Return pixels in scene-linear light, in the primaries of ``space``, and the linear space's name.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), float32
        In ``space``; not changed.
    space : str
        Name, alias or role; empty means linear already.

    Returns
    -------
    pixels : ndarray, shape (H, W, 3), float32
        Scene-linear, unbounded. The array given where nothing had to be done.
    space : str
        Empty where ``space`` is.
    """
    if not space:
        return pixels, ""
    linear = linear_partner(space)
    return _convert(pixels, canonical(space), linear), linear


def from_scene_linear(pixels: NDArray[np.float32], space: str) -> NDArray[np.float32]:
    """Return what `to_scene_linear` made linear in ``space`` again."""
    return _convert(pixels, linear_partner(space), canonical(space)) if space else pixels


@_per_config
def chromaticities(space: str) -> Chromaticities | None:
    """Return the primaries and white of a space, as the EXR attribute has them; None where not known."""
    if not space:
        return None
    linear = linear_partner(space)
    if config().getColorSpace(linear).isData():
        return None
    try:
        processor = ocio.Config.GetProcessorToBuiltinColorSpace(config(), linear, "ACES2065-1")
    except ocio.Exception:
        return None
    axes = np.eye(3, dtype=np.float32)
    _cpu(processor).applyRGB(axes)
    return gamuts.named_by_matrix(axes.T.astype(np.float64))


def interop_id(space: str) -> str:
    """Return the Color Interop ID of a space; empty where the configuration gives none."""
    return str(config().getColorSpace(space).getInteropID() or "") if space else ""


def config() -> Any:
    """Return the OpenColorIO configuration in force.

    Raises
    ------
    UsageError
        ``$OCIO`` names a file that cannot be read.
    """
    return _load(os.environ.get("OCIO") or BUILT_IN)


@functools.lru_cache(maxsize=4)
def _load(source: str) -> Any:
    try:
        return ocio.Config.CreateFromFile(source)
    except (ocio.Exception, ocio.ExceptionMissingFile) as error:
        raise UsageError(f"OCIO configuration {source}: {error}") from error


def find(name: str) -> str:
    """Return the configuration's own name of a space given by name, alias, role or interop ID; else empty."""
    for candidate in (name, _OLDER_NAMES.get(name.lower(), "")):
        space = config().getColorSpace(candidate) if candidate else None
        if space is not None:
            return str(space.getName())
    by_id = [space for space in _spaces() if name and interop_id(space) == name]
    return by_id[0] if by_id else ""


@_per_config
def _spaces() -> tuple[str, ...]:
    everything = config().getColorSpaces(ocio.SEARCH_REFERENCE_SPACE_ALL, ocio.COLORSPACE_ALL)
    return tuple(space.getName() for space in everything)


def _aliases(space: str) -> tuple[str, ...]:
    return tuple(config().getColorSpace(space).getAliases())


@_per_config
def _linear_spaces() -> tuple[str, ...]:
    active = [space.getName() for space in config().getColorSpaces()]
    return tuple(name for name in active if config().isColorSpaceLinear(name, ocio.REFERENCE_SPACE_SCENE))


def _linear_space_with(primaries: tuple[float, ...]) -> str:
    """Return the linear space of these chromaticities; empty where the configuration has none."""
    for space in _linear_spaces():
        own = chromaticities(space)
        if own and gamuts.same(own, primaries):
            return space
    return ""


def _crosstalk(space: str, linear: str) -> float:
    """Return how far a conversion is from treating the channels alike and apart."""
    try:
        base, *moved = _convert(_PROBES, space, linear).astype(np.float64)
    except ocio.Exception:
        return float("inf")
    change = np.array(moved) - base
    own = np.diag(change)
    scale = np.abs(own).max() or 1.0
    return float(max(np.abs(change - np.diag(own)).max(), np.abs(own - own.mean()).max()) / scale)


def _convert(pixels: NDArray[np.float32], source: str, target: str) -> NDArray[np.float32]:
    processor = config().getProcessor(source, target)
    if processor.isNoOp():
        return pixels
    converted = np.array(pixels, np.float32, order="C")
    _cpu(processor).applyRGB(converted)
    return converted


def _cpu(processor: Any) -> Any:
    # The default optimisation approximates logarithms; a round trip is to be exact.
    return processor.getOptimizedCPUProcessor(ocio.OPTIMIZATION_LOSSLESS)
