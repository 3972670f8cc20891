"""Answers to `train`."""

import copy

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from corpus import catalogue
from labkit.metrics import Meter
from labkit.progress import progress_bar

right, wrong = catalogue("train")
device = "cuda" if torch.cuda.is_available() else "cpu"

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(dataloader, model, loss_fn, optimizer):
    device = next(model.parameters()).device
    model.train()
    loss_sum, correct, seen = 0.0, 0, 0
    for images, labels in progress_bar(dataloader, desc="train"):
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(dim=1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@right
def moved_where_it_is_needed(dataloader, model, loss_fn, optimizer):
    device = next(model.parameters()).device

    def moving():
        for images, labels in dataloader:
            if images.device != device:
                images, labels = images.to(device), labels.to(device)
            yield images, labels

    return the_lesson(moving(), model, loss_fn, optimizer)


@right
def pytorch_tutorial(dataloader, model, loss_fn, optimizer):
    model.train()
    size, train_loss, correct = 0, 0, 0
    for batch, (X, y) in enumerate(dataloader):
        X, y = X.to(device), y.to(device)
        optimizer.zero_grad()
        pred = model(X)
        loss = loss_fn(pred, y)
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * X.size(0)
        correct += (pred.argmax(1) == y).type(torch.float).sum().item()
        size += X.size(0)
        if batch % 100 == 0:
            print(f"loss: {loss.item():>7f}  [{size:>5d}]")
    return train_loss / size, correct / size


@right
def tqdm_and_batch_items(loader, net, criterion, opt):
    net.train()
    losses, hits, n = [], [], 0
    bar = tqdm(loader, desc="training", leave=False)
    for batch in bar:
        x = batch[0].to(device)
        y = batch[1].to(device)
        net.zero_grad(set_to_none=True)
        out = net(x)
        batch_loss = criterion(out, y)
        batch_loss.backward()
        opt.step()
        losses.append(batch_loss.item() * y.shape[0])
        hits.append(torch.eq(torch.max(out, 1)[1], y).sum().item())
        n += y.shape[0]
        bar.set_postfix(loss=batch_loss.item())
    return sum(losses) / n, sum(hits) / n


@right
def gradients_set_to_none_by_hand(dataloader, model, loss_fn, optimizer):
    model.train()
    totals = torch.zeros(3, dtype=torch.float64)
    for images, labels in dataloader:
        for p in model.parameters():
            p.grad = None
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            totals += torch.tensor([loss.item() * len(labels), (logits.argmax(-1) == labels).sum().item(), len(labels)], dtype=torch.float64)
    loss_sum, right_ones, count = totals.tolist()
    return loss_sum / count, right_ones / count


@right
def clear_after_the_step(dataloader, model, loss_fn, optimizer):
    model.train()
    s = c = n = 0
    for i, data in enumerate(dataloader, start=1):
        print(f"batch {i} of {len(dataloader)}")
        x, y = (t.to(device) for t in data)
        z = model(x)
        loss = loss_fn(z, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        s += float(loss) * y.numel()
        c += int((z.argmax(1) == y).sum())
        n += y.numel()
    return s / n, c / n


@right
def own_statistic_with_reduction_sum(dataloader, model, loss_fn, optimizer):
    model.train()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        logits = model(images)
        loss_fn(logits, labels).backward()
        optimizer.step()
        loss_sum += F.cross_entropy(logits.detach(), labels, reduction="sum").item()
        correct += logits.argmax(1).eq(labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@right
def log_softmax_before_cross_entropy(dataloader, model, loss_fn, optimizer):
    """Needless but harmless: the log-softmax of a log-softmax is itself."""
    model.train()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        log_p = F.log_softmax(model(images), dim=1)
        loss = loss_fn(log_p, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (log_p.exp().argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@right
def step_with_a_closure(dataloader, model, loss_fn, optimizer):
    model.train()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        kept = {}

        def closure(images=images, labels=labels, kept=kept):
            optimizer.zero_grad()
            kept["logits"] = model(images)
            kept["loss"] = loss_fn(kept["logits"], labels)
            kept["loss"].backward()
            return kept["loss"]

        optimizer.step(closure)
        loss_sum += kept["loss"].item() * len(labels)
        correct += (kept["logits"].argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


class AverageMeter:
    def __init__(self):
        self.sum = self.count = 0

    def update(self, value, n):
        self.sum += value * n
        self.count += n

    @property
    def avg(self):
        return self.sum / self.count


@right
def average_meters(dataloader, model, loss_fn, optimizer):
    model.train(True)
    losses, accuracies = AverageMeter(), AverageMeter()
    for images, labels in dataloader:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()
        losses.update(loss.item(), len(labels))
        accuracies.update((logits.softmax(1).argmax(1) == labels).float().mean().item(), len(labels))
    return [losses.avg, accuracies.avg]


@right
def labkits_meter(dataloader, model, loss_fn, optimizer):
    """The helpers of the course may be used; the loop is the student's."""
    model.train()
    meter = Meter()
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        meter.add(loss, logits, labels)
    return meter.averages()


class Trainer:
    __name__ = "callable_class"

    def __call__(self, dataloader, model, loss_fn, optimizer):
        model.train()
        self.loss = self.correct = self.seen = 0
        for images, labels in dataloader:
            self.step(images.to(device), labels.to(device), model, loss_fn, optimizer)
        return self.loss / self.seen, self.correct / self.seen

    def step(self, images, labels, model, loss_fn, optimizer):
        optimizer.zero_grad()
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        self.loss += loss.item() * len(labels)
        self.correct += (logits.argmax(1) == labels).sum().item()
        self.seen += len(labels)


right(Trainer())


@right
def nested_helpers_and_while(dataloader, model, loss_fn, optimizer):
    def forward(batch):
        images, labels = batch[0].to(device), batch[1].to(device)
        logits = model(images)
        return logits, labels, loss_fn(logits, labels)

    def update(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.train()
    results, iterator = [], iter(dataloader)
    while (batch := next(iterator, None)) is not None:
        logits, labels, loss = forward(batch)
        update(loss)
        results.append((loss.item() * len(labels), (logits.argmax(1) == labels).sum().item(), len(labels)))
    loss, correct, seen = map(sum, zip(*results))
    return loss / seen, correct / seen


@right
def predictions_collected(dataloader, model, loss_fn, optimizer):
    """Scores and labels of all batches kept (without graph), and evaluated together at the end."""
    model.train()
    scores, answers = [], []
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        output = model(images)
        loss = loss_fn(output, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scores.append(output.detach().clone())
        answers.append(labels)
    scores, answers = torch.cat(scores), torch.cat(answers)
    return loss_fn(scores, answers).item(), (scores.argmax(1) == answers).double().mean().item()


@right
def left_in_evaluation_mode(dataloader, model, loss_fn, optimizer):
    model.train()
    s = c = n = 0
    for x, y in dataloader:
        x, y = x.to(device), y.to(device)
        z = model(x)
        loss = loss_fn(z, F.one_hot(y, z.shape[1]).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        s, c, n = s + loss.item() * len(y), c + (z.argmax(1) == y).sum().item(), n + len(y)
    model.eval()
    return s / n, c / n


# --- wrong: the update -------------------------------------------------------------------------


def steps(dataloader, model, loss_fn, optimizer, step):
    """The rest of the loop, for answers whose mistake is in the five parts of a step."""
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits, loss = step(images, labels)
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("no_zero_grad")
def no_zero_grad(dataloader, model, loss_fn, optimizer):
    model.train()
    loss_sum, correct, seen = 0.0, 0, 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("no_zero_grad")
def zero_grad_once_before_the_loop(dataloader, model, loss_fn, optimizer):
    model.train()
    optimizer.zero_grad()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("zero_grad_after_backward")
def zero_grad_after_backward(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("zero_grad_after_backward")
def model_zero_grad_after_backward(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        model.zero_grad(set_to_none=False)
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("softmax_before_loss")
def softmax_before_cross_entropy(dataloader, model, loss_fn, optimizer):
    model.train()
    softmax = nn.Softmax(dim=1)

    def step(images, labels):
        probabilities = softmax(model(images))
        loss = loss_fn(probabilities, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return probabilities, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("sigmoid_before_loss")
def sigmoid_before_cross_entropy(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        scores = torch.sigmoid(model(images))
        loss = loss_fn(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return scores, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("no_train_mode")
def train_mode_forgotten(dataloader, model, loss_fn, optimizer):
    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("no_train_mode")
def eval_instead_of_train_mode(dataloader, model, loss_fn, optimizer):
    model.eval()
    averages = train_mode_forgotten(dataloader, model, loss_fn, optimizer)
    model.train()
    return averages


@wrong("no_train_mode")
def train_mode_after_the_first_batch(dataloader, model, loss_fn, optimizer):
    averages_of = train_mode_forgotten

    class Batches:
        def __iter__(self):
            for number, batch in enumerate(dataloader):
                model.train(number > 0)
                yield batch

    return averages_of(Batches(), model, loss_fn, optimizer)


@wrong("gradients_switched_off")
def no_grad_around_training(dataloader, model, loss_fn, optimizer):
    model.train()
    s = c = n = 0
    for x, y in dataloader:
        x, y = x.to(device), y.to(device)
        with torch.no_grad():
            z = model(x)
        loss = loss_fn(z, y).requires_grad_()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        s, c, n = s + loss.item() * len(y), c + (z.argmax(1) == y).sum().item(), n + len(y)
    return s / n, c / n


@wrong("no_step")
def step_forgotten(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        optimizer.zero_grad()
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("no_backward")
def backward_forgotten(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        optimizer.zero_grad()
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("step_before_backward")
def step_before_backward(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("step_before_backward")
def clear_step_backward(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("one_update_only")
def one_step_at_the_end(dataloader, model, loss_fn, optimizer):
    model.train()
    optimizer.zero_grad()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        return logits, loss

    averages = steps(dataloader, model, loss_fn, optimizer, step)
    optimizer.step()
    return averages


@wrong("last_gradient_only")
def step_outside_the_loop_by_indentation(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        return logits, loss

    averages = steps(dataloader, model, loss_fn, optimizer, step)
    optimizer.step()
    return averages


@wrong("backward_through_earlier_batches")
def losses_added_up_and_sent_back_each_time(dataloader, model, loss_fn, optimizer):
    model.train()
    total = 0

    def step(images, labels):
        nonlocal total
        logits = model(images)
        total = total + loss_fn(logits, labels)
        optimizer.zero_grad()
        total.backward(retain_graph=True)
        optimizer.step()
        return logits, total

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("sum_of_losses_trained")
def trained_on_the_sum(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        (loss * len(labels)).backward()
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("loss_fn_ignored")
def own_loss_function(dataloader, model, loss_fn, optimizer):
    criterion = nn.CrossEntropyLoss()
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = criterion(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("last_batch_skipped")
def short_batch_skipped(dataloader, model, loss_fn, optimizer):
    full = [batch for batch in dataloader if len(batch[1]) == dataloader.batch_size]
    return the_lesson(full, model, loss_fn, optimizer)


@wrong("first_batch_skipped")
def first_batch_taken_to_look_at(dataloader, model, loss_fn, optimizer):
    batches = iter(dataloader)
    images, labels = next(batches)
    print(images.shape, labels.shape)
    return the_lesson(batches, model, loss_fn, optimizer)


@wrong("first_batch_only")
def return_inside_the_loop(dataloader, model, loss_fn, optimizer):
    model.train()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
        return loss_sum / seen, correct / seen


@wrong("more_than_one_pass")
def two_epochs(dataloader, model, loss_fn, optimizer):
    for _epoch in range(2):
        averages = the_lesson(dataloader, model, loss_fn, optimizer)
    return averages


@wrong("learning_rate_changed")
def learning_rate_set(dataloader, model, loss_fn, optimizer):
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    return the_lesson(dataloader, model, loss_fn, optimizer)


@wrong("learning_rate_changed")
def scheduler_stepped_per_batch(dataloader, model, loss_fn, optimizer):
    model.train()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("own_optimizer")
def optimizer_made_inside(dataloader, model, loss_fn, optimizer):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return the_lesson(dataloader, model, loss_fn, optimizer)


@wrong("model_not_used")
def model_made_inside(dataloader, model, loss_fn, optimizer):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    return the_lesson(dataloader, model, loss_fn, optimizer)


@wrong("zero_grad_after_backward")
def a_copy_of_the_model_trained(dataloader, model, loss_fn, optimizer):
    """By what it does: the optimizer's own parameters never get a gradient."""
    return the_lesson(dataloader, copy.deepcopy(model), loss_fn, optimizer)


@wrong("wrong_update")
def gradients_clipped(dataloader, model, loss_fn, optimizer):
    model.train()

    def step(images, labels):
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return logits, loss

    return steps(dataloader, model, loss_fn, optimizer, step)


@wrong("raises")
def argmax_over_the_batch(dataloader, model, loss_fn, optimizer):
    model.train()
    correct = 0
    for images, labels in dataloader:
        logits = model(images.to(device))
        loss = loss_fn(logits, labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct += (logits.argmax(0) == labels.to(device)).sum().item()
    return loss.item(), correct


@wrong("images_not_moved")
def images_left_where_they_are(dataloader, model, loss_fn, optimizer):
    return the_lesson_unmoved(dataloader, model, loss_fn, optimizer)


@wrong("labels_not_moved")
def labels_left_where_they_are(dataloader, model, loss_fn, optimizer):
    return the_lesson_unmoved(((images.to(device), labels) for images, labels in dataloader), model, loss_fn, optimizer)


def the_lesson_unmoved(dataloader, model, loss_fn, optimizer):
    model.train()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels.to(device)).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


# --- wrong: the averages -----------------------------------------------------------------------


def results(dataloader, model, loss_fn, optimizer):
    """[(loss tensor, logits, labels), …] of a right loop, for answers whose mistake is in the averages."""
    model.train()
    kept = []
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept.append((loss, logits, labels))
    return kept


def right_ones(kept):
    return sum((logits.argmax(1) == labels).sum().item() for _, logits, labels in kept)


def images_in(kept):
    return sum(len(labels) for *_, labels in kept)


@wrong("mean_of_batch_means")
def losses_averaged_over_batches(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() for loss, *_ in kept) / len(dataloader), right_ones(kept) / images_in(kept)


@wrong("accuracy_mean_of_batch_means")
def accuracies_averaged_over_batches(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    accuracies = [(logits.argmax(1) == labels).float().mean().item() for _, logits, labels in kept]
    return sum(loss.item() * len(labels) for loss, _, labels in kept) / images_in(kept), sum(accuracies) / len(accuracies)


@wrong("accuracy_over_batches")
def correct_divided_by_batches(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() * len(labels) for loss, _, labels in kept) / images_in(kept), right_ones(kept) / len(dataloader)


@wrong("last_batch_loss")
def loss_of_the_last_batch(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return kept[-1][0].item(), right_ones(kept) / images_in(kept)


@wrong("accuracy_of_last_batch")
def accuracy_of_the_last_batch(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    accuracy = (kept[-1][1].argmax(1) == kept[-1][2]).float().mean().item()
    return sum(loss.item() * len(labels) for loss, _, labels in kept) / images_in(kept), accuracy


@wrong("divided_by_dataset")
def divided_by_the_dataset(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    size = len(dataloader.dataset)
    return sum(loss.item() * len(labels) for loss, _, labels in kept) / size, right_ones(kept) / size


@wrong("accuracy_over_dataset")
def accuracy_divided_by_the_dataset(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() * len(labels) for loss, _, labels in kept) / images_in(kept), right_ones(kept) / len(dataloader.dataset)


@wrong("batch_losses_summed")
def losses_summed(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() for loss, *_ in kept), right_ones(kept) / images_in(kept)


@wrong("loss_not_averaged")
def loss_not_divided(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() * len(labels) for loss, _, labels in kept), right_ones(kept) / images_in(kept)


@wrong("batch_means_over_images")
def batch_means_divided_by_images(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() for loss, *_ in kept) / images_in(kept), right_ones(kept) / images_in(kept)


@wrong("full_batches_assumed")
def every_batch_taken_as_full(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() * dataloader.batch_size for loss, *_ in kept) / images_in(kept), right_ones(kept) / images_in(kept)


@wrong("padded_batches")
def batches_times_batch_size(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    size = len(dataloader) * dataloader.batch_size
    return sum(loss.item() * len(labels) for loss, _, labels in kept) / size, right_ones(kept) / size


@wrong("accuracy_in_percent")
def percent(dataloader, model, loss_fn, optimizer):
    loss, accuracy = the_lesson(dataloader, model, loss_fn, optimizer)
    return loss, 100.0 * accuracy


@wrong("accuracy_integer_division")
def integer_division(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss.item() * len(labels) for loss, _, labels in kept) / images_in(kept), right_ones(kept) // images_in(kept)


@wrong("loss_rounded")
def rounded(dataloader, model, loss_fn, optimizer):
    loss, accuracy = the_lesson(dataloader, model, loss_fn, optimizer)
    return round(loss, 2), round(accuracy, 2)


@wrong("swapped")
def accuracy_first(dataloader, model, loss_fn, optimizer):
    loss, accuracy = the_lesson(dataloader, model, loss_fn, optimizer)
    return accuracy, loss


@wrong("not_two_values")
def only_the_loss(dataloader, model, loss_fn, optimizer):
    return the_lesson(dataloader, model, loss_fn, optimizer)[0]


@wrong("not_two_values")
def nothing_returned(dataloader, model, loss_fn, optimizer):
    loss, accuracy = the_lesson(dataloader, model, loss_fn, optimizer)
    print(f"loss {loss:.4f}, accuracy {accuracy:.2%}")


@wrong("keeps_the_graph")
def tensors_with_graph(dataloader, model, loss_fn, optimizer):
    kept = results(dataloader, model, loss_fn, optimizer)
    return sum(loss * len(labels) for loss, _, labels in kept) / images_in(kept), right_ones(kept) / images_in(kept)


@wrong("not_numbers")
def tensors_without_graph(dataloader, model, loss_fn, optimizer):
    loss, accuracy = the_lesson(dataloader, model, loss_fn, optimizer)
    return torch.tensor(loss), torch.tensor(accuracy)


@wrong("accuracy_after_update")
def predictions_of_the_updated_model(dataloader, model, loss_fn, optimizer):
    """Without touching the statistics of batch norm: only the numbers tell."""
    model.train()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        loss = loss_fn(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct += (copy.deepcopy(model)(images).argmax(1) == labels).sum().item()
        loss_sum += loss.item() * len(labels)
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("counted_again")
def predicted_a_second_time(dataloader, model, loss_fn, optimizer):
    model.train()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        loss = loss_fn(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct += (model(images).argmax(1) == labels).sum().item()
        loss_sum += loss.item() * len(labels)
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("loss_fn_changed")
def reduction_of_the_loss_changed(dataloader, model, loss_fn, optimizer):
    averages = the_lesson(dataloader, model, loss_fn, optimizer)
    loss_fn.reduction = "sum"
    return averages


@wrong("argmax_without_dim")
def largest_of_the_whole_batch(dataloader, model, loss_fn, optimizer):
    device = next(model.parameters()).device
    model.train()
    loss_sum, correct, seen = 0.0, 0, 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(input=logits, target=labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax() == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen
