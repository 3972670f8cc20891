"""One HTML page with every figure and table of the executed notebooks."""

import re
from importlib import resources

import jinja2


def write_index(executions, path, profile, data):
    """Write the index of `executions` to `path` (HTML, everything embedded); links go to notebooks/<name>.html beside it."""
    template = jinja2.Template(resources.files("labkit.course").joinpath("index.html.jinja").read_text(encoding="utf-8"), autoescape=True)
    entries = [_entry(execution) for execution in executions]
    path.write_text(template.render(entries=entries, profile=profile, data=data), encoding="utf-8")


def _entry(execution):
    return {
        "name": execution.path.stem,
        "title": _title(execution.notebook) or execution.path.stem,
        "seconds": execution.seconds,
        "error": execution.error,
        "exhibits": list(_exhibits(execution.notebook)),
    }


def _title(notebook):
    headings = (match for cell in notebook.cells if cell.cell_type == "markdown" for match in re.finditer(r"^# (.+)$", cell.source, re.M))
    return next((heading[1] for heading in headings), None)


def _exhibits(notebook):
    """(caption, kind, content) of every figure and table; the caption is the heading it stands under."""
    caption = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            caption = (re.findall(r"^#+ (.+?)(?:  +\(.*\))?$", cell.source, re.M) or [caption])[-1].replace("`", "")
        for output in cell.get("outputs", []):
            content = output.get("data", {})
            if "image/png" in content:
                yield caption, "figure", content["image/png"].replace("\n", "")
            elif "<table" in content.get("text/html", ""):
                yield caption, "table", content["text/html"]
