"""The answer of `sluice why` as lines for a person: the sentence first, then a branch for each part. A dict in, lines out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

SHOWN = 10
Part = Mapping[str, Any]


def lines(answer: Part) -> Iterator[str]:
    """Return the lines; nothing is printed that is not known."""
    yield answer["answer"]
    yield ""
    yield answer["object"] + ("" if answer["from"] == "sluice" else "   (from the cluster alone: no deliveries, pushes, runs or alerts)")
    branches = [
        ("asked for", _asked(answer.get("asked"))),
        ("state", _state(answer["state"])),
        ("source", _source(answer.get("source"))),
        ("delivery", _delivery(answer.get("delivery"))),
        ("push", _push(answer.get("push"))),
        ("dependencies", _dependencies(answer.get("dependencies") or ())),
        ("last run", _run(answer.get("lastRun"), answer.get("lastLook"))),
        ("health", _health(answer.get("health"))),
        ("alerts", _alerts(answer.get("alerts") or ())),
        ("next", _next(answer.get("next"))),
    ]
    known = [(title, said) for title, about in branches if (said := list(about))]
    for number, (title, said) in enumerate(known):
        last = number == len(known) - 1
        yield f"{'└─' if last else '├─'} {title:<12} {said[0]}"
        for line in said[1:]:
            yield f"{' ' if last else '│'}  {'':<12} {line}"


def _joined(*parts: object) -> str:
    return "  ".join(str(part) for part in parts if part not in (None, "", 0))


def _text(text: object) -> Iterator[str]:
    yield from (line for line in str(text or "").splitlines() if line.strip())


def _asked(asked: Part | None) -> Iterator[str]:
    if asked:
        yield _joined(asked["object"], asked.get("status"), asked.get("message"))
        yield from (f"  {line}" for line in asked.get("pods", ()))
        yield f"applied by {asked['owner']}"
        if "claimedBy" in asked:
            yield f"its labels say that it belongs to {asked['claimedBy']}"


def _state(state: Part) -> Iterator[str]:
    flags = [flag for flag in ("suspended", "deleting", "stalled") if state.get(flag)]
    since = f"since {state['since']}" if "since" in state else ""
    yield _joined(f"Ready={state.get('ready')}", state.get("reason"), *flags, since)
    yield from _text(state.get("message"))
    if state.get("progress") and state.get("progress") != state.get("message"):
        yield from _text(state["progress"])
    if state.get("attempted") and state.get("attempted") != state.get("applied"):
        yield f"applied {state.get('applied') or 'nothing yet'}, attempted {state['attempted']}"
    if state.get("observedGeneration") != state.get("generation"):
        yield f"generation {state.get('generation')}, observed {state.get('observedGeneration')}"


def _source(source: Part | None) -> Iterator[str]:
    if not source:
        return
    if source.get("missing"):
        yield f"{source['object']} is not there"
        return
    yield _joined(source.get("object"), source.get("url"), f"Ready={source['ready']}" if "ready" in source else "")
    yield _joined(source.get("revision"), source.get("commit"), source.get("author"))
    fetched = source.get("lastFetch") or source.get("fetched")
    if fetched:
        yield _joined(f"last fetch {fetched}", source.get("fetchResult"))
    if source.get("error") or source.get("ready") not in (None, "True"):
        yield from _text(source.get("error") or source.get("message"))


def _delivery(delivery: Part | None) -> Iterator[str]:
    if not delivery:
        return
    if "found" in delivery:
        yield delivery["found"]
        if "latest" in delivery:
            yield "the newest that is about it: " + next(_delivery(delivery["latest"]))
        return
    sender = _joined(delivery.get("sender"), delivery.get("senderId"))
    yield _joined(delivery.get("id"), f"from {sender}", delivery.get("at"), delivery.get("state"), delivery.get("verdict"))
    if delivery.get("receiver"):
        yield _joined("through", delivery["receiver"], delivery.get("detail"))


def _push(push: Part | None) -> Iterator[str]:
    if not push:
        return
    yield _joined(push["revision"], push["at"])
    yield push["said"]
    if push["concerned"]:
        yield from _some(push["changedReads"])
    else:
        yield from _some(push["paths"])


def _some(listed: Sequence[str]) -> Iterator[str]:
    yield from (f"  {each}" for each in listed[:SHOWN])
    if len(listed) > SHOWN:
        yield f"  and {len(listed) - SHOWN} more"


def _dependencies(listed: Iterable[Part]) -> Iterator[str]:
    for each in listed:
        if each.get("missing"):
            yield f"{each['object']}  is not there"
            continue
        circle = "depends on this object again: a circle" if each.get("circle") else ""
        yield _joined(
            each["object"], f"Ready={each.get('ready')}", each.get("applied"), "suspended" if each.get("suspended") else "", circle
        )
        if each.get("ready") != "True":
            yield from (f"  {line}" for line in _text(each.get("message")))
        yield from (f"  {line}" for line in _dependencies(each.get("dependencies") or ()))


def _run(run: Part | None, look: Part | None) -> Iterator[str]:
    if run:
        took = f"{run['seconds']} s" if "seconds" in run else ""
        yield _joined(run["at"], run["result"], took, f"compared {run['compared']}", "by " + (", ".join(run["triggers"]) or "its timer"))
        if run["steps"]:
            yield ", ".join(f"{each['step']} {each['seconds']} s" for each in run["steps"])
        yield from _some(run["changes"])
        if run["changeCount"] > len(run["changes"]):
            yield f"  {run['changeCount']} changes in all"
        yield from _text(run.get("message") if run["result"] != "ReconciliationSucceeded" else "")
    if look and (not run or look["at"] > run["at"]):
        yield _joined("looked at", look["at"], look["result"], f"{look['seconds']} s")
        yield from _text(look["message"])


def _health(health: Sequence[Part] | None) -> Iterator[str]:
    if health is None:
        return
    if not health:
        yield "all that it applied is healthy"
    for each in health[:SHOWN]:
        yield _joined(each["object"], each["status"], each["message"])
        yield from (f"  {line}" for line in each.get("pods", ()))
    if len(health) > SHOWN:
        yield f"and {len(health) - SHOWN} more"


def _alerts(alerts: Iterable[Part]) -> Iterator[str]:
    for each in alerts:
        state = {"queued": "waits, due", "sent": "sent", "held": "held until", "rejected": "refused for good"}.get(
            str(each["state"]), each["state"]
        )
        tries = f"{each['attempts']} attempts" if each.get("attempts") else ""
        yield _joined(each["alert"], "->", each["provider"], each.get("reason"), state, each["at"], tries, each.get("error"))


def _next(attempt: Part | None) -> Iterator[str]:
    if not attempt:
        return
    if attempt.get("waitsForHealth"):
        yield "when its health is decided, or a new revision comes"
    elif attempt.get("running"):
        yield "now"
    elif "at" in attempt:
        yield f"in {attempt['inSeconds']} s, at {attempt['at']}, or when something it needs changes"
    else:
        yield "when it or something it needs changes"
