"""Alpha, foreground and clean plate together, in scene-linear light.

Importing this package loads neither numpy nor torch, so that a host application can hold it.
"""

from fbamatte.frame import EncodedFrame, EncodedMatte, Frame, Matte, Window

__all__ = ["EncodedFrame", "EncodedMatte", "Frame", "Matte", "Window", "__version__"]
__version__ = "0.1.0"
