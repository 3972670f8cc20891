"""What is compared: several ways to train the same network on the same images, each as the loader and the loop of one epoch.

    student    what the tutorials teach: PIL transforms in a DataLoader with a worker for each core, `.item()` at every step
    reference  torchvision's reference scripts: transforms v2 on tensors, channels_last, metrics read at every tenth step
    plain      labkit's loader and `fit`, as PyTorch computes by itself
    labkit     the same with the engine that is chosen for a training of the network on the device
    limit      the engine's updates alone, on batches that lie ready on the device

Crop, flip, normalize.
"""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from labkit import data, models, transforms
from labkit.engine import Engine, for_training
from labkit.loops import fit
from labkit.startup import METHOD

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WORKERS = os.cpu_count()
WAYS = ("labkit", "plain", "student", "reference", "limit")
UPDATES = 10_000  # 50 epochs of CIFAR-10 in batches of 256


class Images(Dataset):
    """A dataset of one image at a time: as PIL images, as torchvision's CIFAR10 makes them of its array, or as tensors."""

    def __init__(self, image_set, transform, pil):
        self.images = image_set.images.permute(0, 2, 3, 1).contiguous().numpy() if pil else image_set.images
        self.labels, self.transform, self.pil = image_set.labels.tolist(), transform, pil

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return self.transform(Image.fromarray(image) if self.pil else image), self.labels[index]


def usual_loader(image_set, batch_size, rotation=False, workers=WORKERS, pil=True):
    """A DataLoader, as `student` (pil) or `reference` has it."""
    steps = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *([v2.RandomRotation(15)] if rotation else [])]
    steps += [*([v2.PILToTensor()] if pil else []), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    pinned = torch.cuda.is_available()
    return DataLoader(
        Images(image_set, v2.Compose(steps), pil), batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0, pin_memory=pinned
    )  # fmt: skip


def labkit_loader(image_set, batch_size, rotation=False, device=None):
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *([transforms.RandomRotation(15)] if rotation else [])]
    return data.loader(image_set, batch_size, shuffle=True, transform=transforms.Compose([*steps, transforms.Normalize(MEAN, STD)]), device=device)


def student_epoch(loader, model, optimizer):
    device = next(model.parameters()).device
    loss_fn, right = nn.CrossEntropyLoss(), 0
    model.train()
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right += (logits.argmax(1) == labels).sum().item()


def reference_epoch(loader, model, optimizer):
    device = next(model.parameters()).device
    loss_fn = nn.CrossEntropyLoss()
    model.to(memory_format=torch.channels_last).train()
    for step, (images, labels) in enumerate(loader):
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        labels = labels.to(device, non_blocking=True)
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            loss.item(), (logits.argmax(1) == labels).float().mean().item()


def bare_epoch(loader, model, optimizer):
    """The shortest loop that still learns: no bar, no accuracy, no checks."""
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss_fn(model(images), labels).backward()
        optimizer.step()


def limit_epoch(engine):
    """The updates of an epoch of `fit_epoch(engine)`."""

    def epoch(batches, model, optimizer):
        with engine.running(model, optimizer):
            bare_epoch(batches, model, optimizer)

    return epoch


def fit_epoch(engine):
    def epoch(loader, model, optimizer):
        fit(model, loader, None, optimizer, epochs=1, verbose=False, engine=engine)

    return epoch


def arm(way, image_set, batch_size, device, engine):
    """(epoch, loader) of a way. engine: of labkit and its limit; the other ways are what they are, in float32."""
    if way == "student":
        return student_epoch, usual_loader(image_set, batch_size)
    if way == "reference":
        return reference_epoch, usual_loader(image_set, batch_size, pil=False)
    loader = labkit_loader(image_set, batch_size, device=device)
    if way == "limit":
        return limit_epoch(engine), list(loader)
    return fit_epoch(engine if way == "labkit" else Engine()), loader


def chosen(image_set, batch_size, name, device, args):
    """The engine for a training of `args.updates` in `args.precision`."""
    return for_training(*build(name, device), labkit_loader(image_set, batch_size, device=device), args.precision, args.updates)


class OwnProcess:
    """`make(*arguments)()` in a process of its own, each time this is called. What is made stays there until `end()`.

    Some of what an engine changes is its process, such as how the memory is kept. It must not serve the ways beside it.
    """

    def __init__(self, make, *arguments):
        context = multiprocessing.get_context(METHOD)
        if METHOD == "forkserver":
            context.set_forkserver_preload(["torchvision.transforms.v2", "labkit.loops"])  # what takes seconds to import
        self.pool = ProcessPoolExecutor(1, context, _begin, (make, arguments))

    def __call__(self):
        return self.pool.submit(_call).result()

    def end(self):
        self.pool.shutdown()


_made = {}


def _begin(make, arguments):
    multiprocessing.set_start_method(None, force=True)  # a DataLoader starts its workers as it always does, not as this one was
    _made["function"] = cache(partial(make, *arguments))


def _call():
    return _made["function"]()()


def build(name, device, seed=0):
    """(the network `name`, its optimizer), with weights that depend on the seed alone."""
    torch.manual_seed(seed)
    model = models.build(name).to(device)
    return model, torch.optim.Adam(model.parameters(), lr=1e-3)


def training(epoch, loader, name, device):
    """A function that trains the network `name` for one more epoch, and returns the seconds.

    Only the first epoch has to make what an optimizer remembers, and finds no memory that was used before.
    """
    model, optimizer = build(name, device)

    def seconds():
        start = time.perf_counter()
        epoch(loader, model, optimizer)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return seconds
