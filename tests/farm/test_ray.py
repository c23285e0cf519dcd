"""Ray as the engine of a batch; skips itself where Ray is not installed, which is the usual case."""

import asyncio
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

import made
from fbamatte.cli import main
from fbamatte.errors import UsageError
from fbamatte.farm import ray_serve
from fbamatte.farm.ray_worker import Worker
from fbamatte.farm.settings import MatteSettings, RaySettings
from fbamatte.rpc import framing
from fbamatte.rpc.v1 import matting_pb2 as pb
from fbamatte.serving.settings import ServerSettings
from made import write_sequence
from serving.helpers import messages

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'fbamatte[ray]'")


def matte(shot, *more):
    arguments = ["matte", shot / "plate.####.exr", "--trimap", shot / "trimap.####.exr", "-o", shot / "out", *more]
    return main([str(a) for a in arguments])


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_says_what_to_install(tmp_path, capsys):
    shot = write_sequence(tmp_path)
    assert matte(shot, "--engine", "ray") == 2
    assert "fbamatte[ray]" in capsys.readouterr().err
    assert not (shot / "out").exists()


def test_what_a_worker_does_needs_no_ray(tmp_path):
    """The worker is a plain class: read, estimate, write, and a report in every case."""
    from fbamatte.farm.plan import plan

    shot = write_sequence(tmp_path)
    settings = MatteSettings(f"{shot}/plate.####.exr", trimap=f"{shot}/trimap.####.exr", output=f"{shot}/out")
    job = replace(plan(settings), settings="test")
    job.make_folders()
    (shot / "plate.1003.exr").unlink()
    worker = Worker(job, settings)
    assert worker.ready()
    assert [worker.matte((n, "")).state for n in (1001, 1002, 1003)] == ["done", "done", "failed"]
    assert worker.matte((1001, "")).state == "skipped"
    assert sorted(path.name for path in (shot / "out").iterdir()) == ["fba.1001.exr", "fba.1002.exr"]


@pytest.mark.slow
@needs_ray
def test_a_cluster_of_this_machine(tmp_path, capsys):
    shot = write_sequence(tmp_path, range(1001, 1009))
    (shot / "plate.1004.exr").unlink()
    assert matte(shot, "--engine", "ray", "--json", "--frames", "1001-1008") == 1
    states = {line["frame"]: line["state"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert states == {n: "failed" if n == 1004 else "done" for n in range(1001, 1009)}
    # what a cluster made, one machine knows
    assert matte(shot, "--json", "--frames", "1001-1003") == 0
    assert {json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()} == {"skipped"}


@pytest.mark.slow
@needs_ray
def test_a_node_that_is_killed_costs_no_more_than_the_frames_in_its_hands(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "farm_ray.py"
    run = subprocess.run([sys.executable, script, "--frames", "24"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"token_file": "tokens"}, "docs/balancing"),
        ({"tls_cert": "a.pem", "tls_key": "a.key"}, "docs/balancing"),
        ({"listen": ("127.0.0.1:0",)}, "port of its own"),
        ({"listen": ("unix:/run/x",)}, "port of its own"),
        ({"listen": ("0.0.0.0:1", "0.0.0.0:2")}, "port of its own"),
    ],
)
def test_what_rays_proxy_cannot_do_is_refused(more, says):
    settings = ServerSettings(**{"listen": ("0.0.0.0:50051",), **more})
    with pytest.raises(UsageError, match=says), ray_serve.serving(settings, RaySettings("ray")):
        pass


def test_a_replica_relays_bytes_to_a_plain_server():
    """Without Ray: its proxy's part is played by asyncio, its messages are bytes."""
    settings = ServerSettings(model=("testing-null",), testing=True, drain_timeout=2.0)
    replica = ray_serve.Replica(settings)
    sent = [framing.serialize_request(message) for message in messages(made.frame(7), "k7")]

    class Context:
        code = details = ""

        def set_code(self, code):
            self.code = code

        def set_details(self, details):
            self.details = details

    async def call(requests, context):
        async def stream():
            for request in requests:
                yield request

        return [bytes(m.SerializeToString()) async for m in replica.Matte(stream(), context)]

    async def both():
        replica.connect()
        good = await call(sent, Context())
        replica.check_health()
        info = pb.GetServerInfoResponse.FromString(await replica.GetServerInfo(b"", Context()))
        broken = Context()
        with pytest.raises(grpc.aio.AioRpcError):
            await call([b"\xff\xff\xff"], broken)
        return good, info, broken

    try:
        good, info, broken = asyncio.run(both())
    finally:
        replica.close()
    answers = [framing.parse_response(data) for data in good]
    assert answers[0].header.key == "k7"
    assert answers[-1].end.key == "k7"
    assert info.default_model == "testing-null"
    assert not info.shared_memory
    assert broken.code is not grpc.StatusCode.OK
    assert broken.details


@pytest.mark.slow
@needs_ray
def test_ray_serve_gives_the_plain_servers_pixels_and_survives_a_node():
    script = Path(__file__).parents[2] / "benchmarks" / "farm_ray_serve.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
