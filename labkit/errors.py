"""What labkit says when it is asked for something it cannot do: one sentence that names the fix."""

import difflib


class LabkitError(ValueError):
    """A mistake in how labkit was used, or a fault outside it, put in one sentence for the user."""


class Refused(LabkitError):
    """Content that is not taken; the message continues a sentence that begins with the name of what is refused."""


def accepted(kind, name, names):
    """Return `name` if it is one of `names`; else raise `LabkitError` that lists what is accepted."""
    if name in names:
        return name
    close = difflib.get_close_matches(str(name), [str(n) for n in names], n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise LabkitError(f"unknown {kind} {name!r}{hint}; accepted: {', '.join(map(str, names))}")
