"""A program in another language, with nothing but the .proto, gets the same pixels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

testing = pytest.importorskip("fbamatte.testing", reason="needs the server", exc_type=ImportError)

from fbamatte.frame import EncodedFrame, Frame  # noqa: E402
from fbamatte.imaging.exr import write_exr  # noqa: E402
from fbamatte.imaging.image import Image  # noqa: E402
from fbamatte.imaging.matte_exr import decode_matte  # noqa: E402
from fbamatte.rpc.client import Client  # noqa: E402

NODE_FOLDER = Path(__file__).parents[2] / "clients" / "node"
HEIGHT, WIDTH = 300, 517


@pytest.fixture(scope="module")
def node() -> str:
    """Return the program, with the client's packages in place."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    if not (NODE_FOLDER / "node_modules" / "@grpc" / "grpc-js").is_dir():
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"npm ci failed: {done.stderr[-300:]}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return node


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with testing.serve_in_process(models=("testing-null",)) as running:
        yield str(running.addresses[0])


def frame(number: int) -> Frame:
    random = np.random.default_rng(number)
    trimap = np.clip(random.normal(0.5, 1.0, (HEIGHT, WIDTH)), 0, 1).astype(np.float32)
    return Frame(random.normal(1.0, 4.0, (HEIGHT, WIDTH, 3)).astype(np.float32), trimap, number=number)


def encode(folder: Path, item: Frame) -> EncodedFrame:
    plate, trimap = folder / f"plate.{item.number}.exr", folder / f"trimap.{item.number}.exr"
    rgb = {name: item.plate[..., at] for at, name in enumerate("RGB")}
    write_exr(plate, Image(rgb, item.display_window, item.data_window), float_channels="all")
    write_exr(trimap, Image({"A": item.trimap}, item.display_window, item.data_window), float_channels="all")
    return EncodedFrame(plate.read_bytes(), trimap.read_bytes(), number=item.number)


def run(node: str, server: str, folder: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    listed = folder / "jobs.json"
    listed.write_text(json.dumps(jobs))
    command = [node, str(NODE_FOLDER / "matte.mjs"), server, str(listed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert not done.stderr, done.stderr
    return sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda answer: answer["index"])


@pytest.mark.parametrize("pixel_type", ["half", "float"])
def test_raw_planes_are_the_same_bits(node: str, server: str, tmp_path: Path, pixel_type: str) -> None:
    dtype = np.dtype("<f2" if pixel_type == "half" else "<f4")
    frames, jobs = [frame(number) for number in (7, 8, 9)], []
    for item in frames:
        pixels = tmp_path / f"{item.number}.raw"
        pixels.write_bytes(item.plate.astype(dtype).tobytes() + item.trimap.astype(dtype).tobytes())
        job = {"pixels": str(pixels), "width": WIDTH, "height": HEIGHT, "number": item.number}
        jobs.append(
            {**job, "pixelType": f"PIXEL_TYPE_{pixel_type.upper()}", "to": str(tmp_path / f"{item.number}.out")}
        )
    answers = run(node, server, tmp_path, jobs)
    assert [answer["info"]["number"] for answer in answers] == [7, 8, 9]
    kinds = [plane["kind"] for plane in answers[0]["planes"]["planes"]]
    assert kinds == ["PLANE_KIND_ALPHA", "PLANE_KIND_FOREGROUND", "PLANE_KIND_BACKGROUND"]
    with Client(server) as client:
        mattes = {matte.number: matte for matte in client.matte(frames, pixel_type=pixel_type)}
    for job in jobs:
        matte = mattes[job["number"]]
        expected = [plane.astype(dtype).tobytes() for plane in (matte.alpha, matte.foreground, matte.background)]
        assert Path(job["to"]).read_bytes() == b"".join(expected)


def test_exr_bytes_hold_the_same_pixels(node: str, server: str, tmp_path: Path) -> None:
    frames = [encode(tmp_path, frame(number)) for number in (1, 2)]
    jobs = [
        {"plate": str(tmp_path / f"plate.{n}.exr"), "trimap": str(tmp_path / f"trimap.{n}.exr"), "number": n}
        | {"to": str(tmp_path / f"matte.{n}.exr"), "output": {"pixelType": "PIXEL_TYPE_FLOAT"}}
        for n in (1, 2)
    ]
    assert [answer["number"] for answer in run(node, server, tmp_path, jobs)] == [1, 2]
    with Client(server) as client:
        mattes = {matte.number: matte.exr for matte in client.matte_exr(frames, pixel_type="float")}
    for job in jobs:
        mine, theirs = decode_matte(mattes[job["number"]]), decode_matte(Path(job["to"]).read_bytes())
        for name in ("alpha", "foreground", "background"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name))


def test_an_error_comes_with_its_code_and_stops_no_other_frame(node: str, server: str, tmp_path: Path) -> None:
    good = encode(tmp_path, frame(1))
    broken = tmp_path / "plate.2.exr"
    broken.write_bytes(good.plate[: len(good.plate) // 2])
    jobs = [
        {"plate": str(tmp_path / f"plate.{n}.exr"), "trimap": str(tmp_path / "trimap.1.exr"), "number": n}
        | {"to": str(tmp_path / f"matte.{n}.exr"), "name": f"sh010.{n}.exr"}
        for n in (1, 2)
    ]
    first, second = run(node, server, tmp_path, jobs)
    assert first["bytes"] > 0
    assert second["code"] == "INVALID_ARGUMENT"
    assert "sh010.2.exr" in second["error"]


def test_more_frames_than_a_stream_may_have_in_flight(node: str, server: str, tmp_path: Path) -> None:
    """The server takes eight at a time; the client reads a frame when there is room for it."""
    item = frame(1)
    pixels = tmp_path / "frame.raw"
    pixels.write_bytes(item.plate.astype("<f2").tobytes() + item.trimap.astype("<f2").tobytes())
    same = {"pixels": str(pixels), "width": WIDTH, "height": HEIGHT, "pixelType": "PIXEL_TYPE_HALF"}
    jobs = [{**same, "number": number, "to": str(tmp_path / f"{number}.out")} for number in range(20)]
    assert [answer["number"] for answer in run(node, server, tmp_path, jobs)] == list(range(20))
    assert len({Path(job["to"]).read_bytes() for job in jobs}) == 1
