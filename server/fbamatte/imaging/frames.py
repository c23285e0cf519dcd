"""A plate and its trimap, as read from their files, become one `Frame` in scene-linear light."""

from __future__ import annotations

import numpy as np

from fbamatte.errors import FrameError
from fbamatte.frame import Frame
from fbamatte.imaging import attributes, gamuts, spaces
from fbamatte.imaging.attributes import Value
from fbamatte.imaging.image import Image, Plane


def frame_from_images(
    plate: Image, trimap: Image, *, number: int = 1, view: str = "", input_space: str = "", name: str = ""
) -> Frame:
    """Return the frame of a plate and its trimap.

    Parameters
    ----------
    plate : Image
        In any colour space; becomes scene-linear in its own primaries.
    trimap : Image
        Values as they are, never colour-converted; laid into the plate's data window by `aligned`.
    number, view, name
        As in `Frame`; view and name by default the plate's own.
    input_space : str
        Colour space of the plate, where the user says.

    Raises
    ------
    FrameError
        Plate and trimap do not fit together; names both and their sizes.
    UsageError
        ``input_space`` is unknown.
    """
    resolved = spaces.resolve(plate.name, plate, input_space)
    pixels, linear = spaces.to_scene_linear(plate.rgb(), resolved.name)
    converted = linear != resolved.name
    return Frame(
        plate=pixels,
        trimap=aligned(trimap, plate),
        number=number,
        view=view or plate.view,
        display_window=plate.display_window,
        data_window=plate.data_window,
        pixel_aspect=plate.pixel_aspect,
        colorspace=linear,
        metadata=_described(plate, linear, stated=converted or resolved.source != "rule", converted=converted),
        name=name or plate.name,
    )


def aligned(matte: Image, plate: Image) -> Plane:
    """Return the plane of a trimap or roto on the plate's data window.

    Windows say where pixels are: where both pictures are of one display window, each pixel goes to
    its place, and outside its own data window a matte is 0, as everywhere in EXR. Nothing is resized.

    Returns
    -------
    ndarray, shape (H, W), float32

    Raises
    ------
    FrameError
        Neither windows nor sizes agree.
    """
    plane, own, wanted = matte.matte_plane(), matte.data_window, plate.data_window
    fits = plane.shape == (wanted.height, wanted.width)
    if own == wanted or (fits and not (matte.windowed and matte.display_window == plate.display_window)):
        return plane
    if matte.display_window != plate.display_window:
        raise FrameError(
            f"{plate.name}: plate is {plate.display_window.width}×{plate.display_window.height}"
            f" (data window {wanted}) but {matte.name} is {matte.display_window.width}×{matte.display_window.height}"
            f" (data window {own}); nothing is resized"
        )
    placed = np.zeros((wanted.height, wanted.width), np.float32)
    left, right = max(own.x_min, wanted.x_min), min(own.x_max, wanted.x_max) + 1
    top, bottom = max(own.y_min, wanted.y_min), min(own.y_max, wanted.y_max) + 1
    if left < right and top < bottom:
        placed[top - wanted.y_min : bottom - wanted.y_min, left - wanted.x_min : right - wanted.x_min] = plane[
            top - own.y_min : bottom - own.y_min, left - own.x_min : right - own.x_min
        ]
    return placed


def _described(plate: Image, linear: str, *, stated: bool, converted: bool) -> dict[str, Value]:
    """Return the plate's attributes, true for the linear light that goes on.

    A plate that said nothing about its colour, and was not converted, is not given any words.
    """
    metadata = dict(plate.metadata)
    primaries = spaces.chromaticities(linear)
    before = attributes.numbers_of(metadata.get("chromaticities", ""))
    if stated and primaries and not gamuts.same(primaries, before):
        metadata["chromaticities"] = attributes.typed("chromaticities", *primaries)
    elif converted and not primaries:
        metadata.pop("chromaticities", None)
    if converted:
        metadata.pop("acesImageContainerFlag", None)
    for key, now in (("colorInteropID", spaces.interop_id(linear)), ("oiio:ColorSpace", linear)):
        if linear and key in metadata and spaces.find(str(metadata[key])) != linear:
            del metadata[key]
            if now:
                metadata[key] = now
    return metadata
