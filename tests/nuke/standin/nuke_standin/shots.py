"""Pictures of the panel, in whatever Qt there is: ``python shots.py FOLDER``. Needs no Nuke and no numpy."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[4] / "nuke_plugin"))

from fbamatte_nuke.panel import qt
from fbamatte_nuke.panel.state import JobState, ModelState, NodeState, PanelState, ServerState

MODELS = (
    ModelState("closed-form", "Closed-form matting, no network", "MIT", True, True, True),
    ModelState("fba-studio", "FBA network, trained on plates of our own", "MIT", True, False),
    ModelState("fba-published", "FBA network, the authors' weights", "CC-BY-NC-4.0", False, True),
)
REASON = (
    "FBA2, frame 1042: the trimap is all background, so there is nothing to matte. Check the roto on this frame in the "
    "view Trimap, widen inside width and outside width, or set empty trimap to keep"
)


def frames(first: int, last: int, **states: str) -> dict[int, str]:
    """Return frames by state; a keyword is a state with a range such as ``1001-1020``."""
    found = dict.fromkeys(range(first, last + 1), "missing")
    for state, text in states.items():
        for part in text.split():
            start, _, end = part.partition("-")
            found.update(dict.fromkeys(range(int(start), int(end or start) + 1), state))
    return found


WORKING = PanelState(
    ServerState("render-07:50051", "busy", "1 at work, 3 waiting · NVIDIA H200 · fbamatte 0.1.0", "", MODELS),
    (
        NodeState("FBA1", frames(1001, 1100, cached="1001-1063"), "63 cached, 37 missing", 1042, {}, True),
        NodeState(
            "FBA2",
            frames(1001, 1048, cached="1001-1041 1044-1048", failed="1042-1043"),
            "46 cached, 2 failed",
            1042,
            {1042: REASON},
        ),
        NodeState("Hair.FBA1", frames(1001, 1100, stale="1001-1100"), "100 stale", 1042),
    ),
    (
        JobState("FBA1", "running", 63, 100, "1001-1100  63 of 100, frame 1064"),
        JobState("Hair.FBA1", "waiting", 0, 100, "1001-1100  waiting"),
        JobState("FBA2", "failed", 48, 48, "1001-1048  46 matted, 2 failed"),
    ),
    "209 files, 8.4 GB in the cache",
    (REASON,),
)
AWAY = PanelState(
    ServerState(
        "localhost:50051",
        "away",
        "localhost is there, but nothing listens on port 50051.",
        "Start the server, or check the port.",
    ),
    (NodeState("FBA1", frames(1001, 1024), "no matte yet", 1001),),
    (),
    "0 files, 0 bytes in the cache",
)
EMPTY = PanelState(ServerState("localhost:50051", "ready", "ready · cpu · fbamatte 0.1.0", "", MODELS[:1]))
STATES = {"working": WORKING, "away": AWAY, "empty": EMPTY}


class Canned:
    """A source that always says the same, and remembers what was pressed."""

    def __init__(self, state: PanelState) -> None:
        self.now = state
        self.pressed: list[tuple[Any, ...]] = []

    def state(self) -> PanelState:
        return dataclasses.replace(self.now)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.pressed.append((name, *arguments))


def application() -> Any:
    """Return the application, with a palette like Nuke's."""
    app = qt.QtWidgets.QApplication.instance() or qt.QtWidgets.QApplication(["nuke"])
    app.setStyle("Fusion")
    palette = qt.QtGui.QPalette()
    palette.setColor(qt.QtGui.QPalette.ColorRole.Window, qt.QtGui.QColor("#323232"))
    palette.setColor(qt.QtGui.QPalette.ColorRole.WindowText, qt.QtGui.QColor("#c8c8c8"))
    app.setPalette(palette)
    font = app.font()
    font.setPointSizeF(9.5)
    app.setFont(font)
    return app


def main() -> int:
    """Write one PNG per state, and one of a narrow pane."""
    from fbamatte_nuke.panel.window import Window

    app = application()
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, height in (("working", 460, 760), ("away", 460, 420), ("empty", 460, 320), ("working", 320, 640)):
        window = Window(Canned(STATES[name]))
        window.resize(width, height)
        window.show()
        for _ in range(5):
            app.processEvents()
        window.grab().save(str(folder / f"{qt.BINDING}-{name}-{width}.png"))
        window.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
