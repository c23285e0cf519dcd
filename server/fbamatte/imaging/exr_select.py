"""Which part of a file, and which of its channels: parts by name or number, views, layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fbamatte.errors import ImageReadError
from fbamatte.imaging import attributes
from fbamatte.imaging.exr_header import FileHeader, PartHeader

# Kept apart from the attributes that travel: where the pixels are and how they are packed.
STRUCTURAL = frozenset(
    (
        *("channels", "compression", "dataWindow", "displayWindow", "lineOrder", "pixelAspectRatio", "type"),
        *("tiles", "chunkCount", "version", "maxSamplesPerPixel", "view", "multiView"),
    )
)

# How Nuke calls the channels of a layer.
_LONG_NAMES = {"red": "R", "green": "G", "blue": "B", "alpha": "A"}


def choose(header: FileHeader, part: str | int | None, view: str, name: str) -> tuple[PartHeader, str]:
    """Return the part to read, and the layer within it if ``part`` names one (else empty).

    Parameters
    ----------
    header : FileHeader
    part : str or int, optional
        Name or number of a part, or name of a layer. Without it the first part with a picture.
    view : str
        Stereo view; empty for the default one.
    name : str
        The file, for messages.

    Raises
    ------
    ImageReadError
        No such part, layer or view, or the only candidate is deep; lists what there is.
    """
    candidates, layer = _named(header.parts, part, name)
    candidates = _of_view(candidates, view, name)
    flat = [candidate for candidate in candidates if not candidate.deep]
    if not flat:
        raise ImageReadError(f"{name}: deep pixels are not supported; flatten the file first")
    return max(flat, key=_pictureness), layer


def views_of(part: PartHeader) -> tuple[str, ...]:
    """Return the views that the channels of a single part hold, the default one first."""
    kind, data = part.attributes.get("multiView", ("", b""))
    return attributes.strings_of((kind, data))


def channel_names(part: PartHeader, view: str, layer: str, name: str) -> dict[str, str]:
    """Return the channels to keep: name in the file → name in the picture, without view and layer."""
    views = views_of(part)
    if view and views and view not in views:
        raise ImageReadError(f"{name}: no view {view!r}; views are {', '.join(views)}")
    if view and not views and any(channel.name.split(".")[-2:-1] == [view] for channel in part.channels):
        views = ("", view)  # named after the view all the same: what bears no view's name is another one's
    kept: dict[str, str] = {}
    for channel in part.channels:
        own_view, bare = _split_view(channel.name, views)
        if own_view is not None and own_view != (view or views[0]):
            continue
        if not layer:
            kept[channel.name] = bare
        elif bare.startswith(layer + "."):
            kept[channel.name] = bare[len(layer) + 1 :]
    return {own: _short(bare, kept) for own, bare in kept.items()}


def _short(name: str, kept: Mapping[str, str]) -> str:
    """Return a channel by its short name, "matte.red" as "matte.R", unless another one is called that."""
    stem, dot, last = name.rpartition(".")
    short = stem + dot + _LONG_NAMES.get(last, last)
    return name if short in kept.values() else short


def _named(parts: Sequence[PartHeader], part: str | int | None, name: str) -> tuple[Sequence[PartHeader], str]:
    if part is None or part == "":
        return parts, ""
    if isinstance(part, int):
        if not 0 <= part < len(parts):
            raise ImageReadError(f"{name}: no part {part}; there are {len(parts)}")
        return [parts[part]], ""
    # Nuke names the parts of a view "layer.view", so a name may stand for one part of each view.
    found = [p for p in parts if p.name == part] or [p for p in parts if p.view and p.name == f"{part}.{p.view}"]
    if found:
        return found, ""
    layered = [p for p in parts if any(c.name.startswith(part + ".") for c in p.channels)]
    if layered:
        return layered, part
    have = ", ".join(p.name or str(p.index) for p in parts)
    raise ImageReadError(f"{name}: no part or layer {part!r}; parts are {have}")


def _of_view(parts: Sequence[PartHeader], view: str, name: str) -> Sequence[PartHeader]:
    """Return the parts of a view. A file that knows no views is taken as the one asked for."""
    known = list(dict.fromkeys(part.view for part in parts if part.view))
    if not known:
        return parts
    wanted = view or known[0]
    found = [part for part in parts if part.view == wanted]
    if not found:
        raise ImageReadError(f"{name}: no view {wanted!r}; views are {', '.join(known)}")
    return found


def _pictureness(part: PartHeader) -> tuple[int, int]:
    """Rank plain R G B above luminance, above R G B in a layer, above the rest; then the first part."""
    names = {channel.name for channel in part.channels}
    if names >= {"R", "G", "B"}:
        rank = 3
    elif names & {"Y", "A"}:
        rank = 2
    else:
        rank = int(any(name.endswith(".R") for name in names))
    return rank, -part.index


def _split_view(channel: str, views: Sequence[str]) -> tuple[str | None, str]:
    """Return (view, name without it); the view stands before the last dot, as in "diffuse.left.R".

    OpenEXR, "Storing Multi-View Images": a channel of no layer and no view belongs to the default
    view, one of a layer without a view to all of them (None).
    """
    pieces = channel.split(".")
    if len(pieces) > 1 and pieces[-2] in views:
        return pieces[-2], ".".join(pieces[:-2] + pieces[-1:])
    return (views[0] if views and len(pieces) == 1 else None), channel
