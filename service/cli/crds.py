"""`sluice crds`: the CustomResourceDefinitions of the kinds that sluice serves.

In: an optional folder. Out: one YAML file for each kind in it, or all of them on standard output, for `kubectl apply --server-side -f -`.
"""

import argparse
import sys
from pathlib import Path

from service.kinds.crd import KINDS, file_name, render


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser("crds", help="print the CustomResourceDefinitions, or write them to a folder")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write one file for each kind into this folder instead of printing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the definitions; return the exit status."""
    if args.output is None:
        sys.stdout.write("".join(f"---\n{render(kind)}" for kind in KINDS))
        return 0
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            (args.output / file_name(kind)).write_text(render(kind), encoding="utf-8")
    except OSError as error:
        print(f"cannot write the definitions: {error}; name a folder that you can write to", file=sys.stderr)
        return 1
    return 0
