"""An estimate that nobody waits for is given up, where the estimator can."""

import numpy as np
import pytest

from fbamatte.engine.tta import Augmented
from fbamatte.errors import CancelledError
from fbamatte.models.closed_form import ClosedForm
from fbamatte.models.closed_form.foreground import estimate_foreground
from fbamatte.models.interruption import check, interruptible
from fbamatte.models.tiles import Strips
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.testing import serve_in_process
from serving.helpers import frame, messages, raw, reserved, wait_until


class Patience:
    """Is asked so many times before it gives up."""

    def __init__(self, most: float) -> None:
        self.most, self.asked = most, 0

    def __call__(self) -> None:
        self.asked += 1
        if self.asked > self.most:
            raise CancelledError("nobody waits")


def picture() -> tuple[np.ndarray, np.ndarray]:
    item = frame(1, 96, 64)
    return np.clip(item.plate / 8, 0, 1), item.trimap


ESTIMATES = {
    "factorisation": lambda image, trimap: ClosedForm().estimate(image, trimap),
    "colours": estimate_foreground,
    "strips": lambda _image, _trimap: list(Strips(budget=1 << 10).cut(64, 96)),
    "augmentation": lambda image, trimap: Augmented(ClosedForm(), "flip").estimate(image, trimap),
}


@pytest.mark.parametrize("what", ESTIMATES)
def test_an_estimator_asks_again_and_again_and_stops_where_it_is_told(what):
    patience = Patience(float("inf"))
    with interruptible(patience):
        ESTIMATES[what](*picture())
    assert patience.asked >= 4
    hurry = Patience(patience.asked // 2)
    with pytest.raises(CancelledError, match="nobody waits"), interruptible(hurry):
        ESTIMATES[what](*picture())
    assert hurry.asked == patience.asked // 2 + 1
    # Nothing is left locked or half done.
    ESTIMATES[what](*picture())


def test_nobody_is_asked_where_nobody_watches():
    with interruptible(Patience(0)):
        pass
    check()


@pytest.mark.parametrize("how", ["cancelled", "late", "gone"])
def test_the_device_is_free_again_for_the_next_frame(how):
    """The estimate would take an hour: every answer that comes, comes because it was given up."""
    with serve_in_process(models=("testing-polling-3600", "testing-null")) as server:
        with raw(server.addresses[0]) as stream:
            header = {"progress": True, "timeout_ms": 300 if how == "late" else 0}
            stream.send(*messages(frame(1), model="testing-polling-3600", **header))
            while how != "late" and stream.read("progress").stage != pb.Progress.STAGE_ESTIMATING:
                pass
            if how == "gone":
                stream.call.cancel()
            else:
                if how == "cancelled":
                    stream.send(pb.MatteRequest(cancel=pb.FrameCancel(key="k1")))
                assert stream.answers(1)["k1"].code == {"cancelled": "CANCELLED", "late": "DEADLINE_EXCEEDED"}[how]
        with raw(server.addresses[0]) as stream:
            stream.send(*messages(frame(2), model="testing-null"))
            assert stream.answers(1) == {"k2": "OK"}
        wait_until(lambda: reserved(server) == 0, 60)
