import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.pktline import BadPackets, Mark, line, packets, written


def test_packets_reads_lines_and_marks():
    data = b"0006a\n00010009hello00000002"
    assert list(packets(data)) == [b"a\n", Mark.DELIM, b"hello", Mark.FLUSH, Mark.END]
    assert written(("a", Mark.DELIM)) == b"0006a\n0001"


@pytest.mark.parametrize("data", [b"00", b"0003", b"000g", b"0009hell", b"fff5" + b"x" * 70_000, b"+005a", b" 005a"])
def test_packets_refuses(data):
    with pytest.raises(BadPackets):
        list(packets(data))


def test_a_line_has_a_limit():
    assert len(line(b"x" * 65_516)) == 65_520
    with pytest.raises(BadPackets, match="do not fit"):
        line(b"x" * 65_517)


@given(st.lists(st.one_of(st.binary(max_size=50), st.sampled_from(Mark))))
def test_what_is_written_is_read(items):
    data = b"".join(b"%04x" % each.value if isinstance(each, Mark) else line(each) for each in items)
    assert list(packets(data)) == items


@given(st.binary(max_size=200))
def test_any_bytes_are_packets_or_refused(data):
    try:
        found = list(packets(data))
    except BadPackets:
        return
    assert b"".join(b"%04x" % each.value if isinstance(each, Mark) else line(each) for each in found).lower() == data.lower()
