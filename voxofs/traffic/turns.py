"""Whose turn it is: those who stand in line at a gate, by priority, by tenant in turn, by age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from .demand import Demand, Priority
from .flight import Promise

_PRIORITIES = tuple(Priority)
"""An enumeration is slow to go through."""


class Ticket(Promise[None]):
    """One demand at this gate: in line, or inside. The promise of an end of the waiting, with a place or
    because the demand was given up."""

    __slots__ = ("background", "given_up")

    def __init__(self) -> None:
        super().__init__()
        self.given_up = False
        self.background = False
        """Whether its place counts as one for background work; the demand may become urgent inside."""


class Turns:
    """Demands in line. Which of them may go is the gate's to say, who goes before whom is said here."""

    __slots__ = ("_count", "_lines")

    def __init__(self) -> None:
        self._count = 0
        self._lines: tuple[OrderedDict[str, dict[int, Demand]], ...] = tuple(OrderedDict() for _ in Priority)

    def __len__(self) -> int:
        return self._count

    def of(self, priority: Priority) -> bool:
        """Whether anybody of this priority stands in line."""
        return bool(self._lines[priority])

    def add(self, demand: Demand) -> None:
        """It stands in line from now on, among those of its priority."""
        self._count += 1
        self._lines[demand.priority].setdefault(demand.tenant, {})[demand.age] = demand

    def remove(self, demand: Demand) -> None:
        """It no longer does. Its priority must be what it was."""
        tenants = self._lines[demand.priority]
        line = tenants[demand.tenant]
        del line[demand.age]
        self._count -= 1
        if not line:
            del tenants[demand.tenant]

    def next(self, admits: Callable[[str, Priority], bool]) -> Demand | None:
        """The first in line of those for whose tenant and priority `admits` holds; its tenant's next turn
        comes after the others'."""
        if not self._count:
            return None
        for priority, tenants in zip(_PRIORITIES, self._lines, strict=True):
            for tenant, line in tenants.items():
                if admits(tenant, priority):
                    tenants.move_to_end(tenant)
                    return line[min(line)]
        return None
