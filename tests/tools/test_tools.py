"""Real tools on a real mount, compared byte for byte with what the storage holds."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import mmap
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from harness.mounts import Daemon, mounted

from voxofs.simulator.process import SimulatorProcess, start_process

HOUR = "2024/03/05/10"
THOUSAND = 1_000


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    with start_process(world="all") as running:
        yield running


@pytest.fixture(scope="module")
def daemon(sim: SimulatorProcess) -> Iterator[Daemon]:
    """One mount for all tests here: it is what people have."""
    tenants = {"bench": 200, "flood": 202, "demo": 37}
    with mounted(sim.api_url, tenants, token=sim.token) as running:
        yield running
        assert running.process.poll() is None, running.said()
        assert "Traceback" not in running.said(), running.said()


@pytest.fixture(scope="module")
def truth(sim: SimulatorProcess) -> Callable[[str, str], dict[str, bytes]]:
    """All recordings of a tenant's hour, by name, from the simulator's plain folders."""
    place = urlsplit(sim.storage_url)

    def hour(code: str, folder: str) -> dict[str, bytes]:
        with closing(http.client.HTTPConnection(place.netloc)) as connection:

            def get(path: str) -> bytes:
                connection.request("GET", f"/plain/{code}/{folder}/{path}")
                return connection.getresponse().read()

            names = [part.split('"', 1)[0] for part in get("").decode().split('href="')[1:]]
            found = {name: get(name) for name in names if name.endswith(".mp3")}
        assert found
        return found

    return hour


Truth = Callable[[str, str], dict[str, bytes]]


@pytest.fixture(scope="module")
def hour(truth: Truth) -> dict[str, bytes]:
    """An hour of 200 recordings, 58 MB."""
    found = truth("bench", HOUR)
    assert len(found) == 200
    return found


def run(*command: object, **options: object) -> str:
    """A tool's output; anything on stderr or an exit code but 0 is a failure."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload]
    assert (done.returncode, done.stderr) == (0, b""), (words, done.returncode, done.stderr.decode())
    out: str = done.stdout.decode()
    return out


def hashes(output: str) -> dict[str, str]:
    """Digests by name from sha256sum and md5sum."""
    return {line.split("  ", 1)[1].rsplit("/", 1)[-1]: line.split("  ", 1)[0] for line in output.splitlines()}


def digests(kind: str, bytes_by_name: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.new(kind, data).hexdigest() for name, data in bytes_by_name.items()}


def same_tree(copied: Path, expected: dict[str, bytes]) -> None:
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == expected


# --- looking


def test_ls_shows_names_sizes_and_types(daemon: Daemon, hour: dict[str, bytes]) -> None:
    folder = daemon.path(f"/bench/{HOUR}")
    assert run("ls", "-U", folder).split() == sorted(hour)
    told = run("ls", "-l", "--time-style=+%s", folder).splitlines()[1:]
    assert {line.split()[6]: int(line.split()[4]) for line in told} == {
        n: len(data) for n, data in hour.items()
    }
    assert {line.split()[0] for line in told} == {"-rw-r-----"}
    coloured = run("ls", "-1", "--color=always", folder)
    assert [name for name in hour if name not in coloured] == []


def test_find_by_name_by_type_and_by_size(daemon: Daemon, hour: dict[str, bytes]) -> None:
    month = daemon.path("/bench/2024/03")
    files = run("find", month, "-type", "f", "-name", "*.mp3").splitlines()
    assert len(files) == len(set(files)) == 2 * 200 + 31 * 6
    folders = run("find", month, "-type", "d").splitlines()
    assert len(folders) == 1 + 31 + 31 * 2 + 2
    large = run("find", daemon.path(f"/bench/{HOUR}"), "-size", "+300000c").splitlines()
    assert {path.rsplit("/", 1)[1] for path in large} == {
        n for n, data in hour.items() if len(data) > 300_000
    }


def test_du_counts_the_bytes(daemon: Daemon, hour: dict[str, bytes]) -> None:
    total = run("du", "-s", "--apparent-size", "-B1", daemon.path(f"/bench/{HOUR}")).split()[0]
    assert int(total) == sum(map(len, hour.values()))
    blocks = int(run("du", "-s", "-B512", daemon.path(f"/bench/{HOUR}")).split()[0])
    assert blocks == sum(-(-len(data) // 512) for data in hour.values())


def test_stat_tells_size_time_mode_and_owner(
    daemon: Daemon, sim: SimulatorProcess, hour: dict[str, bytes]
) -> None:
    name = min(hour)
    told = os.stat(daemon.path(f"/bench/{HOUR}/{name}"))
    assert (told.st_size, told.st_uid, told.st_gid) == (len(hour[name]), os.getuid(), os.getgid())
    assert stat.filemode(told.st_mode) == "-rw-r-----"
    assert told.st_mtime == int(name.split("-")[2].split(".")[0]), "the epoch second in the uniqueId"
    assert stat.filemode(os.stat(daemon.path("/bench")).st_mode) == "drwxr-x---"
    assert run("stat", "-c", "%s", daemon.path(f"/bench/{HOUR}/{name}")).strip() == str(len(hour[name]))


def test_extended_attributes_are_what_getfattr_prints(daemon: Daemon, hour: dict[str, bytes]) -> None:
    path = f"{HOUR}/{min(hour)}"
    told = run("getfattr", "-d", path, cwd=daemon.path("/bench"))
    assert f'user.voxo.uniqueId="{min(hour).removesuffix(".mp3")}"' in told
    assert "user.voxo.duration=" in told
    assert "callerId" not in told
    missing = subprocess.run(
        ["getfattr", "-n", "user.nothing", path], cwd=daemon.path("/bench"), capture_output=True, check=False
    )
    assert missing.returncode == 1


# --- copying


@pytest.mark.parametrize("tool", ["cp -a", "cp -r", "rsync -a", "rsync -rtc --no-perms"])
def test_copies_are_equal(daemon: Daemon, hour: dict[str, bytes], tmp_path: Path, tool: str) -> None:
    source = daemon.path(f"/bench/{HOUR}/")
    target = tmp_path / "copy"
    run(*tool.split(), source, target)
    same_tree(target, hour)
    assert target.stat().st_mode & stat.S_IWUSR, "its owner could not delete it"
    if tool != "cp -r":
        name = min(hour)
        assert (target / name).stat().st_mtime == os.stat(source + name).st_mtime
    shutil.rmtree(target)


def test_a_second_rsync_has_nothing_to_do(daemon: Daemon, hour: dict[str, bytes], tmp_path: Path) -> None:
    source, target = daemon.path(f"/bench/{HOUR}/"), tmp_path / "copy"
    run("rsync", "-a", source, target)
    assert run("rsync", "-ai", source, f"{target}/") == ""


def test_tar_packs_the_same_bytes(daemon: Daemon, hour: dict[str, bytes], tmp_path: Path) -> None:
    run("tar", "-cf", tmp_path / "hour.tar", "-C", daemon.path("/bench/2024/03/05"), "10")
    run("tar", "-xf", tmp_path / "hour.tar", "-C", tmp_path)
    same_tree(tmp_path / "10", hour)


def test_a_thousand_recordings_have_the_storages_sha256(daemon: Daemon, truth: Truth) -> None:
    expected = truth("flood", HOUR)
    assert len(expected) == THOUSAND
    folder = daemon.path(f"/flood/{HOUR}")
    told = run("sh", "-c", f"find {folder} -type f -print0 | xargs -0 -n 25 -P 8 sha256sum")
    assert hashes(told) == digests("sha256", expected)


def test_md5sum_of_an_hour(daemon: Daemon, hour: dict[str, bytes]) -> None:
    told = run("sh", "-c", f"md5sum {daemon.path(f'/bench/{HOUR}')}/*")
    assert hashes(told) == digests("md5", hour)


# --- reading in odd ways


@pytest.mark.parametrize(
    ("block", "skip", "count"),
    [(1, 0, 7), (777, 13, 101), (65_536, 1, 1), (65_537, 1, 2), (4_096, 20, 3), (99_991, 1, 9)],
)
@pytest.mark.parametrize("direct", [False, True])
def test_dd_at_odd_offsets(
    daemon: Daemon, hour: dict[str, bytes], block: int, skip: int, count: int, direct: bool, tmp_path: Path
) -> None:
    name = max(hour, key=lambda each: len(hour[each]))
    target = tmp_path / "part"
    flags = ["iflag=direct"] if direct else []
    source = daemon.path(f"/bench/{HOUR}/{name}")
    run(
        "dd",
        f"if={source}",
        f"of={target}",
        f"bs={block}",
        f"skip={skip}",
        f"count={count}",
        "status=none",
        *flags,
    )
    assert target.read_bytes() == hour[name][block * skip : block * (skip + count)]


def test_mmap(daemon: Daemon, hour: dict[str, bytes]) -> None:
    name = sorted(hour)[17]
    with open(daemon.path(f"/bench/{HOUR}/{name}"), "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert mapped[-1_000:] == hour[name][-1_000:]
            assert mapped[33_333:99_999] == hour[name][33_333:99_999]
            assert mapped[:] == hour[name]
        with mmap.mmap(file.fileno(), 4_096, access=mmap.ACCESS_READ, offset=8_192) as mapped:
            assert mapped[:] == hour[name][8_192:12_288]


# --- audio


def test_ffprobe_finds_the_recording_and_its_tag(daemon: Daemon, hour: dict[str, bytes]) -> None:
    for name in sorted(hour)[:5]:
        path = daemon.path(f"/bench/{HOUR}/{name}")
        told = json.loads(run("ffprobe", "-v", "error", "-show_format", "-of", "json", path))["format"]
        assert told["format_name"] == "mp3"
        assert int(told["size"]) == len(hour[name])
        assert name.removesuffix(".mp3") in json.dumps(told["tags"])


def test_ffmpeg_and_sox_make_the_same_wav_as_from_a_local_copy(
    daemon: Daemon, hour: dict[str, bytes], tmp_path: Path
) -> None:
    name = sorted(hour)[3]
    local, mounted_one = tmp_path / name, daemon.path(f"/bench/{HOUR}/{name}")
    local.write_bytes(hour[name])
    for place, source in (("local", local), ("mounted", mounted_one)):
        run("ffmpeg", "-v", "error", "-i", source, "-bitexact", tmp_path / f"{place}.wav")
        run("sox", "-V1", "-D", source, "-b", "16", tmp_path / f"{place}-sox.wav")
    for suffix in (".wav", "-sox.wav"):
        made = (tmp_path / f"mounted{suffix}").read_bytes()
        assert made == (tmp_path / f"local{suffix}").read_bytes()
        assert len(made) > 50_000


# --- what the mount is


def test_it_is_read_only(daemon: Daemon, hour: dict[str, bytes]) -> None:
    folder = daemon.path(f"/bench/{HOUR}")
    path = f"{folder}/{min(hour)}"
    attempts: list[Callable[[], object]] = [
        lambda: os.open(path, os.O_WRONLY),
        lambda: os.open(path, os.O_RDWR | os.O_TRUNC),
        lambda: os.open(f"{folder}/new", os.O_WRONLY | os.O_CREAT),
        lambda: os.remove(path),
        lambda: os.rename(path, f"{folder}/other.mp3"),
        lambda: os.mkdir(f"{folder}/new"),
        lambda: os.rmdir(folder),
        lambda: os.chmod(path, 0o777),
        lambda: os.chown(path, 0, 0),
        lambda: os.truncate(path, 0),
        lambda: os.utime(path),
        lambda: os.symlink("a", f"{folder}/link"),
        lambda: os.link(path, f"{folder}/hard"),
        lambda: os.setxattr(path, "user.voxo.duration", b"1"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="Read-only") as refused:
            attempt()
        assert refused.value.errno == errno.EROFS


def test_the_mount_table_tells_what_it_is(daemon: Daemon) -> None:
    [line] = [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(daemon.directory) in line
    ]
    source, _, kind, options, *_ = line.split()
    assert kind == "fuse.voxofs"
    assert {"ro", "nodev", "nosuid", "noexec"} <= set(options.split(","))
    assert source
    assert run("findmnt", "-n", "-o", "FSTYPE", daemon.directory).strip() == "fuse.voxofs"


def test_statfs_says_that_names_are_up_to_255_bytes_and_nothing_is_free(daemon: Daemon) -> None:
    told = os.statvfs(daemon.directory)
    assert (told.f_namemax, told.f_bfree) == (255, 0)


def test_inode_numbers_are_the_same_after_a_remount(sim: SimulatorProcess) -> None:
    def numbers() -> dict[str, int]:
        with mounted(sim.api_url, {"bench": 200}, token=sim.token) as daemon:
            listed: dict[str, int] = {}
            for place in ("/bench", "/bench/2024/03/05", f"/bench/{HOUR}"):
                with os.scandir(daemon.path(place)) as entries:
                    listed |= {
                        entry.path.removeprefix(str(daemon.directory)): entry.inode() for entry in entries
                    }
            for path in list(listed)[-5:]:
                assert os.stat(daemon.path(path)).st_ino == listed[path]
            return listed

    first = numbers()
    assert len(first) > 200
    assert numbers() == first
    assert len(set(first.values())) == len(first)


def test_owner_and_modes_can_be_chosen(sim: SimulatorProcess) -> None:
    words = ["-o", "uid=1234,gid=2345,file_mode=0444", "-o", "dir_mode=0555"]
    with mounted(sim.api_url, {"bench": 200}, token=sim.token, options=words) as daemon:
        folder = daemon.path(f"/bench/{HOUR}")
        for path in (folder, f"{folder}/{min(os.listdir(folder))}"):
            told = os.stat(path)
            assert (told.st_uid, told.st_gid) == (1234, 2345)
            assert stat.S_IMODE(told.st_mode) == (0o555 if path == folder else 0o444)


def test_the_root_answers_while_the_api_is_out_of_reach(sim: SimulatorProcess) -> None:
    with mounted("http://127.0.0.1:9", {"bench": 200}, token=sim.token) as daemon:
        assert run("ls", daemon.directory).split() == ["bench"]
        assert os.statvfs(daemon.directory).f_namemax == 255
        assert "05" in os.listdir(daemon.path("/bench/2024/03"))


def test_the_kernel_is_asked_to_forget_recordings_when_it_knows_too_many(sim: SimulatorProcess) -> None:
    def inodes(daemon: Daemon) -> int:
        status = json.loads(Path(daemon.path("/.voxofs/status")).read_bytes())
        return int(status["kernel"]["inodes"])

    few = {"cache": {"known_sizes": 1_000}}
    with mounted(sim.api_url, {"flood": 202}, token=sim.token, sections=few) as daemon:
        for hour in ("10", "11"):
            folder = daemon.path(f"/flood/2024/03/05/{hour}")
            with open(f"{folder}/{sorted(os.listdir(folder))[0]}", "rb") as held:
                head = held.read(1_000)
                listed = subprocess.run(["ls", "-l", str(folder)], check=True, capture_output=True).stdout
                assert listed.count(b".mp3") == 1_000, "nothing is missing meanwhile"
                assert held.seek(0) == 0
                assert held.read(1_000) == head, "an open recording stays what it is"
        for _ in range(500):
            if inodes(daemon) <= 1_250:
                break
            os.sched_yield()
        assert inodes(daemon) <= 1_250, "two thousand were looked up"
