"""Files of ours on disk: there as a whole or not at all, whatever happens to the machine."""

import os
import time
from pathlib import Path

# What file systems that are not coarser than this tell apart.
_TICK = 1_000


def write_private(path: Path, content: str | bytes, *, newer_than: int = 0) -> None:
    """Nothing: the file is there as a whole, with mode 600, even when the machine stops half-way.

    It says it was written later than `newer_than` (nanoseconds since 1970), whatever the clock says.
    """
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        if newer_than:
            moment = max(time.time_ns(), newer_than + _TICK)
            os.utime(descriptor, ns=(moment, moment))
        os.fsync(descriptor)
    draft.replace(path)
    # The name is the folder's, and lasts when that is written too.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
