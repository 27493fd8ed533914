"""The bearer token: where it comes from, and how it is renewed once for all who need it.

A token is a JWT that goes bad in the middle of a long-lived mount. Whoever meets a 401 calls `renew` with
the token that failed; the first reads the file again or signs in, the others wait for that and find a new
token. The token is kept here and handed to the API module alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from .clock import Clock
from .config import Api, Secret, read_secret_file
from .errors import AccessDenied, ConfigError
from .secret import redact

_SIGN_IN_PAUSE_S = 30.0
"""A refused sign-in is not repeated sooner: accounts get locked."""

_SENT_KEPT = 8

SignIn = Callable[[str, str], Awaitable[str]]


class Credentials:
    """The token to send now. `sign_in` takes e-mail and password and gives a token."""

    def __init__(self, config: Api, sign_in: SignIn, clock: Clock) -> None:
        self._config = config
        self._sign_in = sign_in
        self._clock = clock
        self._token: Secret | None = config.token
        self._sent: deque[Secret] = deque([config.token] if config.token else [], maxlen=_SENT_KEPT)
        self._lock = trio.Lock()
        self._refused: AccessDenied | None = None
        self._refused_at_s = float("-inf")

    async def token(self) -> str:
        """The token as far as it is known. Raises `AccessDenied` where none can be had."""
        if self._token is None:
            await self.renew(None)
        assert self._token is not None
        return self._token.reveal()

    async def renew(self, failed: str | None) -> None:
        """Have a token other than the one that failed. Raises `AccessDenied` with what to do about it."""
        async with self._lock:
            if self._token is not None and self._token.reveal() != failed:
                return
            config = self._config
            if config.token_file is not None:
                fresh = await self._read(config.token_file)
                if fresh == failed:
                    raise AccessDenied(
                        f"the API refuses the token in {config.token_file} (401): put a fresh one "
                        "into that file; it is read again at the next access",
                        status=401,
                    )
            elif config.email is not None and config.password_file is not None:
                fresh = await self._sign_in_once(config.email, config.password_file)
            else:
                raise AccessDenied(
                    "the API refuses the configured token (401): configure a fresh one and mount again, "
                    "or use [api] token_file, which is read again by itself",
                    status=401,
                )
            self._token = self._keep_secret(fresh)

    def forget(self) -> None:
        """Read file and password again at the next request (SIGHUP)."""
        if self._config.token is None:
            self._token = None
        self._refused = None

    def redact(self, text: str) -> str:
        """The text without anything that was ever sent as a secret, should some answer repeat it."""
        for secret in self._sent:
            text = text.replace(secret.reveal(), "********")
        return redact(text)

    def _keep_secret(self, value: str) -> Secret:
        """Remember what is about to be sent, to recognise it when it comes back."""
        secret = Secret(value)
        self._sent.append(secret)
        return secret

    async def _sign_in_once(self, email: str, password_file: Path) -> str:
        if self._refused is not None and self._clock.monotonic_s() - self._refused_at_s < _SIGN_IN_PAUSE_S:
            raise AccessDenied(str(self._refused), status=self._refused.status)
        password = await self._read(password_file)
        self._keep_secret(password)
        self._keep_secret(email)
        try:
            token = await self._sign_in(email, password)
        except AccessDenied as error:
            self._refused, self._refused_at_s = error, self._clock.monotonic_s()
            raise
        self._refused = None
        return token

    @staticmethod
    async def _read(path: Path) -> str:
        try:
            return await trio.to_thread.run_sync(partial(read_secret_file, path))
        except ConfigError as error:
            raise AccessDenied(str(error)) from None
