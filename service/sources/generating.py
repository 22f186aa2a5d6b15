"""The trees of an ArtifactGenerator's artifacts, of its sources' snapshots. For worker processes.

In: the spec, the sources as they are and as they were, and what was made then. Out: each artifact with its tree; one whose copies read
nothing that has changed is taken as it was. All trees are held together under the generator's private ref.
https://github.com/fluxcd/source-watcher/blob/main/docs/spec/v1beta1/artifactgenerators.md
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from service.kinds.generator import ArtifactGeneratorSpec, OutputArtifact
from service.kinds.meta import NO_REVISION, SOURCE_GROUP, ObjectKey
from service.sources.copying import CopyFailed, copied, root_of
from service.sources.globs import BadPattern
from service.sources.layout import Layout
from service.sources.openrepo import repository
from service.sources.snapshot import Snapshot, touched
from service.sources.transplant import Transplant
from service.sources.tree import GitTree
from service.sources.treestore import commit, put, telling_damage, unpacked

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PART = re.compile(r"\{([^{}]*)\}")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


_CHART = ObjectKey(group=SOURCE_GROUP, kind="HelmChart", namespace="", name="")


class BadGenerator(Exception):
    """The spec, or what its pathPattern finds, is wrong: only a change helps."""


class BuildFailed(Exception):
    """An artifact cannot be made of its sources as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One artifact: `wanted` with its captures filled in, which are labels of the object too, and its tree."""

    wanted: OutputArtifact
    tree: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made of which sources. A source is a snapshot, or the file of a chart with its digest as the name's end."""

    sources: Mapping[str, Snapshot | Path]
    outputs: tuple[Output, ...]
    held: str
    """The tree that holds all of theirs."""


@telling_damage()
def make(store: Path, uid: str, spec: ArtifactGeneratorSpec, sources: Mapping[str, Snapshot | Path], before: Made | None) -> Made:
    """Make all artifacts. Raises BadGenerator, BuildFailed, SnapshotGone, OSError."""
    repo = repository(store)
    opened = {alias: Transplant(_snapshot(repo, each), repo) for alias, each in sources.items()}
    known = _reusable(repo, sources, before)
    outputs = []
    for wanted, labels in _wanted(spec, {alias: each.tree for alias, each in opened.items()}):
        tree = known.get(wanted)
        try:
            made = tree or str(copied(opened, wanted.copy, repo))
        except CopyFailed as error:
            raise BuildFailed(f"{wanted.name} build failed: {error}") from error
        outputs.append(Output(wanted=wanted, tree=made, labels=labels))
    held = Layout(repo)
    for each in outputs:
        held.place(each.wanted.name, (pygit2.Oid(hex=each.tree), FileMode.TREE))
    return Made(sources=sources, outputs=tuple(outputs), held=commit(held, uid, "generated").tree)


def _snapshot(repo: pygit2.Repository, source: Snapshot | Path) -> Snapshot:
    """A chart's archive as a snapshot of this very store."""
    if isinstance(source, Snapshot):
        return source
    layout = Layout(repo)
    with source.open("rb") as packed:
        for file in unpacked(packed):
            put(layout, file.path, file)
    return Snapshot.of_tree(_CHART, NO_REVISION, Path(repo.path), str(layout.write()))


def _reusable(repo: pygit2.Repository, sources: Mapping[str, Snapshot | Path], before: Made | None) -> dict[OutputArtifact, str]:
    """The artifacts whose copies read nothing that has changed, with their trees."""
    if before is None or pygit2.Oid(hex=before.held) not in repo:
        return {}
    changed = {alias: _changed(before.sources.get(alias), each) for alias, each in sources.items()}

    def same(wanted: OutputArtifact) -> bool:
        roots = map(root_of, wanted.copy)
        return all((paths := changed.get(alias)) is not None and root not in paths for alias, root in roots)

    found = {}
    for each in before.outputs:
        try:
            if same(each.wanted):
                found[each.wanted] = each.tree
        except BadPattern:
            continue
    return found


def _changed(old: Snapshot | Path | None, new: Snapshot | Path) -> frozenset[str] | None:
    """The paths that differ, with all directories above them; None where everything may."""
    if old == new:
        return frozenset()
    return touched(old, new) if isinstance(old, Snapshot) and isinstance(new, Snapshot) and old.key == new.key else None


def _wanted(spec: ArtifactGeneratorSpec, trees: Mapping[str, GitTree]) -> Iterator[tuple[OutputArtifact, Mapping[str, str]]]:
    """The artifacts as they are, or for each directory that fits the pattern. Raises BadGenerator."""
    if not spec.path_pattern:
        yield from ((each, {}) for each in spec.output_artifacts)
        return
    alias, _, pattern = spec.path_pattern.removeprefix("@").partition("/")
    if alias not in trees:
        raise BadGenerator(f"pathPattern '{spec.path_pattern}': source alias {alias} not found")
    taken: dict[str, str] = {}
    for path, captures in _directories(trees[alias], spec.path_pattern, pattern.split("/")):
        labels = {name: value.lower() for name, value in captures.items()}
        for name, value in labels.items():
            if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
                raise BadGenerator(f"pathPattern '{spec.path_pattern}': '{value}' for {{{name}}} of the directory {path} cannot be a label")
        for each in spec.output_artifacts:
            made = _rendered(each, labels, captures)
            if len(made.name) > 253 or not _OBJECT_NAME.fullmatch(made.name):
                raise BadGenerator(f"pathPattern '{spec.path_pattern}': '{made.name}', of the directory {path}, cannot be an object's name")
            if made.name in taken:
                why = f"the directories {taken[made.name]} and {path} both make the artifact '{made.name}'"
                raise BadGenerator(f"pathPattern '{spec.path_pattern}': {why}")
            taken[made.name] = path
            yield made, labels


def _directories(tree: GitTree, whole: str, parts: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The directories that fit, in order, each with what its captures stand for."""
    names = [name for part in parts for name in _PART.findall(part)]
    for name in names:
        if not _NAME.fullmatch(name) or names.count(name) > 1:
            raise BadGenerator(f"pathPattern '{whole}': {{{name}}} is no name, or there twice")
    if any("{" in rest or "}" in rest for rest in map(_without_captures, parts)):
        raise BadGenerator(f"pathPattern '{whole}': a brace that nothing opens or closes")
    plans = [re.compile("".join(_expression(part))) for part in parts]

    def below(folder: str, at: int, captures: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
        if at == len(plans):
            yield folder, captures
            return
        for name, kind in tree.list(folder):
            found = plans[at].fullmatch(name) if kind == "dir" else None
            if found is not None:
                yield from below(f"{folder}/{name}" if folder else name, at + 1, captures | found.groupdict())

    return below("", 0, {})


def _without_captures(part: str) -> str:
    return _PART.sub("", part)


def _expression(part: str) -> Iterator[str]:
    for at, text in enumerate(_PART.split(part)):
        yield f"(?P<{text}>[^/]+)" if at % 2 else re.escape(text)


def _rendered(wanted: OutputArtifact, labels: Mapping[str, str], captures: Mapping[str, str]) -> OutputArtifact:
    """Names are in lower case, as objects' are; paths are as they stand."""
    copies = tuple(replace(each, source=_filled(each.source, captures), to=_filled(each.to, captures)) for each in wanted.copy)
    return replace(wanted, name=_filled(wanted.name, labels), copy=copies)


def _filled(template: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise BadGenerator(f"'{template}': {{{found[1]}}} is no capture of pathPattern")
        return values[found[1]]

    filled = _PART.sub(value, template)
    if "{" in _PART.sub("", template) or "}" in _PART.sub("", template):
        raise BadGenerator(f"'{template}': a brace that nothing opens or closes")
    return filled
