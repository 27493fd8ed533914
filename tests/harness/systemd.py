"""The other end of $NOTIFY_SOCKET: the service manager, as a real datagram socket."""

from __future__ import annotations

import socket
from types import TracebackType


class Manager:
    """Hears what a service says, for as long as the block lasts. "@" begins an abstract address."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address}

    def __enter__(self) -> Manager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        """The messages since the last call, in order."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages
