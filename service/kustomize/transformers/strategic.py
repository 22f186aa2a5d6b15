"""Strategic merge of one patch into one object, as kyaml does it (kyaml v0.21.0 yaml/walk, yaml/merge2; Apache-2.0).

Format: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md, of which kyaml
carries out `$patch` only. Its list merge has edges (elements without a key, keys given on one side only); they are kept, step by step, so
that the same objects come out. The patch is consumed: give a copy.
"""

from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.objects import Shared
from service.kustomize.scalars import text_of
from service.kustomize.schema import Schema, Shape

MISSING: Any = object()
"""Not there, or to be deleted."""

_DIRECTIVE = "$patch"
_DIRECTIVES = ("delete", "replace", "merge")
Values = list[str]


class Merge:
    """The merge of one patch."""

    def __init__(self, schema: Schema, shared: Shared) -> None:
        self._schema = schema
        self._shared = shared

    def walk(self, dest: Any, patch: Any, shape: Shape | None) -> Any:
        """Return the merged value, MISSING if it is deleted. Raises BuildError where a map meets a list or a text."""
        shape = shape or self._embedded(dest) or self._embedded(patch)
        kind = _kind(dest) or _kind(patch)
        other = _kind(patch)
        if kind and other and kind != other:
            raise BuildError(f"wrong node kind: expected {kind} but got {other}")
        match kind:
            case "list":
                return self._list(dest, patch, shape)
            case "scalar":
                return dest if patch is MISSING else _unless_null(patch)
        return self._map(dest, patch, shape)

    def _embedded(self, value: Any) -> Shape | None:
        """A map with apiVersion and kind has the shape of that kind, wherever it stands."""
        if type(value) is dict and "kind" in value and "apiVersion" in value:
            return self._schema.shape(text_of(value["apiVersion"]), text_of(value["kind"]))
        return None

    def _map(self, dest: Any, patch: Any, shape: Shape | None) -> Any:
        node = _visit_map(dest, patch)
        if node is MISSING or node is None:
            return node
        for key in [*node, *(key for key in patch if key not in node)] if type(patch) is dict else list(node):
            value = node.get(key, MISSING)
            change = patch.get(key, MISSING) if type(patch) is dict else MISSING
            field = shape.field(key) if shape is not None else None
            if change is MISSING and (field is None or not isinstance(value, dict | list)):
                continue
            result = self.walk(value, change, field)
            if result is MISSING:
                self._shared.leave(node, key)
                node.pop(key, None)
            elif change is not MISSING:
                self._shared.write(node, key, result)
            else:
                node[key] = result
        return node

    def _list(self, dest: Any, patch: Any, shape: Shape | None) -> Any:
        if shape is None or shape.keys is None:
            return dest if patch is MISSING else _unless_null(patch)
        node = _visit_list(dest, patch)
        if node is MISSING or node is None:
            return MISSING
        keys = list(shape.keys)
        if patch is MISSING and len(keys) == 1 and _is_plain(node, keys[0]):
            for element in node:
                self.walk(element, MISSING, shape.elements())
            return node
        if keys:
            values = _element_values(node, patch, keys)
        else:
            values, keys = _primitive_values(node, patch), [""]
        return self._merge_elements(node, patch, values, keys, shape.elements())

    def _merge_elements(self, dest: list[Any], patch: Any, wanted: list[Values], keys: Values, shape: Shape | None) -> Any:
        """Merge element by element in the order of `wanted` (the patch's first), then put the rest of dest behind."""
        added: list[Any] = []
        if len(keys) > 1:
            _complete(wanted)
        valid_keys = keys
        for values in wanted:
            valid_keys, valid_values = _valid(wanted, values, keys)
            look_for = _valid([valid_values], valid_values, valid_keys)
            merged = self.walk(_element(dest, *look_for), _element(patch, *look_for), shape)
            if merged is MISSING or merged is None or merged == {}:
                _set_element(dest, MISSING, valid_keys, valid_values)
                continue
            if type(merged) is dict:
                for key, value in zip(valid_keys, valid_values, strict=False):
                    if key not in merged and value:
                        merged[key] = value
            _set_element(added, merged, valid_keys, valid_values)
        return _append(added, dest, valid_keys) if wanted else dest


def _kind(value: Any) -> str | None:
    if value is MISSING or value is None:
        return None
    return "map" if type(value) is dict else "list" if type(value) is list else "scalar"


def _unless_null(patch: Any) -> Any:
    return MISSING if patch is None else patch


def _visit_map(dest: Any, patch: Any) -> Any:
    """What the merged map starts from. A null that the patch does not touch stays."""
    if dest is MISSING or dest is None:
        if patch is MISSING:
            return dest
        if type(patch) is dict and patch.get(_DIRECTIVE) in _DIRECTIVES:
            return MISSING if patch.pop(_DIRECTIVE) == "delete" else patch
        return _unless_null(patch)
    if patch is MISSING:
        return dest
    if patch is None:
        return MISSING
    directive = patch.get(_DIRECTIVE, "merge")
    if directive not in _DIRECTIVES:
        raise BuildError(f"unknown patch strategy '{text_of(directive)}'")
    patch.pop(_DIRECTIVE, None)
    return MISSING if directive == "delete" else patch if directive == "replace" else dest


def _visit_list(dest: Any, patch: Any) -> Any:
    if dest is MISSING or dest is None:
        return patch
    if patch is MISSING:
        return dest
    if patch is None:
        return MISSING
    holder = next((item for item in patch if type(item) is dict and _DIRECTIVE in item), None)
    if holder is None or len(holder) > 1:
        return dest
    directive = text_of(holder[_DIRECTIVE])
    if directive not in _DIRECTIVES:
        raise BuildError(f"unknown patch strategy '{directive}'")
    _set_element(patch, MISSING, [_DIRECTIVE], [directive])
    return MISSING if directive == "delete" else patch if directive == "replace" else dest


def _is_plain(items: list[Any], key: str) -> bool:
    """Each element is a map with a key of its own: nothing to merge or to drop."""
    found = {text_of(item.get(key)) if type(item) is dict else "" for item in items}
    return len(found) == len(items) and "" not in found


def _element_values(dest: Any, patch: Any, keys: Values) -> list[Values]:
    """The key values of the elements, the patch's first, each once."""
    found: list[Values] = []
    for source in (patch, dest):
        for item in source if type(source) is list else ():
            values = [text_of(item.get(key)) if type(item) is dict else "" for key in keys]
            if values not in found:
                found.append(values)
    return found


def _primitive_values(dest: Any, patch: Any) -> list[Values]:
    texts = dict.fromkeys(text_of(item) for source in (patch, dest) if type(source) is list for item in source)
    return [[text] for text in texts]


def _complete(wanted: list[Values]) -> None:
    """Of values that agree in one key and do not differ in another, each takes what the other has."""
    for index, one in enumerate(wanted):
        for position, other in enumerate(wanted):
            both = _agreed(one, other)
            if both is not None:
                wanted[index] = wanted[position] = both


def _agreed(one: Values, other: Values) -> Values | None:
    if any(a != b and a and b for a, b in zip(one, other, strict=True)) or not any(a == b for a, b in zip(one, other, strict=True)):
        return None
    return [a or b for a, b in zip(one, other, strict=True)]


def _valid(every: list[Values], values: Values, keys: Values) -> tuple[Values, Values]:
    """Leave out the keys that no element has."""
    used = {keys[index] for row in every for index, value in enumerate(row) if value and index < len(keys)}
    if not used:
        return keys, values
    kept = [value for index, value in enumerate(values) if value or (index < len(keys) and keys[index] in used)]
    return [key for key in keys if key in used], kept


def _element(source: Any, keys: Values, values: Values) -> Any:
    """The first element whose keys have these values."""
    if type(source) is not list:
        return MISSING
    if not keys or not keys[0]:
        return next((item for item in source if text_of(item) == (values[0] if values else "")), MISSING)
    if len(keys) != len(values):
        return MISSING
    for item in source:
        if type(item) is dict and all(key in item and text_of(item[key]) == value for key, value in zip(keys, values, strict=True)):
            return item
    return MISSING


def _matches(item: Any, key: str, value: str) -> bool:
    if not key:
        if isinstance(item, dict | list):
            raise BuildError("wrong node kind: expected a text in a list that merges by value")
        return text_of(item) == value
    if type(item) is not dict:
        raise BuildError("wrong node kind: expected a map in a list that merges by key")
    return key in item and (not value or text_of(item[key]) == value)


def _found(item: Any, keys: Values, values: Values) -> bool:
    hit = False
    for index, key in enumerate(keys):
        if index < len(values):
            hit = _matches(item, key, values[index])
        if not hit:
            return False
    return True


def _set_element(items: list[Any], element: Any, keys: Values, values: Values) -> None:
    """Put an element in the place of those with its keys, else at the end; MISSING takes them away. Nulls and empty maps go."""
    by_key = bool(keys and keys[0] and values and values[0])
    kept, replaced = [], False
    for item in items:
        if item is None or item == {}:
            continue
        if type(item) is not dict and by_key:
            kept.append(item)
        elif not _found(item, keys, values):
            if values:
                kept.append(item)
        else:
            replaced = True
            if element is not MISSING:
                kept.append(element)
    items[:] = kept
    if element is not MISSING and element is not None and not replaced:
        items.append(element)


def _append(added: list[Any], rest: list[Any], keys: Values) -> list[Any]:
    """Put the elements of the object behind those of the patch, each in its place if it is there already."""
    for element in rest:
        if not keys[0]:
            _set_element(added, element, [""], [text_of(element)])
            continue
        values: Values = []
        for key in keys:
            if type(element) is not dict:
                raise BuildError("wrong node kind: expected a map in a list that merges by key")
            if key not in element:
                added.append(element)
                continue
            values.append(text_of(element[key]))
        if len(keys) > 1:
            _set_element(added, MISSING, keys, values)
        _set_element(added, element, keys, values)
    return added
