"""A page of a listing, as it arrives: XML in, objects out, nothing of the rest kept.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html#API_ListObjectsV2_ResponseSyntax
"""

from collections.abc import Mapping
from urllib.parse import unquote_plus
from xml.etree.ElementTree import ParseError, XMLParser

from service.sources.bucketclient import BucketError, Listed

MOST_TEXT = 8192
_ROOT = "ListBucketResult"


class S3Listing:
    """Feed it, close it; then `found` are the objects and `following` is the token of the next page, "" after the last."""

    def __init__(self) -> None:
        self._target = _Target()
        self._parser = XMLParser(target=self._target)  # noqa: S314 - with our own target: no tree is built, no entity declared

    def feed(self, data: bytes) -> None:
        """Raises BucketError where it is no listing."""
        try:
            self._parser.feed(data)
        except (ParseError, ValueError) as error:
            raise BucketError("the listing is not of the form that S3 has") from error

    def close(self) -> None:
        """The page is complete. Raises BucketError where it is not."""
        try:
            self._parser.close()
        except (ParseError, ValueError) as error:
            raise BucketError("the listing is not of the form that S3 has, or broken off") from error

    @property
    def found(self) -> list[Listed]:
        encoded = self._target.fields.get("EncodingType") == "url"
        return [_listed(each, encoded) for each in self._target.entries]

    @property
    def following(self) -> str:
        return self._target.fields.get("NextContinuationToken", "")


class _Target:
    """What expat calls: texts of the elements below the root and below each `Contents`."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.entries: list[dict[str, str]] = []
        self._path: list[str] = []
        self._text = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition("}")[2]
        if not self._path and name != _ROOT:
            raise ValueError(name)
        self._path.append(name)
        self._text = ""
        if self._path == [_ROOT, "Contents"]:
            self.entries.append({})

    def data(self, text: str) -> None:
        self._text += text
        if len(self._text) > MOST_TEXT:
            raise ValueError("too long")

    def end(self, tag: str) -> None:
        match self._path:
            case [_, "Contents", name]:
                self.entries[-1][name] = self._text
            case [_, name]:
                self.fields[name] = self._text
        self._path.pop()
        self._text = ""

    def doctype(self, name: str, public: str, system: str) -> None:
        raise ValueError("listings declare nothing")

    def close(self) -> None:
        """Nothing is built."""


def _listed(found: Mapping[str, str], encoded: bool) -> Listed:
    try:
        key = unquote_plus(found["Key"], errors="surrogateescape") if encoded else found["Key"]
        return Listed(key=key, etag=found.get("ETag", "").strip('"'), size=int(found["Size"]))
    except (KeyError, ValueError) as error:
        raise BucketError("the listing has an object without name or size") from error
