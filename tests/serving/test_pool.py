import threading
import time

import pytest

from fbamatte.errors import CancelledError, CheckpointError, ResourceError
from fbamatte.serving.device import DeviceThread
from fbamatte.serving.pool import ModelKey, ModelPool
from serving.helpers import wait_until


class FakeEngine:
    def __init__(self, key):
        self.key = key
        self.loaded_on = threading.current_thread().name
        self.closed_on = ""

    def close(self):
        self.closed_on = threading.current_thread().name


@pytest.fixture
def made():
    """What was loaded, in order."""
    return []


@pytest.fixture
def device():
    thread = DeviceThread("fake")
    yield thread
    thread.close(5)


def pool_of(device, made, budget, sizes=None, load=None, events=None):
    def default(key, _device):
        made.append(FakeEngine(key))
        return made[-1]

    note = (lambda event, key: events.append((event, key.model))) if events is not None else lambda *_: None
    return ModelPool(device, load or default, lambda key: (sizes or {}).get(key.model, 1), budget, note)


def key(name):
    return ModelKey(name, "fp32")


def test_a_model_is_loaded_once_and_on_the_devices_thread(device, made):
    pool = pool_of(device, made, 10)
    barrier = threading.Barrier(4)

    def use():
        barrier.wait(60)
        with pool.lease(key("a")):
            time.sleep(0.01)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [engine.loaded_on for engine in made] == ["device-fake"]


def test_the_least_recently_used_goes_first(device, made):
    events = []
    pool = pool_of(device, made, 2, events=events)
    for name in ("a", "b", "a", "c"):
        with pool.lease(key(name)):
            pass
    assert events == [("load", "a"), ("load", "b"), ("evict", "b"), ("load", "c")]
    assert [k.model for k in pool.loaded()] == ["a", "c"]
    device.submit(lambda: None).result(60)
    assert [engine.closed_on for engine in made] == ["", "device-fake", ""]
    assert pool.used == 2


def test_what_is_in_use_is_not_evicted_but_takes_no_new_users_while_another_waits(device, made):
    pool = pool_of(device, made, 1)
    order = []
    holding = threading.Event()

    def first():
        with pool.lease(key("a")):
            holding.set()
            wait_until(lambda: len(pool._line) == 2)
            order.append("a done")

    def second():
        holding.wait(60)
        with pool.lease(key("b")):
            order.append("b")

    def third():
        wait_until(lambda: len(pool._line) == 1)
        with pool.lease(key("a")):
            order.append("a again")

    threads = [threading.Thread(target=part) for part in (first, second, third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # b was first in line: a stream of users of a would else starve it.
    assert order == ["a done", "b", "a again"]


def test_a_waiter_that_gives_up_leaves_the_other_model_usable(device, made):
    pool = pool_of(device, made, 1)

    def gone():
        raise CancelledError("gone")

    with pool.lease(key("a")):
        with pytest.raises(CancelledError), pool.lease(key("b"), gone):
            pass
        with pool.lease(key("a")):
            pass
    assert len(made) == 1


def test_a_model_over_the_budget_is_refused_by_name(device, made):
    pool = pool_of(device, made, 3 * 2**20, sizes={"huge": 5 * 2**20})
    with (
        pytest.raises(ResourceError, match="model huge takes 5 MiB, models may take 3 MiB on fake"),
        pool.lease(key("huge")),
    ):
        pass


def test_a_model_that_fails_to_load_harms_no_other_and_is_not_tried_at_once(device, made):
    tries = []

    def load(key, device_name):
        tries.append(key.model)
        if key.model == "broken":
            raise CheckpointError("broken: made to fail")
        return FakeEngine(key)

    pool = pool_of(device, made, 2, load=load)
    for _ in range(3):
        with pytest.raises(CheckpointError, match="made to fail"), pool.lease(key("broken")):
            pass
    with pool.lease(key("fine")):
        pass
    assert tries == ["broken", "fine"]
    assert pool.used == 1


def test_a_wish_and_what_it_comes_to_are_one_model(device, made):
    pool = ModelPool(
        device,
        lambda key, _device: made.append(key) or FakeEngine(key),
        lambda _key: 1,
        2,
        precision_of=lambda wish: "fp32" if wish == "auto" else wish,
    )
    for precision in ("auto", "fp32", "bf16", "auto"):
        with pool.lease(pool.key("a", precision)):
            pass
    assert [key.precision for key in made] == ["fp32", "bf16"]


def test_what_is_replaced_goes_when_its_last_frame_is_done(device, made):
    versions = ["1"]
    pool = ModelPool(
        device,
        lambda key, _device: made.append(FakeEngine(key)) or made[-1],
        lambda _key: 1,
        9,
        version_of=lambda _model: versions[-1],
    )
    with pool.lease(pool.key("a", "fp32")) as old:
        versions.append("2")
        with pool.lease(pool.key("a", "fp32")) as new, pool.lease(pool.key("b", "fp32")):
            assert new is not old
        assert old.closed_on == ""
    wait_until(lambda: old.closed_on)
    assert sorted((key.model, key.version) for key in pool.loaded()) == [("a", "2"), ("b", "2")]
