"""What all kinds of signatures share: why one does not count, and which form an armoured one has.

https://git-scm.com/docs/gitformat-signature
"""

from typing import Literal

PGP = b"-----BEGIN PGP SIGNATURE-----"
SSH = b"-----BEGIN SSH SIGNATURE-----"
MOST_BYTES = 64 * 1024
"""Of one armoured signature."""


class SignatureRefused(Exception):
    """A signature does not count, or the trusted keys cannot be read; the message says why, without anything of a Secret."""


def form_of(signature: bytes) -> Literal["openpgp", "ssh", "unknown"]:
    """Return how a signature is written."""
    begun = signature.lstrip()
    return "openpgp" if begun.startswith(PGP) else "ssh" if begun.startswith(SSH) else "unknown"
