"""What the API's small answers say: a field, the vendor's own words, and who has signed in.

The answer to a sign-in is read here for both who need it: a mount wants the token, `voxofs setup` the
tenants, too. Organisations may demand a second factor: then the answer has no token but another one, to go on
with by hand, and no mount can sign in by password (public client code, `mfaVerifyToken`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from voxofs.config.secrets import Secret
from voxofs.config.secrets import token as token_of
from voxofs.errors import AccessDenied, BadAnswer

_MOST_ID = 2**53  # every whole number up to here survives JSON (RFC 8259, 6)


class Account(NamedTuple):
    """Who has signed in."""

    token: Secret
    tenants: tuple[int, ...]
    """The numbers of the tenants that it may see, its own first; none where the service does not tell."""


class SecondFactor(AccessDenied):
    """The password was right and is not enough."""


def account_of(body: bytes | bytearray, origin: str) -> Account:
    """The answer to a sign-in. Raises `SecondFactor`, `BadAnswer`."""
    told = _table(body)
    if told.get("mfaVerifyToken") and not told.get("accessToken"):
        raise SecondFactor(
            f"{origin} demands a second factor of this account: signing in by password cannot work "
            "unattended; use an access token ([api] token_file)",
            status=403,
        )
    try:
        return Account(Secret(token_of(field(body, "accessToken", origin))), tenants_of(body))
    except ValueError:
        raise BadAnswer(f"{origin} gave a token that cannot be sent: tell the vendor") from None


def tenants_of(body: bytes | bytearray) -> tuple[int, ...]:
    """The tenants that the user in an answer belongs to, the user's own first; none where there is no word of
    any."""
    told = _table(body)
    user = told["user"] if isinstance(told.get("user"), dict) else told
    listed = user.get("tenantIds")
    numbers = [user.get("tenantId"), *(listed if isinstance(listed, list) else [])]
    return tuple(
        dict.fromkeys(number for number in numbers if type(number) is int and 1 <= number <= _MOST_ID)
    )


def field(body: bytes | bytearray, name: str, origin: str) -> str:
    """A text that must be there. Raises `BadAnswer`."""
    value = named(body, name)
    if not value:
        raise BadAnswer(f"{origin} answered without a usable {name!r}: check [api] base_url and any proxy")
    return value


def message(body: bytes | bytearray) -> str:
    """The vendor's own words, where the body holds any. They may repeat what was sent."""
    return named(body, "message")


def named(body: bytes | bytearray, name: str) -> str:
    """A text that may be there; "" where it is not."""
    value = _table(body).get(name)
    return value if isinstance(value, str) else ""


def _table(body: bytes | bytearray) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
