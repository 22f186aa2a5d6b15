import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources import protocol
from service.sources.pktline import BadPackets, Mark, line, written
from service.sources.protocol import Ref

ONE, TWO = "1" * 40, "2" * 40
ADVERTISED = ("version 2", "agent=git/2.39", "ls-refs=unborn", "fetch=shallow wait-for-done", "object-format=sha1")


def test_offer_with_and_without_the_name_of_the_service():
    plain = written((*ADVERTISED, Mark.FLUSH))
    named = written(("# service=git-upload-pack", Mark.FLUSH)) + plain
    for body in (plain, named):
        found = protocol.offer(body)
        assert found is not None
        assert found.is_usable
        assert found.leaves_history_out


def test_offer_of_an_older_version_is_none():
    body = written(("# service=git-upload-pack", Mark.FLUSH)) + line(f"{ONE} HEAD\0multi_ack".encode()) + b"0000"
    assert protocol.offer(body) is None
    assert protocol.offer(b"") is None


def test_offer_of_another_object_format_is_not_usable():
    found = protocol.offer(written(("version 2", "ls-refs", "fetch", "object-format=sha256", Mark.FLUSH)))
    assert found is not None
    assert not found.is_usable
    assert not found.leaves_history_out


def test_refs_are_peeled():
    body = written((f"{ONE} refs/heads/main", f"{ONE} refs/tags/v1 peeled:{TWO}", Mark.FLUSH))
    assert protocol.refs(body) == {"refs/heads/main": Ref(id=ONE, commit=ONE), "refs/tags/v1": Ref(id=ONE, commit=TWO)}
    assert protocol.refs(b"0000") == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        written((f"{ONE} refs/heads/main",)),
        written((ONE, Mark.FLUSH)),
        written(("main refs/heads/main", Mark.FLUSH)),
        written((f"{ONE} refs/tags/v1 peeled:x", Mark.FLUSH)),
        written((f"ERR not for you {ONE}", Mark.FLUSH)),
    ],
)
def test_refs_refuses(body):
    with pytest.raises(BadPackets) as told:
        protocol.refs(body)
    assert "not for you" not in str(told.value)


def test_requests():
    assert protocol.ls_refs("refs/heads/main").endswith(b"00010009peel\n" + line(b"ref-prefix refs/heads/main\n") + b"0000")
    asked = protocol.fetch(TWO, have=[ONE], shallow=[ONE], newest_only=True)
    for part in (f"want {TWO}", f"have {ONE}", f"shallow {ONE}", "deepen 1", "done", "thin-pack"):
        assert line(part.encode() + b"\n") in asked
    assert b"deepen" not in protocol.fetch(TWO, have=[], shallow=[], newest_only=False)


def test_pack_is_taken_from_the_first_band():
    head = written(("shallow-info", f"shallow {ONE}", Mark.DELIM, "packfile"))
    body = head + line(b"\1PA") + line(b"\2counting") + line(b"\1CK") + b"0000"
    assert protocol.pack(body) == b"PACK"


@pytest.mark.parametrize(
    "rest", [b"", line(b"\1PACK"), line(b"\3no"), line(b"\1PACK") + line(b"\3broken") + b"0000", b"0001", line(b"") + b"0000", line(b"\4x")]
)
def test_pack_refuses_what_is_cut_or_broken_off(rest):
    with pytest.raises(BadPackets):
        protocol.pack(written(("packfile",)) + rest)


def test_pack_refuses_an_error():
    for body in (line(b"ERR upload-pack: not our ref"), b"0000", b""):
        with pytest.raises(BadPackets):
            protocol.pack(body)


lines = st.one_of(
    st.sampled_from(
        [b"packfile\n", b"\1PACK", b"\2x", b"\3x", b"ERR x", b"version 2\n", b"# service=git-upload-pack\n", b"fetch=shallow\n"]
    ),
    st.binary(max_size=60),
    st.builds(lambda id_, name: f"{id_} {name}\n".encode(), st.sampled_from([ONE, TWO, "x"]), st.text(max_size=20)),
)


@given(st.lists(st.one_of(lines.map(line), st.sampled_from([b"0000", b"0001", b"0002", b"0003"]), st.binary(max_size=5)), max_size=12))
def test_any_answer_is_read_or_refused(parts):
    body = b"".join(parts)
    for read in (protocol.offer, protocol.refs, protocol.pack):
        try:
            read(body)
        except BadPackets:
            continue
