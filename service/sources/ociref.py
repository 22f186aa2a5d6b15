"""spec.ref and spec.layerSelector in, the tag, the digest and the layer that they lead to out.

https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/ocirepositories.md#reference
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from service.kinds import meta
from service.kinds.oci import LayerSelector, OCIRef
from service.sources.failure import EndedEarly
from service.sources.manifests import DIGEST, Descriptor, Manifest
from service.sources.registry import Registry
from service.sources.semver import InvalidVersion, Range, Version

PULL_FAILED = "OCIArtifactPullFailed"
PAUSES = (0.1, 0.4, 1.5)  # seconds
LAYER_FAILED = "OCIArtifactLayerOperationFailed"
_SIGNATURE = re.compile(r"sha256-[0-9a-f]{64}(\.sig)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The layer that an object takes of a manifest."""

    manifest: Manifest
    descriptor: Descriptor
    selector: LayerSelector | None

    @property
    def is_copied(self) -> bool:
        """Whether it is stored as it is."""
        return self.selector is not None and self.selector.operation == "copy"


def chosen(manifest: Manifest, selector: LayerSelector | None) -> Layer:
    wanted = selector.media_type if selector is not None else ""
    for each in manifest.layers:
        if not wanted or each.media_type == wanted:
            return Layer(manifest=manifest, descriptor=each, selector=selector)
    why = f"failed to find layer with media type '{wanted}' in artifact" if wanted else "no layers found in artifact"
    raise EndedEarly.fetch(LAYER_FAILED, why)


async def resolved(ref: OCIRef | None, registry: Registry) -> tuple[str, str]:
    """The tag and digest that spec.ref leads to; the tag is "" where a digest was asked for. Raises EndedEarly, RegistryError."""
    ref = ref or OCIRef()
    if ref.digest:
        if not DIGEST.fullmatch(ref.digest):
            raise EndedEarly.fetch(
                meta.URL_INVALID, f"spec.ref.digest '{ref.digest}' is not of the form sha256:<64 hex digits>", stalls=True
            )
        return "", await registry.digest_of(ref.digest)
    tag = await _newest(ref, registry) if ref.semver else ref.tag or "latest"
    if not _TAG.fullmatch(tag):
        raise EndedEarly.fetch(meta.URL_INVALID, f"spec.ref.tag '{tag}' is not a tag that a registry allows", stalls=True)
    return tag, await registry.digest_of(tag)


async def settled(ref: OCIRef | None, registry: Registry, *, told: str, known: str) -> tuple[str, str]:
    """As `resolved`; where a payload has told of another digest than the one that is known, look again for a moment.

    Distribution tells of a push before its tag moves: a service that asks at once is told what was there. Raises EndedEarly, RegistryError.
    """
    for pause in PAUSES:
        tag, digest = await resolved(ref, registry)
        if digest != known or told in ("", digest):
            return tag, digest
        await asyncio.sleep(pause)
    return await resolved(ref, registry)


def is_signature(tag: str) -> bool:
    """Whether a tag is one under which signatures are found: cosign's own, or the one that stands in for the referrers API."""
    return _SIGNATURE.fullmatch(tag) is not None


def told_of(hints: Iterable[str], name: str = "") -> tuple[str, str]:
    """Return tag and digest that the last of the hints names, of an image of that name where one is given; "" where there is none."""
    found = ("", "")
    for hint in hints:
        image, _, digest = hint.partition("@")
        place, _, tag = image.rpartition(":")
        if tag and (not name or place == name):
            found = tag, digest
    return found


async def _newest(ref: OCIRef, registry: Registry) -> str:
    try:
        wanted, among = Range.parse(ref.semver), re.compile(ref.semver_filter) if ref.semver_filter else None
    except (InvalidVersion, re.error) as error:
        raise EndedEarly.fetch(meta.URL_INVALID, f"spec.ref: {error}", stalls=True) from error
    newest: Version | None = None
    for tag in await registry.tags():
        if among is not None and not among.search(tag):
            continue
        with suppress(InvalidVersion):
            version = Version.parse(tag)
            if version in wanted and (newest is None or version > newest):
                newest = version
    if newest is None:
        raise EndedEarly.fetch(PULL_FAILED, f"failed to determine artifact version: no match found for semver: {ref.semver}")
    return newest.text
