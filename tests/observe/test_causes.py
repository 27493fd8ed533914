"""Many failures with one cause are one trouble."""

from __future__ import annotations

from harness.rig import Hands

from voxofs.errors import Unavailable
from voxofs.observe.health import Health


def test_recordings_that_fail_alike_are_one_cause() -> None:
    health = Health(Hands().clock())
    for number in range(30):
        path = f"/acme/2024/03/05/10/call-{number}.mp3"
        health.failed(path, "look-up", Unavailable(f"503 for the link of call-{number}", status=503))
    health.failed("/acme/2024/03/05", "listing", Unavailable("cannot connect"))
    health.failed("/demo/2024/03/05", "listing", Unavailable("cannot connect"))
    assert [(failure.path, times) for failure, times in health.recent] == [
        ("/acme/2024/03/05/10/call-29.mp3", 30),
        ("/acme/2024/03/05", 1),
        ("/demo/2024/03/05", 1),
    ]


def test_causes_are_bounded_and_the_newest_is_last() -> None:
    health = Health(Hands().clock())
    for number in range(50):
        health.failed("/acme/2024", "listing", Unavailable(f"trouble {number}"))
    health.failed("/acme/2024", "listing", Unavailable("trouble 40"))
    assert len(health.recent) == 20
    assert [(failure.message, times) for failure, times in health.recent][-1] == ("trouble 40", 2)
