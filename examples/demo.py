"""Matte the example plates through a server that is started and stopped here, and say what came out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PLATES = ROOT / "examples" / "plates"
OUT = ROOT / "demo"
LOG = OUT / "server.log"
FBAMATTE = (sys.executable, "-m", "fbamatte")
# Widths in pixels that suit the two rotos: both follow their subject closely, and the cat's whiskers are drawn in.
WIDTHS = {"chelsea": (6, 4), "astronaut": (3, 4)}
START_S = 300


def main() -> int:
    """Matte both sequences; the worst exit code of the two."""
    with TemporaryDirectory() as folder, server(Path(folder) / "ready.json") as address:
        print(f"server at {address}, its log in {LOG}")
        return max(matte(name, address) for name in WIDTHS)


@contextmanager
def server(ready: Path):
    """Yield the address of a server on a free port, stopped on the way out."""
    OUT.mkdir(exist_ok=True)
    command = [*FBAMATTE, "serve", "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    with LOG.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start; {LOG} says why")
            time.sleep(0.05)
        yield json.loads(ready.read_text())["addresses"][0]
    finally:
        process.terminate()
        process.wait()


def matte(name: str, address: str) -> int:
    """Matte one sequence and print what came out."""
    inside, outside = WIDTHS[name]
    plates, out = PLATES / name, OUT / name
    print(f"\n{name}: {plates}")
    command = ["matte", plates / "plate.####.exr", "--roto", plates / "roto.####.exr", "-o", out / "fba.####.exr"]
    widths = ["--inside", inside, "--outside", outside]
    return_code = subprocess.run(
        [str(part) for part in (*FBAMATTE, *command, *widths, "--server", address, "--preview", out, "--overwrite")],
        check=False,
    ).returncode
    print(f"mattes:  {out / 'fba.####.exr'}\npreview: {out / 'fba.####.png'}")
    return return_code


if __name__ == "__main__":
    sys.exit(main())
