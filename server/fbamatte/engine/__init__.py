"""One frame in, one matte out. The engine never sees a path."""

from fbamatte.engine.engine import Engine

__all__ = ["Engine"]
