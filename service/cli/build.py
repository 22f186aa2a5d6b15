"""`sluice build DIR`: what `kustomize build DIR` prints, in process. Imports the engine only when it runs."""

import argparse
import os
import sys
from pathlib import Path

RESTRICTORS = {"LoadRestrictionsRootOnly": "root_only", "LoadRestrictionsNone": "tree"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser."""
    parser = subparsers.add_parser("build", help="print the objects of a kustomization, as kustomize build does", description=__doc__)
    parser.add_argument("dir", nargs="?", default=".", metavar="DIR", help="folder with a kustomization.yaml (default: this one)")
    parser.add_argument(
        "--load-restrictor",
        choices=sorted(RESTRICTORS),
        default="LoadRestrictionsRootOnly",
        help="LoadRestrictionsNone lets a kustomization read files outside its own folder",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of standard output")
    parser.add_argument("--reads", action="store_true", help="print what the build depends on instead: one line for each path")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Build and print; 0, or 1 with one line on standard error."""
    from service.kustomize.build import BuildError, BuildOptions, build
    from service.kustomize.tree import FolderTree
    from service.kustomize.yamlwrite import dump

    folder = os.path.realpath(args.dir)
    if not os.path.isdir(folder):
        print(f"error: {args.dir} is no folder", file=sys.stderr)
        return 1
    options = BuildOptions(
        sort="legacy",
        schema="replace",
        load_restrictions="tree" if RESTRICTORS[args.load_restrictor] == "tree" else "root_only",
    )
    try:
        built = build(FolderTree(Path("/")), folder.lstrip("/"), options=options)
        text = "".join(f"{_read(key)}\n" for key in sorted(built.reads)) if args.reads else dump(built.objects)
        if args.output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            args.output.write_text(text, encoding="utf-8")
    except BuildError as error:
        place = "" if error.file is None else f"{os.path.relpath('/' + error.file)}:{'' if error.line is None else f'{error.line}:'} "
        print(f"error: {place}{' '.join(error.message.split())}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.strerror}: {error.filename or args.output or 'standard output'}", file=sys.stderr)
        return 1
    return 0


def _read(key: str) -> str:
    operation, _, path = key.partition(" ")
    return f"{operation} /{path}"
