"""What must be there before anything is sealed: the store, a master key, a recovery key. Needs no Django."""

from pathlib import Path

from backend.disk import write_private
from backend.keys import wrapping
from backend.keys.files import FileStore
from backend.keys.keyring import INSTALLATION, Keyring
from backend.keys.master import MasterFile


def set_up(*, store: Path, master: Path, recovery: Path) -> bool:
    """Whether a recovery key of the installation was made just now; it lies in that file, to be taken away.

    Whatever is there already stays as it is.
    """
    files, masters = FileStore(store), MasterFile(master)
    files.make()
    masters.make()
    ring = Keyring(files, masters)
    made = files.recovery_key(INSTALLATION) is None
    if made:
        ring.new_recovery_key(
            INSTALLATION, keep=lambda private: write_private(recovery, wrapping.written(private) + "\n")
        )
    ring.prepare()
    return made
