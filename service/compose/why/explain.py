"""One object in, one answer out: its state, its source, what triggered it, what it waits for, what fails, who was told, what is next.

The answer is JSON with the same keys whether a service remembers or not; what nobody knows is not there. `answer` says it in a sentence.
"""

from collections.abc import Mapping
from typing import Any

from service.cluster.blockers import blockers
from service.cluster.inventory import BadEntry, ObjectId, parse
from service.cluster.kstatus import Status, status_of
from service.compose.why.evidence import OWNER_NAME, OWNER_NAMESPACE, Evidence, Raw, live_objects, our_kind
from service.compose.why.sentence import sentence
from service.kinds.meta import KUSTOMIZE_GROUP, SOURCE_GROUP, ObjectKey
from service.kinds.table import BY_NAME, KINDS, Kind

KUSTOMIZATION = next(each for each in KINDS if each.kind == "Kustomization")
MOST_DEPTH, MOST_UNHEALTHY = 10, 10
Answer = dict[str, Any]


class Unknown(Exception):
    """There is nothing to explain; the words tell what to ask instead."""


async def explain(evidence: Evidence, kind: str, namespace: str, name: str) -> Answer:
    """Explain an object of ours, or one that a Kustomization of ours manages, by its owner. Raises Unknown, ApiError, ApiAway."""
    ours = our_kind(kind)
    if ours is None:
        return await _managed(evidence, kind, namespace, name)
    raw = await evidence.object(ours, namespace, name)
    if raw is None:
        raise Unknown(f"{ours.kind}/{name} is not in namespace {namespace}: name its namespace with -n")
    return await _ours(evidence, ours, raw)


async def _ours(evidence: Evidence, kind: Kind, raw: Raw) -> Answer:
    key = ObjectKey(group=kind.group, kind=kind.kind, namespace=raw["metadata"].get("namespace", ""), name=raw["metadata"]["name"])
    answer: Answer = {"object": str(key), "from": evidence.origin, "state": state_of(raw)}
    facts = await evidence.facts(key)
    if kind is KUSTOMIZATION:
        answer["source"] = await _source(evidence, key, raw)
        if (raw.get("spec") or {}).get("dependsOn"):
            answer["dependencies"] = await _dependencies(evidence, key, raw, seen={key})
        answer["health"] = await _health(evidence, key, raw)
    elif kind.group == SOURCE_GROUP:
        answer["source"] = _origin(raw)
    source = facts.pop("source", None)
    if source and "source" in answer:
        answer["source"] |= source
    answer |= facts
    answer["answer"] = sentence(answer)
    return answer


def state_of(raw: Raw) -> Answer:
    """Ready in words, and the rest of the status that a person looks at."""
    status, spec, metadata = raw.get("status") or {}, raw.get("spec") or {}, raw["metadata"]
    conditions = {str(each.get("type")): each for each in status.get("conditions") or () if isinstance(each, Mapping)}
    ready = conditions.get("Ready") or {}
    found: Answer = {
        "ready": ready.get("status", "Unknown"),
        "reason": ready.get("reason", ""),
        "message": ready.get("message", "" if ready else "not looked at yet"),
        "since": ready.get("lastTransitionTime", ""),
        "suspended": spec.get("suspend") is True,
        "deleting": "deletionTimestamp" in metadata,
        "generation": metadata.get("generation"),
        "observedGeneration": status.get("observedGeneration"),
        "applied": status.get("lastAppliedRevision") or ((status.get("artifact") or {}).get("revision")),
        "attempted": status.get("lastAttemptedRevision"),
        "stalled": (conditions.get("Stalled") or {}).get("status") == "True",
        "progress": (conditions.get("Reconciling") or {}).get("message", ""),
    }
    return {name: value for name, value in found.items() if value not in (None, "", False)}


async def _source(evidence: Evidence, key: ObjectKey, raw: Raw) -> Answer:
    reference = (raw.get("spec") or {}).get("sourceRef") or {}
    kind, namespace = our_kind(str(reference.get("kind", ""))), str(reference.get("namespace") or key.namespace)
    name = f"{reference.get('kind')}/{namespace}/{reference.get('name')}"
    found = await evidence.object(kind, namespace, str(reference.get("name"))) if kind is not None else None
    if found is None:
        return {"object": name, "missing": True}
    return {"object": name, **_origin(found)}


def _origin(raw: Raw) -> Answer:
    state, spec, artifact = state_of(raw), raw.get("spec") or {}, (raw.get("status") or {}).get("artifact") or {}
    kept = {name: state[name] for name in ("ready", "reason", "message", "suspended") if name in state}
    found = {"url": spec.get("url"), "revision": artifact.get("revision"), "fetched": artifact.get("lastUpdateTime")}
    return kept | {name: value for name, value in found.items() if value}


async def _dependencies(evidence: Evidence, key: ObjectKey, raw: Raw, *, seen: set[ObjectKey]) -> list[Answer]:
    """The chain below the object; a circle ends where it closes."""
    found: list[Answer] = []
    for need in (raw.get("spec") or {}).get("dependsOn") or ():
        namespace, name = str(need.get("namespace") or key.namespace), str(need.get("name"))
        other = ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=namespace, name=name)
        seen_before = other in seen or len(seen) > MOST_DEPTH * 10
        body = await evidence.object(KUSTOMIZATION, namespace, name)
        entry: Answer = {"object": str(other)}
        if body is None:
            entry |= {"missing": True}
        else:
            state = state_of(body)
            entry |= {part: state[part] for part in ("ready", "reason", "message", "applied", "suspended") if part in state}
            if seen_before:
                entry["circle"] = other == key or other in seen
            elif state.get("ready") != "True":
                entry["dependencies"] = await _dependencies(evidence, other, body, seen={*seen, other})
        found.append({part: value for part, value in entry.items() if value not in ([], False)})
    return found


def inventory_of(raw: Raw) -> tuple[ObjectId, ...]:
    """What a Kustomization has applied, entries that cannot be read left out."""
    found = []
    for entry in ((raw.get("status") or {}).get("inventory") or {}).get("entries") or ():
        try:
            found.append(parse(str(entry.get("id", "")), str(entry.get("v", ""))))
        except BadEntry:
            continue
    return tuple(found)


async def _health(evidence: Evidence, key: ObjectKey, raw: Raw) -> list[Answer]:
    """The objects that are not healthy, the failed ones first, each with its Pods' own words."""
    live = await live_objects(evidence.cluster, inventory_of(raw), owner=key)
    found: list[tuple[ObjectId, Raw | None, Answer]] = []
    for id, obj in live.items():
        if isinstance(obj, str):
            found.append((id, None, {"object": str(id), "status": "Unknown", "message": obj}))
            continue
        health = status_of(obj)
        if health.status is not Status.CURRENT:
            found.append((id, obj, {"object": str(id), "status": health.status.value, "message": health.message}))
    found.sort(key=lambda each: (each[2]["status"] != "Failed", each[0]))
    for _, obj, entry in found[:MOST_UNHEALTHY]:
        if obj is not None and (lines := await blockers(evidence.cluster, obj)):
            entry["pods"] = list(lines)
    return [entry for _, _, entry in found]


async def _managed(evidence: Evidence, kind: str, namespace: str, name: str) -> Answer:
    """Any other object: by the Kustomization that has it in its inventory."""
    wanted = kind.lower()
    for raw in await evidence.all(KUSTOMIZATION):
        for id in inventory_of(raw):
            if id.name == name and id.namespace in (namespace, "") and wanted in (id.kind.lower(), f"{id.kind.lower()}s"):
                return await _owned(evidence, id, raw)
    raise Unknown(f"{kind}/{namespace}/{name} is in no Kustomization's inventory: it is not managed from here, or not applied yet")


async def _owned(evidence: Evidence, id: ObjectId, raw: Raw) -> Answer:
    answer = await _ours(evidence, BY_NAME[KUSTOMIZE_GROUP, "Kustomization"], raw)
    owner = ObjectKey(group=KUSTOMIZE_GROUP, kind="Kustomization", namespace=raw["metadata"]["namespace"], name=raw["metadata"]["name"])
    live = (await live_objects(evidence.cluster, [id], owner=owner)).get(id)
    asked: Answer = {"object": str(id), "owner": str(owner)}
    if isinstance(live, Mapping):
        health = status_of(live)
        labels = live["metadata"].get("labels") or {}
        claimed = (labels.get(OWNER_NAMESPACE), labels.get(OWNER_NAME))
        asked |= {"status": health.status.value, "message": health.message}
        if claimed != (owner.namespace, owner.name):
            asked["claimedBy"] = "/".join(str(part) for part in claimed if part) or "nobody: its owner labels are gone"
        if health.status is not Status.CURRENT and (lines := await blockers(evidence.cluster, live)):
            asked["pods"] = list(lines)
    elif live is None and not (id.kind in ("ConfigMap", "Secret") and id.group == ""):
        asked |= {"status": "NotFound", "message": "it is in the inventory and not in the cluster"}
    elif isinstance(live, str):
        asked |= {"status": "Unknown", "message": live}
    answer["asked"] = asked
    answer["answer"] = sentence(answer)
    return answer
