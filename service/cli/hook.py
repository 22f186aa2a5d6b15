"""`sluice hook`: why a webhook was refused, what a delivery did, and how senders are set up.

In: `check`: a recorded delivery in files; `list`, `show`, `replay` and `receivers`: a running service, over its admin port; `types`:
nothing. Out: what was read from the delivery, or the reason for its refusal; lines or JSON. The exit status is 1 for a refusal and for what
is not there.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from service.cli.asking import AskingFailed, add_arguments, asked

FOLLOW_SECONDS = 1.0


class _Failed(Exception):
    """What the user is told; the command ends."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and what is below it."""
    parser = commands.add_parser("hook", help="webhooks: check a recorded one, look into the delivery log, how senders are set up")
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = below.add_parser("check", help="verify and read a recorded delivery, offline")
    check.add_argument("--type", required=True, metavar="TYPE", help="the Receiver's spec.type")
    check.add_argument("--headers", required=True, type=Path, metavar="FILE", help="`Name: value` lines, or a JSON object")
    check.add_argument("--body", required=True, type=Path, metavar="FILE", help="the body, byte for byte")
    check.add_argument("--token-file", type=Path, metavar="FILE", help="the value of the Secret's key token, byte for byte")
    check.add_argument("--email", default="", help="for gcr: the Secret's key email")
    check.add_argument("--audience", default="", help="for gcr: the Secret's key audience; for generic-oidc: the issuer's")
    check.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="for gcr and generic-oidc: the keys of the issuer, such as https://www.googleapis.com/oauth2/v3/certs",
    )
    listed = below.add_parser("list", help="the newest deliveries, accepted and refused")
    listed.add_argument("--receiver", default="", metavar="[NAMESPACE/]NAME", help="those of one Receiver")
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="how many of the log are looked at (default: 50, at most 1000)")
    listed.add_argument("-f", "--follow", action="store_true", help="stay, and print new ones as they come")
    shown = below.add_parser("show", help="one delivery with its targets and their outcome")
    shown.add_argument("id", help="its row, the id in the answer to the sender, or the id that the sender shows")
    replayed = below.add_parser("replay", help="carry one out again, from what was stored of it; the log marks it as a replay")
    replayed.add_argument("id", help="its row, the id in the answer to the sender, or the id that the sender shows")
    seen = below.add_parser("receivers", help="what each Receiver saw last, and how much since the start of the service")
    for each in (listed, shown, replayed, seen):
        add_arguments(each)
    below.add_parser("types", help="the senders that are understood, and how each is set up (Markdown)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out one action; returns the exit status."""
    try:
        match args.action:
            case "check":
                return _check(args)
            case "list":
                return _list(args)
            case "show":
                return _show(args)
            case "replay":
                return _replay(args)
            case "receivers":
                return _receivers(args)
            case _:
                return _types()
    except (_Failed, AskingFailed) as error:
        print(f"sluice hook: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _check(args: argparse.Namespace) -> int:
    from service.triggers.checking import BadRecording, check, credentials_of, headers_of

    try:
        headers = headers_of(_read(args.headers).decode("utf-8", "surrogateescape"))
        jwks = _read(args.keys) if args.keys else b""
        credentials = credentials_of(
            _read(args.token_file) if args.token_file else b"", email=args.email, audience=args.audience, jwks=jwks
        )
        checked = check(args.type, headers, _read(args.body), credentials)
    except BadRecording as error:
        raise _Failed(str(error)) from error
    told = {
        "verdict": checked.verdict,
        "reason": checked.reason,
        "hint": checked.hint,
        "event": checked.event,
        "senderId": checked.delivery_id,
        "signedAt": checked.signed_at.isoformat() if checked.signed_at else "",
        "events": json.loads(checked.events_json),
    }
    print(json.dumps({name: value for name, value in told.items() if value not in ("", [])}, indent=2, ensure_ascii=False))
    return 1 if checked.verdict == "refused" else 0


def _list(args: argparse.Namespace) -> int:
    for entry in _entries(args):
        print(json.dumps(entry, ensure_ascii=False) if args.json else _line(entry), flush=True)
    return 0


def _entries(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The deliveries, oldest first; with --follow each again when its state changes."""
    told: dict[str, str] = {}
    limit = min(max(args.limit, 1), 1000)
    while True:
        for entry in reversed(asked(args, f"/deliveries?limit={limit}&receiver={quote(args.receiver, safe='')}")["deliveries"]):
            if told.get(entry["id"]) != entry["state"]:
                told[entry["id"]] = entry["state"]
                yield entry
        if not args.follow:
            return
        limit = 1000  # many may come within a second
        for gone in list(told)[:-4000]:
            del told[gone]
        time.sleep(FOLLOW_SECONDS)


def _show(args: argparse.Namespace) -> int:
    entry = asked(args, f"/deliveries/{quote(args.id, safe='')}")
    if args.json:
        print(json.dumps(entry, indent=2, ensure_ascii=False))
        return 0
    print(_line(entry))
    if entry["detail"]:
        print(f"  {entry['detail']}")
    if entry["replayOf"]:
        print(f"  a replay of {entry['replayOf']}")
    for target in entry["targets"]:
        told = (target["object"], target["state"], target["result"], _took(target["seconds"]), target["detail"])
        print("  " + "  ".join(filter(None, told)))
    named = {target["object"] for target in entry["targets"]}
    for run in entry["followed"]:
        if run["object"] not in named:
            print("  then " + "  ".join(filter(None, (run["object"], run["result"], _took(run["seconds"]), run.get("message", "")))))
    return 0


def _replay(args: argparse.Namespace) -> int:
    made = asked(args, f"/deliveries/{quote(args.id, safe='')}/replay", method="POST")
    if args.json:
        print(json.dumps(made))
    else:
        source = "its kept body, read again" if made["readAgain"] else "its events, as they were read then"
        print(f"{made['id']}  replays {made['replayOf']} from {source}; `sluice hook show {made['id']}` says what becomes of it")
    return 0


def _receivers(args: argparse.Namespace) -> int:
    for each in asked(args, "/receivers")["receivers"]:
        if args.json:
            print(json.dumps(each, ensure_ascii=False))
            continue
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(each["counts"].items())) or "nothing yet"
        last = " ".join(filter(None, ("last", each["at"]))) if each["at"] else ""
        refusal = f"last refusal {each['refusedAt']}: {each['refusal']}" if each["refusedAt"] else ""
        print("  ".join(filter(None, (each["receiver"], counts, last, refusal))))
        for repository, problem in each["host"].get("problems", {}).items():
            print(f"  {repository}  {problem}")
        if each["host"].get("askedAgain"):
            print(f"  {each['host']['askedAgain']} deliveries asked for again at the host")
        for missed in each["missed"]:
            print(f"  {missed['source']}  {missed['count']} found by interval, not by hook  last {missed['at']}: {missed['revision']}")
    return 0


def _took(seconds: float | None) -> str:
    return f"{seconds:.3f} s" if seconds is not None else ""


def _types() -> int:
    from service.triggers.checking import guide

    sys.stdout.write(guide())
    return 0


def _line(entry: dict[str, Any]) -> str:
    name = (entry["receiver"] or "-").removeprefix("Receiver/")
    counted = f"{len(entry['targets'])} objects" if entry["targets"] else ""
    why = entry["detail"] if entry["state"] in ("refused", "missed") else entry["verdict"]
    replay = f"replay of {entry['replayOf']}" if entry["replayOf"] else ""
    return "  ".join(
        filter(None, (entry["at"], entry["id"], name, entry["type"], entry["state"], why, counted, _took(entry["seconds"]), replay))
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Failed(f"{path} cannot be read: {error.strerror}") from error
