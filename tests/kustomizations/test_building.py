"""One build of the service: what is fetched from outside, and what it says of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pygit2
import pytest

from service.kinds.meta import ObjectKey, Revision
from service.kustomizations.building import BuildOrder, read_tokens, run_build
from service.kustomizations.records import path_of
from service.kustomize.build import BuildError, BuildOptions
from service.sources.snapshot import Snapshot

OPTIONS = BuildOptions(generate=True)


def commit(folder: Path, files: dict[str, str]) -> Snapshot:
    """A repository with one commit on main."""
    repo = pygit2.init_repository(str(folder), bare=True, initial_head="main")
    builder = repo.TreeBuilder()
    for name, text in files.items():
        builder.insert(name, repo.create_blob(text.encode()), pygit2.enums.FileMode.BLOB)
    tree, author = builder.write(), pygit2.Signature("t", "t@t", 1, 0)
    made = str(repo.create_commit("refs/heads/main", author, author, "one", tree, []))
    return Snapshot(
        key=ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="ns", name="app"),
        revision=Revision(f"main@sha1:{made}"),
        store_path=folder,
        commit=made,
        tree=str(tree),
        ignore=None,
        ignore_files=(),
    )


def order(snapshot: Snapshot, *, remote_bases: bool) -> BuildOrder:
    return BuildOrder(snapshot=snapshot, path="", owner_name="a", owner_namespace="ns", options=OPTIONS, remote_bases=remote_bases)


def test_a_remote_base_is_fetched_where_that_is_allowed(tmp_path: Path) -> None:
    commit(tmp_path / "far", {"kustomization.yaml": "configMapGenerator: [{name: a}]\n"})
    snapshot = commit(tmp_path / "near", {"kustomization.yaml": f"namePrefix: my-\nresources: ['file://{tmp_path}/far']\n"})
    with pytest.raises(BuildError, match="--remote-bases"):
        run_build(order(snapshot, remote_bases=False))
    built = run_build(order(snapshot, remote_bases=True))
    assert [each.name for each in built.objects] == ["my-a-6ct58987ht"]
    remote = [key for key in built.reads if key.startswith("remote ")]
    assert [path_of(key) for key in remote] == [""]  # every change of the tree concerns it
    now = read_tokens(snapshot, tuple(built.reads))
    assert [key for key in now if now[key] != built.reads[key]] == remote


def test_no_digest_of_what_may_be_secret_can_be_guessed(tmp_path: Path) -> None:
    texts = {kind: f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\ndata: {{pin: MTIzNA==}}\n" for kind in ("Secret", "ConfigMap")}
    plain = order(commit(tmp_path, {f"{kind}.yaml": text for kind, text in texts.items()}), remote_bases=False)

    def digests(made: BuildOrder) -> dict[str, bool]:
        """Whether each object's digest is the one that anybody can make of it."""
        return {each.kind: each.digest == hashlib.sha256(each.body).hexdigest() for each in run_build(made).objects}

    one, two = replace(plain, digest_key=b"1" * 32), replace(plain, digest_key=b"2" * 32)
    assert digests(one) == {"Secret": False, "ConfigMap": True}
    assert digests(replace(one, confidential=True)) == {"Secret": False, "ConfigMap": False}
    known = {each.kind: each.digest for each in run_build(one).objects}
    assert known == {each.kind: each.digest for each in run_build(one).objects}
    assert known["Secret"] not in {each.digest for each in run_build(two).objects}
    assert "1111" not in repr(one)
