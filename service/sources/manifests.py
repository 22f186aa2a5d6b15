"""What a registry's answers hold: JSON of foreign hands in, typed manifests out.

The formats: https://github.com/opencontainers/image-spec/blob/main/manifest.md and https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.sources.fetcherror import HttpRefused

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")


class RegistryError(HttpRefused):
    """The registry refused or is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """`host` with its port, and the name of the repository there."""

    host: str
    name: str

    @classmethod
    def parse(cls, url: str) -> "Repository":
        """Return what an `oci://host/name` stands for. Raises ValueError, which says what is wrong."""
        host, slash, name = url.removeprefix("oci://").partition("/")
        if not url.startswith("oci://") or not host or not slash:
            raise ValueError("it is not of the form oci://host/name")
        if "@" in host or not _NAME.fullmatch(name):
            raise ValueError("the name of the repository has letters that are not allowed; a tag or digest belongs into spec.ref")
        return cls(host=host.lower(), name=name)

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Something that a manifest names, by its digest; `size` in bytes."""

    digest: str
    size: int
    media_type: str
    annotations: Mapping[str, str]
    artifact_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image or artifact."""

    digest: str
    layers: tuple[Descriptor, ...]
    config: Descriptor | None
    annotations: Mapping[str, str]


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def json_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RegistryError("the registry's answer is no JSON") from error
    if not isinstance(found, dict):
        raise RegistryError("the registry's answer is no JSON object")
    return found


def of_platform(index: Mapping[str, Any]) -> str:
    """Return the digest that an index gives for linux/amd64. Raises RegistryError."""
    listed = index.get("manifests")
    for each in listed if isinstance(listed, list) else ():
        platform = each.get("platform") if isinstance(each, dict) else None
        wanted = isinstance(platform, dict) and (platform.get("os"), platform.get("architecture")) == ("linux", "amd64")
        if wanted and DIGEST.fullmatch(str(each.get("digest"))):
            return str(each["digest"])
    raise RegistryError("the index has no manifest for linux/amd64")


def manifest_of(digest: str, found: Mapping[str, Any]) -> Manifest:
    try:
        layers = tuple(_descriptor(each) for each in found["layers"])
        config = _descriptor(found["config"]) if "config" in found else None
        return Manifest(digest=digest, layers=layers, config=config, annotations=_texts(found.get("annotations")))
    except (KeyError, TypeError, ValueError) as error:
        raise RegistryError(f"the manifest {digest} does not have the form of one") from error


def manifests_of(index: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    """Return what an index lists."""
    try:
        return tuple(_descriptor(each) for each in index.get("manifests") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RegistryError("the registry's index does not have the form of one") from error


def _descriptor(found: Mapping[str, Any]) -> Descriptor:
    digest, size = str(found["digest"]), int(found["size"])
    if not DIGEST.fullmatch(digest) or size < 0:
        raise ValueError(digest)
    return Descriptor(
        digest=digest,
        size=size,
        media_type=str(found.get("mediaType", "")),
        annotations=_texts(found.get("annotations")),
        artifact_type=str(found.get("artifactType", "")),
    )


def _texts(found: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
