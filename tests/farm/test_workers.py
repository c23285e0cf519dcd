"""Two workers share a batch; how much quicker that is, benchmarks/farm_workers.py says."""

from contextlib import ExitStack

from fbamatte.cli import main
from fbamatte.farm.batch import Batch
from fbamatte.farm.plan import plan
from fbamatte.farm.settings import MatteSettings
from fbamatte.imaging.exr import read_exr
from fbamatte.rpc.client import Client
from fbamatte.testing import serve_in_process
from made import write_sequence
from serving.helpers import meeting


class Silent:
    def __getattr__(self, name):
        return lambda *_: None


def test_a_batch_is_shared_by_two_servers_at_the_same_time(tmp_path):
    """Neither server finishes its first frame before the other has one as well."""
    shot, meet = write_sequence(tmp_path / "shot", range(1001, 1025)), meeting(2)
    settings = MatteSettings(f"{shot}/plate.####.exr", trimap=f"{shot}/trimap.####.exr", output=str(tmp_path / "out"))
    with ExitStack() as stack:
        servers = [stack.enter_context(serve_in_process(on_load=meet)) for _ in range(2)]
        client = stack.enter_context(Client([server.addresses[0] for server in servers]))
        reports = Batch(plan(settings), client.matte, Silent()).run()
        assert {report.frame: report.state for report in reports} == dict.fromkeys(range(1001, 1025), "done")
        assert sum(server.desk.watcher.done for server in servers) == 24
        assert min(server.desk.watcher.done for server in servers) >= 4


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
