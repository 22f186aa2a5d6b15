"""What a stored delivery concerns: the Receiver as it is now, the objects behind its entries, its filters, and then the payload.

In: a Receiver's key and the events. Out: the Choice, None where the Receiver is gone. What is not watched is asked for.
https://fluxcd.io/flux/components/notification/receivers/#resources
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from receivers.contract import Event, Request
from service.cel import BadExpression, Evaluator, Expression
from service.kinds.codec import Invalid, decode
from service.kinds.meta import ObjectKey
from service.kinds.notification import Receiver
from service.triggers.filters import Filters, filters_of, judged
from service.triggers.graph import Node
from service.triggers.listing import Listing
from service.triggers.targets import Choice, Entry, choose, entries

MOST_TOLD = 100  # objects that are named in the delivery log since their filter could not be evaluated


class Choosing:
    """`receivers` is the watch's cache."""

    def __init__(
        self, *, receivers: Mapping[tuple[str, str], Mapping[str, Any]], listing: Listing, evaluator: Evaluator, no_cross_namespace: bool
    ) -> None:
        self._receivers = receivers
        self._listing = listing
        self._evaluator = evaluator
        self._no_cross_namespace = no_cross_namespace
        self._known: dict[ObjectKey, tuple[Mapping[str, Any], tuple[Entry, ...], Filters]] = {}

    def node(self, key: ObjectKey) -> Node | None:
        """What is known of an object without a request."""
        return self._listing.graph.node(key)

    async def choice(self, receiver_key: ObjectKey, events: Sequence[Event]) -> Choice | None:
        """Return what runs. Raises ApiAway, ClusterError."""
        object_ = self._receivers.get((receiver_key.namespace, receiver_key.name))
        if object_ is None:
            self._known.pop(receiver_key, None)
            return None
        try:
            named, filters = self._read(receiver_key, object_)
        except (Invalid, BadExpression) as error:
            return Choice(targets=(), problems=(str(error),))
        told = tuple(event for event in events if not isinstance(event, Request))
        listed: list[tuple[Entry, Sequence[Node]]] = []
        left_out: dict[ObjectKey, str] = {}
        for number, entry in enumerate(named):
            expressions = filters.of(number)
            if not expressions or entry.problem:
                listed.append((entry, await self._listing.behind(entry)))
                continue
            passed = await self._passing(entry, expressions, events, left_out)
            if passed or entry.is_wide:
                listed.append((entry, passed))
        choice = choose(listed, told, self._listing.graph.node)
        out = {key: problem for key, problem in left_out.items() if key not in choice.targets}
        return replace(choice, filtered=len(out), unjudged={key: problem for key, problem in out.items() if problem})

    def _read(self, key: ObjectKey, object_: Mapping[str, Any]) -> tuple[tuple[Entry, ...], Filters]:
        """What a Receiver names and how it filters, read once for each state of it. Raises Invalid, BadExpression."""
        known = self._known.get(key)
        if known is None or known[0] is not object_:
            receiver = decode(Receiver, object_)
            known = (object_, entries(receiver, no_cross_namespace=self._no_cross_namespace), filters_of(receiver))
            self._known[key] = known
        return known[1], known[2]

    async def _passing(
        self, entry: Entry, expressions: Sequence[Expression], events: Sequence[Event], left_out: dict[ObjectKey, str]
    ) -> Sequence[Node]:
        """The objects of an entry for which its expressions hold; the others go to `left_out`, with why they could not be judged."""
        nodes = await self._listing.behind(entry) if entry.is_wide else await self._listing.named(entry)
        if not nodes and not entry.is_wide:
            left_out[entry.key] = "it is not there, so that its filter cannot be evaluated"
        verdicts = await judged(self._evaluator, expressions, nodes, events)
        left_out.update({node.key: each.problem for node, each in zip(nodes, verdicts, strict=True) if not each.passes})
        return [node for node, each in zip(nodes, verdicts, strict=True) if each.passes]
