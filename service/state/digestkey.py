"""The key of digests that are stored of what may hold secrets: random bytes in a file of the state folder, so that nobody who reads such a
digest can try values against it. It is this folder's own; when it is lost, what was digested with it counts as changed.

https://csrc.nist.gov/pubs/fips/198-1/final (HMAC)
"""

import logging
import os
import secrets
from pathlib import Path

from service.state.errors import StateUnwritable

log = logging.getLogger(__name__)
KEY_BYTES = 32


def digest_key(folder: Path) -> bytes:
    """The 32 bytes of FOLDER/digest.key, which is made where it is not there or unusable, readable by its owner alone.

    Raises StateUnwritable.
    """
    path = folder / "digest.key"
    try:
        if path.exists():
            held = path.read_bytes()
            if len(held) == KEY_BYTES:
                path.chmod(0o600)
                return held
            log.warning("the key of digests is damaged, a new one is made", extra={"file": str(path)})
        made = secrets.token_bytes(KEY_BYTES)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made)
        fresh.replace(path)
    except OSError as error:
        raise StateUnwritable(f"{path} cannot be read or made: {error.strerror}; make the folder writable for this user") from error
    return made
