"""Where an object gets its content from, in a form that can be compared with what a payload names.

In: kind and spec of sources and image objects, also of kinds that other controllers run. Out: a Place, and its relation to an event.
https://fluxcd.io/flux/components/source/ and https://fluxcd.io/flux/components/image/imagerepositories/
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from receivers.contract import BucketChange, ChartPush, Event, GitPush, ImagePush
from service.sources.ociref import is_signature
from service.sources.semver import InvalidVersion, Range, Version

DOCKER_HUB = "docker.io"
_HUB_HOSTS = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}
_OCI = "oci://"


class Relation(Enum):
    """What an event means to an object. UNKNOWN: nothing to compare; HERE: at its address, but not for what it follows there."""

    UNKNOWN = "unknown"
    ELSEWHERE = "elsewhere"
    HERE = "here"
    FOLLOWS = "follows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Addresses in their normal form, "" where the object has none of that sort.

    `image` is `host/path`, of one repository, or with `is_registry` of all below it. Of what is there `digest`, else a tag within
    `versions`, else `tag` is followed; any tag where all three are empty.
    `index` is the address of a Helm repository, `chart` the name of a chart in one. `prefix` is that of the keys of `bucket`.
    `is_verified`: what is followed counts only with a signature, which may come after it.
    """

    image: str = ""
    is_registry: bool = False
    digest: str = ""
    versions: Range | None = None
    tag: str = ""
    index: str = ""
    chart: str = ""
    bucket: str = ""
    prefix: str = ""
    is_verified: bool = False


NOWHERE = Place()


def normal_image(name: str) -> str:
    """Return `host/path` in lower case; `/path` stays without a host. What names no host is on Docker Hub, as for `docker pull`."""
    name = name.strip().removeprefix(_OCI).rstrip("/").lower()
    if name.startswith("/"):
        return name
    host, _, path = name.partition("/")
    if not path or not ("." in host or ":" in host or host == "localhost"):
        host, path = DOCKER_HUB, name
    if host in _HUB_HOSTS:
        host = DOCKER_HUB
    return f"{host}/library/{path}" if host == DOCKER_HUB and "/" not in path else f"{host}/{path}"


def normal_index(url: str) -> str:
    """Return the address of a Helm repository in lower case without scheme and user: `charts.example.com/stable`."""
    authority, slash, path = url.strip().lower().rpartition("://")[2].rstrip("/").partition("/")
    return f"{authority.rpartition('@')[2]}{slash}{path}"


def place_of(kind: str, spec: Mapping[str, Any]) -> Place:
    """Return where an object of a kind points to; NOWHERE for other kinds and specs of another shape."""
    url = _text(spec, "url")
    match kind:
        case "OCIRepository":
            return replace(_followed(normal_image(url), spec), is_verified=bool(spec.get("verify"))) if url.startswith(_OCI) else NOWHERE
        case "ImageRepository":
            image = _text(spec, "image")
            return Place(image=normal_image(image)) if image else NOWHERE
        case "HelmRepository" if url.startswith(_OCI):
            return Place(image=url.removeprefix(_OCI).rstrip("/").lower(), is_registry=True)
        case "HelmRepository":
            return Place(index=normal_index(url))
        case "HelmChart":
            source = spec.get("sourceRef")
            is_there = isinstance(source, Mapping) and source.get("kind") == "HelmRepository"
            versions, is_verified = _range(_text(spec, "version")), bool(spec.get("verify"))
            return Place(chart=_text(spec, "chart"), versions=versions, is_verified=is_verified) if is_there else NOWHERE
        case "Bucket":
            return Place(bucket=_text(spec, "bucketName"), prefix=_text(spec, "prefix"))
        case _:
            return NOWHERE


def relation(place: Place, event: Event) -> Relation:
    """Return what an event that is no GitPush means to an object at a place. In doubt it says more than less."""
    match event:
        case ImagePush():
            return _to_image(place, event)
        case ChartPush(urls=urls, name=name, version=version):
            if place.chart:
                return _of_version(place, version) if place.chart == name else Relation.ELSEWHERE
            return _if(place.index in {normal_index(url) for url in urls}) if place.index and urls else Relation.UNKNOWN
        case BucketChange(bucket=bucket, key=key):
            if not place.bucket:
                return Relation.UNKNOWN
            if place.bucket != bucket:
                return Relation.ELSEWHERE
            return Relation.FOLLOWS if not key or key.startswith(place.prefix) else Relation.HERE
        case GitPush() | _:
            return Relation.UNKNOWN


def _to_image(place: Place, push: ImagePush) -> Relation:
    names = [normal_image(name) for name in push.names]
    if place.chart:  # charts in registries are images named after them
        is_it = any(name.rpartition("/")[2] == place.chart for name in names)
        if is_it and place.is_verified and is_signature(push.tag):
            return Relation.FOLLOWS
        return _of_version(place, push.tag) if is_it else Relation.ELSEWHERE
    if not place.image:
        return Relation.UNKNOWN
    if not any(_is_at(place, name) for name in names):
        return Relation.ELSEWHERE
    if place.is_verified and is_signature(push.tag):
        return Relation.FOLLOWS
    if place.digest:
        return Relation.FOLLOWS if push.digest in ("", place.digest) else Relation.HERE
    if place.versions is not None:
        return _of_version(place, push.tag)
    return Relation.FOLLOWS if not place.tag or not push.tag or place.tag == push.tag else Relation.HERE


def _of_version(place: Place, told: str) -> Relation:
    """Whether a version is one that is followed: tags hold `_` for the `+` that they cannot hold."""
    if place.versions is None or not told:
        return Relation.FOLLOWS
    try:
        return Relation.FOLLOWS if Version.parse(told.replace("_", "+")) in place.versions else Relation.HERE
    except InvalidVersion:
        return Relation.HERE


def moved(place: Place, address: str) -> Place:
    """Return the place as if what it names were at another address: that of what it is a mirror of."""
    if place.image:
        image = address.strip().removeprefix(_OCI).rstrip("/").lower() if place.is_registry else normal_image(address)
        return replace(place, image=image)
    if place.index:
        return replace(place, index=normal_index(address))
    return replace(place, bucket=address) if place.bucket else place


def _is_at(place: Place, name: str) -> bool:
    if place.is_registry and name.startswith("/"):
        return name[1:].startswith(place.image.partition("/")[2])
    if place.is_registry:
        return name.startswith(f"{place.image}/")
    return place.image == name or (name.startswith("/") and place.image.endswith(name))


def _if(same: bool) -> Relation:
    return Relation.FOLLOWS if same else Relation.ELSEWHERE


def _followed(image: str, spec: Mapping[str, Any]) -> Place:
    """What an OCIRepository follows, in the order that Flux looks at: a digest, a range, a tag."""
    ref = spec.get("ref")
    if not isinstance(ref, Mapping):
        return Place(image=image, tag="latest")
    if _text(ref, "digest"):
        return Place(image=image, digest=_text(ref, "digest"))
    if _text(ref, "semver"):
        return Place(image=image, versions=_range(_text(ref, "semver")))
    return Place(image=image, tag=_text(ref, "tag") or "latest")


def _range(text: str) -> Range | None:
    """None for a range that is none, or that any version is in: then any push can matter."""
    try:
        return Range.parse(text) if text.strip() not in ("", "*") else None
    except InvalidVersion:
        return None


def _text(spec: Mapping[str, Any], name: str) -> str:
    value = spec.get(name)
    return value if isinstance(value, str) else ""
