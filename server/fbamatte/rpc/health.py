"""``grpc.health.v1`` by hand: two messages of one field each, so that no further package is needed."""

from __future__ import annotations

from typing import Any

UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)
CHECK = "/grpc.health.v1.Health/Check"


def request(service: str) -> bytes:
    """Return a HealthCheckRequest: field 1, text."""
    name = service.encode()
    return bytes((0x0A, len(name))) + name if name else b""


def status(response: bytes) -> int:
    """Return what a HealthCheckResponse says: field 1, an enum; left out where it is UNKNOWN."""
    if len(response) >= 2 and response[0] == 0x08:
        return response[1]
    return UNKNOWN


def check_method(channel: Any) -> Any:
    """Return the multi-callable of Check, from a service's name to one of the numbers above."""
    return channel.unary_unary(CHECK, request_serializer=request, response_deserializer=status)
