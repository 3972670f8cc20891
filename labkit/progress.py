"""Progress bars where a person is watching, and nothing in a log file."""

import os
import sys

from tqdm.std import tqdm as text_bar


def progress_bar(iterable=None, **options):
    """A tqdm bar: a widget in a live notebook, text in a terminal, silent elsewhere or with LABKIT_PROGRESS=off."""
    if os.environ.get("LABKIT_PROGRESS") == "off":
        return text_bar(iterable, disable=True, **options)
    if _in_notebook():
        from tqdm.auto import tqdm as widget_bar

        return widget_bar(iterable, leave=False, **options)
    # disable=None: tqdm looks itself whether stderr is a terminal.
    return text_bar(iterable, leave=False, disable=None, dynamic_ncols=True, **options)


def _in_notebook():
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
