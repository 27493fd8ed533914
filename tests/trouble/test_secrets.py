"""Secrets stay where they belong: through faults of every kind, in whatever voxofs writes or shows.

A real daemon on a real mount with debug logging, once with a token, once with an account; and the core, for
the answers that repeat a secret to whoever asks.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from harness.fronts import MountFront, cat, mount_front, settle
from harness.mounts import ROOT
from harness.rig import open_rig
from harness.world import noise, tenant
from trials.secrets import every_xattr, found_in, process_texts

from voxofs.errors import VoxofsError
from voxofs.simulator.faults import Fault

PASSWORD = "Tr0ub4dor&3-Hunter2-Klavier"
HOUR = ("office", "2024", "03", "05", "10")

FAULTS = (
    Fault("status", {"route": "link"}, status=401),
    Fault("status", {"route": "link"}, status=400),
    Fault("status", {"route": "reports"}, times=3, status=502, body="html"),
    Fault("status", {"route": "audio"}, times=None, status=403),
    Fault("status", {"route": "audio"}, status=404),
    Fault("status", {"route": "audio"}, times=None, status=400),
    Fault("expired", {"route": "link"}, times=None),
    Fault("expired", {"route": "audio"}, times=None),
    Fault("reset_before", {"route": "audio"}, times=None),
    Fault("reset_body", {"route": "audio"}, after_bytes=10),
    Fault("truncate", {"route": "link"}),
    Fault("stall", {"route": "audio"}, times=None),
    Fault("garbage_json", {"route": "link"}),
    Fault("garbage_json", {"route": "reports"}),
)


@pytest.mark.parametrize(("given", "signature"), [("token", "v2"), ("account", "v4")])
async def test_a_daemon_in_trouble_tells_no_secret(given: str, signature: str, tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    password_file.chmod(0o600)
    account = {"email": "demo@example.com", "password_file": str(password_file)}
    address = f"127.0.0.1:{_free_port()}"
    sections: dict[str, dict[str, Any]] = {
        "api": account if given == "account" else {},
        "mount": {"deadline_s": 1.0},
        "log": {"level": "debug"},
        "metrics": {"listen": address},
    }
    starts = [f"2023-{month:02}-03 10:00:00" for month in range(1, 13)] + [
        f"2024-0{n}-03 10:00:00" for n in range(1, 4)
    ]
    calls: dict[tuple[str, str], bytes | None] = {
        (f"call-{start[:7]}", start): noise(start, 70_000) for start in starts
    }
    paths = [f"/office/{start[:4]}/{start[5:7]}/03/10/call-{start[:7]}.mp3" for start in starts]
    async with mount_front(
        [tenant(calls)], sections=sections, password=PASSWORD, signature=signature
    ) as front:
        assert isinstance(front, MountFront)
        texts = []
        for path, fault in zip(paths, FAULTS, strict=False):
            front.sim.add_fault(fault)
            for work in (front.listdir(path.rsplit("/", 1)[0]), cat(front, path)):
                try:
                    await work
                except OSError as error:
                    texts.append(str(error))
            front.sim.faults.clear()
        assert texts, "nothing failed: nothing was tried"
        tokens = [each.decode().removeprefix("Bearer ") for each in front.sim.tokens._expires_s]
        front.sim.rotate_token()  # the last one is about a token that is no longer good
        with suppress(OSError):
            await cat(front, paths[-1])
        await settle(front)
        texts.append(
            await every_xattr(front, ["/office", *paths, *(path.rsplit("/", 1)[0] for path in paths)])
        )
        texts.append(await trio.to_thread.run_sync(Path(front.daemon.path("/.voxofs/status")).read_text))
        texts.append(await trio.to_thread.run_sync(partial(_get, f"http://{address}/metrics")))
        texts.append(await trio.to_thread.run_sync(partial(_stats, front.daemon.path(""))))
        texts.append(await trio.to_thread.run_sync(process_texts, front.daemon.process.pid))
        texts.append(await trio.to_thread.run_sync(front.daemon.said))
        assert "failed" in texts[-1], "the log has told of the failures"
        assert json.loads(texts[-5])["last_errors"]
        assert found_in("\n".join(texts), [*tokens, front.sim.token, PASSWORD]) == []
        assert front.sim.log.leaked_authorization == 0


@pytest.mark.parametrize("route", ["reports", "link"])
async def test_an_answer_that_repeats_the_secrets_is_not_passed_on(
    route: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At every place in a long message: where it is cut must not hide a secret from the redaction."""
    caplog.set_level(logging.DEBUG)
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    password_file.chmod(0o600)
    sections = {"api": {"email": "demo@example.com", "password_file": password_file}}
    async with open_rig(sections=sections, password=PASSWORD) as rig:
        listing = await rig.core.fs.listing(HOUR)
        *_, token = [each.decode().removeprefix("Bearer ") for each in rig.sim.tokens._expires_s]
        texts = []
        for padding in (0, 20, 120, 160, 190):
            for secret in (
                f"Bearer {token}",
                PASSWORD,
                "https://s3/x?AWSAccessKeyId=AK1&Signature=abc%2Fdef&Expires=1",
            ):
                rig.core.catalog.drop_live()
                message = json.dumps({"message": "x" * padding + " " + secret})
                rig.sim.add_fault(Fault("status", {"route": route}, status=400, body=message))
                day = f"{1 + padding // 10:02}"
                path = (*HOUR[:3], day) if route == "reports" else (*HOUR, listing.entry(padding % 12)[0])
                with suppress(VoxofsError):
                    await rig.core.fs.lookup((*path, "10") if route == "reports" else path)
                texts += [
                    str(rig.core.health.failure_at("/office")),
                    await rig.core.fs.xattr(path[:4], "user.voxofs.error") or "",
                ]
                rig.sim.faults.clear()
        texts += [record.getMessage() for record in caplog.records]
        assert any("400" in text for text in texts), "the answers were seen"
        assert found_in("\n".join(texts), [token, PASSWORD]) == []


async def test_a_refused_sign_in_repeats_neither_password_nor_email(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, no_waits: None
) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    password_file.chmod(0o600)
    api = {"email": "demo@example.com", "password_file": password_file}
    # Which bounds the grace of what is refused, too.
    sections: dict[str, dict[str, Any]] = {"api": api, "mount": {"deadline_s": 2.0}}
    for status in (400, 401, 403, 500):
        async with open_rig(sections=sections, password=PASSWORD) as rig:
            body = json.dumps({"message": f"no user with password {PASSWORD}"})
            rig.sim.add_fault(Fault("status", {"route": "auth"}, times=None, status=status, body=body))
            with pytest.raises(VoxofsError, match=str(status)) as refused:
                await rig.core.fs.listing(HOUR)
            said = [str(refused.value), repr(refused.value), str(rig.core.health.recent), caplog.text]
            assert found_in("\n".join(said), [PASSWORD]) == []


async def test_an_unreachable_storage_is_named_without_its_link(
    caplog: pytest.LogCaptureFixture, no_waits: None
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_rig() as rig:
        await rig.sim.refuse(storage=True)
        listing = await rig.core.fs.listing(HOUR)
        with pytest.raises(VoxofsError, match="cannot connect") as failed:
            await rig.core.fs.lookup((*HOUR, listing.entry(0)[0]))
        said = [str(failed.value), str(rig.core.health.recent), caplog.text]
        assert found_in("\n".join(said), [rig.sim.token]) == []
        assert "refused" in str(failed.value), "the cause is told"


def test_the_search_finds_what_it_looks_for() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
    assert found_in(f"Bearer {token}", [token])
    assert found_in(f"cut off: {token[:40]}", [token])
    assert found_in("GET /x?Signature=abc", [])
    assert found_in("GET /x?X-Amz-Signature=abc", [])
    assert not found_in("all is well", [token])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def _stats(mountpoint: str) -> str:
    command = [sys.executable, "-m", "voxofs", "stats", mountpoint]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout + done.stderr
