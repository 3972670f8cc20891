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
        "title": title(execution.notebook) or execution.path.stem,
        "seconds": execution.seconds,
        "error": execution.error,
        "exhibits": list(exhibits(execution.notebook)),
    }


def title(notebook):
    """The first heading of a notebook, None without one."""
    headings = (match for cell in notebook.cells if cell.cell_type == "markdown" for match in re.finditer(r"^# (.+)$", cell.source, re.M))
    return next((heading[1] for heading in headings), None)


def exhibits(notebook, tag=None):
    """(caption, kind, content) of every figure and table, of the cells with `tag` if it is given; the caption is the heading it
    stands under, kind "figure" (content: PNG in base64) or "table" (content: HTML).
    """
    caption = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            caption = (re.findall(r"^#+ (.+?)(?:  +\(.*\))?$", cell.source, re.M) or [caption])[-1].replace("`", "")
        if tag and tag not in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            content = output.get("data", {})
            if "image/png" in content:
                yield caption, "figure", content["image/png"].replace("\n", "")
            elif "<table" in content.get("text/html", ""):
                yield caption, "table", content["text/html"]
