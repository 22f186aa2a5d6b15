"""The command `sluice`. Each subcommand is a module with `add_parser` and `run`; only the one that is asked for is imported."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "serve": "run the service",
    "demo": "one push, from the webhook to Slack, on this machine",
    "build": "print the objects of a kustomization, as kustomize build does",
    "crds": "print the CustomResourceDefinitions, or write them to a folder",
    "hook": "webhooks: check a recorded one, look into the delivery log, how senders are set up",
    "alert": "alerts: try a Provider, see what became of messages, send them again",
    "why": "why an object is as it is: one answer, from the delivery to the Pod that blocks",
    "check": "whether Flux could take over again as it is",
    "prune": "deletions that wait for a person: show them, allow them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    asked = next((word for word in words if not word.startswith("-")), "")
    parser = argparse.ArgumentParser(prog="sluice", description="Event-driven GitOps for Kubernetes, on Flux's API.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        if name == asked:
            import_module(f"service.cli.{name}").add_parser(commands)
        else:
            commands.add_parser(name, help=purpose)
    parsed = parser.parse_args(words)
    code: int = parsed.run(parsed)
    return code
