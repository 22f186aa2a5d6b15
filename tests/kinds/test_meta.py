"""Keys, times, revisions and conditions."""

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kinds.meta import (
    MESSAGE_LIMIT,
    READY,
    Condition,
    Metadata,
    ObjectKey,
    find_condition,
    format_time,
    git_revision,
    normal_revision,
    parse_time,
    split_revision,
)

SHA1, SHA256 = "5394cb7f48332b2de7c17dd8b8384bbc84b7e738", "ab" * 32


def test_object_key_reads_like_flux_messages() -> None:
    assert str(ObjectKey(group="g", kind="Kustomization", namespace="flux-system", name="apps")) == "Kustomization/flux-system/apps"
    assert str(ObjectKey(group="", kind="Namespace", namespace="", name="apps")) == "Namespace/apps"


def test_object_keys_sort_and_serve_as_keys() -> None:
    keys = [ObjectKey(group="g", kind="K", namespace=namespace, name=name) for namespace, name in (("b", "a"), ("a", "b"), ("a", "a"))]
    assert [f"{each.namespace}{each.name}" for each in sorted(set(keys))] == ["aa", "ab", "ba"]


def test_metadata_goes_to_worker_processes() -> None:
    metadata = Metadata(name="a", annotations={"reconcile.fluxcd.io/requestedAt": "now"})
    assert pickle.loads(pickle.dumps(metadata)).requested_at == "now"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"main/{SHA1}", f"main@sha1:{SHA1}"),
        (f"feature/x/{SHA1}", f"feature/x@sha1:{SHA1}"),
        (f"HEAD/{SHA1}", f"sha1:{SHA1}"),
        (SHA1, f"sha1:{SHA1}"),
        (SHA256, f"sha256:{SHA256}"),
        (f"main@sha1:{SHA1}", f"main@sha1:{SHA1}"),
        (f"refs/pull/1/head@sha1:{SHA1}", f"refs/pull/1/head@sha1:{SHA1}"),
        ("6.2.1", "6.2.1"),
        ("", ""),
    ],
)
def test_revision_of_old_versions_becomes_the_newest_form(old: str, new: str) -> None:
    assert normal_revision(old) == new


@pytest.mark.parametrize(
    ("revision", "parts"),
    [
        (f"main@sha1:{SHA1}", ("main", SHA1)),
        (f"user@host@sha1:{SHA1}", ("user@host", SHA1)),
        (f"sha256:{SHA256}", ("", SHA256)),
        (f"v1/{SHA1}", ("v1", SHA1)),
        ("6.2.1", ("6.2.1", "")),
    ],
)
def test_revision_comes_apart(revision: str, parts: tuple[str, str]) -> None:
    assert split_revision(revision) == parts


@given(st.text(min_size=1).filter(lambda text: "\n" not in text), st.sampled_from([SHA1, SHA256]))
def test_revision_comes_apart_into_what_it_was_made_of(pointer: str, commit: str) -> None:
    assert split_revision(git_revision(commit, pointer)) == (pointer, commit)


@pytest.mark.parametrize("commit", ["", "main", SHA1[:12], SHA1.upper(), SHA1 + "0"])
def test_revision_needs_a_full_commit(commit: str) -> None:
    with pytest.raises(ValueError, match="full commit"):
        git_revision(commit, "main")


def test_time_is_utc_both_ways() -> None:
    assert parse_time("2026-01-02T03:04:05.123456789+02:00") == datetime(2026, 1, 2, 1, 4, 5, 123456, tzinfo=UTC)
    assert format_time(datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02T01:04:05Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "0001-01-01T00:00:00+14:00"])
def test_time_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)


def test_condition_is_written_as_the_api_server_takes_it() -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ready = Condition(
        type=READY, status="False", reason="BuildFailed", message="x" * 40_000, observed_generation=-1, last_transition_time=since
    )
    written = ready.to_json()
    assert len(str(written.pop("message"))) == MESSAGE_LIMIT
    assert written == {
        "type": "Ready", "status": "False", "reason": "BuildFailed", "observedGeneration": 0, "lastTransitionTime": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    assert find_condition([ready], READY) is ready
    assert find_condition([ready], "Stalled") is None
