"""`sluice build DIR`: what `kustomize build DIR` prints, in process. Imports the engine only when it runs.

Takes the flags of https://kubectl.docs.kubernetes.io/references/kustomize/cmd/build/ and four of its own: a tree out of Git without a
checkout (--revision), what a build depends on (--reads), what changed a field (--explain), and nothing from outside (--no-remote-bases).
"""

import argparse
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.cli.buildsource import BuildSource
    from service.kustomize.build import Build
    from service.kustomize.trace import Trace

RESTRICTORS = {"LoadRestrictionsRootOnly": "root_only", "LoadRestrictionsNone": "tree"}
_NEVER_RUN = "concerns functions, which are never run here"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser."""
    parser = subparsers.add_parser(
        "build", help="print the objects of a kustomization, as kustomize build does", description=__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add("dir", nargs="?", default=".", metavar="DIR", help="folder or Git URL with a kustomization.yaml (default: this folder)")
    add("-o", "--output", type=Path, metavar="PATH", help="write there instead: a file, or a folder that is there (a file for each object)")
    add(
        "--load-restrictor",
        choices=sorted(RESTRICTORS),
        default="LoadRestrictionsRootOnly",
        help="LoadRestrictionsNone lets a kustomization read files outside its own folder",
    )
    add("--revision", metavar="REV", help="build DIR as it is in this commit, tag or branch of its Git repository, without a checkout")
    add("--reads", action="store_true", help="print what the build depends on instead: one line for each path")
    add("--explain", metavar="KIND/NAME", help="print instead what changed this object, field by field; also KIND/NAMESPACE/NAME")
    add("--no-remote-bases", action="store_true", help="fetch nothing: a resource that is a URL is an error")
    add("--stack-trace", action="store_true", help="print where in the program an error came from")
    _add_plugin_flags(parser)
    parser.set_defaults(run=run)


def _add_plugin_flags(parser: argparse.ArgumentParser) -> None:
    plugins = parser.add_argument_group("kustomize's flags for plugins (builtin ones run; exec and container functions never do)")
    plugins.add_argument("--enable-alpha-plugins", action="store_true", help="accepted: builtin plugins always run")
    plugins.add_argument("--enable-exec", action="store_true", help="refused: it would run programs that a kustomization names")
    plugins.add_argument("--network", action="store_true", help=_NEVER_RUN)
    plugins.add_argument("--network-name", metavar="NAME", help=_NEVER_RUN)
    plugins.add_argument("--mount", action="append", metavar="MOUNT", help=_NEVER_RUN)
    plugins.add_argument("-e", "--env", action="append", metavar="ENV", help=_NEVER_RUN)
    plugins.add_argument("--as-current-user", action="store_true", help=_NEVER_RUN)
    helm = parser.add_argument_group("kustomize's flags for Helm charts (refused: charts are not rendered yet)")
    helm.add_argument("--enable-helm", action="store_true")
    helm.add_argument("--helm-debug", action="store_true")
    helm.add_argument("--helm-command", metavar="PATH")
    helm.add_argument("--helm-kube-version", metavar="VERSION")
    helm.add_argument("--helm-api-versions", action="append", metavar="VERSIONS")


def run(args: argparse.Namespace) -> int:
    """Build and print; 0, or 1 with one line on standard error."""
    from service.cli.buildsource import CannotBuild, source_of
    from service.kustomize.build import BuildError

    try:
        _check_flags(args)
        with source_of(args.dir, revision=args.revision, remote=not args.no_remote_bases) as source:
            try:
                _print(args, source)
            except BuildError as error:
                _warn(error.warnings)
                raise CannotBuild(source.shown(error)) from error
    except CannotBuild as error:
        return _failed(args, str(error))
    except OSError as error:
        return _failed(args, f"{error.strerror}: {error.filename or args.output or 'standard output'}")
    return 0


def _failed(args: argparse.Namespace, message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    if args.stack_trace:
        traceback.print_exc()
    return 1


def _check_flags(args: argparse.Namespace) -> None:
    """Raises CannotBuild for what is refused."""
    from service.cli.buildsource import CannotBuild

    if args.enable_exec:
        raise CannotBuild("--enable-exec is refused: exec functions would run programs that a kustomization names, with your rights")
    for flag in ("enable_helm", "helm_debug", "helm_command", "helm_kube_version", "helm_api_versions"):
        if getattr(args, flag):
            raise CannotBuild(
                f"--{flag.replace('_', '-')}: Helm charts in a kustomization need the Helm renderer, which is not there yet; "
                "leave the flag out, or commit the rendered manifests"
            )
    for flag in ("network", "network_name", "mount", "env", "as_current_user"):
        if getattr(args, flag):
            print(f"warning: --{flag.replace('_', '-')} {_NEVER_RUN}", file=sys.stderr)
    if args.reads and args.explain:
        raise CannotBuild("--reads and --explain print different things; give one of them")


def _print(args: argparse.Namespace, source: "BuildSource") -> None:
    from service.kustomize.build import BuildOptions, build

    options = BuildOptions(
        sort="legacy", schema="replace", load_restrictions="tree" if RESTRICTORS[args.load_restrictor] == "tree" else "root_only"
    )
    trace = _trace(args.explain) if args.explain else None
    built = build(source.tree, source.path, options=options, trace=trace, remote=source.remote)
    _warn(built.warnings)
    if trace is not None:
        _write(args.output, _explained(trace, args.explain))
    elif args.reads:
        _write(args.output, "".join(f"{source.shown_read(key)}\n" for key in sorted(built.reads)))
    else:
        _write_objects(args.output, built)


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        print(warning, file=sys.stderr)


def _write_objects(output: Path | None, built: "Build") -> None:
    from service.kustomize.yamlwrite import dump

    if output is not None and output.is_dir():
        from service.kustomize.filenames import file_names

        for name, each in zip(file_names(built.objects), built.objects, strict=True):
            (output / name).write_text(dump([each]), encoding="utf-8")
    else:
        _write(output, dump(built.objects))


def _write(output: Path | None, text: str) -> None:
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        output.write_text(text, encoding="utf-8")


def _trace(asked: str) -> "Trace":
    from service.cli.buildsource import CannotBuild
    from service.kustomize.trace import Trace

    kind, *rest = asked.split("/")
    if not 1 <= len(rest) <= 2 or not all((kind, *rest)):
        raise CannotBuild(f"--explain {asked}: write KIND/NAME or KIND/NAMESPACE/NAME, such as Deployment/web")
    return Trace(kind, rest[-1], rest[0] if len(rest) == 2 else "")


def _explained(trace: "Trace", asked: str) -> str:
    from service.cli.buildsource import CannotBuild

    lines = trace.lines()
    if not lines:
        known = ", ".join(trace.known()[:10])
        raise CannotBuild(f"--explain {asked}: no such object is built; {f'there are {known}' if known else 'there is none of that kind'}")
    return "".join(f"{line}\n" for line in lines)


__all__ = ["RESTRICTORS", "add_parser", "run"]
