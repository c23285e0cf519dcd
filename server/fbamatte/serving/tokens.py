"""Tokens that callers show: several, named, with an expiry, reloaded when their file changes.

One a line, ``#`` starts a comment::

    3f6c…                                   a token
    lighting 9ab1…                          a name for the log, and a token
    contractor 77d0… 2027-01-31T18:00:00Z   and when it ends

Only digests are kept, so that no token can slip into a log, and each comparison takes the same time.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from fbamatte.errors import AuthenticationError, UsageError

# Clocks of two machines may differ by so much without a token ending early.
SKEW_SECONDS = 300.0
# Shorter ones can be guessed.
SHORT = 16
_RELOAD_SECONDS = 1.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Token:
    """What is known about a token: everything but the token."""

    name: str
    digest: bytes
    expires: float | None

    def valid(self, now: float) -> bool:
        """Return whether it has not ended yet."""
        return self.expires is None or now < self.expires + SKEW_SECONDS


def parse(text: str, source: str) -> tuple[Token, ...]:
    """Return the tokens of a file.

    Raises
    ------
    UsageError
        If a line cannot be read; the message names the line's number, never its text.
    """
    tokens = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) > 3:
            raise UsageError(f"{source}, line {number}: {len(words)} words, needed [name] token [expiry]")
        name = words[0] if len(words) > 1 else f"line {number}"
        secret = words[1] if len(words) > 1 else words[0]
        if len(secret) < SHORT:
            _log.warning("short token", file=source, line=number, characters=len(secret), better_at_least=SHORT)
        expires = _expiry(words[2], f"{source}, line {number}") if len(words) == 3 else None
        tokens.append(Token(name, _digest(secret), expires))
    return tuple(tokens)


class TokenFile:
    """The tokens of a file, as it is now.

    Parameters
    ----------
    path : Path
        Looked at again at most once a second when a token is checked. A file that cannot be read any more
        leaves the last tokens in force and an error in the log; an empty one lets nobody in.

    Raises
    ------
    UsageError
        If the file cannot be read at first, or holds no token.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._looked = 0.0
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()
        try:
            self._load()
        except OSError as error:
            raise UsageError(f"{path}: token file cannot be read: {error.strerror}") from None
        if not self._tokens:
            raise UsageError(f"{path}: token file holds no token")
        if path.stat().st_mode & 0o077:
            _log.warning("token file is readable by others", file=str(path), better="chmod 600")

    def identify(self, secret: str) -> str:
        """Return the name of the token that a caller shows.

        Raises
        ------
        AuthenticationError
            If it is none of these, or ended.
        """
        self._refresh()
        shown = _digest(secret)
        # No early exit: how long it takes says nothing about which one matched.
        matches = [token for token in self._tokens if hmac.compare_digest(token.digest, shown)]
        if not secret or not matches:
            raise AuthenticationError("the token is missing or wrong; set FBAMATTE_TOKEN to one of the server's tokens")
        if not any(token.valid(time.time()) for token in matches):
            raise AuthenticationError(f"the token {matches[0].name!r} has expired")
        return matches[0].name

    def reload(self) -> None:
        """Read the file again now."""
        with self._lock:
            self._reload()

    def _refresh(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= _RELOAD_SECONDS:
                self._looked = now
                self._reload()

    def _reload(self) -> None:
        try:
            if self._stamp_now() != self._stamp:
                self._load()
                _log.info("tokens reloaded", file=str(self._path), tokens=len(self._tokens))
        except (OSError, UsageError) as error:
            _log.error("tokens not reloaded, the old ones hold", file=str(self._path), reason=str(error))

    def _load(self) -> None:
        stamp = self._stamp_now()
        self._tokens = parse(self._path.read_text(), str(self._path))
        self._stamp = stamp

    def _stamp_now(self) -> tuple[int, int, int]:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _expiry(text: str, where: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"{where}: the expiry is no date such as 2027-01-31T18:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp()
