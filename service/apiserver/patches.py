"""Patches as pure functions: merge patch, JSON patch and strategic merge patch; JSON in, a new object out.

RFC 7386, RFC 6902, and
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

from service.apiserver.refusal import Refused, bad_request
from service.apiserver.schema import ANY, Node


def merge_patch(value: Any, patch: Any) -> Any:
    """Return `value` with an RFC 7386 patch laid over it."""
    if not isinstance(patch, dict):
        return patch
    out = dict(value) if isinstance(value, dict) else {}
    for key, inner in patch.items():
        if inner is None:
            out.pop(key, None)
        else:
            out[key] = merge_patch(out.get(key), inner)
    return out


def json_patch(value: Any, operations: Any) -> Any:
    """Return `value` after RFC 6902 operations. Raises Refused 400 for a bad patch, 422 for one that does not fit."""
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise bad_request("a JSON patch is a list of operations")
    out = copy.deepcopy(value)
    for one in operations:
        try:
            out = _operate(out, one)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise Refused(422, "Invalid", f"the server rejected our request due to an error in our request: {_told(one, error)}") from error
    return out


def _told(one: Mapping[str, Any], error: Exception) -> str:
    return f"{one.get('op')} operation does not apply: doc is missing path: {json.dumps(one.get('path'))}: {error}"


def _operate(root: Any, one: Mapping[str, Any]) -> Any:
    op, path = one["op"], _pointer(one["path"])
    if op == "test":
        if _at(root, path) != one.get("value"):
            raise ValueError("testing value failed")
        return root
    if op in ("move", "copy"):
        source = _pointer(one["from"])
        value = copy.deepcopy(_at(root, source))
        root = _take(root, source) if op == "move" else root
        return _add(root, path, value)
    if op == "remove":
        return _take(root, path)
    if op == "replace":
        _at(root, path)
        return _add(_take(root, path) if path else root, path, copy.deepcopy(one["value"]))
    if op == "add":
        return _add(root, path, copy.deepcopy(one["value"]))
    raise ValueError(f"unknown operation {op!r}")


def _pointer(path: Any) -> list[str]:
    if path == "":
        return []
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError("a path starts with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _index(here: list[Any], part: str, most: int) -> int:
    at = int(part)
    if not 0 <= at < most:
        raise IndexError(part)
    return at


def _at(root: Any, path: list[str]) -> Any:
    for part in path:
        root = root[_index(root, part, len(root))] if isinstance(root, list) else root[part]
    return root


def _take(root: Any, path: list[str]) -> Any:
    here = _at(root, path[:-1])
    if isinstance(here, list):
        del here[_index(here, path[-1], len(here))]
    else:
        del here[path[-1]]
    return root


def _add(root: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    here = _at(root, path[:-1])
    if isinstance(here, list):
        here.insert(len(here) if path[-1] == "-" else _index(here, path[-1], len(here) + 1), value)
    elif isinstance(here, dict):
        here[path[-1]] = value
    else:
        raise TypeError("not a container")
    return root


def strategic_patch(node: Node, value: Any, patch: Any) -> Any:
    """Return `value` with a strategic merge patch laid over it; `node` names the merge keys. Raises Refused 400."""
    if not isinstance(patch, dict):
        return patch
    patch = dict(patch)
    directive = patch.pop("$patch", None)
    if directive not in (None, "merge", "replace", "delete"):
        raise bad_request(f"unknown patch type: {directive!r}")
    if directive in ("replace", "delete"):
        return patch if directive == "replace" else {}
    retain = patch.pop("$retainKeys", None)
    out = {key: inner for key, inner in value.items() if retain is None or key in retain} if isinstance(value, dict) else {}
    orders = _taken(patch, "$setElementOrder/")
    for key, gone in _taken(patch, "$deleteFromPrimitiveList/").items():
        out[key] = [item for item in out.get(key) or () if item not in gone]
    for key, inner in patch.items():
        if inner is None:
            out.pop(key, None)
        elif isinstance(inner, list):
            out[key] = _strategic_list(node.field(key), out.get(key) or [], inner)
        else:
            out[key] = strategic_patch(node.field(key), out.get(key), inner)
    for key, order in orders.items():
        if isinstance(out.get(key), list):
            out[key] = _ordered(node.field(key), out[key], order)
    return out


def _taken(patch: dict[str, Any], prefix: str) -> dict[str, list[Any]]:
    return {key.removeprefix(prefix): patch.pop(key) for key in list(patch) if key.startswith(prefix)}


def _strategic_list(node: Node, live: list[Any], patch: list[Any]) -> list[Any]:
    merges = node.raw.get("x-kubernetes-patch-strategy", "") in ("merge", "merge,retainKeys") or node.merge_key
    if not merges:
        return patch
    inner, key = node.element or ANY, node.merge_key
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
    if key is None:
        return [*live, *(item for item in patch if item not in live)]
    out = list(live)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {json.dumps(item)[:100]} does not contain declared merge key: {key}")
        at = next((place for place, old in enumerate(out) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            out = [old for old in out if old.get(key) != item[key]]
        elif at is None:
            out.append(strategic_patch(inner, {}, item))
        else:
            out[at] = strategic_patch(inner, out[at], item)
    return out


def _ordered(node: Node, items: list[Any], order: list[Any]) -> list[Any]:
    key = node.merge_key
    wanted = [json.dumps(item.get(key) if key and isinstance(item, dict) else item) for item in order]
    rank = {name: place for place, name in enumerate(wanted)}

    def place(pair: tuple[int, Any]) -> tuple[int, int]:
        at, item = pair
        name = json.dumps(item.get(key) if key and isinstance(item, dict) else item)
        return (rank.get(name, len(rank)), at)

    return [item for _, item in sorted(enumerate(items), key=place)]
