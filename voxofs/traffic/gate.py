"""Who may send a request now: a limiter that knows who is waiting for what.

Every request to an origin passes that origin's gate, and holds its place until the body is read. The order
of service decides how fast a mount feels, so the gate, not the connection pool, is where requests queue:

* a reader who waits goes before readahead, and readahead before prefetch;
* background work never takes the last places, so that a reader finds one free;
* within one priority the tenants take turns, and while several are configured none may hold more than
  seven times what it leaves free: one whose requests hang delays no other (the dynamic threshold of
  Choudhury and Hahne, 1998). For background work it is five times, so that the tenant's own readers find
  a place, too;
* within that, what was asked for first goes first, in whatever order tasks run;
* the limit falls when the origin itself says that it is too much (429, 503), and grows back with every
  success; where it falls below one there are pauses between requests (`pace`). A request that gets no answer
  shrinks the share of its tenant only (`reach`), unless all tenants fare alike;
* a reader whose tenant holds no place finds one, whatever the limit; pauses follow its own refusals only;
* while it is out of reach for a tenant (`reach`), readers are told soon, background work is given up;
* while the origin has asked to be left alone (Retry-After), nobody enters: readers wait where their deadline
  allows it and are told otherwise, background work is given up.

When somebody starts to wait for what was begun in the background, its demand is raised, wherever it stands.

Between a decision and the table change that it causes there is no await, so every invariant holds whenever
another task runs: in use = sum of held by tenant <= places, and nobody waits while an admissible place is
free.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial

import trio

from voxofs.errors import Unanswered, Unavailable, VoxofsError

from .demand import Abandoned, Demand, Priority
from .pace import Pace
from .reach import Reach
from .retry import asks_for_less, still_worth_it_s
from .turns import Ticket, Turns

_SLOWED_EVERY_S = 1.0
"""The requests of one burst fail together, and that is one event. A rule of thumb, as in `reach`."""
_TICK_S = 0.001
"""The shortest sleep: what is left of a wait may be too little to be added to a clock."""
_LONGEST_REST_S = 3_600.0
"""One request an hour burdens nobody; a nonsensical Retry-After must not end a mount."""
_FREE_MULTIPLES = (7, 5, 5)
"""By priority: what a tenant may hold in units of what it leaves free. Of 32 places 28, or 26."""


class Permit:
    """A place at a gate, held for the length of a block. `watched`: for one request, whose end is told."""

    __slots__ = ("_began_s", "_demand", "_gate", "_watched")

    def __init__(self, gate: Gate, demand: Demand, *, watched: bool) -> None:
        self._gate = gate
        self._demand = demand
        self._watched = watched

    async def __aenter__(self) -> None:
        await self._gate.enter(self._demand)
        self._began_s = self._gate.now_s()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._watched:
            self._gate.ended(self._demand, self._began_s, error)
        self._gate.leave(self._demand)


class Gate:
    """At most `limit` requests at once to one origin. `patience_s`: what a user's wait is limited to."""

    def __init__(
        self,
        name: str,
        limit: int,
        *,
        monotonic_s: Callable[[], float],
        tenants: int = 1,
        patience_s: float = 30.0,
    ) -> None:
        self.name = name
        self.most = limit
        self.places = max(limit, tenants + 1)
        """Connections that it may need: one for each tenant, and one to sign in, however low the limit."""
        self.peak = 0
        self._pace = Pace(limit, patience_s)
        self._alarmed = False
        """Whether a task sleeps until the pause is over."""
        self._share_fairly = tenants > 1
        self.now_s = monotonic_s
        self._reach: defaultdict[str, Reach] = defaultdict(partial(Reach, patience_s))
        self._refusals: dict[str, Unavailable] = {}
        """By tenant, until something succeeds."""
        self._resting_until_s = float("-inf")
        self._held: Counter[str] = Counter()
        self._in_use = 0
        self._background = 0
        self._tickets: dict[Demand, Ticket] = {}
        """Of every demand in line or inside."""
        self._turns = Turns()
        self.idle: set[Callable[[], None]] = set()
        """Called when somebody has to wait: of those inside who hold a place and make no use of it."""

    def __repr__(self) -> str:
        return f"<Gate {self.name} {self._in_use}/{self.limit} in use, {self.waiting} waiting>"

    @property
    def limit(self) -> int:
        """Requests at once at this moment."""
        return max(1, int(self._pace.limit))

    @property
    def interval_s(self) -> float:
        """From one request to the next on average, in seconds; 0 while several may be under way at once."""
        return self._pace.interval_s

    @property
    def in_use(self) -> int:
        """Requests under way."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Demands in line."""
        return len(self._turns)

    @property
    def held(self) -> Counter[str]:
        """Requests under way by tenant; no tenant is listed with none."""
        return self._held.copy()

    @property
    def background(self) -> int:
        """Requests under way that nobody waited for when they were begun."""
        return self._background

    @property
    def shrunk(self) -> bool:
        """Whether the origin has asked for less and the gate has not grown back."""
        return self._pace.shrunk

    def place(self, demand: Demand) -> Permit:
        """`async with gate.place(demand)`: hold a place for one whole request. Raises as `enter` does."""
        return Permit(self, demand, watched=False)

    def request(self, demand: Demand) -> Permit:
        """The same for a request whose end decides how many may follow."""
        return Permit(self, demand, watched=True)

    def ended(self, demand: Demand, began_s: float, error: BaseException | None) -> None:
        """A request that was begun at `began_s` (monotonic) has ended, with an error or well."""
        if error is None:
            self.succeeded(demand.tenant, self.now_s() - began_s)
        elif isinstance(error, Unavailable) and error.status is None:
            self.unanswered(demand, error, began_s)
        elif isinstance(error, VoxofsError):
            self._answered(demand.tenant)
            if isinstance(error, Unavailable) and asks_for_less(error):
                self.refused(demand.tenant, error.retry_after_s, began_s)
                self._refusals[demand.tenant] = Unavailable(str(error), status=error.status)

    def _answered(self, tenant: str) -> None:
        reach, now_s = self._reach[tenant], self.now_s()
        was_lost = reach.is_lost(now_s)
        reach.answered(now_s, self.most)
        if was_lost:
            for demand in self._tickets:
                if demand.tenant == tenant:
                    demand.asks(self)  # they need not hurry any more

    def refused(self, tenant: str, retry_after_s: float | None, began_s: float | None = None) -> None:
        """The origin asked for less when it got a request that was begun at `began_s` (monotonic; None: just
        now). It is left alone for as long as it said."""
        now_s = self.now_s()
        if retry_after_s is not None:
            until_s = now_s + min(retry_after_s, _LONGEST_REST_S)
            self._resting_until_s = max(self._resting_until_s, until_s)
        self._pace.refused(tenant, now_s if began_s is None else began_s, now_s)

    def unanswered(self, demand: Demand, error: Unavailable, began_s: float) -> None:
        """A request that was begun at `began_s` (monotonic) got no answer: its tenant's share is halved.
        Where several tenants fare so and nobody fares better, it is the origin that does not keep up."""
        reach, now_s = self._reach[demand.tenant], self.now_s()
        reach.failed(error, began_s, now_s, self._held[demand.tenant])
        error.exhausted |= reach.is_lost(now_s)
        troubled = {tenant for tenant, each in self._reach.items() if each.error is not None}
        if len(troubled) > 1 and troubled.issuperset(self._held):
            self._pace.slowed(now_s, _SLOWED_EVERY_S)

    def given_up(self, tenant: str) -> None:
        """A user of this tenant has waited in vain."""
        if tenant in self._reach:
            self._reach[tenant].given_up(self.now_s())

    def hurry_s(self, tenant: str) -> float | None:
        """How long a user waits for this origin now, in seconds; None while it is in reach."""
        reach = self._reach.get(tenant)
        return None if reach is None else reach.hurry_s(self.now_s())

    def why_lost(self, tenant: str) -> Unanswered:
        """What to tell somebody who was not to wait for longer."""
        reach = self._reach.get(tenant)
        cause = None if reach is None else reach.error
        error = Unanswered(
            f"{cause or f'the {self.name} did not answer in time'} (nothing has answered for a while; it is "
            "tried on, and works again with the first answer)"
        )
        error.exhausted = True
        return error

    @property
    def lost(self) -> dict[str, float]:
        """The tenants for which the origin is out of reach, and for how many seconds it has been."""
        now_s = self.now_s()
        return {
            tenant: now_s - (each.failing_since_s or now_s)
            for tenant, each in self._reach.items()
            if each.is_lost(now_s)
        }

    @property
    def resting_s(self) -> float:
        """How long the origin still wants to be left alone, in seconds."""
        return max(0.0, self._resting_until_s - self.now_s())

    def forgive(self) -> None:
        """Forget what the origin asked for and how it failed: a try is worth it (SIGHUP)."""
        self._resting_until_s = float("-inf")
        self._pace.forgive()
        self._reach.clear()
        self._grant()

    def succeeded(self, tenant: str, took_s: float | None = None) -> None:
        """A request went well, and took so long."""
        self._answered(tenant)
        self._refusals.pop(tenant, None)
        self._pace.succeeded(tenant, self.now_s(), took_s)

    def admits(self, tenant: str, priority: Priority) -> bool:
        """Whether a demand of this tenant could have a place now, if nobody stood before it."""
        held = self._held[tenant]
        if self._pace.rests(tenant, self.now_s()):
            return False
        if not held and priority is Priority.READER and self._in_use < self.places:
            return True
        free = self.limit - self._in_use
        reach = self._reach.get(tenant)
        if free <= 0 or (reach is not None and not reach.room(held, self.now_s())):
            return False
        if self._share_fairly and 0 < held >= _FREE_MULTIPLES[priority] * (free - 1):
            return False
        return priority is Priority.READER or self._background < self._background_limit

    @property
    def _background_limit(self) -> int:
        """Background work leaves a sixteenth to readers, a half where the origin has asked for less."""
        return max(1, self.limit // 2 if self.shrunk else self.limit - max(1, self.limit // 16))

    async def enter(self, demand: Demand) -> None:
        """Wait for a place and take it. Raises `Abandoned`; `Unavailable` while the origin wants to be left
        alone for longer than anybody waits; `Unanswered` for background work while it is out of reach."""
        background = demand.priority is not Priority.READER
        try:
            while not await self._enter(demand, background=background):
                background = False  # somebody waits for it, or has begun to between `give_up` and now
        except BaseException:
            demand.asks(None)
            raise

    async def _enter(self, demand: Demand, *, background: bool) -> bool:
        """Whether it has a place now; else it is to try again, for somebody who waits."""
        demand.asks(self)
        if background and self.hurry_s(demand.tenant) is not None:
            raise self.why_lost(demand.tenant)
        while self._resting_until_s > self.now_s():
            await self._rest(demand, background=background)
        first = demand.served and not self._turns if background else not self._turns.of(Priority.READER)
        if first and self.admits(demand.tenant, demand.priority):
            self._take(demand, Ticket())
            return True
        if await self._given_up(demand, background=background):
            if not demand.waiters:
                raise Abandoned
            return False
        if self._resting_until_s <= self.now_s():
            return True
        self.leave(demand)  # the origin has asked to be left alone since it stood in line
        await self._rest(demand, background=background)
        return False

    async def _rest(self, demand: Demand, *, background: bool) -> None:
        """Wait until the origin may be asked again, where that makes sense."""
        left_s = self.resting_s
        if background or left_s > demand.patience_s:
            raise Unavailable(
                f"the {self.name} asked to be left alone for another {left_s:.0f} s (Retry-After): "
                "try again then",
                retry_after_s=left_s,
            )
        await trio.sleep(max(left_s, _TICK_S))

    async def _given_up(self, demand: Demand, *, background: bool) -> bool:
        """Stand in line until the demand has a place, or was given up."""
        ticket = Ticket()
        self._queue(demand, ticket)
        try:
            if background:
                # Work that was begun together comes to its first gate in no order: let all of it queue up.
                await trio.lowlevel.checkpoint()
            self._grant()
            if not ticket.settled:
                await self._granted(demand, ticket)
        except BaseException:
            if demand.line is self:
                self._unqueue(demand)
            elif not ticket.given_up:
                self.leave(demand)
            raise
        return ticket.given_up

    async def _granted(self, demand: Demand, ticket: Ticket) -> None:
        for each in list(self.idle):
            each()
        if (left_s := still_worth_it_s(demand)) < float("inf"):  # a scope costs as much as a task
            with trio.move_on_after(left_s):
                await ticket.wait()
                return
            if (refusal := self._refusals.get(demand.tenant)) is not None:
                # As `retry` does: the cause is told, not just that time is up.
                raise Unavailable(str(refusal), status=refusal.status)
        await ticket.wait()

    def raise_to(self, demand: Demand, priority: Priority) -> None:
        """Move a demand to a more urgent line and serve whoever is next."""
        ticket = self._unqueue(demand)
        demand.priority = priority
        self._queue(demand, ticket)
        self._grant()

    def give_up(self, demand: Demand) -> None:
        """Take a demand out of line; its task gets `Abandoned`, unless somebody waits by then."""
        ticket = self._unqueue(demand)
        ticket.given_up = True
        ticket.keep(None)

    def _queue(self, demand: Demand, ticket: Ticket) -> None:
        demand.line = self
        self._tickets[demand] = ticket
        self._turns.add(demand)

    def _unqueue(self, demand: Demand) -> Ticket:
        self._turns.remove(demand)
        demand.line = None
        return self._tickets.pop(demand)

    def _take(self, demand: Demand, ticket: Ticket) -> None:
        self._in_use += 1
        demand.served = True
        self._held[demand.tenant] += 1
        self.peak = max(self.peak, self._in_use)
        ticket.background = demand.priority is not Priority.READER
        self._background += ticket.background
        self._tickets[demand] = ticket
        now_s = self.now_s()
        self._pace.began(now_s)
        if (reach := self._reach.get(demand.tenant)) is not None:
            reach.tried(now_s)

    def leave(self, demand: Demand) -> None:
        """Give a place back."""
        demand.asks(None)
        self._in_use -= 1
        self._held[demand.tenant] -= 1
        if not self._held[demand.tenant]:
            del self._held[demand.tenant]
        self._background -= self._tickets.pop(demand).background
        self._grant()

    def _grant(self) -> None:
        while (demand := self._turns.next(self.admits)) is not None:
            ticket = self._unqueue(demand)
            self._take(demand, ticket)
            ticket.keep(None)
        if not self._alarmed and self.waiting and self._pace.next_s > self.now_s():
            self._alarmed = True
            trio.lowlevel.spawn_system_task(self._grant_after_pause, name=f"pause of the {self.name}")

    async def _grant_after_pause(self) -> None:
        """When a pause ends nobody leaves whose place could be given on: time alone lets the next one in."""
        while self.waiting and (left_s := self._pace.next_s - self.now_s()) > 0:  # noqa: ASYNC110
            await trio.sleep(max(left_s, _TICK_S))
        self._alarmed = False
        self._grant()
