"""Trying a Provider: what would be sent for an event, with its secrets masked, or one attempt at sending it.

In: a Provider's object, a reader of Secrets, an event. Out: lines for a person, or a `TrialFailed` that says what to do. Nothing is stored.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from providers import contract
from providers.contract import Busy, Rejected, Request, Response
from service.alerts import metadata
from service.alerts.credentials import BadCredentials
from service.alerts.lending import lent, made_up, wanted_of
from service.alerts.message import event_of, payload_of
from service.alerts.route import ReadSecret, Route, route_of
from service.alerts.sending import open_wire, send
from service.alerts.statusid import status_id
from service.alerts.table import Table, load
from service.cel import Evaluator
from service.cluster.client import ClusterError
from service.identities.accounts import Accounts, BadAccount
from service.identities.grants import Grants, NotGranted
from service.kinds.codec import Invalid, decode, refused_fields
from service.kinds.event import Event
from service.kinds.meta import Metadata
from service.kinds.notification import Alert, AlertSpec, Provider
from service.outbound import Outbound
from service.state import moments

OPEN_HEADERS = frozenset(("content-type", "accept", "gotk-component", "x-github-api-version", "x-atlassian-token", "x-requested-with"))
MADE_UP = json.dumps(
    {
        "login": "you",
        "username": "you",
        "slug": "you",
        "token": "made-up",
        "access_token": "made-up",
        "id": 1,
        "channel": "C0MADEUP",
        "ts": "1.1",
    }
).encode()  # what answers are in a dry run


class TrialFailed(Exception):
    """The Provider cannot be used, or the target did not take the message; the words say what to do and show no secret."""


async def trial(
    raw: Mapping[str, Any],
    read_secret: ReadSecret,
    event: Event | contract.Event,
    *,
    dry_run: bool,
    outbound: Outbound | None = None,
    accounts: Accounts | None = None,
) -> list[str]:
    """Send an event to a Provider, or with `dry_run` say what would be sent. One of the contract's is told as it is. Raises TrialFailed."""
    try:
        if refused := refused_fields(raw):
            raise TrialFailed(f"{', '.join(refused)}: this version of sluice does not carry this out")
        provider = decode(Provider, raw)
        by_type = _by_type(provider, load(identities=True))
        route = await route_of(provider, by_type, read_secret, now=moments.now())
        wanted = wanted_of(provider, by_type, route)
        if wanted is not None and accounts is None:
            raise TrialFailed("spec.serviceAccountName: only a cluster can sign its token; try it without --manifest")
        if wanted is not None and accounts is not None and dry_run:
            await accounts.read(wanted.namespace, wanted.account, wanted.cloud)  # may be what is wrong
            route = made_up(wanted, route)
        elif accounts is not None:
            route = await lent(wanted, by_type, route, Grants(accounts, outbound or Outbound()))
    except (Invalid, BadCredentials, BadAccount, NotGranted, ClusterError) as error:
        raise TrialFailed(str(error)) from error
    told = _told(event, provider) if isinstance(event, Event) else event
    if isinstance(event, Event) and not metadata.wanted(event, by_type.wants):
        return [f"nothing: a Provider of the type {provider.spec.type} does not get such an event; give another with --event"]
    try:
        if provider.spec.commit_status_expr:
            route = route.named(await _status_id(provider, raw, told))
        if dry_run:
            return list(_shown(by_type, told, route, public=provider.spec.address)) or ["nothing: the type leaves such an event out"]
        began = moments.now()
        async with open_wire(outbound or Outbound()) as wire:
            await send(wire, by_type, told, route=route, timeout=provider.spec.timeout)
        return [f"sent: {provider.spec.type} took it within {(moments.now() - began).total_seconds() * 1000:.0f} ms"]
    except (Rejected, Busy) as error:
        raise TrialFailed(route.masked(str(error))) from None


def _by_type(provider: Provider, table: Table) -> contract.Provider:
    if problem := table.problem(provider):
        raise TrialFailed(problem)
    return table.types[provider.spec.type]


async def _status_id(provider: Provider, raw: Mapping[str, Any], told: contract.Event) -> str:
    alert = {"apiVersion": raw.get("apiVersion"), "kind": "Alert", "metadata": {"name": "test", "namespace": provider.metadata.namespace}}
    evaluator = Evaluator()
    try:
        return await status_id(provider.spec.commit_status_expr, told, provider=raw, alert=alert, evaluator=evaluator)
    finally:
        await evaluator.close()


def _told(event: Event, provider: Provider) -> contract.Event:
    """The event as an Alert without settings would pass it on."""
    spec = AlertSpec(provider_ref=provider.metadata.name, event_sources=())
    alert = Alert(metadata=Metadata(name="test", namespace=provider.metadata.namespace), spec=spec)
    merged, _ = metadata.merged(event, spec)
    return event_of(payload_of(event, merged, alert))[0]


def _shown(by_type: contract.Provider, event: contract.Event, route: Route, *, public: str) -> Iterator[str]:
    if by_type.preview is not None:
        yield _without_secrets(by_type.preview(event, route.target), route)
        return
    if by_type.publish is not None:
        yield "the type publishes by itself, and has no preview"
        return
    dialogue = by_type.dialogue(event, route.target)
    request = next(dialogue, None)
    while request is not None:
        yield _request(request, route, public=public)
        try:
            request = dialogue.send(Response(status=200, headers={}, body=MADE_UP))
        except StopIteration:
            return


def _request(request: Request, route: Route, *, public: str) -> str:
    """One request as text. An address of a Secret shows its host only: parts of it may be the secret."""
    url, parts = request.url.reveal(), urlsplit(request.url.reveal())
    from_secret = route.target.address.reveal() not in ("", public)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***" if from_secret else _without_secrets(url, route)
    headers = [f"{name}: {value if name.lower() in OPEN_HEADERS else '***'}" for name, value in request.headers.items()]
    try:
        body = json.dumps(json.loads(request.body), indent=2, ensure_ascii=False) if request.body else ""
    except ValueError:
        body = request.body.decode(errors="replace")
    return "\n".join([f"{request.method} {shown}", *headers, "", *([_without_secrets(body, route)] if body else [])])


def _without_secrets(text: str, route: Route) -> str:
    target = route.target
    for secret in (target.token, target.password, *target.keys.values(), *map(contract.Secret, target.headers.values())):
        text = text.replace(secret.reveal(), "***") if secret else text
    return text
