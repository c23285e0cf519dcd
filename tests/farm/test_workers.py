"""Two workers over one, with an estimator that waits; the long form is benchmarks/farm_workers.py."""

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from fbamatte.cli import main
from fbamatte.farm.batch import Batch
from fbamatte.farm.plan import plan
from fbamatte.farm.settings import MatteSettings
from fbamatte.imaging.exr import read_exr
from fbamatte.rpc.client import Client
from fbamatte.testing import serve_in_process
from made import write_sequence


class Silent:
    def __getattr__(self, name):
        return lambda *_: None


def test_a_batch_over_two_servers_takes_half_the_time(tmp_path):
    shot = write_sequence(tmp_path / "shot", range(1001, 1025))
    settings = MatteSettings(f"{shot}/plate.####.exr", trimap=f"{shot}/trimap.####.exr", output=str(tmp_path / "out"))
    with ExitStack() as stack:
        servers = [stack.enter_context(serve_in_process(models=("testing-sleep-0.2",))) for _ in range(2)]
        addresses = [server.addresses[0] for server in servers]
        seconds = []
        for count in (1, 2):
            client = stack.enter_context(Client(addresses[:count]))
            started = time.monotonic()
            job = replace(plan(settings), existing="overwrite")
            reports = Batch(job, partial(client.matte, model="testing-sleep-0.2"), Silent()).run()
            seconds.append(time.monotonic() - started)
            assert {report.frame: report.state for report in reports} == dict.fromkeys(range(1001, 1025), "done")
    # half of 24 × 0.2 s, plus what two servers take to get going in one busy process
    assert seconds[0] / seconds[1] > 1.6, seconds


def test_local_and_remote_runs_know_each_others_mattes(tmp_path, capsys):
    """What one of them made, the other skips: the fingerprint names the model, not where it ran."""
    shot = write_sequence(tmp_path / "shot")
    arguments = ["matte", f"{shot}/plate.####.exr", "--trimap", f"{shot}/trimap.####.exr", "-o", f"{shot}/out"]
    with serve_in_process(models=("closed-form",)) as server:
        assert main([*arguments, "--server", server.addresses[0]]) == 0
        made = {path: read_exr(path).metadata["fbamatte/settings"] for path in (shot / "out").iterdir()}
        capsys.readouterr()
        assert main(arguments) == 0
        assert "3 skipped" in capsys.readouterr().out
        for path in made:
            path.unlink()
        assert main(arguments) == 0
        assert main([*arguments, "--server", server.addresses[0], "--model", "closed-form"]) == 0
        assert "3 skipped" in capsys.readouterr().out
