"""JSON6902 patches (RFC 6902) as evanphx/json-patch v4.12 applies them, which is more lenient than the RFC.

`replace` of a missing key adds it, negative indices count from the end, `test` of a missing path against null passes, `add` without a value
adds null.
"""

from collections.abc import Sequence
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.yamlread import copied

Operation = dict[str, Any]
OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
_MISSING = object()


def decode_operations(value: Any) -> list[Operation] | None:
    """Return the operations of a parsed patch, None if it is no JSON6902 patch (a list of maps)."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(operation, dict) for operation in value):
        return None
    return value


def apply_operations(body: dict[str, Any], operations: Sequence[Operation]) -> None:
    """Edit an object. Raises BuildError that names the operation and its path."""
    for operation in operations:
        _apply(body, operation)


def _apply(body: dict[str, Any], operation: Operation) -> None:
    name, path = operation.get("op"), _path(operation, "path")
    match name:
        case "add":
            holder, key = _find(body, path, "add")
            _add(holder, key, copied(operation.get("value")), path)
        case "remove":
            holder, key = _find(body, path, "remove")
            _remove(holder, key, path)
        case "replace" if path == "":
            if not isinstance(operation.get("value"), dict):
                raise BuildError("replace operation value must be an object")
            body.clear()
            body.update(copied(operation["value"]))
        case "replace":
            holder, key = _find(body, path, "replace")
            _replace(holder, key, copied(operation.get("value")), path)
        case "move" | "copy":
            _transfer(body, operation, path)
        case "test":
            _test(body, operation, path)
        case _:
            raise BuildError(f"Unexpected kind: {name!r} is no JSON6902 operation, use one of {', '.join(OPERATIONS)}")


def _path(operation: Operation, field: str) -> str:
    path = operation.get(field)
    if not isinstance(path, str):
        raise BuildError(f"{operation.get('op')} operation: missing {field} field")
    return path


def _transfer(body: dict[str, Any], operation: Operation, path: str) -> None:
    name, origin = operation["op"], _path(operation, "from")
    holder, key = _find(body, origin, name)
    value = _get(holder, key, origin)
    if name == "move":
        _remove(holder, key, origin)
    holder, key = _find(body, path, name)
    _add(holder, key, None if value is _MISSING else copied(value), path)


def _test(body: dict[str, Any], operation: Operation, path: str) -> None:
    if path == "":
        value: Any = body
    else:
        holder, key = _find(body, path, "test")
        value = _get(holder, key, path)
    if value is _MISSING:
        value = None
    if not _equal(value, operation.get("value")):
        raise BuildError(f"testing value {path} failed")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _find(body: Any, path: str, name: str) -> tuple[Any, str]:
    """The map or list that holds the last part, and that part."""
    parts = path.split("/")
    holder = body
    for part in parts[1:-1]:
        key = part.replace("~1", "/").replace("~0", "~")
        holder = _get(holder, key, path) if isinstance(holder, dict | list) else None
        if not isinstance(holder, dict | list):
            holder = None
            break
    if holder is None or len(parts) < 2:
        raise BuildError(f"{name} operation does not apply: doc is missing path: {path!r}")
    return holder, parts[-1].replace("~1", "/").replace("~0", "~")


def _get(holder: Any, key: str, path: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(key, _MISSING)
    return holder[_index(key, len(holder), path)]


def _index(key: str, length: int, path: str) -> int:
    """A position in a list; `length` is one more than the last that may be named."""
    try:
        index = int(key) if key.lstrip("+-").isdecimal() and key.isascii() else None
    except ValueError:
        index = None
    if index is None:
        raise BuildError(f"value was not a proper array index: '{key}' in {path!r}")
    if not -length <= index < length:
        raise BuildError(f"Unable to access invalid index: {key} in {path!r}")
    return index + length if index < 0 else index


def _add(holder: Any, key: str, value: Any, path: str) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    else:
        holder.insert(_index(key, len(holder) + 1, path), value)


def _replace(holder: Any, key: str, value: Any, path: str) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    else:
        holder[_index(key, len(holder), path)] = value


def _remove(holder: Any, key: str, path: str) -> None:
    if isinstance(holder, dict):
        if key not in holder:
            raise BuildError(f"Unable to remove nonexistent key: {key} in {path!r}")
        del holder[key]
    else:
        del holder[_index(key, len(holder), path)]
