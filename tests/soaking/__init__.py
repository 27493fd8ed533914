"""The soak: many workers with real tools on one mount, for as long as one likes, while everything goes wrong.

population   which recordings there are, and their true bytes
tools        what a worker does in one step, and how it is told right from wrong
workers      the workers, what they have seen, and the watchdog over them
process      the daemon's memory, threads and descriptors, from /proc
campaign     the whole run: simulator, mount, faults, token rotation, invariants
report       the figures, for people and as JSON
"""

from __future__ import annotations
