"""The bearer token: where it comes from, and how it is renewed once for all who need it.

A token is a JWT that goes bad in the middle of a long-lived mount. Whoever meets a 401 calls `renew` with
the token that failed; the first reads the file again or signs in, the others wait for that and find a new
token. The token is kept here and handed to the API module alone.

Who rotates a token revokes the old one first and writes the new one down some seconds later. So a file that
still holds what was refused is watched for a while before anybody is told. Each refused secret is waited for
once and by all together: a token that is bad for good costs that time once, and not for every file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from voxofs.clock import Clock
from voxofs.config.secrets import Secret, read_secret_file, read_token_file, redact
from voxofs.config.sections import ApiSection
from voxofs.errors import AccessDenied, ConfigError

_SIGN_IN_PAUSE_S = 30.0
"""A refused password is not sent again sooner: accounts get locked."""
_SENT_KEPT = 8  # of what was sent last: a token and its successor, twice signing in; a rule of thumb
_MOST_GRACE_S = 15.0
"""How long a refused secret's file is watched. A rule of thumb: who signs in and writes it down needs
less."""
_LOOK_EVERY_S = 0.25
"""How often. A read of a small file in a thread costs 0.2 ms."""

SignIn = Callable[[str, str], Awaitable[str]]
Read = Callable[[Path], str]


class Credentials:
    """The token to send now. `sign_in` takes e-mail and password and gives a token. `grace_s`: how long a
    refused secret's file is watched at most, which must leave time within the deadlines of those who wait."""

    def __init__(self, config: ApiSection, sign_in: SignIn, clock: Clock, *, grace_s: float) -> None:
        self._config = config
        self._sign_in = sign_in
        self._clock = clock
        self._grace_s = min(_MOST_GRACE_S, grace_s)
        self._token: Secret | None = config.token
        self._sent: deque[Secret] = deque([config.token] if config.token else [], maxlen=_SENT_KEPT)
        self._lock = trio.Lock()
        self._left_s: OrderedDict[Secret, float] = OrderedDict()
        """What is left of the grace of secrets that were refused."""
        self._refused: tuple[Secret, AccessDenied] | None = None
        """The password that was refused last, and with what."""
        self._refused_at_s = float("-inf")

    @property
    def at_hand(self) -> str | None:
        """The token, where one is known."""
        return None if self._token is None else self._token.reveal()

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
                fresh = await self._other_than(failed, config.token_file, read_token_file)
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
            self._token = self.keep_secret(fresh)

    def forget(self) -> None:
        """Read file and password again at the next request (SIGHUP)."""
        if self._config.token is None:
            self._token = None
        self._refused = None
        self._left_s.clear()

    @property
    def refusal(self) -> AccessDenied | None:
        """With what the last sign-in was refused; None where it was not."""
        return None if self._refused is None else self._refused[1]

    def redact(self, text: str) -> str:
        """The text without anything that was ever sent as a secret, should some answer repeat it."""
        for secret in self._sent:
            text = text.replace(secret.reveal(), "********")
        return redact(text)

    def keep_secret(self, value: str) -> Secret:
        """Remember what is about to be sent, to recognise it when it comes back."""
        secret = Secret(value)
        self._sent.append(secret)
        return secret

    async def _sign_in_once(self, email: str, password_file: Path) -> str:
        refused = self._refused
        password = await self._other_than(
            None if refused is None else refused[0].reveal(), password_file, read_secret_file
        )
        if refused is not None and refused[0].reveal() == password and self._rests():
            raise AccessDenied(str(refused[1]), status=refused[1].status)
        secret = self.keep_secret(password)
        self.keep_secret(email)
        try:
            token = await self._sign_in(email, password)
        except AccessDenied as error:
            self._refused, self._refused_at_s = (secret, error), self._clock.monotonic_s()
            if await self._other_than(password, password_file, read_secret_file) != password:
                return await self._sign_in_once(email, password_file)
            raise
        self._refused = None
        return token

    def _rests(self) -> bool:
        return self._clock.monotonic_s() - self._refused_at_s < _SIGN_IN_PAUSE_S

    async def _other_than(self, refused: str | None, path: Path, read: Read) -> str:
        """What the file holds, which is watched while that is what was refused and its grace lasts. Somebody
        may be writing it: until then it may also be missing, empty, or half there. Raises `AccessDenied`."""
        while True:
            fault: ConfigError | None = None
            found = refused
            try:
                found = await trio.to_thread.run_sync(partial(read, path))
            except ConfigError as error:
                fault = error
            if fault is None and found is not None and found != refused:
                return found
            if not await self._patience(refused):
                break
        if fault is not None or found is None:
            # Not "…/token: …", of which redaction would strike out the word that tells the fault.
            raise AccessDenied(str(fault).replace(f"{path}: ", f"{path} cannot be used: ", 1)) from None
        return found

    async def _patience(self, refused: str | None) -> bool:
        """Wait a moment out of what is left of a refused secret's grace; False where nothing is."""
        if refused is None:
            return False
        key = Secret(refused)
        left_s = self._left_s.setdefault(key, self._grace_s)
        while len(self._left_s) > _SENT_KEPT:
            self._left_s.popitem(last=False)
        if left_s <= 0:
            return False
        pause_s = min(_LOOK_EVERY_S, left_s)
        self._left_s[key] = left_s - pause_s  # first: whoever leaves meanwhile has used it up all the same
        await trio.sleep(pause_s)
        return True
