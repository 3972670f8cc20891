"""A notebook as a PDF, printed by a browser that is installed here."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from labkit.errors import LabkitError
from labkit.pdf import BEGIN

SECONDS = 120  # for starting a browser and printing a long notebook on a slow machine
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "microsoft-edge-stable", "msedge")
# Where the installers of macOS and Windows put them, below the folders of `_programs`: not on PATH.
PLACES = (
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "Google/Chrome/Application/chrome.exe",
    "Chromium/Application/chrome.exe",
    "Microsoft/Edge/Application/msedge.exe",
)

_LOCAL_LINK = re.compile(r"""(<a\b[^>]*?) href=["'](?!#|[a-z][a-z0-9+.-]*:)[^"']*["']""", re.I)  # leads nowhere but on this machine
# On paper nobody can scroll: long lines are folded.
_STYLE = "<style>@page { size: A4; margin: 14mm 10mm } @media print { pre { white-space: pre-wrap !important; overflow-wrap: anywhere } }</style>"


def to_pdf(notebook, name, folder):
    """The bytes of a PDF of `notebook`, a parsed one, called `name`; the same notebook gives the same bytes.

    folder: where the notebook lies, for its pictures; a folder for the browser is made there for a while, since one that comes
    as a snap may only read below the home folder. Raises `LabkitError` if there is no browser, or it does not print.
    """
    browser = find_browser()
    if browser is None:
        raise LabkitError("there is no Chrome, Chromium or Edge to print the report notebook with; install one, or give a PDF of it with --report")
    try:
        with tempfile.TemporaryDirectory(prefix="printing-", dir=folder, ignore_cleanup_errors=True) as scratch:
            page, pdf = Path(scratch, "page.html"), Path(scratch, "page.pdf")
            page.write_text(_html(notebook, name, folder), encoding="utf-8")
            _print(browser, page, pdf)
            content = pdf.read_bytes() if pdf.exists() else b""
    except OSError as error:
        raise LabkitError(f"{name} cannot be printed in {folder} ({error.strerror or error}); give a PDF of it with --report") from error
    if not content.startswith(BEGIN):
        raise LabkitError(f"{browser} made no PDF of {name}; export one in Jupyter or your browser, and give it with --report")
    return _without_times(content)


def find_browser():
    """The path of a browser that can print without a window, None if none is found."""
    places = (folder / place for folder in _programs() for place in PLACES)
    found = [path for path in map(shutil.which, COMMANDS) if path] + [str(path) for path in places if path.is_file()]
    return found[0] if found else None


def _programs():
    """The folders that hold installed programs on macOS and Windows."""
    on_windows = [os.environ[name] for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA") if os.environ.get(name)]
    return [Path("/Applications"), Path.home() / "Applications", *map(Path, on_windows)]


def _html(notebook, name, folder):
    from nbconvert import HTMLExporter  # half a second to import

    html, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook, {"metadata": {"name": name, "path": str(folder)}})
    return _LOCAL_LINK.sub(r"\1", html).replace("</head>", f"{_STYLE}</head>", 1)


def _print(browser, page, pdf):
    """Let the browser print; raises `LabkitError` if it takes too long."""
    try:
        browse(browser, page.parent / "profile", "--no-pdf-header-footer", f"--print-to-pdf={pdf.absolute()}", page.absolute().as_uri())
    except subprocess.TimeoutExpired as error:
        raise LabkitError(f"{browser} has not printed the report in {SECONDS:g} s; print it to a PDF yourself, and give that with --report") from error


def browse(browser, profile, *arguments, output=subprocess.DEVNULL):
    """Run the browser without a window until it ends; raises `TimeoutExpired` if it does not within `SECONDS`.

    profile: a folder of its own for what the browser keeps. output: where it writes what it is asked for, as in `subprocess`.
    """
    options = ["--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    options += ["--virtual-time-budget=20000"]  # milliseconds of its own clock in which formulas are set
    if getattr(os, "geteuid", lambda: 1)() == 0:
        options.append("--no-sandbox")  # as root it does not start with one
    # A session of its own: the browser starts processes, and all of them must end here.
    process = subprocess.Popen([browser, *options, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(SECONDS)
    finally:
        with suppress(OSError):  # they have ended already
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()


def _without_times(pdf):
    """The PDF as if it had been made at the beginning of 1980; no byte moves, since its table of contents counts them."""
    return re.sub(rb"/(CreationDate|ModDate) ?\(D:\d{14}", lambda match: match[0][:-14] + b"19800101000000", pdf)
