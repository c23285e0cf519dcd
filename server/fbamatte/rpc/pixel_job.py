"""A frame as planes of pixels, in chunks or shared memory; imports numpy."""

from __future__ import annotations

from fbamatte.frame import Frame, Matte
from fbamatte.rpc import layout, pixels
from fbamatte.rpc.codec import PIXEL_TYPES
from fbamatte.rpc.framing import Buffer, Parts
from fbamatte.rpc.v1 import matting_pb2 as pb


class PlanesJob:
    """A frame as planes, answered as planes of the same type.

    Parameters
    ----------
    frame : Frame
        To be matted.
    pixel_type : str
        ``float`` carries the pixels exactly; ``half`` takes half the bytes.
    """

    def __init__(self, frame: Frame, pixel_type: str = "float") -> None:
        self.frame = frame
        self.label = frame.label
        self._pixel_type = pixel_type or "float"
        height, width = frame.trimap.shape
        number = PIXEL_TYPES[self._pixel_type]
        self._planes = pixels.describe(width, height, pixels.FRAME_PLANES, number)
        self._answer = pixels.describe(width, height, pixels.ANSWER_PLANES, number)

    @property
    def lease_bytes(self) -> int:
        """See `Job`."""
        both = (self._planes, self._answer)
        return max(layout.planes_bytes(planes, shared=True, label=self.label) for planes in both)

    def header(self, key: str) -> pb.FrameHeader:
        """See `Job`."""
        return pixels.frame_header(self.frame, key, self._pixel_type)

    def buffers(self) -> list[Buffer | Parts]:
        """See `Job`."""
        return pixels.to_buffers(self.frame, self._planes)

    def fill(self, lease: memoryview) -> None:
        """See `Job`."""
        pixels.to_lease(lease, self.frame, self._planes)

    def receive(self, header: pb.MatteHeader, _size: int) -> pixels.PlanesPayload:
        """See `Job`."""
        return pixels.PlanesPayload(header.planes, self.label)

    def read(self, header: pb.MatteHeader, payload: pixels.Content) -> Matte:
        """See `Job`."""
        return pixels.read_matte(header, payload, self.frame)
