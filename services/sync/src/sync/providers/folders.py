"""Files that an operator mounts: opened by a plain name within one folder, never anything else of the machine."""

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["NotInFolder", "open_within"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class NotInFolder(Exception):
    """There is no such file that may be read; the text names no path."""


def open_within(folder: str, name: str) -> BinaryIO:
    """The regular file `name` of `folder`, opened; raises `NotInFolder`.

    A link is followed where it stays within the folder: that is how Kubernetes mounts secrets.
    """
    if not _NAME.fullmatch(name):
        raise NotInFolder("must be a plain name of letters, digits, dots, dashes and underscores")
    try:
        root = Path(folder).resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root):
            raise NotInFolder("leads out of its folder")
        # Not to wait for a writer, should it be a pipe; and no link, should it have become one meanwhile.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError):
        raise NotInFolder("does not exist or cannot be read") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotInFolder("is not a regular file")
    return os.fdopen(descriptor, "rb")
