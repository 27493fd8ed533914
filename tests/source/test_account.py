"""What signing in says: a token and tenants, or that more than a password is demanded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.rig import Rig, open_rig

from voxofs.config.secrets import Secret
from voxofs.errors import AccessDenied, BadAnswer
from voxofs.source.account import SecondFactor, account_of, tenants_of

ORIGIN = "https://api.voxo.co"
TOKEN = "tok-4b1d-secret"


def told(answer: Any) -> bytes:
    return json.dumps(answer).encode()


@pytest.mark.parametrize(
    ("user", "tenants"),
    [
        ({"tenantId": 37, "tenantIds": [37, 432]}, (37, 432)),
        ({"tenantId": 432, "tenantIds": [37, 432]}, (432, 37)),
        ({"tenantId": 37}, (37,)),
        ({"tenantId": None, "tenantIds": None}, ()),
        ({"tenantId": True, "tenantIds": ["37", 0, -1, 1.5, 2**60, {}, 9]}, (9,)),
        ({"tenantIds": {"37": 1}}, ()),
        (None, ()),
        ([], ()),
    ],
)
def test_tenants_of_a_user(user: Any, tenants: tuple[int, ...]) -> None:
    account = account_of(told({"accessToken": TOKEN, "user": user}), ORIGIN)
    assert (account.token.reveal(), account.tenants) == (TOKEN, tenants)
    assert TOKEN not in repr(account)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"null", b"[" * 100_000, told({"user": 7})])
def test_answers_that_tell_of_nobody(body: bytes) -> None:
    assert tenants_of(body) == ()
    with pytest.raises(BadAnswer, match="without a usable 'accessToken'"):
        account_of(body, ORIGIN)


def test_a_token_that_cannot_be_sent() -> None:
    with pytest.raises(BadAnswer, match="cannot be sent"):
        account_of(told({"accessToken": "two words"}), ORIGIN)


def test_a_second_factor_is_not_a_bad_answer() -> None:
    with pytest.raises(
        SecondFactor, match=r"second factor .* cannot work unattended; use an access token"
    ) as caught:
        account_of(told({"mode": "totp", "mfaVerifyToken": TOKEN}), ORIGIN)
    assert TOKEN not in str(caught.value)
    assert isinstance(caught.value, AccessDenied)


async def test_an_account_and_its_token_at_the_service(rig: Rig) -> None:
    source, sim = rig.core.source, rig.sim
    account = await source.account(sim.email, Secret(sim.password))
    assert account.tenants == tuple(sim.world.tenants)
    assert await source.tenants_of(account.token) == account.tenants
    [number] = account.tenants
    assert await source.tenant_folder(number) == ("Office", "office")
    sim.tells_tenants = False
    assert await source.tenants_of(account.token) == ()
    sim.second_factor = True
    with pytest.raises(SecondFactor):
        await source.account(sim.email, Secret(sim.password))


@pytest.mark.parametrize("tells", [True, False])
async def test_a_token_that_is_refused(tells: bool) -> None:
    async with open_rig(sections={"api": {"token": Secret(TOKEN)}}) as rig:
        rig.sim.tells_tenants = tells
        with pytest.raises(AccessDenied) as caught:
            await rig.core.source.tenants_of(Secret(TOKEN))
    assert caught.value.status == 401
    assert TOKEN not in str(caught.value)
