"""Studies: a grid of experiments → runs → one table → the figures of the lesson.

    study = Study("rates", grid(Experiment(epochs=20), lr=[1e-2, 1e-3], schedule=["constant", "step"]), seeds=3)
    table = study.run()
    study.heatmap("lr", "schedule")
"""

from labkit.study.cells import grid
from labkit.study.study import Study

__all__ = ["Study", "grid"]
