import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.credentials import Credentials, InvalidSecret, masked, read_credentials

PEM = b"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"


def test_keys():
    assert read_credentials({"username": b"git\n", "password": b"p"}) == Credentials(username="git", password="p")
    assert read_credentials({"username": b"u", "password": b"p", "bearerToken": b"t"}) == Credentials(bearer="t")
    assert read_credentials({"ca.crt": PEM}) == read_credentials({"caFile": PEM}) == Credentials(ca=PEM)
    assert read_credentials({}) == Credentials()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"username": b"u"}, "no password"),
        ({"password": b"p"}, "no username"),
        ({"bearerToken": b"a\r\nHost: evil"}, "line break"),
        ({"username": b"\xff", "password": b"p"}, "UTF-8"),
        ({"ca.crt": b"nothing"}, "PEM"),
        ({"tls.crt": PEM}, "only one of"),
        ({"githubAppID": b"1"}, "spec.provider is not github"),
    ],
)
def test_secrets_that_cannot_be_used(data, words):
    with pytest.raises(InvalidSecret, match=words):
        read_credentials(data)


def test_nothing_shows_a_secret():
    known = Credentials(username="u", password="s3cret", bearer="t0ken")
    assert "s3cret" not in repr(known)
    assert "t0ken" not in repr(known)
    assert masked("https://u:s3cret@host/a s3cret t0ken", known) == "https://***@host/a *** ***"
    assert masked("http://a:b@h/x and https://token@h/y") == "http://***@h/x and https://***@h/y"


@given(st.lists(st.tuples(st.text(), st.text(), st.text(), st.binary()), min_size=2, max_size=2, unique=True))
def test_identities_differ(pair):
    one, two = (Credentials(username=u, password=p, bearer=b, ca=c) for u, p, b, c in pair)
    assert one.identity != two.identity
