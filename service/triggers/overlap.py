"""One delivery, checked with more than one token: while a token is exchanged, the former one counts too.

In: a sender, headers, credentials. Out: a Verifier that is content where one of them is. What a verifier is: `receivers/contract.py`.
"""

from collections.abc import Mapping, Sequence

from receivers.contract import BadSignature, Credentials, Sender, UnknownKey, Verifier


class EitherVerifier:
    """Feeds all of them. `refusals` are of those that refused the headers already."""

    def __init__(self, verifiers: Sequence[Verifier], refusals: Sequence[BadSignature]) -> None:
        self._verifiers = tuple(verifiers)
        self._refusals = tuple(refusals)

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        for each in self._verifiers:
            each.feed(chunk)

    def check(self) -> None:
        """The body is complete. Raises BadSignature, that of the first token; UnknownKey before it, since that one may yet be good."""
        refusals = list(self._refusals)
        for each in self._verifiers:
            try:
                each.check()
            except BadSignature as error:
                refusals.append(error)
            else:
                return
        raise next((each for each in refusals if isinstance(each, UnknownKey)), refusals[0])


def verifier_of(sender: Sender, headers: Mapping[str, str], credentials: Sequence[Credentials]) -> Verifier:
    """Return what checks a delivery with any of the credentials (there is at least one). Raises BadSignature, as the sender does."""
    if len(credentials) == 1:
        return sender.verifier(headers, credentials[0])
    verifiers: list[Verifier] = []
    refusals: list[BadSignature] = []
    for each in credentials:
        try:
            verifiers.append(sender.verifier(headers, each))
        except BadSignature as error:
            refusals.append(error)
    if not verifiers:
        raise refusals[0]
    return EitherVerifier(verifiers, refusals)
