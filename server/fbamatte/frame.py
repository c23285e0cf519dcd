"""What crosses rooms: a frame on its way in, a matte on its way out.

This module imports neither numpy nor torch: a host that only moves EXR bytes needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Optional

from fbamatte.errors import FrameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

Metadata = Mapping[str, Any]


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, both corners included, as in OpenEXR's ``box2i``."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int

    @classmethod
    def of_size(cls, width: int, height: int) -> Window:
        """Return the window of ``width`` × ``height`` pixels whose first pixel is (0, 0)."""
        return cls(0, 0, width - 1, height - 1)

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.x_max - self.x_min + 1

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.y_max - self.y_min + 1

    def __str__(self) -> str:
        return f"{self.width}×{self.height} at ({self.x_min}, {self.y_min})"


@dataclass(frozen=True, eq=False)
class Frame:
    """One plate with its trimap, and everything about it that must come back unchanged.

    Parameters
    ----------
    plate : ndarray, shape (H, W, 3), float32
        Scene-linear in its own primaries, unbounded, negative allowed.
    trimap : ndarray, shape (H, W), float32
        0 background, 1 foreground, anything between unknown.
    number : int
        Frame number.
    view : str
        Stereo view; empty where there is only one.
    display_window, data_window : Window, optional
        As in the plate's file; both default to the plate's size at the origin. The data window has
        the plate's size.
    pixel_aspect : float
        Width over height of a pixel.
    colorspace : str
        Name of the scene-linear space that ``plate`` is in; empty where unknown.
    metadata : mapping
        Attributes of the plate's file, returned with the matte.
    name : str
        What to call this frame in messages, such as the plate's file; ``frame N`` where empty.

    Raises
    ------
    FrameError
        If plate, trimap and data window differ in size or are not of the shapes above.
    """

    plate: Plane
    trimap: Plane
    number: int = 1
    view: str = ""
    display_window: Window = field(default=None)  # type: ignore[assignment]  # filled in below
    data_window: Window = field(default=None)  # type: ignore[assignment]  # filled in below
    pixel_aspect: float = 1.0
    colorspace: str = ""
    metadata: Metadata = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.plate.ndim != 3 or self.plate.shape[2] != 3 or 0 in self.plate.shape:
            raise FrameError(f"{self.label}: plate has shape {self.plate.shape}, needed (height, width, 3)")
        height, width = self.plate.shape[:2]
        if self.trimap.shape != (height, width):
            shape = "×".join(str(n) for n in reversed(self.trimap.shape))
            raise FrameError(f"{self.label}: plate is {width}×{height} but trimap is {shape}; nothing is resized")
        if self.data_window is None:
            object.__setattr__(self, "data_window", Window.of_size(width, height))
        if self.display_window is None:
            object.__setattr__(self, "display_window", Window.of_size(width, height))
        if (self.data_window.width, self.data_window.height) != (width, height):
            raise FrameError(f"{self.label}: plate is {width}×{height} but its data window is {self.data_window}")

    @property
    def label(self) -> str:
        """What to call this frame in a message."""
        return _label(self.name, self.number, self.view)


@dataclass(frozen=True, eq=False)
class Matte:
    """What one frame came out as: C = αF + (1−α)B in scene-linear light.

    Parameters
    ----------
    alpha : ndarray, shape (H, W), float32
        In [0, 1], linear light.
    foreground, background : ndarray, shape (H, W, 3), float32
        Straight (unpremultiplied), scene-linear in the plate's own space, unbounded. The background
        is the clean plate.
    trimap : ndarray, shape (H, W), float32
        The trimap that was used.
    provenance : mapping
        How it was made: model, model hash, version, precision, seconds, digest of the inputs,
        counts of repaired pixels. Written as ``fbamatte/*`` attributes.
    number, view, display_window, data_window, pixel_aspect, colorspace, metadata, name
        As the frame carried them.
    """

    alpha: Plane
    foreground: Plane
    background: Plane
    trimap: Plane
    number: int
    view: str
    display_window: Window
    data_window: Window
    pixel_aspect: float
    colorspace: str
    metadata: Metadata
    name: str = ""
    provenance: Metadata = field(default_factory=dict)

    @classmethod
    def for_frame(
        cls, frame: Frame, alpha: Plane, foreground: Plane, background: Plane, provenance: Optional[Metadata] = None
    ) -> Matte:
        """Return a matte that carries all that ``frame`` carried."""
        return cls(
            alpha=alpha,
            foreground=foreground,
            background=background,
            trimap=frame.trimap,
            number=frame.number,
            view=frame.view,
            display_window=frame.display_window,
            data_window=frame.data_window,
            pixel_aspect=frame.pixel_aspect,
            colorspace=frame.colorspace,
            metadata=frame.metadata,
            name=frame.name,
            provenance=provenance or {},
        )

    def with_provenance(self, **entries: Any) -> Matte:
        """Return the same matte with further provenance entries."""
        return replace(self, provenance={**self.provenance, **entries})

    @property
    def label(self) -> str:
        """What to call this matte in a message."""
        return _label(self.name, self.number, self.view)


@dataclass(frozen=True)
class EncodedFrame:
    """A frame as bytes of EXR files: for hosts that write EXR themselves and hold no numpy.

    Parameters
    ----------
    plate : bytes
        A complete EXR file with R, G, B.
    trimap : bytes
        A complete EXR file whose alpha, luminance or first channel is the trimap; empty where the
        plate's file carries it as ``fba_trimap.A``.
    number, view, colorspace, name
        As in `Frame`. ``colorspace`` empty: taken from the file, else scene-linear as it stands.
    """

    plate: bytes
    trimap: bytes = b""
    number: int = 1
    view: str = ""
    colorspace: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """What to call this frame in a message."""
        return _label(self.name, self.number, self.view)


@dataclass(frozen=True)
class EncodedMatte:
    """A matte as the bytes of the EXR file that the contract describes."""

    exr: bytes
    number: int = 1
    view: str = ""
    name: str = ""
    provenance: Metadata = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What to call this matte in a message."""
        return _label(self.name, self.number, self.view)


def _label(name: str, number: int, view: str) -> str:
    where = f"frame {number}" + (f" ({view})" if view else "")
    return f"{name}, {where}" if name else where
