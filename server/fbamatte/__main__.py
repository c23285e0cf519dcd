"""``python -m fbamatte`` is the command."""

from fbamatte.cli import program

if __name__ == "__main__":
    program()
