"""Metrics, log and traces."""

import ctypes
import json
import threading
import urllib.error
from concurrent import futures

import grpc
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from fbamatte.errors import FbaMatteError
from fbamatte.rpc.client import Client
from fbamatte.serving import heap, observer
from fbamatte.testing import running_server, serve_in_process
from serving.helpers import frame, get, messages, raw, samples, wait_until


@pytest.fixture(scope="module")
def server():
    models = ("testing-null", "testing-sleep-4", "testing-large-64")
    with serve_in_process(models=models, metrics="127.0.0.1:0", thumbnails=3) as running:
        yield running


def test_stages_outcomes_and_models_are_counted(server):
    with Client(server.addresses[0]) as client:
        list(client.matte(frame(n) for n in range(5)))
        with pytest.raises(FbaMatteError):
            list(client.matte([frame(9)], model="none"))
        list(client.matte([frame(10)], model="testing-large-64"))
    found = samples(server)
    assert found["fbamatte_frames_total", ("status", "OK")] == 6
    assert found["fbamatte_frames_total", ("status", "NOT_FOUND")] == 1
    for stage in ("receiving", "queued", "decoding", "estimating", "finishing", "encoding", "sending"):
        assert found["fbamatte_stage_seconds_count", ("stage", stage)] == 6, stage
        assert found["fbamatte_stage_seconds_sum", ("stage", stage)] > 0, stage
    assert found["fbamatte_model_events_total", ("event", "load"), ("model", "testing-large-64")] == 1
    assert found["fbamatte_model_bytes", ("device", "cpu")] == 64 * 2**20
    assert found["fbamatte_device_memory_bytes", ("device", "cpu"), ("kind", "used")] > 2**20
    assert found["fbamatte_serving",] == 1


@pytest.mark.skipif(heap.allocated() is None, reason="this C library does not say what it has given out")
def test_the_heap_is_what_is_allocated_not_what_was(server):
    before = samples(server)["fbamatte_heap_bytes",]
    held = ctypes.create_string_buffer(1 << 26)
    assert samples(server)["fbamatte_heap_bytes",] - before > 0.9 * len(held)
    del held
    assert samples(server)["fbamatte_heap_bytes",] - before < 1 << 25


def test_queue_and_running_frames_are_shown_while_they_last(server):
    with raw(server.addresses[0]) as stream:
        for number in range(8):
            stream.send(*messages(frame(number), model="testing-sleep-4"))
        wait_until(lambda: samples(server)["fbamatte_running_frames", ("device", "cpu")] == 4)
        # Those that came first run while the others are still on their way.
        wait_until(lambda: samples(server)["fbamatte_queued_frames", ("device", "cpu"), ("priority", "batch")] >= 2)
        found = samples(server)
        assert found["fbamatte_streams_open",] == 1
        assert found["fbamatte_reserved_bytes", ("kind", "work")] > 0
    wait_until(lambda: samples(server)["fbamatte_reserved_bytes", ("kind", "work")] == 0)


def test_the_page_gets_the_last_frames_with_pictures(server, monkeypatch):
    monkeypatch.setattr(observer, "PICTURE_SECONDS", 0.0)
    with Client(server.addresses[0]) as client:
        list(client.matte([frame(n, name=f"plate.{n}.exr") for n in range(1001, 1006)]))
    wait_until(lambda: json.loads(get(server, "/status.json"))["recent"][0]["label"].startswith("plate.10"))
    status = json.loads(get(server, "/status.json"))
    assert len(status["recent"]) == 3
    assert status["recent"][0]["label"].startswith("plate.10")
    picture = get(server, status["recent"][0]["picture"])
    assert picture[:3] == b"\xff\xd8\xff"
    assert status["devices"][0]["models"]
    with pytest.raises(urllib.error.HTTPError):
        get(server, "/thumbnails/1.jpg")


def test_the_log_is_json_with_the_callers_frame_id():
    with running_server("--log-format=json") as server:
        with raw(server.address) as stream:
            stream.send(*messages(frame(1001, name="plate.1001.exr"), frame_id="job-7-frame-1001"))
            stream.send(*messages(frame(2), model="none", frame_id="job-7-frame-2"))
            stream.answers(2)
        wait_until(lambda: "job-7-frame-2" in server.log.read_text() and "job-7-frame-1001" in server.log.read_text())
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    done = next(line for line in lines if line.get("frame_id") == "job-7-frame-1001")
    assert (done["event"], done["code"], done["model"], done["device"]) == ("frame", "OK", "testing-null", "cpu")
    assert done["frame"] == "plate.1001.exr, frame 1001"
    assert done["estimating_s"] >= 0
    assert done["timestamp"].endswith("Z")
    refused = next(line for line in lines if line.get("frame_id") == "job-7-frame-2")
    assert (refused["event"], refused["code"], refused["level"]) == ("frame refused", "NOT_FOUND", "warning")


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A real OTLP collector as far as spans go."""

    def __init__(self):
        self.spans, self.names = [], set()
        self.arrived = threading.Event()

    def Export(self, request, context):  # noqa: N802 - the wire's name
        for resource in request.resource_spans:
            self.names |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
            for scope in resource.scope_spans:
                self.spans += scope.spans
        self.arrived.set()
        return trace_service_pb2.ExportTraceServiceResponse()


def test_spans_reach_a_collector_under_the_callers_trace(monkeypatch):
    collector = Collector()
    receiver = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, receiver)
    port = receiver.add_insecure_port("127.0.0.1:0")
    receiver.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    try:
        with serve_in_process(models=("testing-null",)) as server, raw(server.addresses[0]) as stream:
            stream.send(*messages(frame(1), traceparent=f"00-{trace}-{parent}-01", frame_id="f1"))
            stream.send(*messages(frame(2), model="testing-null", timeout_ms=1))
            stream.answers(2)
        assert collector.arrived.wait(60)
    finally:
        receiver.stop(0)
    assert collector.names == {"fbamatte"}
    ours = [span for span in collector.spans if span.trace_id.hex() == trace]
    (top,) = [span for span in ours if span.name == "matte"]
    assert top.parent_span_id.hex() == parent
    assert {a.key: a.value.string_value for a in top.attributes}["fbamatte.frame_id"] == "f1"
    children = {span.name: span for span in ours if span.parent_span_id == top.span_id}
    assert {"queued", "decoding", "estimating", "encoding"} <= set(children)
    for child in children.values():
        assert top.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
        assert child.end_time_unix_nano <= top.end_time_unix_nano


def test_no_tracer_without_the_environments_wish(monkeypatch):
    from fbamatte.serving import tracing

    assert tracing.from_environment({}) is None
    assert tracing.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}) is None
    assert tracing.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}) is None


@pytest.mark.parametrize("name", ["json", "text"])
def test_what_libraries_log_comes_in_the_same_form(name, capfd):
    import io
    import logging

    from fbamatte.serving import log

    target = io.StringIO()
    try:
        log.configure(name, "info", target)
        logging.getLogger("grpc._server").error("broken %s", "pipe")
        structlog.get_logger().debug("too quiet")
        try:
            raise ValueError("why")
        except ValueError as error:
            structlog.get_logger().error("unexpected", exc_info=error)
    finally:
        structlog.reset_defaults()
        logging.root.handlers.clear()
    text = target.getvalue()
    assert "broken pipe" in text
    assert "too quiet" not in text
    assert "ValueError: why" in text
    if name == "json":
        assert [json.loads(line)["event"] for line in text.splitlines()] == ["broken pipe", "unexpected"]
