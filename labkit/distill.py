"""Knowledge distillation: a student network learns from the labels and from what a trained teacher says.

G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015 (arXiv:1503.02531).
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F

from labkit.data.loader import Loader
from labkit.errors import LabkitError


def distillation_loss(student_logits, teacher_logits, labels, temperature, alpha):
    """`alpha` times the soft loss plus `1 - alpha` times the hard one, a scalar tensor.

    student_logits, teacher_logits: (N, classes), labels: (N,). The soft loss is the Kullback-Leibler divergence
    from the teacher's to the student's probabilities softmax(logits / temperature), averaged over the batch, times
    temperature²: the gradient of the divergence shrinks with the square, so that `alpha` means the same at every
    temperature. The hard loss is the cross-entropy with the labels, at temperature 1. No gradient flows to the
    teacher. Raises `LabkitError` unless temperature > 0, 0 ≤ alpha ≤ 1 and both logits have one shape.
    """
    _check_settings(temperature, alpha)
    if student_logits.shape != teacher_logits.shape:
        shapes = f"{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}"
        raise LabkitError(f"student and teacher must give logits of one shape, not {shapes}; replace the teacher's head by one for the same classes")
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


def _check_settings(temperature, alpha):
    if not temperature > 0:
        raise LabkitError(f"the temperature must be above 0, not {temperature}; usual values are 1 to 20")
    if not 0 <= alpha <= 1:
        raise LabkitError(f"alpha must be from 0 (labels alone) to 1 (teacher alone), not {alpha}")


class Distiller:
    """Lets a training use a teacher:

        distiller = Distiller(teacher, temperature=4, alpha=0.9)
        fit(student, distiller.loader(train_loader), valid_loader, optimizer, epochs, loss_fn=distiller.loss)

    `loader` gives the batches of the loader that it is handed, and makes known to `loss` what the teacher says to
    the batch that was given last. The teacher answers in evaluation mode and without gradients, and is left as it
    was. translate: function that makes of the student's images what the teacher is used to, where that is another
    normalization. Raises `LabkitError` for a temperature or an alpha outside its range.
    """

    def __init__(self, teacher, temperature=4.0, alpha=0.9, translate=None):
        _check_settings(temperature, alpha)
        self.teacher = teacher
        self.translate = translate
        self.temperature = temperature
        self.alpha = alpha
        self._batch_logits = None  # the teacher's, for the batch under way

    def loader(self, loader):
        """The same batches in the same order, beside which the teacher's logits are kept for `loss`.

        loader: a `Loader`; the result is one, too, and goes on from its epoch. Where the images are the same in every
        pass (`loader.augments` is False) the teacher is asked once, at the first pass, for the whole set; else it is
        asked for each batch as it was augmented.
        """
        if not isinstance(loader, Loader):
            raise LabkitError(f"a Distiller needs a labkit loader, made by data.loader(...), not a {type(loader).__name__}")
        return _TaughtLoader(loader, self)

    def loss(self, logits, labels):
        """`distillation_loss` of the student's logits (batch, classes) for the batch that the loader gave last.

        Raises `LabkitError` where that is another batch, as on validation data: there, plain cross-entropy is meant.
        """
        known = self._batch_logits
        if known is None or len(known) != len(logits):
            raise LabkitError("the teacher was not asked about this batch: take the loss of batches of distiller.loader(...), and another on other data")
        return distillation_loss(logits, known.to(logits.device), labels, self.temperature, self.alpha)

    def predict(self, images):
        """The teacher's logits (batch, classes) for a batch of images, without a gradient."""
        device = next(self.teacher.parameters(), images).device
        with _evaluating(self.teacher), torch.no_grad():  # inference tensors could not take part in the student's backward pass
            images = images.to(device)
            return self.teacher(self.translate(images) if self.translate else images)


@contextmanager
def _evaluating(model):
    """Evaluation mode for the block; afterwards each part of the model has its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class _TaughtLoader(Loader):
    """A `Loader` that tells a `Distiller` the teacher's logits for each batch."""

    def __init__(self, loader, distiller):
        super().__init__(loader.dataset, loader.batch_size, loader.shuffle, loader.transform, loader.device, loader.seed)
        self.epoch = loader.epoch
        self.distiller = distiller
        self._all_logits = None  # (images of the set, classes), once they are known

    def __iter__(self):
        for indices, images, labels in self.indexed():
            self.distiller._batch_logits = self._logits(indices, images)
            yield images, labels
        self.distiller._batch_logits = None

    def _logits(self, indices, images):
        if self.augments:
            return self.distiller.predict(images)
        if self._all_logits is None:
            whole_set = Loader(self.dataset, self.batch_size, transform=self.transform, device=self.device)
            self._all_logits = torch.cat([self.distiller.predict(images) for images, _ in whole_set]).to(self.device)
        return self._all_logits[indices]
