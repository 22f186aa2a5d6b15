"""The certificates that AWS SNS signs its messages with, and the confirmation of its subscriptions.

In: addresses that stand in messages, which the receiver has found to be addresses of SNS. Out: `current`, the keys that are known. A
message whose certificate is not known is sent again by SNS: nothing is fetched while it waits.
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from receivers.contract import RsaKey
from receivers.rsa import is_usable
from receivers.snsmessage import is_certificate
from service.outbound import Outbound, OutboundFailed, OutboundRefused

log = logging.getLogger(__name__)

FETCH_TIMEOUT = timedelta(seconds=10)
MOST_BYTES = 64 * 1024
MOST = 20  # SNS uses one or two in a region
A_MINUTE = 10  # fetches: the address is named before anything is proven


class Unconfirmed(Exception):
    """A subscription could not be confirmed; the message says why."""


class Certificates:
    """A room."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._keys: dict[str, tuple[RsaKey, datetime]] = {}
        self._wanted: dict[str, None] = {}
        self._fetched: deque[float] = deque(maxlen=A_MINUTE)
        self._wake = asyncio.Event()

    @property
    def current(self) -> tuple[RsaKey, ...]:
        """The keys of the certificates that are known and have not ended; the id of each is its address."""
        now = datetime.now(UTC)
        return tuple(key for key, ends_at in self._keys.values() if ends_at > now)

    def need(self, address: str) -> None:
        """A message is signed with a certificate that is not known."""
        if is_certificate(address) and len(self._wanted) < MOST:
            self._wanted[address] = None
            self._wake.set()

    async def confirm(self, url: str) -> None:
        """Confirm a subscription. Raises Unconfirmed."""
        try:
            answer = await self._outbound.get(url, timeout=FETCH_TIMEOUT, most_bytes=MOST_BYTES, redirects=0)
        except (OutboundRefused, OutboundFailed) as error:
            raise Unconfirmed(f"the subscription cannot be confirmed: {error}") from error
        if answer.status != 200:
            raise Unconfirmed(f"the subscription cannot be confirmed: SNS answers {answer.status}")
        log.info("subscription confirmed")

    async def run(self) -> None:
        """Fetch what is wanted until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            for address in list(self._wanted):
                if len(self._fetched) == A_MINUTE and loop.time() - self._fetched[0] < 60:
                    break  # the next message asks again
                self._fetched.append(loop.time())
                await self._fetch(address)
            self._wanted.clear()

    async def _fetch(self, address: str) -> None:
        try:
            answer = await self._outbound.get(address, timeout=FETCH_TIMEOUT, most_bytes=MOST_BYTES, redirects=0)
            certificate = x509.load_pem_x509_certificate(answer.body)
            public = certificate.public_key()
        except (OutboundRefused, OutboundFailed, ValueError) as error:
            log.warning("a certificate cannot be fetched", extra={"address": address, "reason": str(error)})
            return
        if not isinstance(public, RSAPublicKey):
            log.warning("a certificate cannot be used", extra={"address": address, "reason": "it holds no RSA key"})
            return
        numbers = public.public_numbers()
        key = RsaKey(id=address, modulus=numbers.n, exponent=numbers.e)
        if is_usable(key):
            self._keys[address] = (key, certificate.not_valid_after_utc)
            for oldest in list(self._keys)[:-MOST]:
                del self._keys[oldest]
