import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cluster.inventory import BadEntry, ObjectId, parse, stale

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,10}[a-z0-9])?", fullmatch=True)
ROLES = st.builds(
    ObjectId,
    st.just(""),
    st.from_regex(r"[a-z]{1,5}(:[a-z]{1,5}){0,3}", fullmatch=True),
    st.just("rbac.authorization.k8s.io"),
    st.sampled_from(["ClusterRole", "RoleBinding"]),
    st.just("v1"),
)
OTHERS = st.builds(
    ObjectId,
    st.one_of(st.just(""), NAMES),
    NAMES,
    st.sampled_from(["", "apps", "a.b.io"]),
    st.sampled_from(["Deployment", "X"]),
    st.just("v1"),
)


@given(st.one_of(ROLES, OTHERS))
def test_entry_reads_back_as_it_was_written(object: ObjectId) -> None:
    assert parse(object.id, object.version) == object


@pytest.mark.parametrize(
    ("id", "object", "shown"),
    [
        ("apps_site_apps_Deployment", ObjectId("apps", "site", "apps", "Deployment"), "Deployment/apps/site"),
        ("_prod__Namespace", ObjectId("", "prod", "", "Namespace"), "Namespace/prod"),
        ("ns_cm__ConfigMap", ObjectId("ns", "cm", "", "ConfigMap"), "ConfigMap/ns/cm"),
        (
            "_system__node_rbac.authorization.k8s.io_ClusterRole",
            ObjectId("", "system:node", "rbac.authorization.k8s.io", "ClusterRole"),
            "ClusterRole/system:node",
        ),
    ],
)
def test_entries_as_flux_writes_them(id: str, object: ObjectId, shown: str) -> None:
    assert parse(id) == object
    assert object.id == id
    assert str(object) == shown


@pytest.mark.parametrize("id", ["", "_", "___", "a_b", "a_b_c", "ns_a_b_apps_Deployment", "ns__apps_Deployment", "ns_n_g_"])
def test_entry_that_is_none_is_shown(id: str) -> None:
    with pytest.raises(BadEntry) as caught:
        parse(id)
    assert repr(id) in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_an_entry_or_refused(text: str) -> None:
    with contextlib.suppress(BadEntry):
        assert parse(text).id.replace("__", ":") == text.replace("__", ":")


def test_stale_is_what_is_gone_whatever_its_version() -> None:
    one, two = ObjectId("ns", "one", "x.io", "X", "v1beta1"), ObjectId("ns", "two", "x.io", "X", "v1beta1")
    assert stale([two, one, two], [ObjectId("ns", "one", "x.io", "X", "v1")]) == (two,)
