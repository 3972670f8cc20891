"""The results gallery: what the notebooks found, as pages of Markdown with their figures, each with where it comes from.

The cells whose figure or table belongs there carry the tag `results`; the figure that stands for the notebook also has `cover`.
"""

import base64
import json
import re

from labkit.checks.notebook import printed
from labkit.course.gallery import exhibits, title
from labkit.runs import cited

TAG, COVER = "results", "cover"
INTRO = """What the notebooks from 03 on found on real images, a page for each: figures, tables, and under them the data, the device, the epochs and
seeds of the runs, and the command that makes the page again. `labkit results` writes them from the run store; what is missing
there is trained first."""


def tagged(paths):
    """The names of those of the notebooks at `paths` that have results to show."""
    return [path.name for path in paths if f'"{TAG}"' in path.read_text(encoding="utf-8")]


def write_page(execution, folder, store, command, caption):
    """Write <name>.md and its figures to `folder`; returns the text of the page.

    execution: a finished `Execution`. store: the `RunStore` of its runs. command: what makes this page. caption: the data in words.
    """
    name, parts = execution.path.stem, [f"# {title(execution.notebook) or execution.path.stem}"]
    for old in folder.glob(f"{name}-*.png"):
        old.unlink()
    cover, heading = list(exhibits(execution.notebook, COVER)), ""
    others = [exhibit for exhibit in exhibits(execution.notebook, TAG) if exhibit not in cover]
    for number, (above, kind, content) in enumerate(cover + others, 1):
        if above != heading:
            parts.append(f"## {(heading := above)}")
        parts.append(_figure(folder / f"{name}-{number}.png", above, content) if kind == "figure" else _plain_table(content))
    parts.append(f"## Where this comes from\n\n{_origin(_runs(execution.notebook, store), caption)}\n\n    {command}")
    page = "\n\n".join(parts) + "\n"
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
    return page


def write_index(folder):
    """Write README.md: every page of `folder` with its first figure, which is its cover if it has one."""
    lines = ["# Results", INTRO]
    for page in sorted(folder.glob("*.md")):
        if page.name != "README.md":
            heading, *rest = page.read_text(encoding="utf-8").splitlines()
            figure = next((line for line in rest if line.startswith("![")), "")
            lines.append(f"## [{heading.removeprefix('# ')}]({page.name})\n\n{figure}".rstrip())
    (folder / "README.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def _figure(path, caption, content):
    path.write_bytes(base64.b64decode(content))
    return f"![{caption}]({path.name})"


def _plain_table(html):
    """The table without the styles of the notebook, a row a line: Markdown takes it as it is."""
    table = re.sub(r'<(\w+) (?:border|class|style)="[^>]*>', r"<\1>", re.search(r"<table.*</table>", html, re.S)[0])
    return re.sub(r"\n(?=<t[hd][ >]|</tr)", "", re.sub(r"\n\s*", "\n", table))


def _runs(notebook, store):
    """The finished runs that the outputs of the notebook cite."""
    return [run for key in cited(printed(notebook)) if (run := store.find(key))]


def _origin(runs, caption):
    """Data, device, runs, epochs and seeds in one sentence each."""
    if not runs:
        return f"Data: {caption}. No training of the run store."
    sessions = [json.loads((run.path / "environment.json").read_text())[-1] for run in runs]
    devices = sorted({f"{session['device_name']}, torch {session['torch']}" for session in sessions})
    epochs, seeds = _numbers({len(run.history) for run in runs}), {run.experiment.seed for run in runs}
    seeds = f"seed{'s' if len(seeds) > 1 else ''} {_numbers(seeds)}"
    return "  \n".join(
        [
            f"Data: {caption}; {_numbers({session['train_images'] for session in sessions})} training images.",
            f"Device: {'; '.join(devices)}.",
            f"{len(runs)} runs of {epochs} epochs, {seeds}; {sum(run.seconds for run in runs) / 60:.0f} min of training.",
        ]
    )


def _numbers(values):
    """A set of whole numbers, as its range if it has more than two."""
    values = sorted(values)
    return " and ".join(map("{:,}".format, values)) if len(values) < 3 else f"{values[0]:,} to {values[-1]:,}"
