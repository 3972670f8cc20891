"""The command `labkit`."""

import argparse
import os
import runpy
import shlex
import sys
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import labkit
from labkit.errors import LabkitError, accepted
from labkit.requirements import install
from labkit.startup import fast_imports


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
    _add_submit(commands)
    if find_spec("labkit.course"):  # students do not have it
        _add_course(commands)
    return parser


def _add_submit(commands):
    submit = commands.add_parser("submit", help="write the zip that you hand in, or list what is missing in it")
    submit.add_argument("--id", required=True, help="your student number; the zip is called after it")
    submit.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="where the notebooks are (default: notebooks)")
    submit.add_argument("--report", type=Path, metavar="FILE", help="your report, a PDF or a notebook (default: ID_lab3.pdf or .ipynb beside the notebooks)")
    submit.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to write the zip (default: here)")
    submit.add_argument("--limit", type=float, default=1000, metavar="MB", help="how large everything may be (default: 1000)")
    submit.add_argument("--weights", default="best", help="best (the default: of each notebook those of the run with the highest test accuracy) or all")
    submit.add_argument("--incomplete", action="store_true", help="write it although something is missing, with the list of that in it")
    submit.set_defaults(run=_submit)


def _add_course(commands):
    run = commands.add_parser("run", help="execute the notebooks and write them, with an index of figures and tables")
    _add_notebooks(run, "smoke", Path("build"))
    run.add_argument("--in-place", action="store_true", help="store the outputs in the source notebooks: for maintainers")
    run.set_defaults(run=_run)
    results = commands.add_parser("results", help="execute the notebooks and write their results as pages of Markdown")
    _add_notebooks(results, "laptop", Path("docs/results"))
    results.add_argument("--caption", help="the data in words, for the pages (default: its name)")
    results.set_defaults(run=_results)
    _add_grade(commands)
    release = commands.add_parser("release", help="write the student kit: the notebooks without solutions, and all that they need")
    release.add_argument("--out", type=Path, default=Path("build/kit.zip"), help="the zip to write (default: build/kit.zip)")
    release.set_defaults(run=_release)
    bench = commands.add_parser("bench", help="measure how fast labkit is on this machine, beside the other ways to train")
    bench.add_argument("name", nargs="?", default="speed", help="a file of benchmarks/ (default: speed, one table of loader, updates and epochs)")
    bench.add_argument("arguments", nargs=argparse.REMAINDER, help="its own ones, which `labkit bench NAME --help` lists")
    bench.set_defaults(run=_bench)


def _add_grade(commands):
    grade = commands.add_parser("grade", help="grade a folder of submissions: a table, a page for each student, an index")
    grade.add_argument("submissions", type=Path, help="the folder with the students' zips")
    grade.add_argument("--out", type=Path, default=Path("grades"), metavar="FOLDER", help="where to write (default: grades); what is there is gone on with")
    grade.add_argument("--data", default="cifar10", help="the dataset on whose test set weights are measured (default: cifar10)")
    grade.add_argument("--rubric", type=Path, metavar="FILE", help="parts and points (default: labkit/course/rubric.toml)")
    grade.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="the course's own notebooks (default: notebooks)")
    grade.add_argument("--measure", default="best", help="accuracy, best (of each notebook; the default) or all: which weights are measured")
    grade.add_argument("--tolerance", type=float, default=0.005, help="by how much claimed and measured accuracy may differ (default: 0.005)")
    grade.add_argument("--device", help="where weights are measured (default: the GPU if there is one)")
    grade.add_argument("--jobs", type=int, default=os.cpu_count(), help="submissions at a time (default: one for each processor)")
    grade.add_argument("--again", action="store_true", help="measure everything anew")
    box = grade.add_mutually_exclusive_group()
    box.add_argument("--docker", dest="box", action="store_const", const="docker", help="run the students' code in Docker")
    box.add_argument("--unsafe", dest="box", action="store_const", const="unsafe", help="run it without a sandbox: for submissions that you trust")
    grade.set_defaults(run=_grade)


def _add_notebooks(parser, profile, out):
    """The arguments of the commands that execute notebooks."""
    accepted, default = "smoke, laptop, lab or report", os.environ.get("LABKIT_PROFILE", profile)
    parser.add_argument("names", nargs="*", metavar="NOTEBOOK", help="beginnings of file names, such as 04 or L1 (default: all)")
    parser.add_argument("--profile", default=default, help=f"{accepted} (default: LABKIT_PROFILE, else {profile})")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="where the notebooks are (default: notebooks)")
    parser.add_argument("--out", type=Path, default=out, help=f"where to write (default: {out})")


def _doctor(args):
    from labkit.doctor import examine, report

    return 0 if report(examine()) else 1


def _status(args):
    with fast_imports(), _need("notebooks"):
        from labkit.checks import status
    status.show(status.examine(args.notebooks))
    return 0


def _submit(args):
    with fast_imports(), _need("notebooks"):
        from labkit import submit
    with _need("notebooks"):
        submission = submit.collect(args.id, args.notebooks, args.report, args.limit, args.weights)  # printing needs nbconvert, too
    return 0 if submit.hand_in(submission, args.out, args.incomplete) else 1


def _release(args):
    with fast_imports(), _need("authoring"):
        from labkit.course import release
    names = release.release(Path(), args.out)
    print(f"{args.out}: {len(names)} files, {args.out.stat().st_size / 1e3:.0f} kB")
    return 0


def _grade(args):
    with fast_imports(), _need("grading"):
        from labkit.course import grade, measure, rebuild, rubric
    from labkit.device import resolve

    chosen = rubric.load(args.rubric)
    accepted("measure", args.measure, measure.MEASURES)
    if not 0 <= args.tolerance < 1:  # nor is it nan
        raise LabkitError(f"--tolerance is {args.tolerance:g}; give a number from 0 up to 1, such as 0.005")
    _need_writable(args.out)
    lessons = rebuild.lessons(args.notebooks)
    rubric.need_notebooks(chosen, lessons)
    box, device = grade.choose_box(args.box), str(resolve(args.device))
    setting = measure.Setting(lessons, args.data, box, chosen.measured_notebooks, args.measure, args.tolerance, device)
    plan = grade.Plan(args.submissions, args.out, args.notebooks, setting, chosen, max(args.jobs or 1, 1), again=args.again)
    results = grade.grade(plan)
    grade.summarize(results, plan)
    return 1 if any(result.facts.failed for result in results) else 0


def _bench(args):
    """What `python benchmarks/NAME.py` does, with bad input as one sentence."""
    scripts = {path.stem: path for path in sorted(Path("benchmarks").glob("*.py")) if "__main__" in path.read_text()}
    if not scripts:
        raise LabkitError("there is no folder benchmarks/ here; call `labkit bench` in the folder of the repository")
    script = scripts[accepted("benchmark", args.name, scripts)]
    sys.argv = [str(script), *args.arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
    return 0


@contextmanager
def _need(extra):
    """Imports that a plain installation may lack."""
    try:
        yield
    except ImportError as error:
        raise LabkitError(f"{error.name} is missing; install it with: {install(extra)}") from error


def _run(args):
    with fast_imports(), _need("notebooks"):
        from labkit.course import execute, gallery
    executions = []
    for execution in _executed(args, _run_folder(args.out / "runs")):
        execute.write(execution, args.out / "notebooks")
        if args.in_place and not execution.error:
            execute.store_outputs(execution)
        executions.append(execution)
    gallery.write_index(executions, args.out / "index.html", args.profile, _data())
    print(f"figures and tables: {args.out / 'index.html'}")
    return 1 if any(execution.error for execution in executions) else 0


def _results(args):
    with fast_imports(), _need("notebooks"):
        from labkit.course import results
        from labkit.notebooks import find
        from labkit.runs import RunStore
    args.names = args.names or results.tagged(find(args.notebooks))  # of the others, a page would be empty
    runs, errors = _run_folder("runs"), 0
    for execution in _executed(args, runs):
        errors += execution.error is not None
        if not execution.error:  # what stopped has no results
            results.write_page(execution, args.out, RunStore(runs), _results_command(args, execution), args.caption or _data())
    results.write_index(args.out)
    print(f"results: {args.out / 'README.md'}")
    return 1 if errors else 0


def _results_command(args, execution):
    """What makes the page of one notebook again."""
    words = ["labkit", "results", execution.path.stem.partition("_")[0], "--profile", args.profile]
    words += ["--caption", args.caption] if args.caption else []
    return (f"LABKIT_DATA={shlex.quote(_data())} " if "LABKIT_DATA" in os.environ else "") + shlex.join(words)


def _run_folder(default):
    return os.environ.get("LABKIT_RUNS", default)


def _data():
    """The dataset of the profile at hand."""
    from labkit import profile

    return profile.current().data


def _executed(args, runs):
    """Execute the notebooks that `args` names, one after another, with `runs` as their run store; yield each `Execution`."""
    from labkit import data
    from labkit.notebooks import find

    with fast_imports(), _need("notebooks"):
        from labkit.course import execute
    os.environ["LABKIT_PROFILE"] = args.profile
    data.parse(_data())
    _need_writable(args.out)
    # The kernels run in the notebooks' folder, so what is relative to this one has to be said in full.
    folders = {"LABKIT_RUNS": runs, "LABKIT_DATA_ROOT": data.default_root()}
    variables = {"LABKIT_PROGRESS": "off"} | {name: str(Path(folder).absolute()) for name, folder in folders.items()}
    for path in find(args.notebooks, args.names):
        print(f"{path.stem} … ", end="", flush=True)
        execution = execute.execute(path, variables)
        print(f"{execution.seconds:.0f} s" if execution.error is None else f"stopped at {execution.error}")
        yield execution


def _need_writable(folder):
    """Say so before hours of training, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise LabkitError(f"cannot write to {folder} ({error.strerror}); name another folder with --out") from error


if __name__ == "__main__":
    sys.exit(main())
