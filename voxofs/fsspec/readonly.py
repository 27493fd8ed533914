"""Everything in fsspec that would write: EROFS, as on a mount that is read-only, and without a request."""

from __future__ import annotations

import errno
import os
from typing import Any, NoReturn


class ReadOnly:
    """Refuses. To be inherited from before fsspec's own class."""

    async def _refuse(self, path: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Nothing here can be written. Raises OSError (EROFS)."""
        read_only(path)

    _rm = _rm_file = _cp_file = _mv_file = _pipe_file = _pipe = _mkdir = _makedirs = _refuse

    async def _put_file(self, lpath: Any, rpath: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Nothing here can be written. Raises OSError (EROFS)."""
        read_only(rpath)

    async def _copy(self, path1: Any, path2: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Nothing here can be written. Raises OSError (EROFS)."""
        read_only(path2)

    _put = _put_file

    def _refuse_sync(self, path: Any, *args: Any, **kwargs: Any) -> NoReturn:
        """Nothing here can be written. Raises OSError (EROFS)."""
        read_only(path)

    mv = rmdir = touch = mkdir = makedirs = _refuse_sync


def read_only(path: Any) -> NoReturn:
    """Nothing here can be written. Raises OSError (EROFS)."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
