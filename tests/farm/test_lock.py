"""One writer per output, with real processes."""

import os
import subprocess
import sys
import textwrap

import pytest

from fbamatte.errors import OutputError, UnavailableError
from fbamatte.farm.lock import OutputLock, remove_leftovers

HOLD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from fbamatte.farm.lock import OutputLock
    lock = OutputLock(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.readline()
    """
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "fba.1001.exr")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_writer_refuses(tmp_path, holder):
    with pytest.raises(UnavailableError, match=r"fba\.1001\.exr: another process is writing it"):
        OutputLock(tmp_path / "fba.1001.exr")
    OutputLock(tmp_path / "fba.1002.exr").release()


def test_a_killed_writer_leaves_no_lock(tmp_path, holder):
    holder.kill()
    holder.wait()
    OutputLock(tmp_path / "fba.1001.exr").release()
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_names_can_be(tmp_path):
    OutputLock(tmp_path / ("я" * 125 + ".exr")).release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        OutputLock(tmp_path / "nowhere" / "fba.1001.exr")


def test_many_takers_never_hold_it_together(tmp_path):
    """Four processes take and leave one lock 200 times each and would tear a plain counter."""
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from fbamatte.errors import UnavailableError
        from fbamatte.farm.lock import OutputLock
        counter = Path(sys.argv[1]) / "counter"
        for _ in range(200):
            while True:
                try:
                    lock = OutputLock(Path(sys.argv[1]) / "fba.exr")
                    break
                except UnavailableError:
                    continue
            counter.write_text(str(int(counter.read_text()) + 1))
            lock.release()
        """
    )
    (tmp_path / "counter").write_text("0")
    crowd = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in crowd] == [0] * 4
    assert (tmp_path / "counter").read_text() == "800"


def test_leftovers_of_killed_writers_go_and_others_stay(tmp_path):
    for name in (".fbamatte-old.part", ".fbamatte-new.part", "fba.1001.exr"):
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / ".fbamatte-old.part", (1, 1))
    os.utime(tmp_path / "fba.1001.exr", (1, 1))
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".fbamatte-new.part", "fba.1001.exr"]
