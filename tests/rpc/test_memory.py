"""Shared memory: allocated by the server, under random names, and gone in the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fbamatte.errors import FrameError, ResourceError
from fbamatte.rpc import memory
from fbamatte.rpc.v1 import matting_pb2 as pb

pytestmark = pytest.mark.skipif(not memory.supported(), reason="no /dev/shm on this system")


def names() -> set[str]:
    return {path.name for path in memory.FOLDER.iterdir()}


@pytest.fixture
def leases(shm: Path) -> memory.Leases:
    assert shm == memory.FOLDER
    return memory.Leases(1 << 20)


def grant(leases: memory.Leases, size: int = 1000) -> pb.MemoryLease:
    return leases.grant(pb.MemoryRequest(tag=5, bytes=size))


def test_both_sides_see_the_same_memory(leases: memory.Leases) -> None:
    lease = grant(leases)
    assert lease.tag == 5
    caller = memory.Segment.open(lease.segment, lease.bytes)
    caller.view[:5] = b"plate"
    assert bytes(leases.take(lease.lease, 5, "")[:5]) == b"plate"
    leases.close()
    caller.close()


def test_only_the_user_may_open_it_and_its_name_is_random(leases: memory.Leases) -> None:
    first, second = grant(leases), grant(leases)
    path = memory.FOLDER / first.segment
    assert path.stat().st_mode & 0o777 == 0o600
    assert first.segment != second.segment
    assert first.lease not in first.segment
    leases.close()


def test_the_name_goes_when_a_frame_uses_the_lease(leases: memory.Leases) -> None:
    before = names()
    lease = grant(leases)
    assert names() - before == {lease.segment}
    leases.take(lease.lease, 1000, "")
    assert names() == before
    leases.close()


def test_closing_leaves_nothing(leases: memory.Leases) -> None:
    before = names()
    taken = grant(leases)
    leases.take(taken.lease, 1000, "")
    grant(leases)
    leases.close()
    assert names() == before


@pytest.mark.parametrize("size", [0, (1 << 20) + 1])
def test_too_much_is_refused_with_a_reason(leases: memory.Leases, size: int) -> None:
    lease = grant(leases, size)
    assert not lease.lease
    assert not lease.segment
    assert "1048576" in lease.refusal


def test_the_limit_is_for_all_leases_together(leases: memory.Leases) -> None:
    first = grant(leases, 1 << 19)
    grant(leases, 1 << 19)
    assert grant(leases, 1).refusal
    leases.release(first.lease)
    assert grant(leases, 1).lease
    leases.close()


def test_no_limit_means_none_at_all() -> None:
    assert grant(memory.Leases(0, "needs a Unix socket")).refusal == "needs a Unix socket"


def test_more_than_the_machine_has_is_refused_before_anything_is_used(leases: memory.Leases) -> None:
    del leases
    disk = os.statvfs(memory.FOLDER)
    size = disk.f_blocks * disk.f_frsize + (1 << 20)
    before = names()
    with pytest.raises(ResourceError, match=str(size)):
        memory.Segment.create(size)
    assert names() == before


def test_a_lease_is_of_this_stream_and_for_one_frame(leases: memory.Leases) -> None:
    other = memory.Leases(1 << 20)
    foreign = grant(other)
    with pytest.raises(FrameError, match="has no lease"):
        leases.take(foreign.lease, 10, "frame 7")
    lease = grant(leases)
    with pytest.raises(FrameError, match="frame 7: needs 2000 bytes"):
        leases.take(lease.lease, 2000, "frame 7")
    leases.take(lease.lease, 10, "")
    with pytest.raises(FrameError, match="another frame in flight"):
        leases.take(lease.lease, 10, "frame 8")
    leases.give(lease.lease)
    leases.take(lease.lease, 10, "")
    leases.close()
    other.close()


def test_a_lease_released_in_use_goes_when_its_frame_is_answered(leases: memory.Leases) -> None:
    lease = grant(leases, 1 << 20)
    view = leases.take(lease.lease, 10, "")
    leases.release(lease.lease)
    view[0] = 1
    assert grant(leases, 1).refusal
    leases.give(lease.lease)
    with pytest.raises(FrameError):
        leases.take(lease.lease, 10, "")
    assert grant(leases, 1).lease
    leases.close()


@pytest.mark.parametrize(
    "name", ["", "../etc/passwd", "fbamatte-", "fbamatte-" + "0" * 31 + "/", "fbamatte-" + "G" * 32, "/dev/zero"]
)
def test_a_caller_opens_nothing_else(name: str) -> None:
    with pytest.raises(ResourceError, match="is not the name"):
        memory.Segment.open(name, 10)


def test_a_caller_follows_no_link_and_maps_nothing_too_small(tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.write_bytes(b"x" * 100)
    link = memory.FOLDER / ("fbamatte-" + "0" * 32)
    link.symlink_to(target)
    try:
        with pytest.raises(ResourceError, match="cannot be opened"):
            memory.Segment.open(link.name, 10)
    finally:
        link.unlink()
    segment = memory.Segment.create(100)
    with pytest.raises(ResourceError, match="less than 101"):
        memory.Segment.open(segment.name, 101)
    segment.hide()
    segment.close()
