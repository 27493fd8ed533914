"""The access tokens that the vendor has handed out."""

from __future__ import annotations

import base64
import secrets

import msgspec


class Tokens:
    """Tokens by the Authorization header that carries them, each with the epoch second of its end."""

    def __init__(self) -> None:
        self._expires_s: dict[bytes, float] = {}

    def issue(self, now_s: float, lifetime_s: float) -> str:
        """A fresh token in the form of a JWT; it is not signed with anything."""
        parts = (
            {"alg": "HS256", "typ": "access"},
            {"iat": int(now_s), "exp": int(now_s + lifetime_s), "sub": "7"},
        )
        words = [base64.urlsafe_b64encode(msgspec.json.encode(part)).rstrip(b"=").decode() for part in parts]
        # 32 bytes, the length of an HS256 signature (RFC 7518, 3.2).
        token = f"{words[0]}.{words[1]}.{secrets.token_urlsafe(32)}"
        self._expires_s[b"Bearer " + token.encode()] = now_s + lifetime_s
        return token

    def holds(self, token: object, now_s: float) -> bool:
        """Whether that token, without the header around it, is good now."""
        return isinstance(token, str) and self.check(b"Bearer " + token.encode("utf-8", "replace"), now_s)

    def revoke_all(self) -> None:
        """Every token handed out so far answers 401 from now on."""
        self._expires_s.clear()

    def check(self, authorization: bytes | None, now_s: float) -> bool:
        """Whether that header opens the API now."""
        return authorization is not None and self._expires_s.get(authorization, 0.0) > now_s
