"""A Helm repository's index: YAML or JSON as it was fetched in, one JSON file with a line for each chart out, and versions looked up in it.

That file is what Flux stores too (`index-HEX.yaml`, JSON inside), and it is the look-up: a chart is found by one search for its line, so
the index is held once, on disk, and never whole in memory. For worker processes. https://helm.sh/docs/topics/chart_repository/
"""

import json
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from service.sources.indexyaml import Blocks, Unusual
from service.sources.plainyaml import BadYaml, json_of, read_yaml
from service.sources.semver import InvalidVersion, Range, Version

MOST_INDEX_BYTES = 50 * 2**20
MOST_HEAD_BYTES = 2**20
_ENTRIES = re.compile(rb"^entries:[ \t]*\r?\n", re.MULTILINE)
_UNINDENTED = re.compile(rb"^[^\s#\-]", re.MULTILINE)
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
_PLAIN_NAME = re.compile(r"(?!(?:true|false|yes|no|on|off|null|y|n):)[a-z][a-z0-9-]*:")
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class BadIndex(Exception):
    """The index cannot be used; the message says why."""


class NoVersion(Exception):
    """The index, or registry, does not have what is asked for; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A version of a chart in an index. `digest` is bare hex, or "" where the index has none."""

    name: str
    version: str
    urls: tuple[str, ...]
    digest: str = ""


def store_index(fetched: Path, target: Path) -> int:
    """Write the one-line-a-chart JSON of an index; returns the number of charts. Raises BadIndex, OSError."""
    if fetched.stat().st_size == 0:
        raise BadIndex("empty index.yaml file")
    try:
        with fetched.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text, target.open("w") as out:
            if bytes(text[:256]).lstrip()[:1] == b"{":
                return _write(out, _of_json(_ascii(text)))
            try:
                return _write(out, _of_yaml(text))
            except (BadYaml, Unusual):
                out.seek(0)
                out.truncate()
                return _write(out, _small(bytes(text[: MOST_HEAD_BYTES + 1])))
    except (BadYaml, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadIndex(str(error) if isinstance(error, BadYaml) else "it is neither YAML nor JSON that can be read") from error


Parts = Iterator[tuple[str, str] | dict[str, Any]]
"""(name of a chart, JSON of its versions), and last the other fields of the index."""


def _write(out: Any, parts: Parts) -> int:
    out.write('{"entries":{')
    count = 0
    others: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, dict):
            others = part
            continue
        if part[1] != "null":
            out.write(f"{',' if count else ''}\n{json.dumps(part[0])}:{part[1]}")
            count += 1
    if not isinstance(others.get("apiVersion"), str) or not others["apiVersion"]:
        raise BadIndex("no API version specified")
    rest = {name: value for name, value in others.items() if name in ("apiVersion", "generated", "publicKeys")}
    out.write("\n}," + json_of(rest)[1:] + "\n")
    return count


def _of_yaml(text: mmap.mmap) -> Parts:
    found = _ENTRIES.search(text)
    if found is None:
        yield from _small(bytes(text[: MOST_HEAD_BYTES + 1]))
        return
    end = _UNINDENTED.search(text, found.end())
    begin, stop = found.end(), end.start() if end is not None else len(text)
    line = bytes(text[begin : begin + 1000]).partition(b"\n")[0]
    indent = len(line) - len(line.lstrip(b" "))
    blocks = Blocks()
    header = re.compile(rb"^ {%d}([^\s\-#][^\r\n]*)\r?\n" % indent, re.MULTILINE)
    headers = [(each.start(), each.end(), each[1]) for each in header.finditer(text, begin, stop)] if indent else []
    if not headers or headers[0][0] != begin:
        yield from _small(bytes(text[: MOST_HEAD_BYTES + 1]))
        return
    ends = [start for start, _, _ in headers[1:]] + [stop]
    for (_, start, name), after in zip(headers, ends, strict=True):
        block = bytes(text[start:after]).decode()
        if "\r" in block or "\t" in block:
            block = block.replace("\r\n", "\n")
        yield _chart(name.decode().rstrip(), block, blocks)
    head = bytes(text[: found.start()]) + bytes(text[stop : stop + MOST_HEAD_BYTES])
    others = read_yaml(head)
    if others is not None and not isinstance(others, dict):
        raise BadIndex("it is no mapping")
    yield others or {}


def _chart(header: str, block: str, blocks: Blocks) -> tuple[str, str]:
    """The name and the JSON of one chart, of the line that names it and what is indented further. Raises BadYaml, Unusual."""
    if _PLAIN_NAME.fullmatch(header):
        return header[:-1], blocks.versions(block)
    found = read_yaml(f"{header}\n{block}")
    if not isinstance(found, dict) or len(found) != 1:
        raise Unusual
    ((name, value),) = found.items()
    return str(name), json_of(value)


def _small(text: bytes) -> Parts:
    """An index that Helm has not written: read as a whole, if it is small."""
    if len(text) > MOST_HEAD_BYTES:
        raise BadIndex(f"larger than {MOST_HEAD_BYTES:,} bytes and not written as Helm does: make it anew with `helm repo index`")
    found = read_yaml(text)
    if not isinstance(found, dict) or not isinstance(found.get("entries") or {}, dict):
        raise BadIndex("it is no mapping with entries")
    for name, versions in (found.get("entries") or {}).items():
        yield str(name), json_of(versions)
    yield found


def _ascii(text: mmap.mmap) -> str:
    """JSON in ASCII, so that it takes a byte a letter in memory."""
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0].decode())[1:-1].encode(), text).decode("ascii")


def _of_json(text: str) -> Parts:
    others: dict[str, Any] = {}
    for name, at in _keys(text, _SPACE.match(text).end()):  # type: ignore[union-attr]  # matches anything
        if name == "entries" and text[at] == "{":
            for chart, start in _keys(text, at):
                value, _ = _DECODER.raw_decode(text, start)
                yield chart, json_of(value)
        elif name != "entries":
            others[name], _ = _DECODER.raw_decode(text, at)
    yield others


def _keys(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Each key of the object at `at` and where its value begins. Raises ValueError."""
    at = _past(text, at, "{")
    while text[at : at + 1] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _past(text, at, ":")
        yield str(name), at
        at = _past_value(text, at)
        if text[at : at + 1] == ",":
            at = _past(text, at, ",")
        elif text[at : at + 1] != "}":
            raise ValueError("neither , nor }")


def _past_value(text: str, at: int) -> int:
    """Behind a value. One that holds what was decoded a moment ago is decoded twice; charts are small."""
    if text[at] != "{":
        _, at = _DECODER.raw_decode(text, at)
    else:
        inner = _past(text, at, "{")
        while text[inner : inner + 1] != "}":
            _, inner = _DECODER.raw_decode(text, inner)
            _, inner = _DECODER.raw_decode(text, _past(text, inner, ":"))
            inner = _SPACE.match(text, inner).end()  # type: ignore[union-attr]  # matches anything
            if text[inner : inner + 1] == ",":
                inner = _past(text, inner, ",")
            elif text[inner : inner + 1] != "}":
                raise ValueError("neither , nor }")
        at = inner + 1
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # matches anything


def _past(text: str, at: int, letter: str) -> int:
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # matches anything
    if text[at : at + 1] != letter:
        raise ValueError(f"no {letter}")
    return _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]  # matches anything


def find_version(index: Path, name: str, wanted: str) -> Listed:
    """Return the newest version of a chart within `wanted`, a version or a range. Raises NoVersion, OSError."""
    with index.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        mark = f"\n{json.dumps(name)}:".encode()
        start = text.rfind(mark)
        if start < 0:
            raise NoVersion("no chart name found")
        line = bytes(text[start + len(mark) : text.find(b"\n", start + 1)])
    versions = [each for each in json.loads(line.rstrip(b",")) or () if isinstance(each, dict) and each.get("version")]
    if not versions:
        raise NoVersion("no chart version found")
    if wanted:
        for each in versions:
            if each["version"] == wanted:
                return _listed(name, each)
    return _listed(name, _newest(name, versions, wanted))


def _newest(name: str, versions: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    among = range_of(wanted)
    best: tuple[Version, datetime, dict[str, Any]] | None = None
    for each in versions:
        with suppress(InvalidVersion):
            version = Version.parse(str(each["version"]), strict=True)
            if version in among and (best is None or (version, _created(each)) > best[:2]):
                best = (version, _created(each), each)
    if best is None:
        raise NoVersion(f"no '{name}' chart with version matching '{wanted}' found")
    return best[2]


def range_of(wanted: str) -> Range:
    """Return the range that spec.version stands for; any stable version where it is empty. Raises NoVersion."""
    try:
        return Range.parse(wanted or "*")
    except InvalidVersion as error:
        raise NoVersion(str(error)) from error


def _created(each: dict[str, Any]) -> datetime:
    """When a version was published, for versions that differ in nothing but what stands behind the +."""
    with suppress(ValueError):
        found = datetime.fromisoformat(str(each.get("created")))
        if found.tzinfo is not None:
            return found
    return datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def _listed(name: str, each: dict[str, Any]) -> Listed:
    urls = each.get("urls")
    return Listed(
        name=str(each.get("name") or name),
        version=str(each["version"]),
        urls=tuple(str(url) for url in urls) if isinstance(urls, list) else (),
        digest=str(each.get("digest") or "").removeprefix("sha256:"),
    )
