"""The process around a mount: systemd, signals, logs, the daemon's report to its caller, and `check`."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from voxofs import check, logs, mounts
from voxofs.config import Config, Log, Tenant
from voxofs.errors import AccessDenied, ConfigError, Unavailable, VoxofsError
from voxofs.mounts import MountBusy, MountFailure
from voxofs.notify import Notifier
from voxofs.preflight import Host
from voxofs.secret import redact
from voxofs.supervisor import Supervisor

CONFIG = Config(tenants={"demo": Tenant(id=37, since=date(2021, 1, 1))})
SECRET = "c2lnbmF0dXJl%2Bx%3D"


# --- words to systemd


class Manager:
    """The other end of $NOTIFY_SOCKET: a real datagram socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = f"@voxofs-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    made = Manager(path)
    yield made
    made.socket.close()


def test_words_arrive_as_systemd_wants_them(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    before_us = _monotonic_us()
    notifier.ready("Serving /mnt: idle")
    notifier.reloading()
    notifier.stopping()
    ready, reloading, stopping = manager.heard()
    assert ready == "READY=1\nSTATUS=Serving /mnt: idle"
    word, stamp = reloading.split("\n")
    assert word == "RELOADING=1"
    assert before_us <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= _monotonic_us()
    assert stopping.startswith("STOPPING=1\n")


def _monotonic_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    silent = Notifier({})
    silent.ready("x")
    assert not silent.active
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


def test_the_watchdog_is_meant_for_one_process() -> None:
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s == 15
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval_s == 15
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_interval_s is None
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_interval_s is None


# --- the supervisor, with a mount that is none


class FakeMount:
    """Serves until it is unmounted."""

    def __init__(self, failure: Exception | None = None, *, ready: bool = True) -> None:
        self.gone = trio.Event()
        self.reloaded = trio.Event()
        self.statistics = trio.Event()
        self.cancelled = False
        self._failure = failure
        self._ready = ready
        self.reload_failure: VoxofsError | None = None

    async def serve(self, mountpoint: str, *, on_ready: Callable[[], Awaitable[None]]) -> None:
        if self._ready:
            await on_ready()
        if self._failure is not None:
            raise self._failure
        try:
            await self.gone.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise

    async def reload(self) -> None:
        self.reloaded.set()
        if self.reload_failure is not None:
            raise self.reload_failure

    def log_statistics(self) -> None:
        self.statistics.set()

    def status_line(self) -> str:
        return "3 requests"


class FakeKernel:
    """Unmounts a FakeMount: the first `busy` calls find it busy."""

    def __init__(self, mount: FakeMount, busy: int = 0) -> None:
        self.calls: list[bool] = []
        self.asked = [trio.Event() for _ in range(4)]
        self._mount, self._busy = mount, busy

    def unmount(self, mountpoint: str, *, lazy: bool) -> None:
        trio.from_thread.run_sync(self._unmount, lazy)

    def _unmount(self, lazy: bool) -> None:
        self.calls.append(lazy)
        if len(self.calls) <= self._busy:
            raise MountBusy("busy")
        self._mount.gone.set()

    def busy_message(self, mountpoint: str) -> str:
        trio.from_thread.run_sync(self.asked[len(self.calls) - 1].set)
        return f"{mountpoint}: the mount is in use by cat (pid 7, open file x)"


@asynccontextmanager
async def supervised(
    mount: FakeMount, kernel: FakeKernel, manager: Manager | None = None
) -> AsyncIterator[Supervisor]:
    """A supervisor that serves; the block ends when it has ended, within a few seconds or not at all."""
    announced = trio.Event()
    environ = {**manager.environ, "WATCHDOG_USEC": "2000000"} if manager is not None else {}
    supervisor = Supervisor(
        mount,
        "/mnt/calls",
        notifier=Notifier(environ),
        announce=announced.set,
        unmount=kernel.unmount,
        busy_message=kernel.busy_message,
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await announced.wait()
            yield supervisor


def signal_self(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_term_and_int_unmount(manager: Manager, number: signal.Signals) -> None:
    mount = FakeMount()
    kernel = FakeKernel(mount)
    async with supervised(mount, kernel, manager):
        signal_self(number)
    assert kernel.calls == [False]
    heard = manager.heard()
    assert heard[0] == "READY=1\nSTATUS=Serving /mnt/calls: 3 requests"
    assert heard[1] == "WATCHDOG=1\nSTATUS=Serving /mnt/calls: 3 requests"
    assert heard[-1].startswith("STOPPING=1")


async def test_a_busy_mount_names_its_holders_and_the_second_signal_is_lazy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    mount = FakeMount()
    kernel = FakeKernel(mount, busy=1)
    async with supervised(mount, kernel, manager):
        signal_self(signal.SIGTERM)
        await kernel.asked[0].wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not mount.gone.is_set()
        signal_self(signal.SIGTERM)
    manager_heard = manager.heard()
    manager.socket.close()
    assert kernel.calls == [False, True]
    assert "in use by cat (pid 7" in caplog.text
    assert any(message.startswith("STATUS=Cannot unmount: ") for message in manager_heard)


async def test_the_third_signal_gives_up_on_the_holders() -> None:
    mount = FakeMount()
    kernel = FakeKernel(mount, busy=9)
    async with supervised(mount, kernel):
        for turn in range(2):
            signal_self(signal.SIGTERM)
            await kernel.asked[turn].wait()
        signal_self(signal.SIGTERM)
    assert mount.cancelled
    assert kernel.calls == [False, True]


async def test_hup_reloads_and_usr1_logs_the_statistics(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    mount = FakeMount()
    async with supervised(mount, FakeKernel(mount), manager):
        signal_self(signal.SIGHUP)
        await mount.reloaded.wait()
        signal_self(signal.SIGUSR1)
        await mount.statistics.wait()
        mount.gone.set()  # unmounted by somebody else: the end, too
    words = [message.split("\n")[0] for message in manager.heard()]
    manager.socket.close()
    assert words.index("RELOADING=1") < len(words) - 1 - words[::-1].index("READY=1")


async def test_a_reload_that_fails_is_logged_and_serving_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    mount = FakeMount()
    mount.reload_failure = AccessDenied("the token file is gone")
    async with supervised(mount, FakeKernel(mount)):
        signal_self(signal.SIGHUP)
        await mount.reloaded.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not mount.gone.is_set()
        mount.gone.set()
    assert "the token file is gone" in caplog.text


async def test_a_failure_is_not_wrapped() -> None:
    supervisor = Supervisor(FakeMount(MountFailure("no")), "/mnt", notifier=Notifier({}))
    with pytest.raises(MountFailure, match="no"):
        await supervisor.run()
    assert supervisor.ready


async def test_a_group_of_a_nursery_is_unwrapped() -> None:
    cause = MountFailure("no answer")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("a cancelled neighbour"), cause])])
    with pytest.raises(MountFailure) as caught:
        await Supervisor(FakeMount(group), "/mnt", notifier=Notifier({})).run()
    assert caught.value is cause


async def test_a_mount_that_ends_before_it_answers_has_failed() -> None:
    mount = FakeMount(ready=False)
    mount.gone.set()
    with pytest.raises(MountFailure, match="ended before it answered"):
        await Supervisor(mount, "/mnt", notifier=Notifier({})).run()


async def test_a_signal_before_the_mount_answers_ends_it() -> None:
    mount = FakeMount(ready=False)
    supervisor = Supervisor(mount, "/mnt", notifier=Notifier({}))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await trio.testing.wait_all_tasks_blocked()
            signal_self(signal.SIGTERM)
    assert mount.cancelled


async def test_looking_around_happens_in_a_thread_once_the_mount_answers() -> None:
    mount = FakeMount()

    def look_around() -> None:  # from_thread works in a thread of trio's only
        trio.from_thread.run_sync(mount.gone.set)

    with trio.fail_after(10):
        await Supervisor(mount, "/mnt", notifier=Notifier({}), look_around=look_around).run()


# --- the daemon: a real fork, a mount that is none

_DAEMON = """
import os, sys, trio
from datetime import date
from pathlib import Path
from voxofs import service, config, errors
from voxofs.preflight import Host
folder, what = sys.argv[1:]
class Mount:
    async def serve(self, mountpoint, *, on_ready):
        if what == "fail":
            raise errors.VoxofsError("Signature=abcdef the kernel said no")
        if what == "config":
            raise errors.ConfigError(["api.token: bad"])
        if what == "surprise":
            raise ZeroDivisionError("oh")
        if what == "die":
            os.kill(os.getpid(), 9)
        await on_ready()
        async with await trio.open_file(folder + "/go") as go:  # a pipe: opened by the test when it likes
            await go.read()
    async def reload(self): pass
    def log_statistics(self): pass
    def status_line(self): return "fine"
made = config.Config(tenants={}, log=config.Log(file=Path(folder, "log")))
host = Host(fuse_device=Path("/dev/null"), is_root=True)
mnt = os.path.join(folder, "mnt")
sys.exit(service.run_background(made, mnt, build=lambda _config, _path: Mount(), host=host))
"""


def daemonise(tmp_path: Path, what: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "mnt").mkdir()
    os.mkfifo(tmp_path / "go")
    # capture_output waits for the end of both pipes: it returns only if the daemon has let go of them.
    return subprocess.run(
        [sys.executable, "-c", _DAEMON, str(tmp_path), what],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_parent_returns_once_the_mount_answers(tmp_path: Path) -> None:
    result = daemonise(tmp_path, "serve")
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "")
    with open(tmp_path / "go", "w"):  # opens only because the daemon is alive and reads it
        pass


@pytest.mark.parametrize(
    ("what", "code", "reason"),
    [
        ("fail", 32, "voxofs: Signature=******** the kernel said no\n"),
        ("config", 1, "voxofs: api.token: bad\n"),
        ("die", 32, "voxofs: the daemon died while it started (signal SIGKILL)\n"),
    ],
)
def test_the_parent_says_why_the_mount_failed(tmp_path: Path, what: str, code: int, reason: str) -> None:
    result = daemonise(tmp_path, what)
    assert (result.returncode, result.stderr, result.stdout) == (code, reason, "")


def test_a_surprise_is_one_line_too(tmp_path: Path) -> None:
    result = daemonise(tmp_path, "surprise")
    assert result.returncode == 2
    assert "unexpected failure: ZeroDivisionError: oh" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


# --- logs


@pytest.fixture
def record() -> Callable[..., logging.LogRecord]:
    def record(
        message: str, *args: object, level: int = logging.WARNING, **extra: object
    ) -> logging.LogRecord:
        made = logging.LogRecord("voxofs.x", level, __file__, 1, message, args, None)
        made.__dict__.update(extra)
        return made

    return record


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(False)


LEAKS = [
    f"https://s3.example/a.mp3?AWSAccessKeyId=AKIA&Expires=1&Signature={SECRET}",
    f"https://s3.example/a.mp3?X-Amz-Signature={SECRET}&x=1",
    f"X-Amz-Security-Token={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"{{'authorization': 'bearer {SECRET}'}}",
    f'{{"accessToken": "{SECRET}"}}',
    f"password={SECRET}",
    "jwt eyJhbGciOiJIUzI1NiJ9.c2lnbmF0dXJl.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("form", ["text", "json"])
def test_whatever_looks_like_a_secret_is_struck_out(tmp_path: Path, leak: str, form: str) -> None:
    path = tmp_path / "log"
    logs.set_up(Log(format=form, file=path), background=True, environ={})
    logger = logging.getLogger("voxofs.test")
    logger.warning("failed: %s", leak, extra={"cause": leak})
    try:
        raise ValueError(leak)
    except ValueError:
        logger.exception("failed")
    text = path.read_text()
    assert text.count("failed") == 2
    assert "********" in text
    assert "c2lnbmF0dXJl" not in text


@given(st.text(max_size=60))
def test_redaction_takes_any_text(text: str) -> None:
    assert SECRET not in redact(f"{text} Signature={SECRET}")


def test_what_is_no_secret_stays() -> None:
    line = "/demo/2024/03/05/10/atl-ast2-1628901419.8373.mp3: read: 503 Slow Down, trying again in 2 s"
    assert redact(line) == line


def test_tracebacks_are_for_debugging_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for debug, expected in (("", 0), ("0", 0), ("1", 1)):
        monkeypatch.setenv("VOXOFS_DEBUG", debug)
        path = tmp_path / f"log{debug}"
        logs.set_up(Log(file=path), background=True, environ={})
        try:
            raise ValueError("oh")
        except ValueError:
            logging.getLogger("voxofs.test").exception("failed")
        assert path.read_text().count("Traceback") == expected


def test_the_json_form(record: Callable[..., logging.LogRecord]) -> None:
    line = logs.JsonFormatter().format(record("read failed: %s", "“x”\n", path="/demo/é", status=502))
    entry = json.loads(line)
    assert "\n" not in line
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "warning",
        "logger": "voxofs.x",
        "message": "read failed: “x”\n",
        "path": "/demo/é",
        "status": 502,
    }


@pytest.mark.parametrize(
    ("level", "prefix"),
    [(logging.CRITICAL, 3), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_the_journals_form(record: Callable[..., logging.LogRecord], level: int, prefix: int) -> None:
    line = logs.JournalFormatter().format(record("one\ntwo", level=level))
    assert line == f"<{prefix}>one\n<{prefix}>two"


def test_the_text_form(record: Callable[..., logging.LogRecord]) -> None:
    assert logs.TextFormatter().format(record("x %d", 1)) == "voxofs: warning: x 1"


def test_the_journal_is_recognised_by_the_stream_that_it_made(tmp_path: Path) -> None:
    with open(tmp_path / "stderr", "w") as file:
        status, number = os.fstat(file.fileno()), file.fileno()
        journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert logs.under_journald(journal, number)
        assert not logs.under_journald({"JOURNAL_STREAM": "1:1", "INVOCATION_ID": "x"}, number)
        assert logs.under_journald({"INVOCATION_ID": "x"}, number)
        assert not logs.under_journald({}, number)


def test_libraries_that_log_urls_are_held_back(tmp_path: Path) -> None:
    logs.set_up(Log(level="debug", file=tmp_path / "log"), background=True, environ={})
    for name in ("httpx", "httpcore.http11", "stamina", "hpack.hpack"):
        logging.getLogger(name).info("GET https://x/?Signature=y")
    logging.getLogger("voxofs").debug("ours")
    assert (tmp_path / "log").read_text().splitlines()[0].endswith("debug: ours")


# --- check


class FakeProber:
    """A service that is well but for what is said."""

    def __init__(
        self,
        sign_in: VoxofsError | None = None,
        tenant: VoxofsError | None = None,
        offset_s: float | None = 0.0,
    ) -> None:
        self._sign_in, self._tenant, self._offset_s = sign_in, tenant, offset_s

    async def sign_in(self) -> None:
        if self._sign_in is not None:
            raise self._sign_in

    async def tenant(self, tenant_id: int) -> str:
        if self._tenant is not None:
            raise self._tenant
        return f"Tenant {tenant_id}"

    async def server_clock_offset_s(self) -> float | None:
        return self._offset_s


@pytest.fixture
def run_check(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    (tmp_path / "mountinfo").touch()
    (tmp_path / "fuse.conf").write_text("user_allow_other\n")
    host = Host(
        fuse_device=Path("/dev/null"),
        fuse_conf=tmp_path / "fuse.conf",
        updatedb_conf=tmp_path / "updatedb.conf",
        mountinfo=tmp_path / "mountinfo",
        is_root=True,
        search_path="/nowhere",
    )

    def run_check(
        prober: FakeProber | None = None, mountpoint: str | None = None, problem: str | None = None
    ) -> tuple[int, str]:
        def load() -> Config:
            if problem is not None:
                raise ConfigError([problem, "another"])
            return CONFIG

        @asynccontextmanager
        async def make(_config: Config) -> AsyncIterator[FakeProber]:
            yield prober or FakeProber()

        out = io.StringIO()
        code = check.run(load, mountpoint, host=host, prober=make, out=out)
        return code, out.getvalue()

    return run_check


def test_all_is_well(run_check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, text = run_check(mountpoint=str(tmp_path))
    assert code == 0
    assert "✗" not in text
    assert "✓ tenant demo (37) is reachable: Tenant 37" in text
    assert f"✓ {tmp_path} can be mounted on" in text


def test_a_bad_configuration_is_1_and_the_machine_is_still_looked_at(
    run_check: Callable[..., tuple[int, str]],
) -> None:
    code, text = run_check(problem="[api] tokn: unknown key")
    assert code == 1
    assert "✗ [api] tokn: unknown key\n✗ another\n" in text
    assert "/dev/null can be opened" in text


@pytest.mark.parametrize(
    ("prober", "expected"),
    [
        (
            FakeProber(sign_in=AccessDenied("401")),
            "✗ signing in at https://api.voxo.co failed: 401\n  → check the cred",
        ),
        (FakeProber(tenant=AccessDenied("403")), "✗ tenant demo (37): 403\n  → check the credentials"),
        (
            FakeProber(tenant=Unavailable("refused")),
            "✗ tenant demo (37): refused\n  → check base_url and the network",
        ),
        (
            FakeProber(offset_s=301),
            "✗ this machine's clock is 5 minutes behind the server's\n  → set it with",
        ),
        (FakeProber(offset_s=-7200), "✗ this machine's clock is 120 minutes ahead of the server's"),
    ],
)
def test_what_is_wrong_with_the_service(
    run_check: Callable[..., tuple[int, str]], prober: FakeProber, expected: str
) -> None:
    code, text = run_check(prober)
    assert code == 2
    assert expected in text


@pytest.mark.parametrize("offset_s", [None, 0, 299, -299])
def test_a_clock_that_is_near_enough(
    run_check: Callable[..., tuple[int, str]], offset_s: float | None
) -> None:
    assert run_check(FakeProber(offset_s=offset_s))[0] == 0


def test_a_folder_that_cannot_be_mounted_on(
    run_check: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, text = run_check(mountpoint=str(tmp_path / "none"))
    assert code == 2
    assert f"✗ {tmp_path}/none: the folder to mount on does not exist\n  → make it with: mkdir -p" in text


def test_updatedb_would_crawl_the_mount(run_check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    conf = tmp_path / "updatedb.conf"
    conf.write_text('PRUNE_BIND_MOUNTS="yes"\n# PRUNEFS="fuse.voxofs"\nPRUNEFS="NFS fuse.sshfs"\n')
    code, text = run_check()
    assert code == 0
    assert '→ put this line there: PRUNEFS="NFS fuse.sshfs fuse.voxofs"' in text
    conf.write_text('PRUNEFS="NFS fuse.voxofs"\n')
    assert "updatedb leaves mounts of voxofs alone" in run_check()[1]


def test_a_dead_mount_left_behind(
    run_check: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text("9 1 0:9 / /srv/my\\040calls ro - fuse.voxofs demo ro\n")
    monkeypatch.setattr(mounts, "is_dead", lambda path: path == "/srv/my calls")
    code, text = run_check()
    assert code == 0
    assert "! /srv/my calls: a dead mount" in text
    assert "voxofs umount '/srv/my calls'" in text
