"""What an image, a chart or a bucket in a payload means to sources: also to those of kinds that other controllers run."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receivers.contract import BucketChange, ChartPush, GitPush, ImagePush, Ping
from service.triggers.places import NOWHERE, Place, Relation, moved, normal_image, place_of, relation

PUSH = ImagePush(names=("ghcr.io/acme/shop",), tag="1.4.0", digest="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("ghcr.io/acme/shop", "ghcr.io/acme/shop"),
        ("oci://GHCR.io/Acme/Shop/", "ghcr.io/acme/shop"),
        ("nginx", "docker.io/library/nginx"),
        ("acme/shop", "docker.io/acme/shop"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("localhost/shop", "localhost/shop"),
        ("registry:5000/shop", "registry:5000/shop"),
        ("/team/shop", "/team/shop"),
    ],
)
def test_names_of_images_have_one_form(name: str, normal: str) -> None:
    assert normal_image(name) == normal
    assert normal_image(normal) == normal


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_has_a_form_that_stays(name: str) -> None:
    assert normal_image(normal_image(name)) == normal_image(normal_image(normal_image(name)))


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({}, Relation.HERE),
        ({"ref": {"tag": "1.4.0"}}, Relation.FOLLOWS),
        ({"ref": {"tag": "1.3.0"}}, Relation.HERE),
        ({"ref": {"semver": "1.x", "tag": "1.3.0"}}, Relation.FOLLOWS),
        ({"ref": {"semver": "<1.4", "tag": "1.4.0"}}, Relation.HERE),
        ({"ref": {"semver": "no range"}}, Relation.FOLLOWS),
        ({"ref": {"semver": "*"}}, Relation.FOLLOWS),
        ({"ref": {"digest": "sha256:1", "tag": "1.4.0"}}, Relation.HERE),
        ({"ref": {"digest": "sha256:" + "0" * 64, "tag": "1.3.0"}}, Relation.FOLLOWS),
        ({"url": "oci://ghcr.io/acme/other"}, Relation.ELSEWHERE),
        ({"url": "https://ghcr.io/acme/shop"}, Relation.UNKNOWN),
        ({"url": 3}, Relation.UNKNOWN),
        ({"ref": "1.4.0"}, Relation.HERE),
    ],
)
def test_an_oci_repository_follows_its_tag(spec: dict[str, Any], found: Relation) -> None:
    assert relation(place_of("OCIRepository", {"url": "oci://ghcr.io/acme/shop", **spec}), PUSH) is found


@pytest.mark.parametrize("tag", ["sha256-" + "0" * 64, "sha256-" + "0" * 64 + ".sig", "sha256-0", "sha256-" + "0" * 64 + ".att"])
def test_a_signature_concerns_those_who_wait_for_one(tag: str) -> None:
    signature = ImagePush(names=("ghcr.io/acme/shop",), tag=tag)
    chart = {"chart": "shop", "version": "1.x", "sourceRef": {"kind": "HelmRepository", "name": "x"}}
    verify = {"verify": {"provider": "cosign"}}
    for kind, spec in (("OCIRepository", {"url": "oci://ghcr.io/acme/shop", "ref": {"tag": "1.4.0"}}), ("HelmChart", chart)):
        wanted = Relation.FOLLOWS if len(tag) in (71, 75) and not tag.endswith("att") else Relation.HERE
        assert relation(place_of(kind, {**spec, **verify}), signature) is wanted
        assert relation(place_of(kind, spec), signature) is Relation.HERE


@pytest.mark.parametrize(
    ("kind", "spec", "found"),
    [
        ("ImageRepository", {"image": "ghcr.io/acme/shop"}, Relation.FOLLOWS),
        ("ImageRepository", {"image": "acme/shop"}, Relation.ELSEWHERE),
        ("HelmRepository", {"url": "oci://ghcr.io/acme", "type": "oci"}, Relation.FOLLOWS),
        ("HelmRepository", {"url": "oci://ghcr.io/acm", "type": "oci"}, Relation.ELSEWHERE),
        ("HelmRepository", {"url": "https://charts.example.com"}, Relation.UNKNOWN),
        ("HelmChart", {"chart": "shop", "sourceRef": {"kind": "HelmRepository", "name": "x"}}, Relation.FOLLOWS),
        ("HelmChart", {"chart": "other", "sourceRef": {"kind": "HelmRepository", "name": "x"}}, Relation.ELSEWHERE),
        ("HelmChart", {"chart": "./charts/other", "sourceRef": {"kind": "GitRepository", "name": "x"}}, Relation.UNKNOWN),
        ("Bucket", {"bucketName": "shop"}, Relation.UNKNOWN),
        ("HelmRelease", {"chart": {"spec": {"chart": "shop"}}}, Relation.UNKNOWN),
        ("ImagePolicy", {}, Relation.UNKNOWN),
    ],
)
def test_other_kinds_are_found_by_the_image(kind: str, spec: dict[str, Any], found: Relation) -> None:
    assert relation(place_of(kind, spec), PUSH) is found


def test_an_image_without_its_host_is_compared_by_its_path() -> None:
    push = ImagePush(names=("/team/shop",), tag="latest")
    assert relation(place_of("ImageRepository", {"image": "nexus.example.com:8082/team/shop"}), push) is Relation.FOLLOWS
    assert relation(place_of("ImageRepository", {"image": "nexus.example.com/other-team/shop"}), push) is Relation.ELSEWHERE
    assert relation(place_of("HelmRepository", {"url": "oci://nexus.example.com/team"}), push) is Relation.FOLLOWS
    assert relation(place_of("HelmRepository", {"url": "oci://nexus.example.com/else"}), push) is Relation.ELSEWHERE


def test_versions_of_charts_are_followed_within_their_range() -> None:
    place = place_of("HelmChart", {"chart": "shop", "version": "1.x", "sourceRef": {"kind": "HelmRepository", "name": "x"}})
    for version, found in (("1.4.0", "follows"), ("2.0.0", "here"), ("1.4.0+build.1", "follows"), ("", "follows"), ("latest", "here")):
        assert relation(place, ChartPush(urls=(), name="shop", version=version)).value == found
        assert relation(place, ImagePush(names=("ghcr.io/acme/shop",), tag=version.replace("+", "_"))).value == found


def test_a_place_may_stand_for_another_address() -> None:
    assert moved(place_of("OCIRepository", {"url": "oci://cache.local/shop"}), "oci://GHCR.io/acme/shop").image == "ghcr.io/acme/shop"
    assert moved(place_of("HelmRepository", {"url": "oci://cache.local/x"}), "oci://ghcr.io/acme/").image == "ghcr.io/acme"
    assert moved(place_of("HelmRepository", {"url": "https://cache.local"}), "https://charts.example.com/").index == "charts.example.com"
    assert moved(place_of("Bucket", {"bucketName": "copy"}), "acme").bucket == "acme"
    assert moved(NOWHERE, "x") == NOWHERE


def test_an_untagged_push_matters_to_whoever_follows_the_image() -> None:
    assert relation(Place(image="ghcr.io/acme/shop", tag="1.0"), ImagePush(names=("ghcr.io/acme/shop",))) is Relation.FOLLOWS


def test_charts_are_found_by_repository_and_name() -> None:
    push = ChartPush(urls=("https://acme.azurecr.io/helm/v1/repo",), name="shop", version="1.4.0")
    assert relation(place_of("HelmRepository", {"url": "https://acme.azurecr.io/helm/v1/repo/"}), push) is Relation.FOLLOWS
    assert relation(place_of("HelmRepository", {"url": "https://charts.example.com"}), push) is Relation.ELSEWHERE
    assert relation(place_of("HelmRepository", {"url": "https://charts.example.com"}), ChartPush(urls=(), name="shop")) is Relation.UNKNOWN
    chart = place_of("HelmChart", {"chart": "shop", "sourceRef": {"kind": "HelmRepository"}})
    assert relation(chart, push) is Relation.FOLLOWS
    assert relation(chart, ChartPush(urls=(), name="other")) is Relation.ELSEWHERE


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (BucketChange(bucket="acme", key="prod/app.yaml"), Relation.FOLLOWS),
        (BucketChange(bucket="acme", key="test/app.yaml"), Relation.HERE),
        (BucketChange(bucket="acme"), Relation.FOLLOWS),
        (BucketChange(bucket="else", key="prod/app.yaml"), Relation.ELSEWHERE),
    ],
)
def test_buckets_are_found_by_name_and_prefix(change: BucketChange, found: Relation) -> None:
    assert relation(place_of("Bucket", {"bucketName": "acme", "prefix": "prod/"}), change) is found


def test_what_names_no_address_means_nothing_to_compare() -> None:
    assert relation(NOWHERE, PUSH) is Relation.UNKNOWN
    assert relation(Place(image="ghcr.io/acme/shop"), Ping()) is Relation.UNKNOWN
    assert relation(Place(image="ghcr.io/acme/shop"), GitPush(urls=("https://h/r",), ref="refs/heads/main")) is Relation.UNKNOWN
