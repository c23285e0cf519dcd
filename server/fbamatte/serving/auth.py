"""Who calls: every method but health demands a token where the server has tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import structlog

from fbamatte.errors import AuthenticationError
from fbamatte.serving.tokens import TokenFile

# Load balancers ask for health without a token; it tells them nothing but yes or no.
_OPEN = "/grpc.health.v1.Health/"
_SCHEME = "bearer "
_log = structlog.get_logger(__name__)


class TokenGate(grpc.ServerInterceptor):  # type: ignore[misc]  # grpcio ships no types
    """Refuses calls that show none of the tokens, before anything of them is read."""

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Pass a call on, or answer it with UNAUTHENTICATED."""
        if details.method.startswith(_OPEN):
            return continuation(details)
        try:
            self._tokens.identify(shown_token(details.invocation_metadata))
        except AuthenticationError as error:
            _log.warning("call refused", method=details.method, reason=str(error))
            return _refusal(continuation(details), str(error))
        return continuation(details)


def shown_token(metadata: Any) -> str:
    """Return the bearer token of a call's metadata; empty where there is none."""
    for key, value in metadata or ():
        if key == "authorization" and isinstance(value, str) and value.lower().startswith(_SCHEME):
            return value[len(_SCHEME) :].strip()
    return ""


def caller_of(context: Any, tokens: TokenFile | None) -> tuple[str, str]:
    """Return who calls and from which connection.

    The first is the name of a token or the common name of a client certificate, empty where the server
    asks for neither. Both together take turns in the queue.
    """
    peer = str(context.peer())
    if tokens is not None:
        return tokens.identify(shown_token(context.invocation_metadata())), peer
    names = context.auth_context().get("x509_common_name", [])
    return (names[0].decode(errors="replace") if names else ""), peer


def _refusal(handler: Any, message: str) -> Any:
    """Return a handler of the same form that only says no; a wrong form would be answered with UNKNOWN."""

    def refuse(_request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, message)

    if handler is not None and handler.response_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
    else:
        make = grpc.unary_unary_rpc_method_handler
    return make(refuse)
