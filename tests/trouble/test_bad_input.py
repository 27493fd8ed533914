"""Whatever the API, the storage or a program may say: only errors of ours come out, and only safe names.

Examples are found by hypothesis. Each runs through the core: a body, a header, a link, a path.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import pytest
import trio
from harness.world import call
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trials.hostile import PATH, Answers, hostile_core, no_defects

from voxofs.central import CentralTime
from voxofs.core.build import Core
from voxofs.errors import BadAnswer, VoxofsError
from voxofs.source.report import decoded

few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
DAY = PATH[:4]


def is_safe_name(name: str) -> bool:
    """Whether a name can be shown by a file system and typed into a shell without harm."""
    encoded = os.fsencode(name)
    return (
        0 < len(encoded) <= 255
        and name not in (".", "..")
        and "/" not in name
        and not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name)
        and encoded.decode("utf-8") == name
    )


async def browse(core: Core) -> list[str]:
    """What a program does that looks at everything of a day; gives the names that it was shown."""
    names: list[str] = []
    try:
        hours = await core.fs.listing(DAY)
        for hour in [hours.entry(index)[0] for index in range(len(hours))]:
            assert len(hour) == 2
            assert hour.isdigit()
            calls = await core.fs.listing((*DAY, hour))
            found = [calls.entry(index)[0] for index in range(len(calls))]
            assert found == sorted(set(found))
            names += found
            for name in found[:3]:
                for attribute in await core.fs.xattr_names((*DAY, hour, name)):
                    value = await core.fs.xattr((*DAY, hour, name), attribute)
                    assert value is not None
                    value.encode("utf-8", "replace")
    except VoxofsError as error:
        str(error).encode("utf-8", "backslashreplace")
    return names


def browse_report(report: bytes) -> list[str]:
    """The names that a report leads to."""

    async def main() -> list[str]:
        async with hostile_core(Answers(report=report)) as core:
            return await browse(core)

    with no_defects():
        names = trio.run(main)
    assert all(is_safe_name(name) for name in names), names
    return names


# --- bodies

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, -(10**18), 1e308, "", "0", "\ud800", "a\x00b", "../../etc/passwd", "x" * 300])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
hostile_ids = st.sampled_from(
    [
        ".",
        "..",
        "/",
        "a/b",
        "\x00",
        "a\nb",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "x" * 251,
        "x" * 252,
        "é" * 126,
        "\ud800",
        " ",
        "-rf",
        "~",
        "*",
    ]
)
starts = st.sampled_from(
    [
        "2024-03-05 10:00:00",
        "2024-03-05 25:00:00",
        "2024-03-10 02:30:00",
        "0000-00-00 00:00:00",
        "2024-03-05",
        "9999-12-31 23:59:59",
        "03/05/24 10:00:00",
        "2024-03-05T10:00:00Z",
        "２０２４-03-05 10:00:00",
        "2024-03-05 10:00:00\x00",
    ]
)
records = st.builds(
    lambda unique_id, start, more: call(unique_id, start) | more,
    hostile_ids | st.text() | values,
    starts | st.just("2024-03-05 10:00:00") | values,
    st.dictionaries(
        st.sampled_from(
            ["recorded", "duration", "direction", "id", "time", "instantS", "qos", "queueCall", "unique_id"]
        ),
        values,
    ),
)


@few
@given(st.lists(records | values, max_size=20))
def test_reports_of_any_records(elements: list[Any]) -> None:
    browse_report(json.dumps(elements).encode())


@few
@given(values)
def test_reports_of_any_json(value: Any) -> None:
    browse_report(json.dumps(value).encode())


@few
@given(
    st.binary()
    | st.text().map(lambda text: text.encode("utf-16"))
    | st.text().map(lambda text: text.encode("latin-1", "ignore"))
)
@example(b"")
@example(b"[")
@example(b"\xef\xbb\xbf[]")
@example(b"[" * 200_000)
@example(b'[{"uniqueId":' + b"[" * 200_000)
@example(b"[" + b'{"a":' * 50_000)
@example(b'[{"uniqueId": "x", "start": "2024-03-05 10:00:00", "duration": ' + b"9" * 5_000 + b"}]")
@example(b'[{"uniqueId": "\xff\xfe", "start": "2024-03-05 10:00:00"}]')
@example(b"[NaN, Infinity, {}]")
@example(b"null")
@example(b'{"total": 0, "data": []}')
def test_reports_of_any_bytes(report: bytes) -> None:
    browse_report(report)
    try:
        for _ in decoded(report, CentralTime(), Counter()):
            pass
    except BadAnswer:
        return


def test_good_records_are_shown_among_bad_ones() -> None:
    """A guard: what is above would also pass if nothing were ever shown."""
    mixed = [
        None,
        7,
        call("..", "2024-03-05 10:00:00"),
        call("good", "2024-03-05 10:00:00"),
        call("a/b", "2024-03-05 10:00:01"),
    ]
    assert browse_report(json.dumps(mixed).encode()) == ["good.mp3"]


def test_a_huge_list_is_shown_whole() -> None:
    huge = [call(f"call-{number:06}", "2024-03-05 10:00:00") for number in range(30_000)]
    assert browse_report(json.dumps(huge).encode()) == [f"call-{number:06}.mp3" for number in range(30_000)]


def test_an_empty_list_is_an_empty_day_and_a_broken_one_is_an_error() -> None:
    async def main(report: bytes) -> int:
        async with hostile_core(Answers(report=report)) as core:
            return len(await core.fs.listing(DAY))

    assert trio.run(main, b"[]") == 0
    for broken in (b"", b"{}", b"null", b"[", b"<html></html>"):
        with pytest.raises(BaseExceptionGroup) as raised:
            trio.run(main, broken)
        assert raised.group_contains(BadAnswer), broken


# --- links, heads and bodies of the storage


def read_from(answers: Answers) -> bytes | None:
    """What a reader gets, or None where it gets an error of ours."""

    async def main() -> bytes | None:
        async with hostile_core(answers) as core:
            try:
                handle = await core.fs.open(PATH)
            except VoxofsError:
                return None
            try:
                return bytes(await handle.read(0, 1_000_000))
            except VoxofsError:
                return None
            finally:
                handle.close()

    with no_defects():
        return trio.run(main)


@few
@given(
    st.text()
    | st.text(alphabet=":/[]@%#?.\\ 0a\x00é", max_size=30).map(lambda text: f"http://127.0.0.1{text}")
)
@example("http://[::1")
@example("http://[x]/")
@example("http://127.0.0.1:99999/")
@example("http://127.0.0.1:0/")
@example("http://127.0.0.1:²/")
@example("http://a\x00b/")
@example("http://" + "a" * 300 + ".invalid/")
@example("http://127.0.0.1:1/" + "x" * 100_000)
@example("//127.0.0.1/x")
@example("file:///etc/passwd")
@example("http://user:pass@/x")
@example("http://127.0.0.1:1/\ud800")
@example("http://\ud800/")
@example("http://xn--/")
@example("http://..../")
def test_any_link(link: str) -> None:
    assert read_from(Answers(link=link)) is None


header_values = st.sampled_from(
    [
        "bytes 0-4/5",
        "bytes 0-4/*",
        "bytes */5",
        "bytes */0",
        "bytes 4-0/5",
        "bytes 0-4/" + "9" * 5_000,
        "bytes 0-4/-5",
        "bytes 0-4/99999999999999999999",
        "bytes 1-5/6",
        "bytes 0-99/5",
        "octets 0-4/5",
        "bytes ٠-٤/٥",
        "",
        "²",
        "-1",
        "5",
        "5, 5",
        "nan",
        "inf",
        "1e999",
        "9" * 400,
        "Mon, 01 Jan 0001 00:00:00 -0000",
        "Mon, 99 Foo 99999 99:99:99 +9999",
        "Mon, 01 Jan 2024 00:00:00 +999999",
        '"€"',
        '"é"',
        '"x"',
        'W/"x"',
        '"',
        "gzip",
        "br",
        "chunked",
        "identity",
        "text/html",
        "audio/mpeg",
        "close",
    ]
)
header_names = st.sampled_from(
    [
        "content-range",
        "content-length",
        "etag",
        "last-modified",
        "date",
        "retry-after",
        "content-encoding",
        "transfer-encoding",
        "content-type",
        "location",
        "connection",
    ]
)
statuses = st.sampled_from(
    [200, 204, 206, 301, 304, 400, 401, 403, 404, 412, 416, 429, 500, 503, 599, 600, 999]
)


def head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """A status line and headers as raw bytes."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    return "".join(f"{line}\r\n" for line in lines).encode()


@settings(few, max_examples=120)
@given(
    statuses,
    st.lists(st.tuples(header_names, header_values | st.text(max_size=20)), max_size=6),
    st.binary(max_size=10),
)
@example(206, [("content-range", "bytes 0-4/" + "9" * 5_000), ("content-length", "5")], b"audio")
@example(206, [("content-range", "bytes 0-4/5"), ("etag", '"€"'), ("content-length", "2")], b"au")
@example(206, [("content-range", "bytes 0-0/1000000000000000000"), ("content-length", "1")], b"a")
@example(206, [("content-range", "bytes 0-99/100"), ("content-length", "5")], b"audio")
@example(206, [("content-range", "bytes 5-0/5"), ("content-length", "5")], b"audio")
@example(200, [("content-length", "²")], b"audio")
@example(200, [("content-length", "5"), ("content-encoding", "gzip")], b"audio")
@example(503, [("retry-after", "Mon, 01 Jan 0001 00:00:00 -0000")], b"")
@example(503, [("retry-after", "nan")], b"")
@example(429, [("retry-after", "²")], b"")
def test_any_answer_of_the_storage(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    read_from(Answers(head=head(status, headers), body=body))


@settings(few, max_examples=60)
@given(statuses, st.lists(st.tuples(header_names, header_values | st.text(max_size=20)), max_size=5))
@example(200, [("date", "Mon, 01 Jan 0001 00:00:00 -0000")])
@example(200, [("date", "Mon, 01 Jan 2024 00:00:00 +999999")])
@example(200, [("content-encoding", "gzip")])
@example(429, [("retry-after", "nan")])
@example(429, [("retry-after", "Mon, 01 Jan 0001 00:00:00 -0000")])
def test_any_head_of_the_api(status: int, headers: list[tuple[str, str]]) -> None:
    read_from(Answers(api_head=head(status, headers)))


@pytest.mark.parametrize("lie", ["bytes 0-99/5", "bytes 0-0/5", "bytes 4-0/5"])
def test_a_range_that_contradicts_itself_is_never_an_end_of_file(lie: str) -> None:
    answers = Answers(head=head(206, [("content-range", lie), ("content-length", "5")]))
    assert read_from(answers) in (None, b"audio")


def test_a_sound_answer_is_read() -> None:
    """A guard: what is above would also pass if nothing could ever be read."""
    assert read_from(Answers()) == b"audio"


# --- paths

names = st.text() | st.text(alphabet=st.characters(codec="utf-8")) | st.binary(max_size=300).map(os.fsdecode)
names |= st.sampled_from(
    [
        ".",
        "..",
        "",
        "office",
        "2024",
        "03",
        "05",
        "10",
        "24",
        "99",
        "tape.mp3",
        ".mp3",
        ".voxofs",
        "status",
        "0000",
        "٢٠٢٤",
        "²²",
        "-1",
        "+3",
        " 3",
        "x" * 5_000,
        "a\nb",
        "\x1b[2J",
        "\udcff",
        "2024\n",
    ]
)
paths = st.lists(names, max_size=8).map(tuple) | st.tuples(
    st.integers(0, 6), st.lists(names, max_size=3)
).map(lambda cut: (*PATH[: cut[0]], *cut[1]))


@settings(few, max_examples=80)
@given(st.lists(paths, min_size=1, max_size=12))
@example(
    [
        (),
        ("office",),
        ("office", ""),
        ("office", "2024", "٠٣"),
        (*PATH[:5], ""),
        (*PATH, "deeper"),
        (".voxofs",),
        (".voxofs", "status", "x"),
    ]
)
def test_any_path(asked: list[tuple[str, ...]]) -> None:
    async def main() -> None:
        async with hostile_core(Answers()) as core:
            for path in asked:
                await ask_everything(core, path)
            # What has failed is remembered by its path, and must still be text.
            json.loads(json.dumps([failure.text() for failure, _ in core.health.recent]))

    with no_defects():
        trio.run(main)


async def ask_everything(core: Core, path: tuple[str, ...]) -> None:
    """Every operation of the file system on one path; anything but an error of ours is passed on."""

    async def attributes() -> None:
        for name in ("user.voxofs.error", "user.voxo.direction", "user.voxo.\udcff", "", "security.selinux"):
            await core.fs.xattr(path, name)

    async def entries() -> None:
        listing = await core.fs.listing(path)
        assert all(is_safe_name(listing.entry(index)[0]) for index in range(len(listing)))

    async def content() -> None:
        handle = await core.fs.open(path)
        try:
            await handle.read(0, 10)
        finally:
            handle.close()

    for work in (
        lambda: core.fs.lookup(path),
        entries,
        content,
        attributes,
        lambda: core.fs.xattr_names(path),
    ):
        try:
            await work()
        except VoxofsError as error:
            str(error).encode("utf-8", "backslashreplace")


def test_the_status_file_survives_hostile_paths() -> None:
    async def main() -> bytes:
        async with hostile_core(Answers(report=b"{}")) as core:
            for name in ("\udcff.mp3", "a\nb.mp3", '"}{.mp3'):
                with pytest.raises(VoxofsError):
                    await core.fs.lookup((*PATH[:5], name))
            return core.status.text()

    [cause] = json.loads(trio.run(main))["last_errors"]
    assert cause["times"] == 3
