"""The command `labkit`."""

import argparse
import os
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import labkit
from labkit.errors import LabkitError
from labkit.requirements import install


def main(argv=None):
    """Run the command; returns the exit status: 0 fine, 1 something failed, 2 wrong use."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a Windows console may not know every sign
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except LabkitError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("labkit: interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="labkit", description=labkit.__doc__)
    parser.add_argument("--version", action="version", version=labkit.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="say what is installed and found here, and what to do about what is not")
    doctor.set_defaults(run=_doctor)
    status = commands.add_parser("status", help="list every exercise as open, failing or passed, with its points")
    status.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="where the notebooks are (default: notebooks)")
    status.set_defaults(run=_status)
    if find_spec("labkit.course"):  # students do not have it
        _add_course(commands)
    return parser


def _add_course(commands):
    run = commands.add_parser("run", help="execute the notebooks and write them, with an index of figures and tables")
    run.add_argument("names", nargs="*", metavar="NOTEBOOK", help="beginnings of file names, such as 04 or L1 (default: all)")
    run.add_argument("--profile", default=os.environ.get("LABKIT_PROFILE", "smoke"), help="smoke, lab or report (default: LABKIT_PROFILE, else smoke)")
    run.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="where the notebooks are (default: notebooks)")
    run.add_argument("--out", type=Path, default=Path("build"), help="where to write (default: build)")
    run.add_argument("--in-place", action="store_true", help="store the outputs in the source notebooks: for maintainers")
    run.set_defaults(run=_run)
    release = commands.add_parser("release", help="write the student kit: the notebooks without solutions, and all that they need")
    release.add_argument("--out", type=Path, default=Path("build/kit.zip"), help="the zip to write (default: build/kit.zip)")
    release.set_defaults(run=_release)


def _doctor(args):
    from labkit.doctor import examine, report

    return 0 if report(examine()) else 1


def _status(args):
    with _need("notebooks"):
        from labkit.checks import status
    status.show(status.examine(args.notebooks))
    return 0


def _release(args):
    with _need("authoring"):
        from labkit.course import release
    names = release.release(Path(), args.out)
    print(f"{args.out}: {len(names)} files, {args.out.stat().st_size / 1e3:.0f} kB")
    return 0


@contextmanager
def _need(extra):
    """Imports that a plain installation may lack."""
    try:
        yield
    except ImportError as error:
        raise LabkitError(f"{error.name} is missing; install it with: {install(extra)}") from error


def _run(args):
    from labkit import data, profile
    from labkit.notebooks import find

    with _need("notebooks"):
        from labkit.course import execute, gallery
    os.environ["LABKIT_PROFILE"] = args.profile
    current = profile.current()
    data.parse(current.data)
    _need_writable(args.out)
    variables = {
        "LABKIT_PROGRESS": "off",
        "LABKIT_RUNS": os.environ.get("LABKIT_RUNS", str(args.out / "runs")),
        "LABKIT_DATA_ROOT": data.default_root(),
    }
    # The kernels run in the notebooks' folder, so what is relative to this one has to be said in full.
    variables = {name: value if value == "off" else str(Path(value).absolute()) for name, value in variables.items()}
    executions = []
    for path in find(args.notebooks, args.names):
        executions.append(_execute_one(execute, path, variables, args))
    gallery.write_index(executions, args.out / "index.html", current.name, current.data)
    print(f"figures and tables: {args.out / 'index.html'}")
    return 1 if any(execution.error for execution in executions) else 0


def _need_writable(folder):
    """Say so before hours of training, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").touch()
    except OSError as error:
        raise LabkitError(f"cannot write to {folder} ({error.strerror}); name another folder with --out") from error


def _execute_one(execute, path, variables, args):
    print(f"{path.stem} … ", end="", flush=True)
    execution = execute.execute(path, variables)
    execute.write(execution, args.out / "notebooks")
    if args.in_place and not execution.error:
        execute.store_outputs(execution)
    print(f"{execution.seconds:.0f} s" if execution.error is None else f"stopped at {execution.error}")
    return execution


if __name__ == "__main__":
    sys.exit(main())
