"""To a device and back: what comes back is what was sent, in order, and bounded."""

import threading

import numpy as np
import pytest
import torch

from fbamatte.models.transfers import IN_FLIGHT, Transfers

DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.cuda)]


@pytest.fixture(params=DEVICES)
def transfers(request):
    return Transfers(torch.device(request.param))


def there_and_back(transfers, array):
    with torch.inference_mode(), transfers.picture():
        sent = transfers.up(array)
        return transfers.down(sent * 2, sent + 1)


def test_arrays_come_back_as_they_were_sent(transfers):
    arrays = [np.full((33, 47), k, np.float32) for k in range(5)]
    for array, download in [(a, there_and_back(transfers, a)) for a in arrays]:
        double, more = download.wait()
        assert np.array_equal(double, array * 2)
        assert np.array_equal(more, array + 1)
        assert download.seconds > 0


def test_another_thread_may_wait(transfers):
    download = there_and_back(transfers, np.ones((4, 4), np.float32))
    found = []
    thread = threading.Thread(target=lambda: found.extend(download.wait()))
    thread.start()
    thread.join(30)
    assert found[0].sum() == 32
    found[0][0] = 5  # ordinary memory, the caller's own


@pytest.mark.parametrize("change", [lambda x: x[::2], lambda x: x.T, lambda x: x.astype(np.float64)])
def test_any_array_is_taken(transfers, change):
    array = change(np.arange(64, dtype=np.float32).reshape(8, 8))
    assert np.array_equal(there_and_back(transfers, array).wait()[0], array * 2)


def test_what_may_not_be_written_is_taken_too(transfers, recwarn):
    array = np.ones((3, 3), np.float32)
    array.flags.writeable = False
    assert there_and_back(transfers, array).wait()[0].sum() == 18
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_a_picture_that_fails_leaves_room_for_others(transfers):
    def fail():
        raise MemoryError

    for _ in range(2 * IN_FLIGHT):
        with pytest.raises(MemoryError), transfers.picture():
            fail()
    assert there_and_back(transfers, np.ones((2, 2), np.float32)).wait()[0].sum() == 8


@pytest.mark.cuda
def test_a_device_holds_few_pictures_at_a_time():
    transfers = Transfers(torch.device("cuda:0"))
    downloads = [there_and_back(transfers, np.full((512, 512), k, np.float32)) for k in range(20)]
    assert len(transfers._computed) <= IN_FLIGHT
    assert [d.wait()[0][0, 0] for d in downloads] == [2 * k for k in range(20)]


@pytest.mark.cuda
def test_what_is_sent_may_change_at_once():
    transfers, array = Transfers(torch.device("cuda:0")), np.ones((2048, 2048), np.float32)
    download = there_and_back(transfers, array)
    array[...] = 9
    assert (download.wait()[0] == 2).all()
