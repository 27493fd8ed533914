"""What the tests stand on: a world of calls with known bytes, clocks that tests turn, and two front ends.

world   recordings written by hand, so that every expected byte and every request can be named
rig     a simulator and a core over it, in one event loop, with a clock that tests turn
mounts  the daemon as a real child process on a real mount, taken down whatever happens
fronts  one small interface over both: `listdir`, `stat`, `read`, `opened`, `xattr`
"""

from __future__ import annotations
