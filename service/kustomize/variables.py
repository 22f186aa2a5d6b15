"""vars: `$(NAME)` in the fields of varReference becomes the value of a field of another object.

Deprecated upstream for replacements. Behaviour: kustomize api v0.21.0 filters/refvar and internal/accumulator.
"""

from collections.abc import Mapping
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Gvk, Specs, matching, slots, split_path
from service.kustomize.objects import Id, Objects, Resource
from service.kustomize.scalars import WrittenFloat, WrittenInt, go_float, text_of

Variables = dict[str, dict[str, Any]]


def register(objects: Objects, variables: Variables, entries: list[dict[str, Any]]) -> None:
    """Note a layer's vars and mark the objects that they name. Raises BuildError if a name comes twice or is not unique."""
    for entry in entries:
        reference = entry.get("objref") or {}
        wanted = Id(_kind(reference), reference.get("name") or "", reference.get("namespace") or "")
        any_namespace = not wanted.namespace
        found = objects.matching(
            lambda known, wanted=wanted, any_namespace=any_namespace: (  # type: ignore[misc]  # bound early
                known.gvk == wanted.gvk and (any_namespace or known.effective == wanted.effective)
            ),
            wanted.name,
        )
        name = entry.get("name") or ""
        if len(found) > 1:
            raise BuildError(f"found {len(found)} resId matches for var {name} (unable to disambiguate)")
        if found:
            found[0].variables.append(name)
    merge(variables, {entry.get("name") or "": entry for entry in entries})
    if len({entry.get("name") or "" for entry in entries}) < len(entries):
        raise BuildError("vars: a name is given twice")


def merge(variables: Variables, incoming: Variables) -> None:
    """Add vars. Raises BuildError if one is there already."""
    for name, entry in incoming.items():
        if name in variables:
            raise BuildError(f"var '{name}' already encountered")
        variables[name] = entry


def _kind(reference: Mapping[str, Any]) -> Gvk:
    group, version = reference.get("group") or "", reference.get("version") or ""
    parts = (reference.get("apiVersion") or "").split("/")
    if len(parts) == 2:
        group, version = parts
    elif parts[0] and len(parts) == 1:
        version = parts[0]
    return Gvk(group, version, reference.get("kind") or "")


def resolve(objects: Objects, variables: Variables, specs: Specs) -> None:
    """Replace the variables. Raises BuildError if a value cannot be found."""
    values = {name: _value(objects, name, entry) for name, entry in sorted(variables.items())}
    if not values:
        return
    for row in objects.rows:
        for path, _ in matching(specs, row.gvk):
            for holder, key in slots(row.body, path):
                _replace(row, holder, key, values)
    objects.changed()


def _value(objects: Objects, name: str, entry: Mapping[str, Any]) -> Any:
    row = next((row for row in objects.rows if name in row.variables), None)
    path = (entry.get("fieldref") or {}).get("fieldPath") or "metadata.name"
    if row is None:
        raise BuildError(f"var '{name}' cannot be mapped to a field in the set of known resources")
    value: Any = row.body
    for part in _path(path):
        if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            raise BuildError(f"field specified in var '{name}' not found in corresponding resource: {path} of {row.id}")
    if isinstance(value, WrittenInt):  # upstream reads the text as decimal: 0644 is 644
        try:
            return int(value.text)
        except ValueError:
            raise BuildError(f"var '{name}': {value.text} of {row.id} is no decimal number; put it in quotes") from None
    return float(value) if isinstance(value, WrittenFloat) else value


def _path(path: str) -> list[str]:
    """`a.b[0].c` and `a.b.0.c` are the same."""
    parts: list[str] = []
    for part in split_path(path, "."):
        head, bracket, rest = part.partition("[")
        parts += [head] if head else []
        if bracket:
            parts += [item.rstrip("]") for item in rest.split("[")]
    return parts


def _replace(row: Resource, holder: dict[str, Any], key: str, values: Mapping[str, Any]) -> None:
    value = holder[key]
    if isinstance(value, str):
        row.shared.write(holder, key, expand(value, values))
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                row.shared.write(value, name, expand(item, values))
    elif isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise BuildError("vars: invalid value type expect a string")
        value[:] = [expand(item, values) for item in value]


def expand(text: str, values: Mapping[str, Any]) -> Any:
    """Return the text with its variables replaced; one that is the whole text keeps its type, `$$` is a dollar sign."""
    result, done, position = "", 0, 0
    while position < len(text):
        if text[position] == "$" and position + 1 < len(text):
            result += text[done:position]
            name, is_variable, used = _read(text[position + 1 :])
            if is_variable:
                value = values.get(name)
                usable = name in values and isinstance(value, str | int | float)
                shown = value if usable else f"$({name})"
                if text == f"$({name})":
                    return shown
                result += go_float(shown) if isinstance(shown, float) else text_of(shown)
            else:
                result += name
            position += used
            done = position + 1
        position += 1
    return result + text[done:]


def _read(rest: str) -> tuple[str, bool, int]:
    """What follows a dollar sign: (text, whether it is a name, characters used)."""
    if rest[0] == "$":
        return "$", False, 1
    if rest[0] == "(":
        end = rest.find(")")
        return (rest[1:end], True, end + 1) if end > 0 else ("$(", False, 1)
    return "$" + rest[0], False, 1
