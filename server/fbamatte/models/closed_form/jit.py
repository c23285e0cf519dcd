"""Where models find the house's compiler of loops."""

from fbamatte.compositing.jit import kernel

__all__ = ["kernel"]
