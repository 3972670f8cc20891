"""`python -P -m labkit.forward FOLDER`: what runs in the sandbox to measure a network of the student's own.

FOLDER holds task.json (model, num_classes, stem, dropout and the name of the weights file), the weights, and images.npy,
float32 (N, channels, height, width); there are no labels. The student's modules lie in the working folder. To the descriptor
in LABKIT_RESULT_FD it writes either b"logits\\n" and N × num_classes little-endian float32, or b"problem\\n" and a sentence.
labkit/course/own_model.py reads it.

The student's code may change all of this program: it then answers with other numbers about images whose labels are elsewhere.
"""

import json
import os
import sys
from pathlib import Path

from labkit.errors import LabkitError
from labkit.startup import fast_imports

with fast_imports():
    import numpy as np
    import torch

    from labkit import models

TASK, IMAGES = "task.json", "images.npy"
BATCH = 50  # images at once: larger ones are no faster on one core, and the widest maps of a resnet50 that keeps 32×32 take 52 MB
MAX_TEXT = 1_000  # characters of a problem


def main(folder):
    """Measure, write the answer, and end, whatever threads the student's code has left behind."""
    result = int(os.environ.pop("LABKIT_RESULT_FD"))
    with os.fdopen(result, "wb") as pipe:
        pipe.write(_answer(folder))
    os._exit(0)


def _answer(folder):
    sys.path.insert(0, os.getcwd())  # not before: torch and labkit are not to find the student's modules in the place of Python's
    try:
        return b"logits\n" + logits(folder).astype("<f4").tobytes()
    except (Exception, SystemExit) as error:  # whatever the student's code does
        return b"problem\n" + _in_words(error, folder).encode(errors="replace")


def logits(folder):
    """What the network in `folder` says to its images, a float array (N, num_classes); raises `LabkitError` and what the student's code raises."""
    task = json.loads((folder / TASK).read_text())
    images = np.load(folder / IMAGES, mmap_mode="r")  # read as they are needed: they take no memory
    model = models.build(task["model"], task["num_classes"], stem=task["stem"], dropout=task["dropout"], views=task["views"])
    models.load_weights(model, folder / task["weights"])
    model.eval()
    # The layout in memory is left as it is: a network that was trained on a GPU may rely on it in a `view`.
    with torch.inference_mode():
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return np.concatenate([_scores(model, batch, task["num_classes"]) for batch in batches])


def _scores(model, images, num_classes):
    scores = model(torch.from_numpy(np.array(images)))
    if not isinstance(scores, torch.Tensor) or scores.shape != (len(images), num_classes) or not scores.is_floating_point():
        raise LabkitError(f"for {len(images)} images it returns {_kind(scores)}, expected a float tensor ({len(images)}, {num_classes})")
    return scores.float().numpy()


def _kind(answer):
    return f"{answer.dtype} of shape {tuple(answer.shape)}" if isinstance(answer, torch.Tensor) else type(answer).__name__


def _in_words(error, folder):
    """One line, without the folder's name, which differs from run to run where there is no sandbox."""
    text = str(error) if isinstance(error, LabkitError) else f"{type(error).__name__}: {error}"
    return " ".join(text.replace(f"{folder}/", "").split())[:MAX_TEXT]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
