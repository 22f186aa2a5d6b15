"""The command `sluice`. Each subcommand is a module with `add_parser` and `run`; what it needs is imported when it runs, not before."""

import argparse
from collections.abc import Sequence

from service.cli import alert, build, crds, demo, hook, serve

COMMANDS = (serve, demo, build, crds, hook, alert)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="sluice", description="Event-driven GitOps for Kubernetes, on Flux's API.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    parsed = parser.parse_args(arguments)
    code: int = parsed.run(parsed)
    return code
