"""``python -m fbamatte`` is the command."""

import sys

from fbamatte.cli import main

if __name__ == "__main__":
    sys.exit(main())
