"""images: new name, tag or digest. Behaviour: kustomize api v0.21.0 filters/imagetag and internal/image.

An image is first looked for in every list named containers or initContainers at any depth, then at the field specs (so a tagSuffix lands
twice where both find it, as upstream). The places are found once for all entries of a layer: entries change texts, never the structure.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import Slot, Specs, matching, slots
from service.kustomize.layer import Layer, Transformer
from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import text_of
from service.kustomize.selectors import go_regexp

_LISTS = ("containers", "initContainers")
_TAIL = "(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?$"


def configure(layer: Layer) -> list[Transformer]:
    """The layer's `images`."""
    entries = layer.fields.get("images") or ()
    return [editor(entries, layer.tables.images)] if entries else []


def editor(entries: Sequence[Mapping[str, str]], specs: Specs) -> Transformer:
    """Return the transformer for entries, applied in sequence."""
    patterns = [(entry, go_regexp("^" + (entry.get("name") or "") + _TAIL)) for entry in entries]
    return Transformer(lambda objects: _transform(objects, patterns, specs), len(entries))


def _transform(objects: Objects, patterns: Sequence[tuple[Mapping[str, str], re.Pattern[str]]], specs: Specs) -> None:
    for row in objects.rows:
        if row.kind == "CustomResourceDefinition":
            continue
        places = [*_anywhere(row.body, []), *_at_specs(row, specs)]
        if not places:
            continue
        for entry, pattern in patterns:
            for holder, key in places:
                value = text_of(holder[key])
                if pattern.search(value):
                    holder[key] = _edited(value, entry)


def _at_specs(row: Resource, specs: Specs) -> Iterator[Slot]:
    for path, _ in matching(specs, row.gvk):
        for holder, key in slots(row.body, path):
            yield _scalar(holder, key)


def _anywhere(node: Any, found: list[Slot]) -> list[Slot]:
    """Collect the images of all lists with a name of _LISTS, at any depth."""
    for value in node.values() if type(node) is dict else node:
        if type(value) is dict or type(value) is list:
            _anywhere(value, found)
    if type(node) is dict:
        for name in _LISTS:
            containers = node.get(name)
            if type(containers) is list:
                found += _images(containers)
    return found


def _images(containers: list[Any]) -> Iterator[Slot]:
    for container in containers:
        if isinstance(container, dict):
            if "image" in container:
                yield _scalar(container, "image")
        elif container is not None:
            raise BuildError("images: wrong node kind: a container must be a map")


def _scalar(holder: dict[str, Any], key: str) -> Slot:
    if isinstance(holder[key], dict | list):
        raise BuildError("images: wrong node kind: an image must be a text")
    return holder, key


def _edited(value: str, entry: Mapping[str, str]) -> str:
    name, tag, digest = split(value)
    name = entry.get("newName") or name
    if entry.get("newTag"):
        tag, digest = entry["newTag"], entry.get("digest") or ""
    elif entry.get("digest"):
        tag, digest = "", entry["digest"]
    elif entry.get("tagSuffix"):
        tag, digest = tag + entry["tagSuffix"], ""
    return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def split(image: str) -> tuple[str, str, str]:
    """Return (name, tag, digest) of an image; the port of a registry belongs to the name."""
    start = max(image.find("/"), 0)
    at, colon = image.find("@", start), image.find(":", start)
    if at < 0 and colon < 0:
        return image, "", ""
    if at >= 0 and (at < colon or colon < 0):
        return image[:at], "", image[at + 1 :]
    if at >= 0:
        return image[:colon], image[colon + 1 : at], image[at + 1 :]
    return image[:colon], image[colon + 1 :], ""
