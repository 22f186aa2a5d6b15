"""The name suffix, byte for byte. Vectors are kustomize's."""

import pytest

from service.kustomize.hashing import go_json, name_hash


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"kind": "ConfigMap", "data": {"a": "b"}}, "4h2mbtbbt6"),
        ({"kind": "Secret", "type": "Opaque", "data": {"a": "Yg=="}}, "k695gkmbtk"),
        ({"kind": "ConfigMap"}, "6ct58987ht"),
        ({"kind": "Secret", "type": "Opaque", "data": {}}, "46f8b28mk5"),
        ({"kind": "ConfigMap", "data": {"a": "<b>&\u2028"}}, "cbbk8tctmd"),
    ],
)
def test_name_hash_is_kustomizes(body: dict[str, object], expected: str) -> None:
    assert name_hash(body) == expected


def test_name_and_metadata_do_not_count() -> None:
    body = {"kind": "ConfigMap", "data": {"a": "b"}}
    assert name_hash({**body, "metadata": {"name": "x", "labels": {"a": "b"}}, "immutable": True}) == name_hash(body)


def test_go_json_escapes_as_go() -> None:
    assert go_json({"b": "<é\n\x01>", "a": 1}) == '{"a":1,"b":"\\u003cé\\n\\u0001\\u003e"}'
