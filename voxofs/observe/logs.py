"""The log: to whom it goes, in which form, and what must never be in it.

    foreground, terminal   stderr, "voxofs: warning: …"
    foreground, systemd    stderr with journald's priorities, "<4>…" (sd-daemon(3))
    background             log.file, else syslog
    --log-format json      one JSON object a line, anywhere

Whoever reads the log may stop reading: a line that stderr or syslog does not take at once is left out, and
how many were is said with the next one on stderr. The event loop waits for nobody's terminal.

Secrets are kept out where messages are made. Redaction here is the second line of defence: whatever
looks like a signature, a bearer token or a JWT is struck out of every finished line, tracebacks included,
and libraries that log URLs are held to warnings. In the same place control characters are escaped, so that
a message is one line and no terminal obeys what a stranger wrote. Tracebacks are written with VOXOFS_DEBUG=1
only.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from io import FileIO, TextIOWrapper
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import TextIO

from voxofs.config.legible import lines, one_line
from voxofs.config.secrets import redact
from voxofs.config.sections import LogSection

SYSLOG_SOCKET = Path("/dev/log")
_CHATTY = ("httpx", "httpcore", "stamina", "hpack", "h11", "h2", "hypercorn")
_EXTRAS = ("operation", "path", "tenant", "status", "cause", "consequence")
"""Attributes of a record that the JSON form shows where a caller gave them as `extra`."""


class Redaction(logging.Filter):
    """Strikes secrets and control characters out of a record's message and traceback before any formatter
    sees them."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = one_line(redact(record.getMessage())), None
        for name in _EXTRAS:
            if isinstance(value := getattr(record, name, None), str):
                setattr(record, name, one_line(redact(value)))
        if record.exc_info:
            trace = "\n".join(lines(redact(logging.Formatter().formatException(record.exc_info))))
            record.exc_text = trace if debugging() else None
            record.exc_info = None
        return True


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("VOXOFS_DEBUG", "") not in ("", "0")


class TextFormatter(logging.Formatter):
    """`voxofs: warning: message`, for people at a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the base class's name)
        return f"voxofs: {record.levelname.lower()}: {record.message}"


class FileFormatter(logging.Formatter):
    """`2026-03-01 12:00:00,000 warning: message`, for a file."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the base class's name)
        return f"{record.asctime} {record.levelname.lower()}: {record.message}"


class JournalFormatter(logging.Formatter):
    """The message with journald's priority before each line; journald adds time and name itself."""

    # Of syslog(3), as sd-daemon(3) has them: 7 is debug, which is everything below info.
    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in self._PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, logger, message, and the extras that were given."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in _EXTRAS if getattr(record, name, None) is not None}
        if record.exc_text:
            entry["traceback"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False, default=str)


class _Stderr(logging.StreamHandler[TextIO]):
    """stderr, which may be a pipe that nobody empties or a terminal that is held (Ctrl-S)."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            descriptor = self.stream.fileno()
        except (OSError, ValueError):  # nothing of the kernel's, which is a test's
            super().emit(record)
            return
        try:
            line = self.format(record) + self.terminator
            if self._lost:
                line = f"voxofs: {self._lost} lines were lost here: nobody read them{self.terminator}{line}"
            self._lost = 0 if _written(descriptor, line.encode(errors="backslashreplace")) else self._lost + 1
        except Exception:
            self.handleError(record)


def _written(descriptor: int, data: bytes) -> bool:
    """Write what is taken without waiting: poll(2) tells that PIPE_BUF bytes are (pipe(7))."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    while data:
        if not waiting.poll(0):
            return False
        data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
    return True


class _Syslog(SysLogHandler):
    """syslog; what its socket does not take at once is lost."""

    def _connect_unixsocket(self, address: str) -> None:
        super()._connect_unixsocket(address)  # type: ignore[misc]
        self.socket.setblocking(False)  # type: ignore[attr-defined]


class _File(logging.FileHandler):
    """A file, readable by its owner alone where it is made here: paths and errors name people's calls."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return TextIOWrapper(FileIO(descriptor, "a"), encoding=self.encoding, errors=self.errors)


def under_journald(environ: Mapping[str, str], descriptor: int = 2) -> bool:
    """Whether stderr goes to the journal: JOURNAL_STREAM names its device and inode (systemd.exec(5)).

    A service whose output is redirected elsewhere keeps its INVOCATION_ID, so that one counts only where
    JOURNAL_STREAM is not set, as in a container, and nobody looks at a terminal.
    """
    if stream := environ.get("JOURNAL_STREAM"):
        status = os.fstat(descriptor)
        return stream == f"{status.st_dev}:{status.st_ino}"
    return "INVOCATION_ID" in environ and not os.isatty(descriptor)


def set_up(log: LogSection, *, background: bool, environ: Mapping[str, str]) -> logging.Handler:
    """Send the process's log where the configuration and the circumstances say; replaces what was there.

    Raises OSError when log.file cannot be opened. Returns the handler.
    """
    handler: logging.Handler
    formatter: logging.Formatter
    if log.file is not None:
        handler = _File(log.file, encoding="utf-8", errors="replace")
        formatter = FileFormatter()
    elif not background:
        handler = _Stderr()
        formatter = JournalFormatter() if under_journald(environ) else TextFormatter()
    elif SYSLOG_SOCKET.exists():
        handler = _Syslog(str(SYSLOG_SOCKET), SysLogHandler.LOG_DAEMON)
        handler.ident = f"voxofs[{os.getpid()}]: "
        formatter = logging.Formatter("%(message)s")
    else:
        handler, formatter = logging.NullHandler(), logging.Formatter()
    handler.setFormatter(JsonFormatter() if log.format == "json" else formatter)
    handler.addFilter(Redaction())
    logging.raiseExceptions = debugging()  # a full disk must not print tracebacks from inside logging
    logging.captureWarnings(True)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(log.level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler
