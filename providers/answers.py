"""What an HTTP status means, for targets whose refusals are ordinary ones; and the parts of requests that many of them share.

In: a response, and the target's name for the words. Out: nothing, or Rejected or Busy, as https://www.rfc-editor.org/rfc/rfc9110 has them.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from providers.contract import Busy, Misconfigured, Rejected, Request, Response, Secret, Target, retry_after

JSON = "application/json"
_TO_DO: Mapping[int, str] = {
    400: "it does not take this message: check the Provider's address and channel",
    401: "put valid credentials into the Secret",
    403: "give the credentials of the Secret leave to post there",
    404: "check the address and the channel: nothing is there",
    410: "it was removed: put a new address into the Provider or its Secret",
    413: "the message is too long for it",
}


def settle_as(name: str, to_do: Mapping[int, str] | None = None) -> Callable[[Response], None]:
    """Return a `settle` for a target of this name; `to_do` says what a person does about a status, where that is special."""
    return partial(check, name, to_do=to_do or {})


def check(name: str, response: Response, *, to_do: Mapping[int, str] | None = None) -> None:
    """Return if the status is a success. Raises Busy where a later try can help, Misconfigured where the credentials are refused (a person
    corrects them, and the message goes), otherwise Rejected with what to do."""
    status = response.status
    if 200 <= status < 300:
        return
    if status in (408, 425, 429) or (status >= 500 and status != 501):
        raise Busy(f"{name} answered {status}", retry_after(response))
    hint = {**_TO_DO, **(to_do or {})}.get(status, "check the Provider and its Secret")
    refused = Misconfigured if status in (401, 403, 407) else Rejected
    raise refused(f"{name} answered {status}: {hint}")


def json_of(name: str, response: Response) -> Any:
    """The JSON of a successful answer. Raises as `check` does, and Busy where it is not JSON."""
    check(name, response)
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise Busy(f"{name} gave an answer that is not JSON, or one that is too long") from error


def json_request(
    url: str, body: object, *, headers: Mapping[str, str] | None = None, method: Literal["POST", "PUT", "PATCH"] = "POST"
) -> Request:
    """A request with a JSON body."""
    return Request(method=method, url=Secret(url), headers={"Content-Type": JSON, **(headers or {})}, body=dumped(body))


def dumped(body: object) -> bytes:
    """JSON as UTF-8; halves of surrogate pairs, which it cannot hold, become `?`."""
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")


def basic(username: str, password: Secret) -> str:
    """The value of an Authorization header with a name and a password."""
    return "Basic " + b64encode(f"{username}:{password.reveal()}".encode()).decode()


def has_pair(target: Target) -> bool:
    """Whether there are a name and a password. Raises Misconfigured where one of them is missing, and no token stands for both."""
    if bool(target.username) != bool(target.password) and not target.token:
        raise Misconfigured("username and password belong together: put both into the Secret, or neither")
    return bool(target.username and target.password)


def needs(value: Secret | str, words: str) -> str:
    """The value, or Misconfigured with what to set."""
    if not value:
        raise Misconfigured(words)
    return value.reveal() if isinstance(value, Secret) else value


def address_of(target: Target) -> str:
    """The target's address. Raises Misconfigured where there is none."""
    return needs(target.address, "no address: set spec.address, or the key address of the Secret")
