import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.kinds.meta import ObjectKey
from service.sources.tree import GitTree
from tests.sources.bench import Bench, opened
from tests.sources.conftest import Remote, make_remote
from tests.sources.signers import Gnupg, fingerprint, gnupg, needs_gpg, needs_ssh_keygen, ssh_key

pytestmark = needs_ssh_keygen
KEY = ObjectKey(group="source.toolkit.fluxcd.io", kind="GitRepository", namespace="apps", name="fleet")


@pytest.fixture
async def bench(tmp_path, workers) -> AsyncIterator[Bench]:
    async with opened("GitRepository", tmp_path, workers) as made:
        yield made


@pytest.fixture
def key(tmp_path: Path, bench: Bench, remote: Remote) -> Path:
    """An SSH key that the remote's clone signs with and that the Secret trusts."""
    made = ssh_key(tmp_path)
    remote.git("config", "gpg.format", "ssh")
    remote.git("config", "user.signingKey", f"{made}.pub")
    remote.git("config", "commit.gpgSign", "true")
    bench.secrets["keys"] = {"ada.sshpub": made.with_suffix(".pub").read_bytes()}
    return made


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    with gnupg() as home:
        home.key("ada@example.com")
        yield home


def spec(remote: Remote, *, mode: str = "HEAD", **more: Any) -> dict[str, Any]:
    verify = {"mode": mode, "secretRef": {"name": "keys"}}
    return {"url": remote.url, "interval": "1m0s", "timeout": "10s", "ref": {"branch": "main"}, "verify": verify, **more}


def unsigned(remote: Remote, files: dict[str, str | None]) -> str:
    remote.git("config", "commit.gpgSign", "false")
    try:
        return remote.commit(files)
    finally:
        remote.git("config", "commit.gpgSign", "true")


async def test_only_a_push_with_a_good_signature_counts(bench, remote, key):
    first = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote))
    assert (await bench.run()).result == "succeeded"
    assert bench.api.condition("SourceVerified")["status"] == "True"
    said = f"verified signature of\n\t- commit '{first}' with key '{fingerprint(key)}'"
    assert bench.api.condition("SourceVerified")["message"] == said
    assert bench.status["sourceVerificationMode"] == "HEAD"
    artifact = bench.status["artifact"]

    second = unsigned(remote, {"a.yaml": "a: 2\n"})
    outcome = await bench.run()
    why = f"signature verification of commit '{second}' failed: it is not signed"
    assert (outcome.result, outcome.backoff) == ("failed", True)
    assert bench.api.ready() == ("False", "InvalidCommitSignature", why)
    assert (bench.api.condition("SourceVerified")["status"], bench.api.condition("SourceVerified")["message"]) == ("False", why)
    assert bench.events[-1] == ("error", "InvalidCommitSignature", why)
    assert (bench.status["artifact"], bench.revisions) == (artifact, [f"main@sha1:{first}"])

    third = remote.commit({"a.yaml": "a: 3\n"})
    assert (await bench.run()).result == "succeeded"
    assert bench.api.ready()[0] == bench.api.condition("SourceVerified")["status"] == "True"
    assert bench.revisions == [f"main@sha1:{first}", f"main@sha1:{third}"]
    assert (await bench.run()).result == "unchanged"


async def test_a_restart_goes_on_with_what_was_good_last(bench, remote, key):
    first = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote))
    await bench.run()
    unsigned(remote, {"a.yaml": "a: 2\n"})
    await bench.run()
    bench.restart()
    assert (await bench.run()).result == "failed"
    assert bench.revisions == [f"main@sha1:{first}"]
    bench.restart()
    bench.api.put({**spec(remote), "suspend": True})
    await bench.run()
    assert bench.revisions == [f"main@sha1:{first}"]


async def test_submodules_are_part_of_what_was_good(bench, remote, key, tmp_path):
    library = make_remote(tmp_path / "remotes", "library", remote.url.rpartition("/")[0])
    pinned = library.commit({"lib.yaml": "lib: 1\n"})
    remote.git("update-index", "--add", "--cacheinfo", f"160000,{pinned},lib")
    (remote.work / "lib").mkdir()
    first = remote.commit({".gitmodules": f'[submodule "lib"]\n\tpath = lib\n\turl = {library.url}\n'})
    bench.api.put(spec(remote, recurseSubmodules=True))
    assert (await bench.run()).result == "succeeded"
    unsigned(remote, {"a.yaml": "a: 2\n"})
    assert (await bench.run()).result == "failed"
    bench.restart()
    assert (await bench.run()).result == "failed"
    assert bench.revisions == [f"main@sha1:{first}"]
    assert GitTree.open(bench.published[KEY]).read("lib/lib.yaml") == b"lib: 1\n"


async def test_what_was_never_good_is_not_there_after_a_restart(bench, remote, key):
    unsigned(remote, {"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote))
    for _ in range(2):
        assert (await bench.run()).result == "failed"
        assert (bench.revisions, KEY in bench.published, bench.status.get("artifact")) == ([], False, None)
        bench.restart()


async def test_what_was_good_before_the_check_was_taken_away_does_not_come_back(bench, remote, key):
    remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote))
    await bench.run()
    bench.api.put({name: value for name, value in spec(remote).items() if name != "verify"})
    unsigned(remote, {"a.yaml": "a: 2\n"})
    assert (await bench.run()).result == "succeeded"
    assert bench.api.condition("SourceVerified") is None
    assert "sourceVerificationMode" not in bench.status
    bench.restart()
    bench.api.put(spec(remote))
    remote.bare.rename(remote.bare.with_name("away"))
    await bench.run()
    assert bench.revisions == []


async def test_good_once_is_not_checked_again_until_keys_or_mode_change(bench, remote, key, tmp_path):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote))
    await bench.run()
    (mark,) = (bench.state / "git").glob("*/refs/sluice/u-1.verified")
    mark.unlink()  # each check that succeeds writes it
    await bench.run()
    assert not mark.exists()
    bench.secrets["keys"]["eve.sshpub"] = ssh_key(tmp_path, "eve").with_suffix(".pub").read_bytes()
    await bench.run()
    assert mark.exists()
    assert bench.api.patches == []
    del bench.secrets["keys"]["ada.sshpub"]
    assert (await bench.run()).result == "failed"
    assert f"commit '{commit}' failed: it is signed with the SSH key {fingerprint(key)}, which is not among" in bench.api.ready()[2]
    bench.secrets.clear()
    assert (await bench.run()).result == "failed"
    why = "public keys secret error: secret 'apps/keys': secrets \"keys\" not found"
    assert bench.api.ready() == ("False", "VerificationError", why)


async def test_what_cannot_be_kept_as_good_does_not_count_and_costs_no_store(bench, remote, key):
    first = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote))
    await bench.run()
    (mark,) = (bench.state / "git").glob("*/refs/sluice/u-1.verified")
    mark.unlink()
    (mark / "x").mkdir(parents=True)
    (mark / "x" / "y").touch()  # as a full disk: the file cannot be written
    second = remote.commit({"a.yaml": "a: 2\n"})
    assert (await bench.run()).result == "failed"
    assert f"failed to keep that the signature of commit '{second}' is good: the store" in bench.api.ready()[2]
    assert GitTree.open(bench.published[KEY]).read("a.yaml") == b"a: 1\n"
    shutil.rmtree(mark)
    assert (await bench.run()).result == "succeeded"
    assert bench.revisions == [f"main@sha1:{first}", f"main@sha1:{second}"]


async def test_a_tag_is_checked_itself(bench, remote, key):
    commit = unsigned(remote, {"a.yaml": "a: 1\n"})
    remote.git("tag", "-s", "-m", "one", "v1.0.0", commit)
    remote.git("push", "-q", "origin", "v1.0.0")
    tag = remote.git("rev-parse", "v1.0.0")
    for ref in ({"tag": "v1.0.0"}, {"semver": "1.x"}, {"name": "refs/tags/v1.0.0"}):
        bench.api.put(spec(remote, mode="Tag", ref=ref))
        await bench.run()
        words = f"verified signature of\n\t- tag 'v1.0.0@{tag}' with key '{fingerprint(key)}'"
        assert bench.api.condition("SourceVerified")["message"] == words
    bench.api.put(spec(remote, mode="TagAndHEAD", ref={"tag": "v1.0.0"}))
    assert (await bench.run()).result == "failed"
    assert bench.api.ready()[1:] == ("InvalidCommitSignature", f"signature verification of commit '{commit}' failed: it is not signed")

    signed = remote.commit({"a.yaml": "a: 2\n"})
    remote.git("tag", "-f", "-s", "-m", "one", "v1.0.0", signed)
    remote.git("push", "-q", "-f", "origin", "v1.0.0")
    assert (await bench.run()).result == "succeeded"
    assert bench.api.condition("SourceVerified")["message"].endswith(f"\n\t- commit '{signed}' with key '{fingerprint(key)}'")
    assert bench.status["sourceVerificationMode"] == "TagAndHEAD"


async def test_tags_that_do_not_count(bench, remote, key):
    commit = remote.commit({"a.yaml": "a: 1\n"})
    remote.git("tag", "light", commit)
    remote.git("tag", "-a", "-m", "unsigned", "plain", commit)
    remote.git("tag", "-s", "-m", "signed", "v1", commit)
    remote.git("push", "-q", "origin", "light", "plain", "v1:refs/tags/v2")
    moved, plain = remote.git("rev-parse", "v1"), remote.git("rev-parse", "plain")
    for name, reason, words in (
        ("light", "InvalidGitObject", "cannot verify signature of tag 'light' since it is not signed"),
        ("plain", "InvalidTagSignature", f"signature verification of tag 'plain@{plain}' failed: it is not signed"),
        ("v2", "InvalidTagSignature", f"signature verification of tag 'v2@{moved}' failed: it was signed as the tag 'v1'"),
    ):
        bench.api.put(spec(remote, mode="Tag", ref={"tag": name}))
        assert (await bench.run()).result == "failed"
        assert bench.api.ready() == ("False", reason, words)
    assert bench.revisions == []


@needs_gpg
async def test_a_commit_that_git_has_signed_with_gpg(bench, remote, key, gpg, monkeypatch):
    pytest.importorskip("pysequoia", reason="the extra openpgp is not installed")
    monkeypatch.setenv("GNUPGHOME", str(gpg.home))
    remote.git("config", "gpg.format", "openpgp")
    remote.git("config", "user.signingKey", "ada@example.com")
    commit = remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote, mode="head"))
    assert (await bench.run()).result == "failed"
    assert "it is signed with OpenPGP, and the Secret has no OpenPGP keys" in bench.api.ready()[2]
    bench.secrets["keys"]["ada.asc"] = gpg.public("ada@example.com")
    assert (await bench.run()).result == "succeeded"
    said = f"verified signature of\n\t- commit '{commit}' with key '{gpg.fingerprints('ada@example.com')[0][-16:]}'"
    assert bench.api.condition("SourceVerified")["message"] == said
    assert bench.status["sourceVerificationMode"] == "HEAD"


async def test_objects_of_one_url_are_checked_each_by_its_own_keys(bench, remote, key, tmp_path):
    """The store is shared; what one object has found good does not count for the other."""
    remote.commit({"a.yaml": "a: 1\n"})
    bench.api.put(spec(remote))
    assert (await bench.run()).result == "succeeded"
    bench.secrets["keys"] = {"eve.sshpub": ssh_key(tmp_path, "eve").with_suffix(".pub").read_bytes()}
    bench.api.put(spec(remote), uid="u-2")
    assert (await bench.run()).result == "failed"
    assert KEY not in bench.published
