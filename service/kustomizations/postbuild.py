"""`spec.postBuild` on what was built, in the worker process: objects and variables in, objects out.

Behaviour: fluxcd/pkg/kustomize v1.44.0 `kustomize_varsub.go`. Each object is written as YAML, its variables are replaced, and the text is
read again, so that numbers and booleans that stood in a value lose their type as a string.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.kustomize.build import BuildError
from service.kustomize.envsubst import BadTemplate, Lookup, substitute
from service.kustomize.yamlread import read_value
from service.kustomize.yamlwrite import dump

SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
NAME = "^[_[:alpha:]][_[:alpha:][:digit:]]*$"
_NAME = re.compile(r"[_A-Za-z][_A-Za-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitution:
    """The values by name; they may come from Secrets, so they are shown nowhere. `always`: even where there are none."""

    values: Mapping[str, str] = field(repr=False)
    strict: bool = False
    always: bool = False


def substituted(object_: dict[str, Any], wanted: Substitution) -> dict[str, Any]:
    """The object with its variables replaced, unless it opts out. Raises BuildError with Flux's words."""
    metadata = object_.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if not (wanted.values or wanted.always) or "disabled" in (_said(metadata, "labels"), _said(metadata, "annotations")):
        return object_
    try:
        result = _replaced(object_, wanted)
    except (BadTemplate, _NotYaml) as error:
        cause = f"variable substitution failed: {error}" if isinstance(error, BadTemplate) else str(error)
        raise BuildError(f"post build failed for '{metadata.get('name', '')}': envsubst error: {cause}") from None
    named = result.get("metadata")
    if not (isinstance(named, dict) and all(isinstance(text, str) and text for text in (named.get("name"), result.get("kind")))):
        raise BuildError(
            f"post build failed for '{metadata.get('name', '')}': kind or metadata.name is no text any more; quote the variable"
        )
    return result


def _said(metadata: Mapping[str, Any], where: str) -> object:
    texts = metadata.get(where)
    return texts.get(SUBSTITUTE) if isinstance(texts, dict) else None


class _NotYaml(ValueError):
    """Says where, but not what stands there: it may be a Secret's value."""


def _replaced(object_: dict[str, Any], wanted: Substitution) -> dict[str, Any]:
    bad = next((name for name in wanted.values if not _NAME.fullmatch(name)), None)
    if bad is not None:
        raise _NotYaml(f"'{bad}' var name is invalid, must match '{NAME}'")
    lookup: Lookup = wanted.values.get if wanted.strict else lambda name: wanted.values.get(name, "")
    text = dump([object_])
    if "$" not in text:
        return object_
    output = substitute(text, lookup)
    try:
        result = read_value(output, None)
    except BuildError as error:
        raise _NotYaml(f"YAMLToJSON: line {error.line}: not valid YAML once the variables are replaced; quote them") from None
    if not isinstance(result, dict):
        raise _NotYaml("UnmarshalJSON: no object once the variables are replaced; quote them")
    return result
