"""configMapGenerator and secretGenerator: literals, files and env files in, objects out.

Format: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/configmapgenerator/. Behaviour: kustomize api v0.21.0
internal/generators, kv, and resmap's appendReplaceOrMerge.
"""

import base64
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.files import Folder
from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import reads_as_text, text_of
from service.kustomize.schema import Schema

_BASE64_LINE = 70


def generate(kind: str, entry: Mapping[str, Any], options: Mapping[str, Any], folder: Folder, schema: Schema) -> Resource:
    """Return the ConfigMap or Secret of one generator entry; `options` are the file's generatorOptions. Raises BuildError."""
    name = entry.get("name") or ""
    if not name:
        raise BuildError(f"a generated {kind} must have a name")
    body: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    if entry.get("namespace"):
        body["metadata"]["namespace"] = entry["namespace"]
    pairs = _unique(name, entry, folder)
    if kind == "Secret":
        body["type"] = entry.get("type") or "Opaque"
        body["data"] = {key: _base64(value) for key, value in pairs.items()}
    else:
        for key, value in pairs.items():
            field, text = _config_value(value)
            body.setdefault(field, {})[key] = text
    merged = _merged_options(entry.get("options") or {}, options)
    for field in ("labels", "annotations"):
        if merged.get(field):
            for key in merged[field]:
                _check_key(name, key)
            body["metadata"][field] = dict(merged[field])
    if merged.get("immutable"):
        body["immutable"] = True
    made = Resource(body, schema)
    made.needs_hash = not merged.get("disableNameSuffixHash")
    made.behavior = entry.get("behavior") or "unspecified"
    return made


def _merged_options(own: Mapping[str, Any], of_all: Mapping[str, Any]) -> dict[str, Any]:
    """The entry's labels and annotations win; the flags are OR-ed, a local false cannot undo a global true."""
    merged: dict[str, Any] = {field: {**(of_all.get(field) or {}), **(own.get(field) or {})} for field in ("labels", "annotations")}
    for flag in ("disableNameSuffixHash", "immutable"):
        merged[flag] = bool(own.get(flag) or of_all.get(flag))
    return merged


def _check_key(name: str, key: str) -> None:
    if not reads_as_text(key):
        raise BuildError(f"json: unsupported type: the key {key!r} of the generated {name} reads as no text; name it otherwise")


def _unique(name: str, entry: Mapping[str, Any], folder: Folder) -> dict[str, bytes]:
    pairs: dict[str, bytes] = {}
    for key, value in _pairs(entry, folder):
        _check_key(name, key)
        if key in pairs:
            raise BuildError(f"configmap {name} illegally repeats the key `{key}`")
        pairs[key] = value
    return dict(sorted(pairs.items()))


def _pairs(entry: Mapping[str, Any], folder: Folder) -> Iterator[tuple[str, bytes]]:
    for path in entry.get("envs") or ():
        yield from _env_pairs(folder.read(path), path)
    for number, literal in enumerate(entry.get("literals") or ()):
        key, equals, value = literal.partition("=")
        if not equals or not key:
            raise BuildError(f"invalid literal source literals[{number}], expected key=value")  # itself it may be a secret
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        yield key, value.encode("utf-8", "surrogatepass")
    for source in entry.get("files") or ():
        key, equals, path = source.partition("=")
        if not equals:
            key, path = posixpath.basename(source.rstrip("/")), source
        elif not key or not path:
            raise BuildError(f"missing {'key name' if not key else 'file path'} in file source {source!r}, expected key=path")
        elif "=" in path:
            raise BuildError(f"source {source!r} key name or file path contains '='")
        yield key, folder.read(path)


def _env_pairs(content: bytes, path: str) -> Iterator[tuple[str, bytes]]:
    """KEY=value lines. Quotes, trailing spaces and comments behind a value belong to it."""
    lines = content.split(b"\n")
    for number, raw in enumerate(lines):
        line = raw.removesuffix(b"\r")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise BuildError("an env file must be UTF-8", path, number + 1) from error
        text = (text.removeprefix("\ufeff") if number == 0 else text).lstrip()
        if text and not text.startswith("#"):
            key, _, value = text.partition("=")
            if key:
                yield key, value.encode()


def _config_value(value: bytes) -> tuple[str, str]:
    try:
        return "data", value.decode()
    except UnicodeDecodeError:
        return "binaryData", _base64(value)


def _base64(value: bytes) -> str:
    """Base64; more than 70 characters are cut into lines, each with its newline, which belongs to the value."""
    text = base64.b64encode(value).decode()
    if len(text) < _BASE64_LINE:
        return text
    return "".join(text[start : start + _BASE64_LINE] + "\n" for start in range(0, len(text), _BASE64_LINE))


def absorb(objects: Objects, made: Resource) -> None:
    """Add a generated object, or put it in the place of the one it merges with or replaces. Raises BuildError."""
    wanted = made.id
    found = objects.with_id(wanted)
    if len(found) > 1:
        raise BuildError(f"found multiple objects that could accept merge of {wanted}")
    if not found:
        if made.behavior in ("merge", "replace"):
            raise BuildError(f"id {wanted} does not exist; cannot merge or replace; set behavior: create, or name an object of a base")
        objects.append(made)
        return
    if made.behavior not in ("merge", "replace"):
        raise BuildError(f"id {wanted} exists; can not use behavior: '{made.behavior}', behavior must be merge or replace")
    old, merges = found[0], made.behavior == "merge"
    _take_metadata(made, old)
    if merges:
        for field in ("data", "binaryData"):
            both = {**_texts(old.body.get(field)), **_texts(made.body.get(field))}
            made.body.pop(field, None)
            if both:
                made.body[field] = both
        made.origin = old.origin or made.origin
    objects.rows[objects.rows.index(old)] = made
    objects.changed()


def _texts(value: Any) -> dict[str, str]:
    return {key: text_of(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _take_metadata(made: Resource, old: Resource) -> None:
    """Name, namespace and former ids of the old object; labels and annotations of both; a hash only if both want one."""
    for field in ("labels", "annotations"):
        made.set_texts(field, {**old.texts(field), **made.texts(field)})
    made.metadata["name"] = old.name
    made.metadata.pop("namespace", None)
    if old.namespace:
        made.metadata["namespace"] = old.namespace
    for field in ("former", "prefixes", "suffixes", "variables", "history"):
        setattr(made, field, list(getattr(old, field)))
    made.needs_hash = made.needs_hash and old.needs_hash
    made.behavior = old.behavior
