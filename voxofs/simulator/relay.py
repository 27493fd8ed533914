"""The way to a vendor far away: a relay that lets every byte travel half a round trip, in each direction.

    python -I relay.py --round-trip-s 0.04 --pair 40001:0 --pair 40002:0

(a pair is UPSTREAM:PUBLIC, 0 for any free port). Prints the public ports as JSON when it listens, and ends
when its standard input closes. A program of its own, with nothing but the standard library, so that it starts
at once and its work is nobody else's event loop's.

What is charged
    A connection costs a round trip before its first byte goes anywhere, as SYN and SYN-ACK would. (The
    client's connect itself returns at once: the kernel accepts for us. What it sends then waits.) From there
    on every byte arrives half a round trip after it was sent; so a TLS handshake costs what its flights cost.
What is not
    Bandwidth, loss, slow start. Pieces keep their order and travel by themselves: none waits for another
    that was sent later, or on another connection.
What a client sees
    An end and a reset travel like bytes. A vendor's port that refuses is a connection that is reset after
    its first round trip.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections import deque

PIECE_BYTES = 256 * 1024
"""As the simulator writes them: a piece of a recording is one read here."""
UNDER_WAY_BYTES = 16 << 20
"""Read but not yet delivered, a direction; then the sender waits, as for a full receive window. More than two
cores carry in half of 40 ms (0.8 GB/s), so it bounds memory (a reader that stopped) and not the rate."""
BACKLOG = 512
"""As the simulator's own ports: more connections than any client here opens at once."""
_RESET = None
_STDIN = 0


class End:
    """One socket of a pair: what is read here arrives at `peer` later."""

    __slots__ = ("closed", "hears", "mask", "peer", "ready", "shut", "sock", "starts_s", "under_way")
    peer: End

    def __init__(self, sock: socket.socket, starts_s: float) -> None:
        self.sock = sock
        self.starts_s = starts_s
        """Nothing leaves from here before: the handshake is under way."""
        self.ready: deque[bytes | memoryview] = deque()
        """Has arrived and is to be written here; empty bytes: the end."""
        self.under_way = 0
        """Bytes on their way to here, or ready."""
        self.hears = True
        """The other side of this socket has not ended."""
        self.shut = False
        """We have ended our side of it."""
        self.closed = False
        self.mask = 0


class Relay:
    """All connections, in one loop over one epoll."""

    def __init__(self, round_trip_s: float) -> None:
        self._round_trip_s = round_trip_s
        self._half_s = round_trip_s / 2
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
        self._ends: dict[int, End] = {}
        self._due: list[tuple[float, int, End, bytes | None]] = []
        """What arrives when and where; a heap. The number keeps the order of what is due at once."""
        self._number = 0

    def listen(self, host: str, upstream: int, public: int) -> int:
        """Relay a port; returns the public one. Raises OSError where it is taken."""
        listener = socket.create_server((host, public), backlog=BACKLOG)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = listener, (host, upstream)
        self._poll.register(listener.fileno(), select.EPOLLIN)
        number: int = listener.getsockname()[1]
        return number

    def run(self) -> None:
        """Until standard input closes."""
        self._poll.register(_STDIN, select.EPOLLIN)
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            if wait_s != 0.0:
                # epoll waits in whole milliseconds, 5 % of a half trip of 20 ms; select in microseconds
                select.select([self._poll], [], [], wait_s)
            for fd, events in self._poll.poll(0):
                if fd in self._listeners:
                    self._accept(*self._listeners[fd])
                elif fd == _STDIN:
                    if not os.read(_STDIN, 4_096):
                        return
                elif (end := self._ends.get(fd)) is not None:
                    self._serve(end, events)
            self._deliver()

    def _accept(self, listener: socket.socket, upstream: tuple[str, int]) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:
            time.sleep(0.01)  # out of descriptors, most likely: do not spin until some are closed
            return
        now_s = time.monotonic()
        client = End(sock, now_s + self._round_trip_s)
        vendor = End(socket.socket(), now_s + self._half_s)
        client.peer, vendor.peer = vendor, client
        for end in (client, vendor):
            end.sock.setblocking(False)
            end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends[end.sock.fileno()] = end
        with contextlib.suppress(OSError):  # in progress, or refused: the first read says so
            vendor.sock.connect(upstream)
        self._watch(client)
        self._watch(vendor)

    def _serve(self, end: End, events: int) -> None:
        if events & (select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP):
            self._read(end)
        if events & select.EPOLLOUT and not end.closed:
            self._write(end)

    def _read(self, end: End) -> None:
        try:
            data: bytes | None = end.sock.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = _RESET
        self._send_off(end, data)
        if data is _RESET:
            self._close(end)
            return
        end.peer.under_way += len(data)
        end.hears = data != b""
        self._watch(end)

    def _send_off(self, end: End, data: bytes | None) -> None:
        """`data` leaves at `end` now, and reaches the other one in half a round trip."""
        self._number += 1
        due_s = max(time.monotonic(), end.starts_s) + self._half_s
        heapq.heappush(self._due, (due_s, self._number, end.peer, data))

    def _deliver(self) -> None:
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            _, _, end, data = heapq.heappop(self._due)
            if end.closed:
                continue
            if data is _RESET:
                # nothing lingers: closing resets (socket(7), SO_LINGER)
                end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._close(end)
            else:
                end.ready.append(data)
                self._write(end)

    def _write(self, end: End) -> None:
        try:
            while end.ready:
                data = end.ready[0]
                if not data:
                    end.ready.clear()
                    end.shut = True
                    end.sock.shutdown(socket.SHUT_WR)
                    break
                sent = end.sock.send(data)
                end.under_way -= sent
                if sent < len(data):
                    end.ready[0] = memoryview(data)[sent:]
                    break
                end.ready.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._send_off(end, _RESET)
            self._close(end)
            return
        self._watch(end)
        if not end.peer.closed:
            self._watch(end.peer)

    def _watch(self, end: End) -> None:
        """Ask for what can be used; an end that has nothing more to say or hear is closed."""
        if end.shut and not end.hears:
            self._close(end)
            return
        mask = select.EPOLLOUT if end.ready else 0
        if end.hears and end.peer.under_way < UNDER_WAY_BYTES:
            mask |= select.EPOLLIN
        if mask == end.mask:
            return
        fd = end.sock.fileno()
        if not mask:
            self._poll.unregister(fd)  # with an empty mask a hang-up would be reported for ever
        elif end.mask:
            self._poll.modify(fd, mask)
        else:
            self._poll.register(fd, mask)
        end.mask = mask

    def _close(self, end: End) -> None:
        if end.closed:
            return
        end.closed = True
        end.ready.clear()
        end.under_way = 0
        self._ends.pop(end.sock.fileno(), None)
        if end.mask:
            self._poll.unregister(end.sock.fileno())
        end.sock.close()


def main() -> int:
    """Exit codes: 0 ended, 2 usage, or a port that could not be opened."""
    root = argparse.ArgumentParser(description="A relay that delays each direction by half a round trip.")
    root.add_argument("--round-trip-s", type=float, required=True)
    root.add_argument("--host", default="127.0.0.1")
    root.add_argument("--pair", action="append", required=True, metavar="UPSTREAM:PUBLIC")
    options = root.parse_args()
    # two descriptors a connection: as many as we are allowed
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    relay = Relay(options.round_trip_s)
    try:
        pairs = [[int(port) for port in pair.split(":")] for pair in options.pair]
        ports = [relay.listen(options.host, upstream, public) for upstream, public in pairs]
    except OSError as error:
        print(f"the relay cannot start: {error}", file=sys.stderr)
        return 2
    print(json.dumps(ports), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        relay.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
