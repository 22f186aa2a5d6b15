"""A Helm chart as its files: from an archive or from a folder of a Git tree in, and a .tgz out that is always the same bytes.

Bounds as Helm's: 10 MiB for a packed chart, 5 MiB for a file. Nothing is rewritten but what is asked for, so that a chart holds what its
author wrote. For worker processes. https://helm.sh/docs/topics/charts/
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.sources.helmignore import BadPattern, HelmIgnore
from service.sources.plainyaml import BadYaml, read_yaml, write_yaml
from service.sources.semver import InvalidVersion, Version
from service.sources.tree import GitTree, walk
from service.sources.treestore import BadArchive, Header, clean_path

MOST_CHART_BYTES, MOST_FILE_BYTES, MOST_UNPACKED_BYTES = 10 * 2**20, 5 * 2**20, 100 * 2**20
MOST_FILES = 20_000
FILE_MODE = 0o644
_VERSION_LINE = re.compile(rb"^version:[^\n]*$", re.MULTILINE)
_ALLOWED_TYPES = ("", "application", "library")


class BadChart(Exception):
    """The chart cannot be used; the message says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`files` are by path inside the chart; `about` is what Chart.yaml says."""

    files: Mapping[str, bytes]
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.about["name"])

    @property
    def version(self) -> str:
        return str(self.about["version"])

    def with_version(self, version: str) -> "Chart":
        """The chart with another version in Chart.yaml, whose other lines stay as they are."""
        if version == self.version:
            return self
        text, count = _VERSION_LINE.subn(f'version: "{version}"'.encode(), self.files["Chart.yaml"])
        about = {**self.about, "version": version}
        if count != 1 or read_yaml(text) != about:
            text = write_yaml(about)
        return Chart(files={**self.files, "Chart.yaml": text}, about=about)

    def with_files(self, files: Mapping[str, bytes]) -> "Chart":
        """The chart with further files, or others."""
        return Chart(files={**self.files, **files}, about=self.about)


def chart_of(files: Mapping[str, bytes]) -> Chart:
    """Return the chart that files are. Raises BadChart."""
    text = files.get("Chart.yaml")
    if text is None:
        raise BadChart("Chart.yaml file is missing")
    try:
        about = read_yaml(text)
    except BadYaml as error:
        raise BadChart(f"cannot load Chart.yaml: {error}") from error
    if not isinstance(about, dict):
        raise BadChart("cannot load Chart.yaml: it is no mapping")
    _check(about)
    return Chart(files=files, about=about)


def _check(about: Mapping[str, Any]) -> None:
    """What Helm asks of a Chart.yaml. Raises BadChart."""
    for field in ("apiVersion", "name", "version"):
        if not about.get(field):
            raise BadChart(f"validation: chart.metadata.{field} is required")
    name = str(about["name"])
    if "/" in name or "\\" in name or name in (".", "..") or not name.isprintable():
        raise BadChart(f"validation: chart.metadata.name {name[:64]!r} is invalid")
    try:
        Version.parse(str(about["version"]))
    except InvalidVersion as error:
        raise BadChart(f"validation: chart.metadata.version '{str(about['version'])[:64]}' is invalid") from error
    if (about.get("type") or "") not in _ALLOWED_TYPES:
        raise BadChart("validation: chart.metadata.type must be application or library")


def read_archive(packed: bytes) -> Chart:
    """Return the chart in a .tgz. Raises BadChart."""
    if len(packed) > MOST_CHART_BYTES:
        raise BadChart(f"size of chart exceeds '{MOST_CHART_BYTES}' bytes limit")
    files: dict[str, bytes] = {}
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(MOST_UNPACKED_BYTES + 1)  # headers too can be bombs
        if len(plain) > MOST_UNPACKED_BYTES:
            raise BadChart(f"the chart unpacks to more than {MOST_UNPACKED_BYTES} bytes")
        with tarfile.open(fileobj=io.BytesIO(plain), tarinfo=Header) as tar:
            for member in tar:
                if not member.isreg():
                    continue
                if member.size > MOST_FILE_BYTES:
                    raise BadChart(f"chart file '{member.name[:100]}' is larger than the maximum file size {MOST_FILE_BYTES}")
                if len(files) >= MOST_FILES:
                    raise BadChart(f"the chart holds more than {MOST_FILES} files")
                path, content = (clean_path(member.name) or "").partition("/")[2], tar.extractfile(member)
                if path and content is not None:
                    files[path] = content.read()
    except BadArchive as error:
        raise BadChart(str(error)) from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, RecursionError) as error:
        raise BadChart(f"not a gzipped chart archive, or a damaged one: {error}") from error
    return chart_of(files)


def read_folder(tree: GitTree, folder: str) -> Chart:
    """Return the chart in a folder of a snapshot, without what its .helmignore leaves out. Raises BadChart."""
    ignore = _ignore(tree, folder)
    files: dict[str, bytes] = {}
    left_out: tuple[str, ...] = ()
    for path, is_folder in walk(tree, folder):
        inner = path[len(folder) + 1 :] if folder else path
        if inner.startswith(left_out) or ignore.ignored(inner, is_folder):
            if is_folder:
                left_out = (*left_out, f"{inner}/")
            continue
        if is_folder:
            continue
        content = tree.read(path)
        if len(content) > MOST_FILE_BYTES:
            raise BadChart(f"cannot load file {inner} as file size ({len(content)}) exceeds limit ({MOST_FILE_BYTES})")
        files[inner] = content
    return chart_of(files)


def _ignore(tree: GitTree, folder: str) -> HelmIgnore:
    try:
        return HelmIgnore(tree.read(f"{folder}/.helmignore" if folder else ".helmignore").decode(errors="replace"))
    except FileNotFoundError:
        return HelmIgnore()
    except BadPattern as error:
        raise BadChart(str(error)) from error


def write_archive(chart: Chart, target: Path) -> None:
    """Write a chart as `helm package` lays it out: below its name, Chart.yaml first. Raises BadChart, OSError."""
    order = sorted(chart.files, key=lambda path: (path != "Chart.yaml", not path.startswith("values."), path))
    with (
        target.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9, mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in order:
            entry = tarfile.TarInfo(f"{chart.name}/{path}")
            entry.size, entry.mode = len(chart.files[path]), FILE_MODE
            tar.addfile(entry, io.BytesIO(chart.files[path]))
    if target.stat().st_size > MOST_CHART_BYTES:
        raise BadChart(f"size of chart '{chart.name}' exceeds '{MOST_CHART_BYTES}' bytes limit")
