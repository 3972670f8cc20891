"""What a model got right: sums over samples kept on the device, and accuracies made of them."""

import torch

from labkit.errors import LabkitError


class Meter:
    """Sample-weighted averages of loss and accuracy.

    Sums stay on the device until `averages` is called, so that a training step never waits for the GPU.
    """

    def __init__(self):
        self.loss = self.correct = 0.0
        self.count = 0

    def add(self, loss, logits, labels):
        """Count a batch: its mean loss (a scalar tensor), logits (batch, classes) and labels (batch,)."""
        self.loss = self.loss + loss.detach() * len(labels)
        self.correct = self.correct + (logits.detach().argmax(1) == labels).sum()
        self.count += len(labels)

    def averages(self):
        """Return (loss, accuracy) per sample, two floats."""
        if self.count == 0:
            raise LabkitError("no sample was seen: the dataloader is empty")
        return float(self.loss) / self.count, float(self.correct) / self.count


def top_k_accuracy(logits, labels, k):
    """Share of samples whose label is among the `k` largest logits. logits: (N, classes), labels: (N,); 1 ≤ k ≤ classes."""
    if not 1 <= k <= logits.shape[1]:
        raise LabkitError(f"k must be from 1 to {logits.shape[1]}, the number of classes, not {k}")
    return (logits.topk(k, dim=1).indices == labels[:, None]).any(1).float().mean().item()


def per_class_accuracy(logits, labels, num_classes):
    """[(correct, total), …], one pair of ints for each class; logits: (N, classes), labels: (N,)."""
    table = confusion_matrix(logits, labels, num_classes)
    return [(int(table[c, c]), int(table[c].sum())) for c in range(num_classes)]


def confusion_matrix(logits, labels, num_classes):
    """int64 (classes, classes): entry [t, p] counts the samples of class t that were taken for class p."""
    pairs = labels * num_classes + logits.argmax(1)
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)
