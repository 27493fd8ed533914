"""The log: its forms, who reads it, and what never gets into it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voxofs.config.sections import LogSection
from voxofs.observe import logs

SECRET = "c2lnbmF0dXJl%2Bx%3D"


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
    logs.set_up(LogSection(format=form, file=path), background=True, environ={})
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


def test_tracebacks_are_for_debugging_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for debug, expected in (("", 0), ("0", 0), ("1", 1)):
        monkeypatch.setenv("VOXOFS_DEBUG", debug)
        path = tmp_path / f"log{debug}"
        logs.set_up(LogSection(file=path), background=True, environ={})
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
    logs.set_up(LogSection(level="debug", file=tmp_path / "log"), background=True, environ={})
    for name in ("httpx", "httpcore.http11", "stamina", "hpack.hpack"):
        logging.getLogger(name).info("GET https://x/?Signature=y")
    logging.getLogger("voxofs").debug("ours")
    assert (tmp_path / "log").read_text().splitlines()[0].endswith("debug: ours")
