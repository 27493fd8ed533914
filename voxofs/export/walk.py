"""The recordings of a selection, in order: window after window, with some asked for ahead.

It goes through a tenant's days in order. A window that cannot be had is told and passed over, for the others
can; a refusal ends everything, because it would be the same everywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import date, timedelta

from voxofs.catalog.window import Place, Window
from voxofs.core.build import Core
from voxofs.errors import AccessDenied, VoxofsError
from voxofs.model import Tenant

from .selection import Days
from .where import Condition

Missing = Callable[[str, str], None]
"""Told of what cannot be had: its path and the reason."""


async def hours(
    core: Core, selection: Sequence[Days], where: Condition | None, missing: Missing
) -> AsyncGenerator[list[Place], None]:
    """The recordings that are meant and that the condition holds for, an hour at a time; no hour is empty.

    Raises `AccessDenied`.
    """
    for days in selection:
        wanted = {(day, *name) for day, names in days.names.items() for name in names}
        for begin, end in days.periods():
            day = begin
            while day < end:
                window = await _window(core, days.tenant, day, end, missing)
                for label in () if window is None else window.hours_of(day):
                    assert window is not None
                    hour = window.hours[day, label]
                    places = [Place(days.tenant, hour, index) for index in range(len(hour))]
                    meant = [each for each in places if days.holds(day, label, hour.names[each.index])]
                    wanted.difference_update((day, label, hour.names[each.index]) for each in meant)
                    if where is not None:
                        meant = [each for each in meant if where(each)]
                    if meant:
                        yield meant
                if window is None:
                    wanted = {each for each in wanted if each[0] != day}
                day += timedelta(days=1)
        for day, label, name in sorted(wanted):
            missing(f"{days.tenant.name}/{day:%Y/%m/%d}/{label}/{name}", "no report names it")


async def _window(core: Core, tenant: Tenant, day: date, end: date, missing: Missing) -> Window | None:
    """The window that holds a day, within the deadline; None where it cannot be had."""
    core.catalog.ask_ahead(tenant, day, end)
    path = f"{tenant.name}/{day:%Y/%m/%d}"
    try:
        with core.library.patience.limited(f"the report of {path}"):
            return await core.catalog.window(tenant, day, walks=False)
    except AccessDenied:
        raise
    except VoxofsError as error:
        missing(path, str(error))
        return None
