"""The entry for farms: ``nuke -t fbamatte_render.py SCRIPT --frames 1001-1100 --server host:50051 --save``."""

import sys
from pathlib import Path

# Nuke has run init.py by now, unless this Nuke was started without the user's plug-ins.
_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)

from fbamatte_nuke import headless, paths  # noqa: E402 - the path has to be there first

if __name__ == "__main__":
    paths.append_wheels()
    sys.exit(headless.main())
