"""The guide to the senders, made from what each module says about itself.

In: the docstrings of the modules in RECEIVERS: a title, then `Set up`, `Proof:` and `Tells:`. Out: Markdown, which docs/receivers.md holds.
https://spec.commonmark.org
"""

import re
import sys
from dataclasses import dataclass

from receivers import RECEIVERS
from receivers.contract import Sender

_PARTS = re.compile(r"(?P<title>.+?)\n\n(?P<setup>Set up.+?)\nProof: (?P<proof>.+?)\nTells: (?P<tells>.+)", re.DOTALL)
_HEAD = """# Senders

`spec.type` of a Receiver says which sender's webhooks it takes. Deliveries are sent with POST to the Receiver's `status.webhookPath`; its
Secret's key `token` is the secret that is shared with the sender. `sluice hook check` says why a recorded delivery is refused, or what is
read from it. This page is made by `sluice hook types` from what the modules in `receivers/` say about themselves.

A payload is a hint: what `spec.resources` names always runs; only entries with the name `*` are narrowed to the repository, image, chart
or bucket that the payload is about, and to its ref or tag; what is fetched is read from the remote. Where nothing in a payload can be
compared, all of them run. `spec.events` filters by the event's name, where the section of the type says so.

What is compared: Git addresses by host and path, however they are spelt (https, ssh, `git@host:path`, ports, case, `.git`); images by host
and path, then the digest, the range or the tag that an OCIRepository follows; charts by repository, name and range; buckets by name and
prefix; Kustomizations and the like by what they build on. Where an object fetches from a mirror, its annotation
`notification.sluice.dev/mirror-of: https://github.com/acme/fleet` (several by commas) names what hooks are about.

`spec.resourceFilter` and `filter` of a resource are CEL expressions over `req` (the JSON body), `res` (apiVersion, kind and metadata of the
object) and, with `generic-oidc`, `claims`. Each must give true or false, else the Receiver is stalled with `InvalidCELExpression`. One that
cannot be evaluated, as where a key is missing (`has(req.ref)` asks), counts as false, with the reason in the delivery log; with the
annotation `notification.sluice.dev/filter-errors: fail` the caller gets a 500, as from Flux. They run in a process of their own, for one
second of processor time and 256 MiB at most. With filters that read `req`, bodies up to 3 MiB are taken, as by Flux.

On a cluster with Flux's own CRDs, whose schema knows only Flux's types, name the others in an annotation, which wins over `spec.type`:

```
metadata:
  annotations:
    notification.sluice.dev/type: gitea
spec:
  type: generic-hmac  # what Flux would do with it: refuse what is not signed
```

To exchange a token without a gap, keep the former one in the Secret as `token-previous` and write as `token-previous-until` when it ends
(`2027-01-31T18:00:00Z`): until then both paths and both signatures count. The annotation `notification.sluice.dev/allow-from` names the
networks that deliveries may come from. [hooks.md](hooks.md) has the rest: the delivery log, replays, rates, TLS.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What one sender's module says about it."""

    type: str
    title: str
    setup: str
    proof: str
    tells: str


def guide_of(sender: Sender) -> Guide:
    """Return the parts of the docstring of a sender's module. Raises ValueError where one is missing."""
    said = sys.modules[sender.read.__module__].__doc__ or ""
    parts = _PARTS.fullmatch(said.strip())
    if parts is None:
        raise ValueError(f"the docstring of {sender.read.__module__} needs a title, Set up, Proof and Tells, in this order")
    return Guide(type=sender.type, **{name: " ".join(part.split()) for name, part in parts.groupdict().items()})


def render() -> str:
    """Return the whole guide."""
    guides = [(guide_of(sender), sender) for sender in RECEIVERS.values()]
    rows = [f"| [`{guide.type}`](#{guide.type}) | {_short(guide.title)} | {_short(guide.proof)} |" for guide, _ in guides]
    table = "\n".join(["| type | sender | what proves where a delivery comes from |", "|---|---|---|", *rows])
    return "\n".join([_HEAD, table, "", *(_section(guide, sender) for guide, sender in guides)])


def _section(guide: Guide, sender: Sender) -> str:
    events = "" if sender.name is None else "\nEvents: `spec.events` is compared with the event's name in a header.\n"
    proof, tells = f"Proof: {guide.proof}", f"Tells: {guide.tells}"
    return f"## {guide.type}\n\n{guide.title}\n\n{guide.setup}\n\n{proof}\n\n{tells}\n{events}"


def _short(said: str) -> str:
    """The first sentence, without what would end a cell."""
    return re.split(r"(?<=[a-z`)])[.;] |\.$", said, maxsplit=1)[0].replace("|", "\\|")
