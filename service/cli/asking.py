"""One request to the admin port of a running service, for the commands that look into it.

In: where it listens, the token, a path. Out: its JSON, or `AskingFailed` with what to do.
"""

import argparse
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

TIMEOUT_SECONDS = 10.0


class AskingFailed(Exception):
    """No answer that could be used; the message says why."""


class Away(AskingFailed):
    """Nobody answers there, or we have no token to ask with."""


def add_address(parser: argparse.ArgumentParser) -> None:
    """The flags by which the service is found."""
    parser.add_argument("--address", default="127.0.0.1:9440", help="the service's admin port (default: 127.0.0.1:9440)")
    parser.add_argument("--state", type=Path, default=Path("sluice-state"), metavar="DIR", help="the state folder, for its admin.token")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the admin token, where the state folder is elsewhere")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags by which the service is found, and --json."""
    add_address(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def asked(args: argparse.Namespace, path: str, *, method: Literal["GET", "POST"] = "GET", timeout: float = TIMEOUT_SECONDS) -> Any:
    """What the admin port answers. Raises AskingFailed, Away of them where it does not."""
    file: Path = args.token_file or args.state / "admin.token"
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise Away(f"no admin token in {file}: give --state DIR or --token-file FILE") from error
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://{args.address}{path}", headers=headers, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy must not get the token
    try:
        with direct.open(request, timeout=timeout) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode("utf-8", "replace").strip()
        raise AskingFailed(_error_of(said) or f"the service answers {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        wanted = "is the service running there? (kubectl port-forward deployment/sluice 9440)"
        raise Away(f"no answer from http://{args.address}: {error}; {wanted}") from error


def _error_of(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""
