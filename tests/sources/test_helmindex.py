"""Indexes: the quick way reads what PyYAML reads, JSON and odd forms too, and versions are found in what is stored."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.sources.helmindex import BadIndex, Listed, NoVersion, find_version, store_index
from service.sources.plainyaml import json_of, read_yaml

AS_HELM = """apiVersion: v1
entries:
  airflow:
  - annotations:
      category: WorkFlow
      images: |
        - name: airflow
          image: docker.io/bitnami/airflow:2.7.2

        - name: git
      licenses: Apache-2.0
    apiVersion: v2
    appVersion: 2.7.2
    created: "2023-10-10T10:10:10.123456789Z"
    dependencies:
    - condition: redis.enabled
      name: redis
      tags:
      - bitnami-common
      version: 18.x.x
    description: Apache Airflow is a tool to express and execute workflows as directed
      acyclic graphs (DAGs).
    digest: 12345678901234567890123456789012345678901234567890123456789012ab
    home: https://bitnami.com
    keywords:
    - apache
    - "on"
    - yes
    - 1.10
    - 'it''s'
    maintainers:
    - email: a@example.com
      name: VMware, Inc.
      url: https://github.com/bitnami/charts
    name: airflow
    kubeVersion: '>=1.20.0-0'
    deprecated: true
    urls:
    - https://charts.bitnami.com/bitnami/airflow-16.0.5.tgz
    version: 16.0.5
  - name: airflow
    version: 0.1.0
    created: 2020-01-01T00:00:00Z
    urls: [airflow-0.1.0.tgz]
  "quoted":
  - name: quoted
    version: 1.0.0 # the first
    sources: []
    description: "tab\\tand \\u00fcml\u00e4ut"
generated: "2023-10-10T10:10:10Z"
"""


def stored(text: str | bytes, folder: Path) -> dict[str, Any]:
    fetched, target = folder / "fetched", folder / "index"
    fetched.write_bytes(text.encode() if isinstance(text, str) else text)
    store_index(fetched, target)
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def test_what_helm_writes_is_read_as_pyyaml_reads_it(tmp_path):
    assert stored(AS_HELM, tmp_path) == json.loads(json_of(read_yaml(AS_HELM)))
    assert stored(AS_HELM.replace("\n", "\r\n"), tmp_path)["entries"]["airflow"][0]["version"] == "16.0.5"
    lines = (tmp_path / "index").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines[1:3]] == ['"airflow"', '"quoted"']


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from("\n :#-'\"{}[]|>&*!%@`\t"), max_size=30)
SCALAR = (
    TEXT
    | st.booleans()
    | st.integers()
    | st.none()
    | st.sampled_from(["1.10", "yes", "~", "2020-01-01", "1e5", "0x1F", "1_0", "https://a/b"])
)
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8)
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
ENTRIES = st.dictionaries(
    NAME, st.lists(st.dictionaries(st.sampled_from(["name", "version", "urls", "a/b", "annotations"]), VALUE), max_size=3)
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=ENTRIES, width=st.sampled_from([20, 80, 4096]), style=st.sampled_from([None, "'", '"', "|"]))
def test_any_index_is_read_as_pyyaml_reads_it(tmp_path, entries, width, style):
    whole = {"apiVersion": "v1", "entries": entries, "generated": "now"}
    text = yaml.safe_dump(whole, width=width, default_style=style, allow_unicode=True)
    expected = json.loads(json_of(read_yaml(text)))
    assert stored(text, tmp_path)["entries"] == expected["entries"]
    for indent in (None, 2):
        assert stored(json.dumps(whole, indent=indent, ensure_ascii=False), tmp_path)["entries"] == json.loads(json_of(entries))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(AS_HELM) - 1), put=st.text(st.sampled_from("\n :-'\"{}[]|>&*a\x00\xff"), max_size=4))
def test_damage_is_an_error_or_still_yaml(tmp_path, at, put):
    text = AS_HELM[:at] + put + AS_HELM[at + len(put) :]
    try:
        found = stored(text, tmp_path)
    except BadIndex:
        return
    assert isinstance(found["entries"], dict)


def test_versions_are_found(tmp_path):
    stored(AS_HELM, tmp_path)
    index = tmp_path / "index"
    newest = Listed(
        name="airflow",
        version="16.0.5",
        urls=("https://charts.bitnami.com/bitnami/airflow-16.0.5.tgz",),
        digest="12345678901234567890123456789012345678901234567890123456789012ab",
    )
    assert find_version(index, "airflow", "*") == newest
    assert find_version(index, "airflow", "0.x").urls == ("airflow-0.1.0.tgz",)
    for name, wanted, words in (
        ("air", "*", "no chart name found"),
        ("airflow", "99", "no 'airflow' chart"),
        ("airflow", "x y", "not a range"),
    ):
        with pytest.raises(NoVersion, match=words):
            find_version(index, name, wanted)


def test_of_equal_versions_the_youngest_counts(tmp_path):
    versions = [{"version": f"1.0.0+{day}", "created": f"2020-01-0{day}T00:00:00Z", "urls": [str(day)]} for day in (1, 3, 2)]
    stored(json.dumps({"apiVersion": "v1", "entries": {"a": [*versions, {"version": "not one"}, None], "b": None}}), tmp_path)
    assert find_version(tmp_path / "index", "a", "1.x").version == "1.0.0+3"
    with pytest.raises(NoVersion, match="no chart name found"):
        find_version(tmp_path / "index", "b", "")
