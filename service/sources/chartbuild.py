"""A chart is put together: an archive or a folder of a snapshot in, the .tgz that is stored out. For worker processes.

What `valuesFiles` name is merged into values.yaml, later files win; dependencies that are not in charts/ are put there, from archives that
were fetched, or from folders of the same snapshot. Reasons and messages are Flux's, of
https://github.com/fluxcd/source-controller/tree/main/internal/helm/chart
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.kinds import meta
from service.sources.chartfiles import MOST_UNPACKED_BYTES, BadChart, Chart, chart_of, read_archive, read_folder, write_archive
from service.sources.plainyaml import BadYaml, merged, read_yaml, write_yaml
from service.sources.semver import InvalidVersion, Range, Version
from service.sources.snapshot import Snapshot
from service.sources.tree import GitTree

VALUES = "values.yaml"


class ChartFailed(Exception):
    """A chart cannot be made; `reason` is that of the condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is made of a chart. `metadata` goes behind the + of its version."""

    metadata: str = ""
    values_files: tuple[str, ...] = ()
    ignore_missing: bool = False

    @property
    def changes(self) -> bool:
        """Whether an archive is not taken as it is."""
        return bool(self.metadata or self.values_files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A chart that another one names and does not hold. `version` is a range; `repository` as it is written there."""

    name: str
    version: str
    repository: str
    alias: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of the same source."""
        return self.repository == "" or self.repository.startswith("file://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a chart of a snapshot will be. `packaged`: it is not taken as it is."""

    name: str
    version: str
    packaged: bool
    missing: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A chart that was written. `values_files` are those that were there."""

    name: str
    version: str
    values_files: tuple[str, ...] = ()


def named_version(version: str, metadata: str) -> str:
    """Return a version with build metadata. Raises ChartFailed."""
    if not metadata:
        return version
    try:
        at = Version.parse(version)
        found = f"{at.major}.{at.minor}.{at.patch}{'-' if at.pre else ''}{at.pre}+{metadata}"
        Version.parse(found)
    except InvalidVersion as error:
        raise ChartFailed(meta.CHART_METADATA_ERROR, f"failed to set SemVer metadata on chart version: {error}") from error
    return found


def take_archive(archive: Path, target: Path, recipe: Recipe) -> Made:
    """Write a fetched chart as the recipe says, as it is where that asks for nothing. Raises ChartFailed, OSError."""
    try:
        packed = archive.read_bytes()
        chart = read_archive(packed)
        if not recipe.changes:
            target.write_bytes(packed)
            return Made(name=chart.name, version=chart.version)
    except BadChart as error:
        if recipe.changes:
            raise ChartFailed(meta.CHART_PACKAGE_ERROR, f"failed to load downloaded chart: {error}") from error
        raise ChartFailed(meta.CHART_PULL_ERROR, f"failed to validate downloaded chart: {error}") from error
    return _finished(chart, target, recipe, chart.files.get)


def plan_folder(snapshot: Snapshot, path: str, recipe: Recipe) -> Plan:
    """Look at a chart of a snapshot, a folder or an archive. Raises ChartFailed, SnapshotGone."""
    tree = GitTree.open(snapshot)
    chart, is_folder = _opened(tree, path, meta.CHART_REFERENCE_INVALID)
    return Plan(
        name=chart.name,
        version=named_version(chart.version, recipe.metadata),
        packaged=is_folder or recipe.changes,
        missing=tuple(_missing(chart)) if is_folder else (),
    )


def make_folder(snapshot: Snapshot, path: str, target: Path, recipe: Recipe, fetched: Sequence[Path]) -> Made:
    """Write a chart of a snapshot. `fetched` are the archives of its remote dependencies. Raises ChartFailed, SnapshotGone, OSError."""
    tree = GitTree.open(snapshot)
    chart, is_folder = _opened(tree, path, meta.CHART_PACKAGE_ERROR)
    if not is_folder and not recipe.changes:
        target.write_bytes(tree.read(_inside(path)))
        return Made(name=chart.name, version=chart.version)
    if is_folder:
        chart = _complete(tree, path, chart, fetched)

    def values(name: str) -> bytes | None:
        try:
            return tree.read(_inside(name))
        except FileNotFoundError:
            return None

    return _finished(chart, target, recipe, values)


def _opened(tree: GitTree, path: str, reason: str) -> tuple[Chart, bool]:
    inside = _inside(path)
    try:
        match tree.kind(inside):
            case "dir":
                return read_folder(tree, inside), True
            case "file":
                return read_archive(tree.read(inside)), False
            case _:
                raise BadChart(f"stat {path}: no such file or directory")
    except BadChart as error:
        raise ChartFailed(reason, str(error)) from error


def _inside(path: str) -> str:
    """A path within the source: .. ends at its root."""
    found: list[str] = []
    for part in path.split("/"):
        if part == "..":
            found[-1:] = []
        elif part not in ("", "."):
            found.append(part)
    return "/".join(found)


def _finished(chart: Chart, target: Path, recipe: Recipe, read: Callable[[str], bytes | None]) -> Made:
    version = named_version(chart.version, recipe.metadata)
    values, used = _merged(chart, recipe, read)
    try:
        chart = chart.with_version(version)
        if recipe.values_files and values and values != _values(chart.files.get(VALUES, b""), VALUES):
            if VALUES not in chart.files:
                raise ChartFailed(meta.VALUES_FILES_ERROR, "failed to locate values file: values.yaml")
            chart = chart.with_files({VALUES: write_yaml(values)})
        write_archive(chart, target)
    except (BadChart, BadYaml) as error:
        raise ChartFailed(meta.CHART_PACKAGE_ERROR, f"failed to package chart: {error}") from error
    return Made(name=chart.name, version=version, values_files=used)


def _merged(chart: Chart, recipe: Recipe, read: Callable[[str], bytes | None]) -> tuple[dict[str, Any], tuple[str, ...]]:
    values: dict[str, Any] = {}
    used: list[str] = []
    for name in recipe.values_files:
        inside = _inside(name)
        text = read(inside)
        if text is None:
            if recipe.ignore_missing:
                continue
            raise ChartFailed(meta.VALUES_FILES_ERROR, f"failed to merge chart values: no values file found at path '{name}'")
        values = merged(values, _values(text, name))
        used.append(name)
    return values, tuple(used)


def _values(text: bytes, name: str) -> dict[str, Any]:
    try:
        found = read_yaml(text)
    except BadYaml as error:
        raise ChartFailed(meta.VALUES_FILES_ERROR, f"unmarshaling values from '{name}' failed: {error}") from error
    if found is not None and not isinstance(found, dict):
        raise ChartFailed(meta.VALUES_FILES_ERROR, f"unmarshaling values from '{name}' failed: it is no mapping")
    return found or {}


def _missing(chart: Chart) -> list[Dependency]:
    """What is named, in the lock file if there is one, and not in charts/."""
    present = _present(chart)
    named = _named(chart)
    if len(present) == len(named):
        return []
    return [each for each in named if (each.alias or each.name) not in present]


def _present(chart: Chart) -> set[str]:
    """Names of the charts below charts/."""
    found: set[str] = set()
    for path in chart.files:
        first, _, rest = path.removeprefix("charts/").partition("/")
        if not path.startswith("charts/") or first[:1] in ("_", "."):
            continue
        try:
            if rest == "Chart.yaml":
                found.add(chart_of({"Chart.yaml": chart.files[path]}).name)
            elif not rest and path.endswith(".tgz"):
                found.add(read_archive(chart.files[path]).name)
        except BadChart as error:
            raise ChartFailed(meta.CHART_PACKAGE_ERROR, f"error unpacking subchart {first} in {chart.name}: {error}") from error
    return found


def _named(chart: Chart) -> list[Dependency]:
    for name, about in (("Chart.lock", None), ("requirements.lock", None), ("Chart.yaml", chart.about), ("requirements.yaml", None)):
        if about is None:
            about = _values(chart.files[name], name) if name in chart.files else {}
        listed = about.get("dependencies")
        if isinstance(listed, list) and listed:
            return [_dependency(each) for each in listed]
    return []


def _dependency(found: object) -> Dependency:
    if not isinstance(found, dict) or not found.get("name"):
        raise ChartFailed(meta.CHART_REFERENCE_INVALID, "a dependency of the chart has no name")
    text = {name: str(found.get(name) or "") for name in ("name", "version", "repository", "alias")}
    return Dependency(**text)


def _complete(tree: GitTree, path: str, chart: Chart, fetched: Sequence[Path]) -> Chart:
    """The chart with all its dependencies in charts/, unpacked as `helm package` does it."""
    added: dict[str, bytes] = {}
    inner = [_archive(archive) for archive in fetched]
    inner += [_local(tree, path, each) for each in _missing(chart) if each.is_local]
    for each in inner:
        added.update({f"charts/{each.name}/{name}": content for name, content in each.files.items()})
        if sum(map(len, added.values())) > MOST_UNPACKED_BYTES:
            raise ChartFailed(meta.DEPENDENCY_BUILD_ERROR, f"the chart's dependencies have more than {MOST_UNPACKED_BYTES} bytes")
    return chart.with_files(added)


def _archive(file: Path) -> Chart:
    try:
        return read_archive(file.read_bytes())
    except BadChart as error:
        raise ChartFailed(meta.DEPENDENCY_BUILD_ERROR, f"failed to load downloaded archive: {error}") from error


def _local(tree: GitTree, path: str, dependency: Dependency) -> Chart:
    said = f"failed to add local dependency '{dependency.alias or dependency.name}': "
    where = f"{path}/{dependency.repository.removeprefix('file://')}" if dependency.repository else f"{path}/charts/{dependency.name}"
    inside = _inside(where)
    if tree.kind(inside) is None:
        raise ChartFailed(meta.DEPENDENCY_BUILD_ERROR, f"{said}no chart found at '/{inside}' (reference '{dependency.repository}')")
    found, _ = _opened(tree, inside, meta.DEPENDENCY_BUILD_ERROR)
    try:
        fits = Version.parse(found.version) in Range.parse(dependency.version or "*")
    except InvalidVersion as error:
        raise ChartFailed(meta.DEPENDENCY_BUILD_ERROR, f"{said}{error}") from error
    if not fits:
        raise ChartFailed(meta.DEPENDENCY_BUILD_ERROR, f"{said}can't get a valid version for constraint '{dependency.version}'")
    return found
