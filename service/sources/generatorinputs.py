"""What an ArtifactGenerator is made from: each source as it was published last, or why there is none, with its revisions and their hash.

A chart is no snapshot: its archive is taken from the artifacts.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.kinds import meta
from service.kinds.generator import ArtifactGenerator
from service.kinds.meta import ObjectKey
from service.reconcile.outcome import Waiting
from service.sources.failure import NotYet
from service.sources.generated import ORIGIN
from service.sources.reconciler import Needs
from service.sources.snapshot import Snapshot

RETRY = timedelta(seconds=30)
"""News of a source come at once; this is the net below them."""


class Inputs:
    """The sources of all generators."""

    def __init__(self, needs: Needs) -> None:
        assert needs.read is not None
        self._needs, self._read = needs, needs.read

    def of(self, found: ArtifactGenerator) -> dict[str, Snapshot | Path]:
        """What the sources hold now, by alias. Raises Waiting, NotYet for one that is about to be fetched again after a start."""
        return {alias: self._source(key) for alias, key in found.source_keys.items()}

    def _source(self, key: ObjectKey) -> Snapshot | Path:
        if self._read(key) is None:
            raise Waiting(meta.SOURCE_FETCH_FAILED, f"get sources failed: {key} not found", RETRY)
        snapshot = self._needs.published.get(key)
        if snapshot is not None:
            return snapshot
        path = str(self._artifact(key).get("path") or "")
        file = self._needs.artifacts.file(path) if path and key.kind == "HelmChart" else None
        if file is None and path:
            raise NotYet(f"source '{key}' has not been fetched since the start")
        if file is None:
            raise Waiting(meta.SOURCE_FETCH_FAILED, f"get sources failed: source '{key}' is not ready", RETRY)
        return file

    def revision(self, found: ArtifactGenerator, alias: str) -> str:
        """The revision of a source."""
        key = found.source_keys[alias]
        snapshot = self._needs.published.get(key)
        return snapshot.revision if snapshot is not None else str(self._artifact(key).get("revision", ""))

    def origin(self, found: ArtifactGenerator, alias: str) -> str:
        """The revision that a source says it was made from itself; a Git commit is its own origin."""
        key = found.source_keys[alias]
        said = (self._artifact(key).get("metadata") or {}).get(ORIGIN)
        return str(said) if said else self.revision(found, alias) if key.kind == "GitRepository" else ""

    def digest(self, found: ArtifactGenerator) -> str:
        """As Flux hashes what a generator was made from."""
        parts = []
        for alias, key in found.source_keys.items():
            said = self._artifact(key)
            parts.append(f"{alias}=[digest={said.get('digest', '')},revision={self.revision(found, alias)},url={said.get('url', '')}]")
        return f"sha256:{hashlib.sha256('|'.join(sorted(parts)).encode()).hexdigest()}"

    def _artifact(self, key: ObjectKey) -> Mapping[str, Any]:
        """What the status says of the artifact; {} where there is none."""
        raw = self._read(key) or {}
        return (raw.get("status") or {}).get("artifact") or {}
