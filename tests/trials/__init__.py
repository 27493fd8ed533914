"""Helpers for the tests of what goes wrong.

virtual   a simulator and a core over real sockets in a time that jumps: a deadline of 30 s costs 20 ms
matrix    the fault matrix as data: troubles, operations, and what must come of each
hostile   an origin that answers whatever bytes a test gives it
secrets   what must appear nowhere
crowded   sixty-four processes at an API that serves twenty at once; run by hand
daemons   real daemons on real mounts, killed, stopped and healed
"""

from __future__ import annotations
