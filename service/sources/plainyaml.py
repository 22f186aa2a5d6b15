"""YAML of foreign hands -> plain values of JSON, as Go's YAML reads them: what looks like a time stays text. For worker processes.

Aliases are refused: a few lines of them stand for any amount of memory. https://pkg.go.dev/sigs.k8s.io/yaml
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import yaml

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadYaml(ValueError):
    """The text is no YAML that can be used; the message says where and why, and quotes little of it."""


class _Loader(_Base):  # type: ignore[misc]  # chosen by what PyYAML was built with
    """Without times."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way to say it
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in _Base.yaml_implicit_resolvers.items()
    }


def read_yaml(text: bytes | str) -> Any:
    """Return what the one document holds, None where it is empty. Raises BadYaml."""
    star, ampersand = (b"*", b"&") if isinstance(text, bytes) else ("*", "&")
    try:
        if star in text and ampersand in text and _has_aliases(text):  # type: ignore[operator]  # of the same type
            raise BadYaml("aliases (*name) are not accepted")
        found = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader with less
    except BadYaml:
        raise
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        raise BadYaml(f"{where}{error.problem or 'it is no YAML'}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadYaml("it is no YAML that can be read") from error
    return found


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings as Helm merges values: maps are merged; anything else, also null, replaces."""
    found = dict(below)
    for name, value in above.items():
        before = found.get(name)
        found[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def json_of(value: Any) -> str:
    """Return compact JSON of a value that was read. Raises BadYaml for what JSON cannot hold."""
    try:
        return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadYaml("it holds what JSON cannot") from error


def _plain(value: Any) -> Any:
    """Keys as text, as Go writes them."""
    if isinstance(value, dict):
        return {_key(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _key(name: Any) -> str:
    return name if isinstance(name, str) else json.dumps(name)


def write_yaml(value: Any) -> bytes:
    """Return YAML with sorted keys, always the same bytes for the same value."""
    text: str = yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=True, allow_unicode=True, width=4096)
    return text.encode()


def _has_aliases(text: bytes | str) -> bool:
    return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Base))
