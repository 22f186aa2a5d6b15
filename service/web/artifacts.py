"""The files of artifacts, as Flux lays them out: GET and HEAD of `/<kind>/<namespace>/<name>/<file>` with ranges and conditions.

What was made once and is not there any more is made again from the source's objects, if it is what the object's status names. Files are
sent by the kernel and never held. Of several ranges in one request the whole file is the answer, as RFC 9110 allows.
https://www.rfc-editor.org/rfc/rfc9110#section-14
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from service.kinds.meta import SOURCE_GROUP, ObjectKey
from service.kinds.table import KINDS

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = rf"{_LABEL}([.]{_LABEL})*"
_KINDS = {kind.kind.lower(): kind.kind for kind in KINDS if kind.group == SOURCE_GROUP}
_FILE = "[0-9A-Za-z][0-9A-Za-z._+:-]*[.](tar[.]gz|tgz|yaml)"
PATH = f"/{{kind:{'|'.join(_KINDS)}}}/{{namespace:{_LABEL}}}/{{name:{_NAME}}}/{{file:{_FILE}}}"
_RANGE = re.compile(r"\s*(\d*)-(\d*)\s*", re.ASCII)
_HEADERS = {"X-Content-Type-Options": "nosniff"}

Remake = Callable[[ObjectKey, str], Awaitable[bool]]


class Artifacts:
    """The files below a folder that holds `gitrepository/`. `remake` makes the file of that name, and says whether it could; `elsewhere` is
    the HOST:PORT of the replica that has what is not here, "" where this is the one."""

    def __init__(self, folder: Path, remake: Remake, elsewhere: Callable[[], str] = str) -> None:
        self._folder = folder
        self._remake = remake
        self._elsewhere = elsewhere

    async def answered(self, request: web.Request) -> web.StreamResponse:
        """The four parts of the path are plain names, so nothing outside the folder can be named; what is no file is a 404."""
        place = request.match_info
        path = self._folder / place["kind"] / place["namespace"] / place["name"] / place["file"]
        if not path.is_file():
            if other := self._elsewhere():
                raise web.HTTPTemporaryRedirect(f"http://{other}{request.path}")
            key = ObjectKey(group=SOURCE_GROUP, kind=_KINDS[place["kind"]], namespace=place["namespace"], name=place["name"])
            if not await self._remake(key, place["file"]):
                raise web.HTTPNotFound
        return _File(path, headers=_HEADERS)


class _File(web.FileResponse):
    """aiohttp's, which knows conditions and one range of bytes, with the rest of the ranges made right."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if "Range" in request.headers:
            try:
                stat = self._path.stat()
            except OSError:
                return await super().prepare(request)  # gone just now
            headers = request.headers.copy()
            given = headers.popall("Range")
            conditional = headers.pop("If-Range", "")
            same = not conditional or conditional == f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
            wanted = one_range(given[0], stat.st_size) if same and len(given) == 1 else ""
            if wanted:
                headers["Range"] = wanted
            request = request.clone(headers=headers)
        return await super().prepare(request)


def one_range(header: str, size: int) -> str:
    """The range that is to be answered, "" where the header is to be ignored; one behind the end stays, for a 416."""
    unit, _, ranges = header.partition("=")
    found = _RANGE.fullmatch(ranges)
    if unit.strip().lower() != "bytes" or found is None or len(ranges) > 64:
        return ""
    first, last = found.groups()
    if first and (not last or int(first) <= int(last)):
        return f"bytes={first}-{last}"
    if not first and last:  # the last bytes
        return f"bytes=-{last}" if int(last) else f"bytes={size}-"
    return ""
