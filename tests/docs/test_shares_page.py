"""The page on shares: Samba and NFS with the files that stand there, over a mount with the words that stand
there."""

from __future__ import annotations

import grp
import os
import pwd
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.handles import forget_unused, need_handles
from harness.mounts import ROOT, Daemon, mounted
from harness.rig import PATIENCE_S
from harness.vendors import Vendor, vendor
from harness.world import BYTES, CALLS, HOUR, NAMES, OFFICE

pytestmark = pytest.mark.mounts

PAGE = (ROOT / "docs/shares.md").read_text()
USER, GROUP = "nobody", "nogroup"
"""An account that every Debian has; Samba's own password for it is kept in the test's folder."""
MEMBER, MEMBERS = pwd.getpwnam(USER).pw_uid, grp.getgrnam(GROUP).gr_gid
PASSWORD = "a-password"
STATE = (
    "private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir",
)  # fmt: skip


@dataclass
class Share:
    """A Samba server on a port of its own."""

    config: Path
    port: int
    folder: Path
    """Where smbclient puts what it gets."""

    def client(self, *commands: str, user: str = f"{USER}%{PASSWORD}") -> subprocess.CompletedProcess[str]:
        """What smbclient says to these commands."""
        return subprocess.run(
            ["smbclient", f"--configfile={self.config}", f"--port={self.port}", "//127.0.0.1/calls",
             f"--user={user}", f"--command={'; '.join(commands)}"],
            capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd=self.folder,
        )  # fmt: skip


def configuration(mount: Path, state: Path, port: int) -> str:
    """The page's smb.conf with this mount and group in the place of its own; beside it, only what keeps Samba
    in a folder and on a port of the test."""
    [page] = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    assert page.count("/srv/calls") == page.count("@calls") == 1
    own = [f"{name} = {state}" for name in STATE]
    own += ["interfaces = 127.0.0.1", "bind interfaces only = yes", f"smb ports = {port}"]
    page = page.replace("/srv/calls", str(mount)).replace("@calls", f"@{GROUP}")
    return str(page).replace("[global]", "\n    ".join(["[global]", *own]))


def options() -> list[str]:
    """The page's words for the mount."""
    [words] = re.findall(r"^voxofs mount /srv/calls (-o \S+)$", PAGE, re.MULTILINE)
    assert words.count("gid=calls") == 1
    return str(words).replace("gid=calls", f"gid={GROUP}").split()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server that answers on a port; gone afterwards with what it started."""
    with log.open("wb") as said:
        # Its own session: when it ends, smbd ends its whole process group.
        server = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    try:
        gives_up_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < gives_up_s, log.read_text()
                time.sleep(0.02)
        yield
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE_S)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        while alive(server.pid):  # what it started may still be in the mount
            time.sleep(0.01)


def alive(group: int) -> bool:
    """Whether a process of a group is left that has not ended (proc(5): state and group follow the name)."""
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group, *_ = process.read_text().rpartition(")")[2].split()
            if int(its_group) == group and state not in "XZ":
                return True
    return False


@contextmanager
def samba(mount: Daemon, place: Path) -> Iterator[Share]:
    """smbd, with an account."""
    state, folder = place / "state", place / "got"
    state.mkdir(mode=0o755)
    folder.mkdir()
    share = Share(place / "smb.conf", free_port(), folder)
    share.config.write_text(configuration(mount.directory, state, share.port))
    subprocess.run(
        ["pdbedit", f"--configfile={share.config}", "--create", "--password-from-stdin", f"--user={USER}"],
        input=f"{PASSWORD}\n" * 2, text=True, capture_output=True, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    command = ["smbd", "--foreground", "--no-process-group", "--debug-stdout", f"--configfile={share.config}"]
    with serving(command, share.port, place / "log"):
        yield share


@pytest.fixture(scope="module")
def office() -> Iterator[Vendor]:
    with vendor() as opened:
        yield opened


@pytest.fixture(scope="module")
def daemon(office: Vendor) -> Iterator[Daemon]:
    if os.geteuid() != 0:
        pytest.skip("both servers act as their users, which takes root")
    sim = office.sim
    with mounted(sim.api_url, {"office": OFFICE}, token=sim.token, options=options()) as opened:
        opened.directory.parent.chmod(0o755)
        yield opened
        assert "Traceback" not in opened.said(), opened.said()


def lists_names_and_sizes_for_one_request_pair_a_recording(office: Vendor, share: Share) -> None:
    assert " office " in share.client("ls").stdout
    office.reset()
    listed = share.client(f"cd {HOUR}", "ls")
    assert listed.returncode == 0, listed.stdout
    found = re.findall(r"^  (\S+\.mp3) +\w* +(\d+) +Tue Mar  5 16:00:\d\d 2024$", listed.stdout, re.MULTILINE)
    assert {name: int(size) for name, size in found} == {name: len(data) for name, data in BYTES.items()}
    assert office.counts() == {"reports": 1, "link": len(NAMES), "audio": len(NAMES)}


def get_and_mget_bring_the_same_bytes(share: Share) -> None:
    assert share.client(f"get {HOUR}/{NAMES[2]} one.mp3").returncode == 0
    assert (share.folder / "one.mp3").read_bytes() == BYTES[NAMES[2]]
    all_of_a_day = share.client("cd office/2024/03/05", "recurse", "prompt", "mget *")
    assert all_of_a_day.returncode == 0, all_of_a_day.stdout
    expected = {
        f"{start[11:13]}/{unique_id}.mp3": data
        for (unique_id, start), data in CALLS.items()
        if start.startswith("2024-03-05") and data is not None
    }
    got = {str(path.relative_to(share.folder)): path.read_bytes() for path in share.folder.glob("*/*")}
    assert got == expected


def names_that_clients_try_are_absent_without_a_request(office: Vendor, share: Share) -> None:
    office.reset()
    day = "office/2024/07/05"
    names = [f"{day}/desktop.ini", f"{day}/Thumbs.db", "office/2024/17/x.mp3", "AutoRun.inf", "OFFICE/2024"]
    tried = share.client(*(f"get {name}" for name in names))
    assert tried.stdout.count("_NOT_FOUND opening") == len(names), tried.stdout
    assert office.counts() == {}


def nobody_writes_and_nobody_else_reads(share: Share) -> None:
    path = f"{HOUR}/{NAMES[0]}"
    refused = share.client("put one.mp3 new.mp3", "mkdir office/x", f"rm {path}", f"rename {path} {path}.old")
    assert len(re.findall(r"NT_STATUS_(?:ACCESS_DENIED|MEDIA_WRITE_PROTECTED)", refused.stdout)) == 4
    assert "NT_STATUS_LOGON_FAILURE" in share.client("ls", user=f"{USER}%another").stdout


def test_a_client_of_samba_sees_what_it_should_and_no_more(office: Vendor, daemon: Daemon) -> None:
    with tempfile.TemporaryDirectory(prefix="voxofs-samba-") as place:
        Path(place).chmod(0o755)
        with samba(daemon, Path(place)) as share:
            lists_names_and_sizes_for_one_request_pair_a_recording(office, share)
            get_and_mget_bring_the_same_bytes(share)
            names_that_clients_try_are_absent_without_a_request(office, share)
            nobody_writes_and_nobody_else_reads(share)


def test_samba_has_nothing_to_say_against_the_configuration(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    config = tmp_path / "smb.conf"
    config.write_text(configuration(tmp_path, tmp_path, 445))
    said = subprocess.run(
        ["testparm", "--suppress-prompt", str(config)], capture_output=True, text=True, check=True
    )
    wrong = re.findall(
        r"^.*(?:WARNING|ERROR|Unknown|Ignoring|Invalid|found in service).*$", said.stderr, re.M
    )
    assert wrong == []


# --- NFS


@dataclass
class Export:
    """A Ganesha on a port of its own."""

    port: int

    def client(self, tool: str, path: str, *, uid: int, gid: int) -> subprocess.CompletedProcess[bytes]:
        """What one of libnfs's tools says."""
        url = f"nfs://127.0.0.1/calls{path}?version=4&nfsport={self.port}&uid={uid}&gid={gid}"
        return subprocess.run([tool, url], capture_output=True, check=False, timeout=PATIENCE_S)

    def cat(self, path: str) -> bytes:
        """A file, as a member of the group reads it."""
        got = self.client("nfs-cat", path, uid=MEMBER, gid=MEMBERS)
        assert got.returncode == 0, got.stderr
        return got.stdout


def _ganesha_6() -> bool:
    told = subprocess.run(["ganesha.nfsd", "-v"], capture_output=True, text=True, check=False)
    [major] = re.findall(r"Release = V(\d+)", told.stdout + told.stderr)
    return int(major) >= 6


def _in_a_container() -> str:
    """What Ganesha 6 needs where it may not do all that root may; earlier ones do not know the word."""
    return "Allow_Set_Io_Flusher_Fail = true;" if _ganesha_6() else ""


@contextmanager
def ganesha(daemon: Daemon) -> Iterator[Export]:
    """The page's ganesha.conf, with this mount and machine in the place of its own."""
    need_handles(daemon.directory)
    [page] = re.findall(r"```text\n(NFS_CORE_PARAM.*?)```", PAGE, re.DOTALL)
    with tempfile.TemporaryDirectory(prefix="voxofs-ganesha-") as folder:
        place, port = Path(folder), free_port()
        core = f"NFS_Port = {port}; Bind_addr = 127.0.0.1; {_in_a_container()}"
        own = {
            "/srv/calls": str(daemon.directory),
            "192.0.2.0/24": "127.0.0.1",
            "NFS_CORE_PARAM {": f"NFS_CORE_PARAM {{ {core}",
            "NFSv4 {": f'NFSv4 {{ RecoveryRoot = "{place}";',
        }
        for theirs, ours in own.items():
            assert page.count(theirs) == 1
            page = page.replace(theirs, ours)
        config = place / "ganesha.conf"
        config.write_text(page)
        command = ["ganesha.nfsd", "-F", "-f", str(config), "-L", "/dev/stderr", "-p", str(place / "pid")]
        with serving(command, port, place / "log"):
            yield Export(port)


def a_client_lists_and_reads(office: Vendor, export: Export) -> None:
    listed = export.client("nfs-ls", HOUR, uid=MEMBER, gid=MEMBERS)
    lines = [line.split() for line in listed.stdout.decode().splitlines()]
    assert {line[5]: int(line[4]) for line in lines} == {name: len(data) for name, data in BYTES.items()}
    office.reset()
    assert export.cat(f"{HOUR}/{NAMES[5]}") == BYTES[NAMES[5]]
    tried = export.client("nfs-cat", "/office/2024/08/05/desktop.ini", uid=MEMBER, gid=MEMBERS)
    assert b"NFS4ERR_NOENT" in tried.stderr
    # Ganesha 6 lists the folder of a name that it does not find, which is a report.
    listing = {"reports"} if _ganesha_6() else set[str]()
    assert set(office.counts()) <= {"audio"} | listing, "no link"


def what_the_kernel_has_forgotten_is_found_again(daemon: Daemon, export: Export) -> None:
    names = (NAMES[7], NAMES[3])
    assert export.client("nfs-ls", HOUR, uid=MEMBER, gid=MEMBERS).returncode == 0
    for name in names:
        forget_unused(daemon.directory)
        assert export.cat(f"{HOUR}/{name}") == BYTES[name]


def no_root_of_another_machine_reads(export: Export) -> None:
    refused = export.client("nfs-cat", f"{HOUR}/{NAMES[0]}", uid=0, gid=0)
    assert (refused.returncode != 0, refused.stdout) == (True, b"")
    assert b"NFS4ERR_ACC" in refused.stderr


def test_a_client_of_nfs_sees_what_it_should_also_after_everything_was_forgotten(
    office: Vendor, daemon: Daemon
) -> None:
    with ganesha(daemon) as export:
        a_client_lists_and_reads(office, export)
        what_the_kernel_has_forgotten_is_found_again(daemon, export)
        no_root_of_another_machine_reads(export)
