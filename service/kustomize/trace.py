"""Which step of which kustomization changed which field of one object: a build watched from outside of its transformers.

A build that is given a Trace runs each step through it; the step's objects are compared before and after. Without one nothing is copied
or compared. Values of Secrets are masked, here and wherever a replacement or a var has put them.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

from service.kustomize.files import Folder
from service.kustomize.objects import Objects, Resource
from service.kustomize.scalars import text_of
from service.kustomize.yamlread import copied

FIELDS: Mapping[str, tuple[str, ...]] = {
    "PatchStrategicMergeTransformer": ("patchesStrategicMerge",),
    "PatchTransformer": ("patches",),
    "NamespaceTransformer": ("namespace",),
    "PrefixTransformer": ("namePrefix",),
    "SuffixTransformer": ("nameSuffix",),
    "LabelTransformer": ("labels", "commonLabels"),
    "AnnotationsTransformer": ("commonAnnotations",),
    "PatchJson6902Transformer": ("patchesJson6902",),
    "ReplicaCountTransformer": ("replicas",),
    "ImageTagTransformer": ("images", "imageTags"),
    "ReplacementTransformer": ("replacements",),
}
"""The fields of a kustomization that each builtin carries out; its transformers stand for their entries, in order."""
MASK = "***"
_ABSENT = object()
_OPEN = frozenset({"apiVersion", "kind", "metadata", "type", "immutable"})
_SHORT, _LONG = 4, 8
"""Texts of a Secret are looked for in other objects from `_LONG` letters on, and from `_SHORT` on once a step has run that can copy them:
`1` or a namespace that is also a user's name stand in every object."""
_COPIES = ("replacements", "vars", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a step is written: a file of the tree, the field of a kustomization, the line where that is known."""

    file: str
    by: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.by}"


@dataclass(slots=True)
class _Story:
    row: Resource
    last: Any
    changes: list[tuple[Place, str, Any, Any]]


class Trace:
    """What happened to the objects of one kind. Give it to one build, then ask for its `lines`."""

    def __init__(self, kind: str, name: str, namespace: str = "") -> None:
        self._kind = kind.lower()
        self._name = name
        self._namespace = namespace
        self._stories: dict[int, _Story] = {}
        self._secrets: set[str] = set()

    def made(self, rows: Iterable[Resource], place: Place) -> None:
        """Note objects that were read or generated."""
        for row in rows:
            self._learn(row)
            if row.body and row.kind.lower() == self._kind:
                body = copied(row.body)
                self._stories[id(row)] = _Story(row, body, [(place, "", _ABSENT, body)])

    def run(self, objects: Objects, place: Place, action: Callable[[], None]) -> None:
        """Do one step, and note what it changed."""
        before = list(objects.rows)
        action()
        now = {id(row) for row in objects.rows}
        for index, row in enumerate(objects.rows):
            if id(row) not in self._stories and row.body and row.kind.lower() == self._kind:
                self._follow(row, before[index] if index < len(before) and id(before[index]) not in now else None, place)
        for row in (*before, *objects.rows):
            story = self._stories.get(id(row))
            if story is not None and story.row is row:
                self._compare(story, place)
        for row in objects.rows:
            self._learn(row)

    def _follow(self, row: Resource, old: Resource | None, place: Place) -> None:
        """An object that was not there: new, or the one that took the place of another."""
        story = self._stories.pop(id(old), None) if old is not None else None
        if story is None:
            self.made([row], place)
        else:
            self._stories[id(row)] = _Story(row, story.last, story.changes)

    def _compare(self, story: _Story, place: Place) -> None:
        body = story.row.body or None
        if body != story.last or json.dumps(body, default=str) != json.dumps(story.last, default=str):  # 1 == True
            new = _ABSENT if body is None else body
            story.changes += [(place, *found) for found in _differences("", _ABSENT if story.last is None else story.last, copied(new))]
            story.last = copied(body)

    def _learn(self, row: Resource) -> None:
        if row.body and row.kind == "Secret":
            for field in ("data", "stringData"):
                values = row.body.get(field)
                for value in values.values() if isinstance(values, dict) else ():
                    self._secrets |= _forms(text_of(value))

    def lines(self) -> list[str]:
        """Return one text for each change, in order: place, field, old and new value; empty if there is no such object."""
        found: list[str] = []
        for story in self._stories.values():
            if self._is_asked_for(story.row, story.last):
                found += self._told(story)
        return found

    def _told(self, story: _Story) -> Iterator[str]:
        secrets = {secret for secret in self._secrets if len(secret) >= _LONG}
        for place, path, old, new in story.changes:
            if place.by.startswith(_COPIES):
                secrets = self._secrets
            if path:
                yield f"{place}: {path}: {self._shown(path, old, secrets)} -> {self._shown(path, new, secrets)}"
            else:
                yield f"{place}: {'made' if old is _ABSENT else 'deleted'} {_title(new if old is _ABSENT else old)}"

    def known(self) -> list[str]:
        """Return the objects of the kind, as they are called at the end."""
        return sorted({_title(story.last) for story in self._stories.values() if story.last})

    def _is_asked_for(self, row: Resource, last: Any) -> bool:
        first_names = {former[0] for former in row.former}
        metadata = last.get("metadata") if isinstance(last, dict) else None
        metadata = metadata if isinstance(metadata, dict) else {}
        names = first_names | {text_of(metadata.get("name"))}
        spaces = {former[1] for former in row.former} | {text_of(metadata.get("namespace")) or "default"}
        return self._name in names and (not self._namespace or self._namespace in spaces)

    def _shown(self, path: str, value: Any, secrets: set[str]) -> str:
        if value is _ABSENT:
            return "(none)"
        top = path.partition(".")[0].partition("[")[0]
        if self._kind == "secret" and (top not in _OPEN or path.startswith("metadata.annotations")):
            return MASK
        return json.dumps(_masked(value, secrets), ensure_ascii=False, default=str)


def _masked(value: Any, secrets: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _masked(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, secrets) for item in value]
    if value is None or isinstance(value, bool):
        return value
    text = text_of(value)
    return MASK if any(secret in text for secret in secrets) else value


def _forms(value: str) -> set[str]:
    """A Secret's value as it is written, and what it stands for."""
    forms = {value, value.strip()}
    with suppress(ValueError):
        forms.add(base64.b64decode(value, validate=False).decode().strip())
    return {form for form in forms if len(form) >= _SHORT}


def _title(body: Any) -> str:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    parts = (text_of(body.get("kind")), text_of(metadata.get("namespace")), text_of(metadata.get("name")))
    return "/".join(part for part in parts if part)


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(_joined(path, key), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _in_lists(path, old, new)
    elif old != new or (type(old) is not type(new) and not isinstance(old, str)):  # a text may be of a type of its own, 1 is not True
        yield path, old, new


def _joined(path: str, key: str) -> str:
    return f'{path}["{key}"]' if "." in key else f"{path}.{key}" if path else key


def _in_lists(path: str, old: list[Any], new: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Elements that have names are told apart by them, others by their place."""
    if _is_named(old) and _is_named(new):
        before, after = ({f"[name={item['name']}]": item for item in items} for items in (old, new))
    else:
        before, after = ({f"[{index}]": item for index, item in enumerate(items)} for items in (old, new))
    for key in dict.fromkeys((*before, *after)):
        yield from _differences(path + key, before.get(key, _ABSENT), after.get(key, _ABSENT))


def _is_named(items: list[Any]) -> bool:
    names = [item.get("name") for item in items if isinstance(item, dict)]
    return len(names) == len(items) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def place_of(folder: Folder, file: str, plugin: str, number: int, count: int) -> Place:
    """Return where the `number`th of a builtin's `count` transformers is written in a kustomization file."""
    names = FIELDS.get(plugin, (plugin,))
    try:
        found = _fields(folder.source.tree.read(file))
    except (FileNotFoundError, yaml.YAMLError):
        return Place(file=file, by=names[0])
    if plugin == "LabelTransformer" and number == count - 1:
        names = ("commonLabels",)
    for name in names:
        if name.lower() in found:
            line, items = found[name.lower()]
            has_item = len(items) == count or (plugin == "LabelTransformer" and number < len(items))
            entry = f"{name}[{number}]" if has_item and items else name
            return Place(file=file, by=entry, line=items[number] if has_item and items else line)
    return Place(file=file, by=names[0])


def _fields(data: bytes) -> dict[str, tuple[int, list[int]]]:
    """Return (line, lines of the entries) by field of a kustomization file, in lower case."""
    root = yaml.compose(data, Loader=yaml.CSafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return {}
    return {
        str(key.value).lower(): (
            key.start_mark.line + 1,
            [item.start_mark.line + 1 for item in value.value] if isinstance(value, yaml.SequenceNode) else [],
        )
        for key, value in root.value
    }
