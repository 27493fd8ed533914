"""The soak: many workers with real tools on one mount, for as long as one likes, while everything goes wrong.

population   which recordings there are, and their true bytes
tools        what a worker does in one step, and how it is told right from wrong
workers      the workers, what they have seen, and the watchdog over them
process      the daemon's memory, threads and descriptors, from /proc
invariants   what must hold at the end of any run: gauges, memory, secrets
campaign     the whole run: simulator, mount, faults, token rotation
report       the figures, for people and as JSON

With `--trouble` two tenants, one in trouble that changes, the other held to what it needs without:

troubles     the kinds of trouble, as rules of the simulator that match one tenant
neighbours   the whole run: units without trouble, then one trouble after the other
bounds       how much the calm tenant may notice, and what the troubled one may see
neighbours_report  its figures
"""

from __future__ import annotations
