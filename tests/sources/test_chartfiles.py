"""Charts as files: what Helm's bounds refuse, archives of any damage, and the same bytes for the same chart."""

import gzip
import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sources.chartfiles import BadChart, chart_of, read_archive, write_archive
from tests.sources.helmbench import chart
from tests.sources.registry import tarball

GOOD = chart("web", "1.0.0", {"templates/a.yaml": "a: 1\n", "crds/x.yaml": "b: 1\n"})
ABOUT = b"# ours\napiVersion: v2\nname: web\nversion: 1.0.0 # now\nappVersion: 1.10\n"


def test_the_same_chart_is_the_same_bytes(tmp_path):
    found = read_archive(GOOD)
    for name in ("a", "b"):
        write_archive(found, tmp_path / name)
    packed = (tmp_path / "a").read_bytes()
    assert packed == (tmp_path / "b").read_bytes()
    assert read_archive(packed) == found
    with tarfile.open(tmp_path / "a") as tar:
        assert tar.getnames()[:2] == ["web/Chart.yaml", "web/values.yaml"]


def test_a_new_version_leaves_the_other_lines(tmp_path):
    found = chart_of({"Chart.yaml": ABOUT}).with_version("1.0.0+7")
    assert found.files["Chart.yaml"] == b'# ours\napiVersion: v2\nname: web\nversion: "1.0.0+7"\nappVersion: 1.10\n'
    flow = chart_of({"Chart.yaml": b"{apiVersion: v2, name: web, version: 1.0.0}"}).with_version("1.0.0+7")
    assert chart_of(flow.files).version == "1.0.0+7"


def test_bombs_are_refused(tmp_path):
    bomb = gzip.compress(b"\0" * (101 * 2**20), compresslevel=1)
    with pytest.raises(BadChart, match="unpacks to more than"):
        read_archive(bomb)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for number in range(20_001):
            tar.addfile(tarfile.TarInfo(f"web/{number}"))
    with pytest.raises(BadChart, match="more than 20000 files"):
        read_archive(out.getvalue())
    with pytest.raises(BadChart, match="bytes limit"):
        read_archive(b"x" * (10 * 2**20 + 1))


def test_links_are_no_files():
    found = read_archive(tarball({"web/Chart.yaml": ABOUT, "web/link": None}))
    assert set(found.files) == {"Chart.yaml"}


@settings(max_examples=50, deadline=None)
@given(at=st.integers(0, len(GOOD) - 1), put=st.binary(max_size=6), cut=st.booleans())
def test_damaged_archives_are_bad_charts(at, put, cut):
    damaged = GOOD[:at] + put + (b"" if cut else GOOD[at + len(put) :])
    with suppress(BadChart):
        read_archive(damaged)


@settings(max_examples=50, deadline=None)
@given(at=st.integers(0, 4096), put=st.binary(min_size=1, max_size=12))
def test_damaged_headers_are_bad_charts(at, put):
    plain = gzip.decompress(GOOD)
    with suppress(BadChart):
        read_archive(gzip.compress(plain[:at] + put + plain[at + len(put) :], compresslevel=1))


@settings(max_examples=50, deadline=None)
@given(text=st.binary(max_size=60))
def test_any_chart_yaml_is_a_chart_or_a_bad_one(text):
    with suppress(BadChart):
        chart_of({"Chart.yaml": text})
