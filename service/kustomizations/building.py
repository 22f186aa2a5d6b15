"""One build, in a worker process: a Git tree in, objects ready to be sent out, with everything that was read on the way.

What crosses the process border is small: paths and options in; bytes, digests and read tokens out. Nothing is parsed again by the service.
Rules after the build: fluxcd/pkg/ssa `normalize` (status dropped, stringData folded into data) and kustomize-controller's owner labels.
"""

import base64
import hashlib
import hmac
import json
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from service.cluster.built import Built
from service.kinds.meta import OWNER_NAME, OWNER_NAMESPACE
from service.kustomizations.postbuild import Substitution, substituted
from service.kustomize.build import BuildError, BuildOptions, build, with_metadata
from service.kustomize.cache import ParseCache
from service.kustomize.tree import Recording, seen
from service.sources.remotebase import remote_bases
from service.sources.snapshot import Snapshot
from service.sources.tree import GitTree

PARSE_CACHE_BYTES = 32 * 2**20
_parsed = ParseCache(PARSE_CACHE_BYTES)  # one for each worker process; no answer depends on it


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """What to build: a folder of a snapshot, "" is its root."""

    snapshot: Snapshot
    path: str
    owner_name: str
    owner_namespace: str
    options: BuildOptions
    remote_bases: bool = False
    """Whether what the kustomizations name by URL is fetched."""
    substitution: Substitution | None = None
    digest_key: bytes = field(default=b"", repr=False)
    """Of the digests of what may hold secrets: Secrets, and with `confidential` every object."""
    confidential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The objects in build order and the reads: token by key, see service.kustomize.tree."""

    objects: tuple[Built, ...]
    reads: Mapping[str, str]


def run_build(order: BuildOrder) -> BuildResult:
    """Build in this process. Raises NotADirectoryError where the path is none, BuildError, SnapshotGone."""
    tree = Recording(GitTree.open(order.snapshot))
    if tree.kind(order.path) != "dir":
        raise NotADirectoryError(order.path)
    labels = {OWNER_NAME: order.owner_name, OWNER_NAMESPACE: order.owner_namespace}
    try:
        plain = replace(order.options, common_labels={}, common_annotations={})  # what it sets is not substituted
        options = order.options if order.substitution is None else plain
        with remote_bases() if order.remote_bases else nullcontext() as remote:
            made = build(tree, order.path, options=options, cache=_parsed, remote=remote)
        objects = made.objects
        if order.substitution is not None:
            objects = tuple(with_metadata(substituted(each, order.substitution), order.options) for each in objects)
        return BuildResult(objects=tuple(_ready(object_, labels, order) for object_ in objects), reads=dict(made.reads))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
        # a defect, or more than there is room for: the object says so (not in the error's words, which may quote a Secret)
        raise BuildError(f"internal error, please report it: {type(error).__name__} at {_where(error)}") from error


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in last)


def read_tokens(snapshot: Snapshot, keys: tuple[str, ...]) -> dict[str, str]:
    """The tokens that `keys` have in a snapshot. Raises SnapshotGone."""
    tree = GitTree.open(snapshot)
    return {key: seen(tree, key) for key in keys}


def _ready(object_: Mapping[str, Any], labels: Mapping[str, str], order: BuildOrder) -> Built:
    """The object as it is sent: owner labels put in (commonMetadata may override them), status out, bytes sorted."""
    body = dict(object_)
    metadata = dict(body.get("metadata") or {})
    metadata["labels"] = {**labels, **(metadata.get("labels") or {})}
    body["metadata"] = metadata
    if body.get("kind") != "CustomResourceDefinition":
        body.pop("status", None)
    is_secret = body.get("kind") == "Secret" and body.get("apiVersion") == "v1"
    if is_secret:
        _fold_string_data(body)
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return Built(
        api_version=str(body.get("apiVersion", "")),
        kind=str(body["kind"]),
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata["name"]),
        digest=(hmac.new(order.digest_key, text, "sha256") if is_secret or order.confidential else hashlib.sha256(text)).hexdigest(),
        body=text,
        annotations=metadata.get("annotations") or {},
        labels=metadata["labels"],
    )


def _fold_string_data(secret: dict[str, Any]) -> None:
    """What the API server does with stringData, done here, so that the field manager owns `data` and drift is seen there."""
    plain = secret.pop("stringData", None)
    if plain:
        secret["data"] = {
            **(secret.get("data") or {}),
            **{key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()},
        }
