"""A mount that is asked for twice, changed, refused by the service, or made where /etc/mtab is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.mounts import ROOT, mounted
from harness.rig import PATIENCE_S
from harness.vendors import Vendor

from voxofs.daemon import mount_table as mounts

pytestmark = pytest.mark.mounts

Run = Callable[..., subprocess.CompletedProcess[str]]
_HELPER = "import sys; from voxofs.cli.main import mount_helper_main; sys.exit(mount_helper_main())"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; nothing stays mounted there."""
    made = tmp_path / "calls"
    made.mkdir()
    yield made
    while mounts.entry_at(str(made)) is not None:
        mounts.unmount(str(made), lazy=True)


@pytest.fixture
def config(tmp_path: Path, sold: Vendor) -> Path:
    """A configuration file with two tenants, one of which the service does not have."""
    (tmp_path / "token").write_text(sold.sim.token)
    (tmp_path / "token").chmod(0o600)
    path = tmp_path / "voxofs.toml"
    path.write_text(
        f'[api]\nbase_url = "{sold.sim.api_url}"\ntoken_file = "token"\n[log]\nfile = "log"\n'
        "[tenants.office]\nid = 9\nsince = 2023-01-01\n[tenants.branch]\nid = 10\nsince = 2023-01-01\n"
    )
    return path


@pytest.fixture
def helper() -> Run:
    """Runs mount.voxofs as mount(8) does."""
    return lambda *words: _run([sys.executable, "-c", _HELPER, *words])


def voxofs(*words: str) -> subprocess.CompletedProcess[str]:
    return _run([sys.executable, "-m", "voxofs", *words])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_an_equal_mount_is_success_and_another_is_not(helper: Run, config: Path, folder: Path) -> None:
    source, where = str(config), str(folder)
    for _ in range(2):
        done = helper(source, where, "-o", "rw,nofail")
        assert (done.returncode, done.stderr) == (0, "")
    [entry] = [each for each in mounts.entries() if each.mountpoint == where]
    assert entry.source == source

    other = helper(source, where, "-o", "memory=9MiB")
    assert other.returncode == 32
    assert f"already mounted here ({source}), with another cache.memory" in other.stderr
    other = helper("office", where, "-o", f"config={config}")
    assert other.returncode == 32
    assert "with another tenants.branch" in other.stderr

    assert helper(source, where, "-o", "remount").returncode == 0
    changed = helper(source, where, "-o", "remount,dir_mode=0500,memory=9MiB")
    assert changed.returncode == 32
    assert "only a new mount can change cache.memory, mount.dir_mode: voxofs umount" in changed.stderr

    said = voxofs("stats", f"{where}/office/2024").stdout
    assert "tenant     office ok" in said
    assert f"✓ {where} is mounted by voxofs ({source})" in voxofs("check", "--config", source, where).stdout
    assert voxofs("umount", where).returncode == 0
    again = helper(source, where, "-o", "remount")
    assert (again.returncode, again.stderr) == (
        32,
        f"voxofs: {where}: remount: voxofs is not mounted there; leave remount out\n",
    )


def test_a_comma_in_the_source_is_kept(helper: Run, config: Path, folder: Path) -> None:
    odd = config.rename(config.with_name("a,b c.toml"))
    assert helper(str(odd), str(folder)).returncode == 0
    entry = mounts.entry_at(str(folder))
    assert entry is not None
    assert entry.source == str(odd)


def test_whoever_mounts_is_told_that_the_token_is_refused(config: Path, folder: Path, sold: Vendor) -> None:
    sold.do(sold.sim.rotate_token)  # and nobody writes it down
    done = voxofs("mount", "--config", str(config), str(folder))
    assert done.returncode == 0
    assert f"{folder}: it is mounted, but nothing in it can be read: " in done.stderr
    assert f"put a fresh token into {config.parent}/token: it is read again by itself" in done.stderr


def test_the_log_of_a_unit_tells_that_the_token_is_refused(sold: Vendor) -> None:
    with mounted(sold.sim.api_url, {"office": 9}, token="of-yesterday") as daemon:  # in the foreground
        gives_up_s = time.monotonic() + PATIENCE_S
        while "it is mounted, but nothing in it can be read: " not in daemon.said():
            assert time.monotonic() < gives_up_s, daemon.said()
            time.sleep(0.02)


def test_whoever_mounts_without_a_network_is_told_nothing(config: Path, folder: Path) -> None:
    text = config.read_text()
    begin = text.index("http://")
    config.write_text(text[:begin] + "http://127.0.0.1:9" + text[text.index('"', begin) :])
    done = voxofs("mount", "--config", str(config), str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert "requests" not in voxofs("stats", str(folder)).stdout, "what was never sent is not counted"


_NO_MTAB = r"""
set -e
place=$1 python=$2 config=$3 tree=$4
mkdir "$place/tree" && mount --bind "$tree" "$place/tree"
mkdir "$place/etc" && mount -t tmpfs none "$place/etc"
for file in passwd group nsswitch.conf hosts localtime fuse.conf; do
    if [ -e "/etc/$file" ]; then cp -a "/etc/$file" "$place/etc/"; fi
done
mknod -m 666 "$place/etc/fuse" c 10 229
mount --bind "$place/etc/fuse" /dev/fuse
mount --bind "$place/etc" /etc
test ! -e /etc/mtab
cd /
export TMPDIR="$place/tmp" PYTHONPATH="$place/tree"
user() { setpriv --reuid=65534 --regid=65534 --clear-groups "$python" -m voxofs "$@"; }
set +e
user check --config "$config" | grep 'mount can be made'
user mount --config "$config" "$place/calls" || echo "mount $?"
user stats "$place/calls" | head -n 1
user umount "$place/calls" || echo "umount $?"
user mount --config "$config" "$place/calls" || echo "mount $?"
pid=$(user stats --json "$place/calls" | tr ',' '\n' | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
kill -TERM "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
grep -c "$place.* fuse" /proc/self/mountinfo
ls "$place/tmp"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a machine without /etc/mtab, for which it must be root")
def test_nothing_is_left_behind_where_there_is_no_mtab(
    config: Path, folder: Path, tmp_path: Path, sold: Vendor
) -> None:
    """As a user, for whom fusermount3 unmounts, and reads /etc/mtab before."""
    (tmp_path / "tmp").mkdir()
    config.write_text(config.read_text().replace("[log]\n", '[log]\nlevel = "info"\n'))
    for path in (tmp_path, tmp_path / "token", folder, tmp_path / "tmp"):
        os.chown(path, 65534, 65534)
    for above in (tmp_path, *tmp_path.parents):
        above.chmod(above.stat().st_mode | 0o011)
    # This tree where that user can read it: root's home is closed to others.
    python = sys.executable.replace(f"{ROOT}/", f"{tmp_path}/tree/", 1)
    command = ["unshare", "-m", "sh", "-c", _NO_MTAB, "sh", str(tmp_path), python, str(config), str(ROOT)]
    done = _run(command)
    print(done.stderr)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "✓ a mount can be made\nvoxofs 0.1.0, up 0 s\n0\n",
        "",
    )
