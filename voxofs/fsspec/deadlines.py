"""A deadline's own error, through fsspec's synchronous calls.

fsspec takes every TimeoutError for one of its own and puts another in its place, without errno and message.
What the core said is the cause of that one, and comes back here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from fsspec.exceptions import FSTimeoutError


def with_errno(call: Callable[..., Any]) -> Callable[..., Any]:
    """A synchronous call, or generator, whose deadline keeps its errno."""
    if inspect.isgeneratorfunction(call):

        @wraps(call)
        def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with _cause():
                yield from call(*args, **kwargs)

        return steps

    @wraps(call)
    def called(*args: Any, **kwargs: Any) -> Any:
        with _cause():
            return call(*args, **kwargs)

    return called


@contextmanager
def _cause() -> Iterator[None]:
    try:
        yield
    except FSTimeoutError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise
