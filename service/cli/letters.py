"""`sluice alert list`, `show`, `resend` and `providers`: what became of messages, and sending again what was given up.

In: the admin port of a running service. Out: lines, or JSON. The exit status is 1 for what is not there.
"""

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote, urlencode

from service.cli.asking import AskingFailed, add_arguments, asked

STATES = ("queued", "sent", "folded", "rejected")


def add_parsers(below: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the actions below `sluice alert`."""
    listed = below.add_parser("list", help="the newest messages: what waits, was sent, was given up, is held back")
    listed.add_argument("--dead", action="store_true", help="dead letters: messages that were given up")
    listed.add_argument("--queued", action="store_true", help="messages that wait, or are held back")
    listed.add_argument("--provider", default="", metavar="NAMESPACE/NAME", help="those for one Provider")
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="how many at most (default: 50, at most 1000)")
    shown = below.add_parser("show", help="one message, with the event that it tells and the last error")
    shown.add_argument("id", type=int, metavar="ID")
    again = below.add_parser("resend", help="send a message again, or every dead letter")
    again.add_argument("id", type=int, nargs="?", metavar="ID", help="one that was sent, folded or given up")
    again.add_argument("--dead", action="store_true", help="every dead letter")
    again.add_argument("--provider", default="", metavar="NAMESPACE/NAME", help="with --dead: those for one Provider")
    senders = below.add_parser("senders", help="each Provider and Alert: sent last, failed last, how much waits")
    for each, run in ((listed, _list), (shown, _show), (again, _resend), (senders, _senders)):
        add_arguments(each)
        each.set_defaults(run=_guarded, asking=run)


def _guarded(args: argparse.Namespace) -> int:
    try:
        status: int = args.asking(args)
    except AskingFailed as error:
        print(f"sluice alert: {error}", file=sys.stderr)
        return 1
    return status


def _list(args: argparse.Namespace) -> int:
    state = "rejected" if args.dead else "queued" if args.queued else ""
    found = asked(args, "/alerts?" + urlencode({"state": state, "provider": args.provider, "limit": max(args.limit, 1)}))
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for each in reversed(found["alerts"]):
        print(_line(each))
    for each in reversed(found["held"]):
        print("  ".join(filter(None, ("held", f"until {each['until']}", each["provider"], each["object"], each["reason"], each["why"]))))
    counts = found["counts"]
    words = {"queued": "wait", "sent": "sent", "folded": "folded", "rejected": "given up", "unmatched": "events not matched yet"}
    print(", ".join(f"{counts.get(name, 0)} {word}" for name, word in words.items()))
    return 0


def _line(each: dict[str, Any]) -> str:
    state = {"rejected": "dead"}.get(each["state"], each["state"])
    more = f"stands for {each['folded']} earlier" if each["folded"] else f"folded into {each['foldedInto']}" if each["foldedInto"] else ""
    tried = f"{each['attempts']} attempts" if each["attempts"] else ""
    parts = (str(each["id"]), each["at"], state, each["provider"], each["object"], each["reason"], tried, more, each["error"])
    return "  ".join(filter(None, parts))


def _show(args: argparse.Namespace) -> int:
    found = asked(args, f"/alerts/{args.id}")
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    print(_line(found))
    for name in ("alert", "happenedAt", "storedAt", "trace"):
        if found[name]:
            print(f"  {name}: {found[name]}")
    for name, value in sorted(found["event"].get("metadata", {}).items()):
        print(f"  {name}: {value}")
    print("\n" + str(found["event"].get("message", "")))
    return 0


def _resend(args: argparse.Namespace) -> int:
    if (args.id is None) == (not args.dead):
        raise AskingFailed("name the ID of one message, or --dead for every dead letter")
    path = "/alerts/resend?provider=" + quote(args.provider, safe="/") if args.dead else f"/alerts/{args.id}/resend"
    found = asked(args, path, method="POST")
    print(json.dumps(found) if args.json else f"{found['resent']} queued again: `sluice alert list --queued`")
    return 0


def _senders(args: argparse.Namespace) -> int:
    found = asked(args, "/senders")["senders"]
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for each in found:
        counts = ", ".join(f"{each[name]} {word}" for name, word in (("sent", "sent"), ("queued", "wait"), ("dead", "given up")))
        last = f"last sent {each['lastSentAt']}" if each["lastSentAt"] else "never sent"
        failing = f"failing since {each['failingSince']}: {each['lastError']}" if each["failingSince"] else ""
        print("  ".join(filter(None, (each["object"], counts, last, failing))))
    return 0
