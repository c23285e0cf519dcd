import threading
from concurrent.futures import CancelledError

import pytest

from fbamatte.serving.device import URGENT_TURNS, DeviceThread
from serving.helpers import wait_until


@pytest.fixture
def device():
    thread = DeviceThread("test")
    yield thread
    thread.close(5)


def test_everything_runs_on_one_thread(device):
    names = {device.submit(lambda: threading.current_thread().name).result(60) for _ in range(20)}
    assert names == {"device-test"}


def test_an_error_is_the_callers_and_the_thread_lives_on(device):
    with pytest.raises(ZeroDivisionError):
        device.submit(lambda: 1 / 0).result(60)
    assert device.submit(lambda: 7).result(60) == 7


def test_a_cancelled_call_never_runs(device):
    gate, ran = threading.Event(), []
    device.submit(gate.wait, 60)
    future = device.submit(ran.append, 1)
    assert future.cancel()
    gate.set()
    device.submit(lambda: None).result(60)
    assert ran == []
    with pytest.raises(CancelledError):
        future.result(0)


def test_urgent_calls_overtake_but_not_for_ever(device):
    gate, order = threading.Event(), []
    device.submit(gate.wait, 60)
    device.submit(order.append, "batch")
    calls = [device.submit(order.append, n, urgent=True) for n in range(3 * URGENT_TURNS)]
    gate.set()
    for call in calls:
        call.result(60)
    assert 0 < order.index("batch") <= URGENT_TURNS


def test_a_result_is_not_kept_alive(device):
    import weakref

    class Pixels:
        pass

    future = device.submit(Pixels)
    kept = weakref.ref(future.result(60))
    del future
    wait_until(lambda: kept() is None)


def test_a_closed_device_takes_no_calls():
    device = DeviceThread("gone")
    device.close(5)
    with pytest.raises(RuntimeError, match="closed"):
        device.submit(lambda: None)
