"""Objects that a machine has lost with its power: cut short, since nobody waits for the disk with each of thousands.

libgit2 (1.9) never ends on a loose object that is cut short, and holds the interpreter meanwhile: they must be gone before it looks. Only a
kernel that stopped can leave them (a process that is killed cannot), and only among the newest; whoever misses them fetches them again.
"""

import logging
import zlib
from datetime import timedelta
from pathlib import Path

log = logging.getLogger(__name__)

BOOT = Path("/proc/sys/kernel/random/boot_id")
RECENT = timedelta(hours=1)
CHUNK = 2**20


def this_boot() -> str:
    """What names the run of this machine's kernel, "" where it cannot be known."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""


def drop_cut_objects(stores: Path, note: Path, boot: str) -> int:
    """Remove what is not whole of the newest objects of all stores, unless this boot has written them; returns how many. Raises OSError."""
    if boot and note.is_file() and note.read_text() == boot:
        return 0
    folders = [(path.stat().st_mtime, path) for path in stores.glob("*/objects/[0-9a-f][0-9a-f]")]
    since = max((changed for changed, _ in folders), default=0) - RECENT.total_seconds()
    dropped = 0
    for changed, folder in folders:
        for path in folder.iterdir() if changed >= since else ():
            if not _is_whole(path):
                path.unlink()
                dropped += 1
    note.write_text(boot)
    if dropped:
        log.warning("objects lost with the machine's power dropped", extra={"objects": dropped})
    return dropped


def _is_whole(path: Path) -> bool:
    unpacking = zlib.decompressobj()
    try:
        with path.open("rb") as file:
            while not unpacking.eof:
                data = unpacking.unconsumed_tail or file.read(CHUNK)
                if not data:
                    return False
                unpacking.decompress(data, CHUNK)
    except zlib.error:
        return False
    return True
