"""Answers to `test`."""

import copy

import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from corpus import catalogue
from labkit.metrics import Meter
from labkit.progress import progress_bar

right, wrong = catalogue("test")
device = "cuda" if torch.cuda.is_available() else "cpu"

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(dataloader, model, loss_fn):
    device = next(model.parameters()).device
    model.eval()
    loss_sum, correct, seen = 0.0, 0, 0
    with torch.inference_mode():
        for images, labels in progress_bar(dataloader, desc="test"):
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss_sum += loss_fn(logits, labels).item() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum().item()
            seen += len(labels)
    return loss_sum / seen, correct / seen


@right
def no_grad_block(loader, net, criterion):
    net.eval()
    total, hits, n = 0, 0, 0
    with torch.no_grad():
        for X, y in tqdm(loader):
            X, y = X.to(device), y.to(device)
            pred = net(X)
            total += criterion(pred, y).item() * X.shape[0]
            hits += (pred.argmax(1) == y).type(torch.float).sum().item()
            n += X.shape[0]
    total /= n
    hits /= n
    print(f"Test Error: \n Accuracy: {100 * hits:>0.1f}%, Avg loss: {total:>8f} \n")
    return total, hits


@right
@torch.no_grad()
def no_grad_decorator(dataloader, model, loss_fn):
    model.train(False)
    sums = torch.zeros(2, device=device)
    count = 0
    for batch in dataloader:
        x, y = batch[0].to(device), batch[1].to(device)
        z = model(x)
        sums += torch.stack([loss_fn(z, y) * len(y), (z.argmax(1) == y).sum()])
        count += len(y)
    return tuple((sums / count).tolist())


@right
@torch.inference_mode()
def inference_mode_decorator(dataloader, model, loss_fn):
    model.eval()
    scores, answers = zip(*[(model(x.to(device)), y.to(device)) for x, y in dataloader])
    scores, answers = torch.cat(scores), torch.cat(answers)
    return loss_fn(scores, answers).item(), (scores.argmax(1) == answers).double().mean().item()


@wrong("loss_fn_ignored")
def reduction_sum(dataloader, model, loss_fn):
    model.eval()
    loss_sum = correct = seen = 0
    with torch.no_grad():
        for images, labels in dataloader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss_sum += F.cross_entropy(logits, labels, reduction="sum").item()
            correct += logits.argmax(1).eq(labels).sum().item()
            seen += labels.size(0)
    return loss_sum / seen, correct / seen


@right
def reduction_set_and_put_back(dataloader, model, loss_fn):
    model.eval()
    loss_fn.reduction, before = "sum", loss_fn.reduction
    loss_sum = correct = seen = 0
    with torch.no_grad():
        for images, labels in dataloader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss_sum += loss_fn(logits, labels).item()
            correct += (logits.topk(1, dim=1).indices.squeeze(1) == labels).sum().item()
            seen += len(labels)
    loss_fn.reduction = before
    return loss_sum / seen, correct / seen


@right
def a_copy_evaluated(dataloader, model, loss_fn):
    """Leaves even the mode of the model as it was."""
    judge = copy.deepcopy(model).eval()
    meter = Meter()
    with torch.no_grad():
        for images, labels in dataloader:
            images, labels = images.to(device), labels.to(device)
            logits = judge(images)
            meter.add(loss_fn(logits, labels), logits, labels)
    return meter.averages()


@right
def back_to_training_mode(dataloader, model, loss_fn):
    model.eval()
    averages = the_lesson(dataloader, model, loss_fn)
    model.train()
    return averages


@right
def switched_off_and_on(dataloader, model, loss_fn):
    torch.set_grad_enabled(False)
    averages = no_grad_block(dataloader, model, loss_fn)
    torch.set_grad_enabled(True)
    return averages


class Tester:
    __name__ = "callable_class"

    def __call__(self, dataloader, model, loss_fn):
        return no_grad_block(dataloader, model, loss_fn)


right(Tester())

# --- wrong: what is done to the model ----------------------------------------------------------


def loop(dataloader, model, loss_fn):
    """A right loop without the surroundings, for answers whose mistake lies there."""
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss_sum += loss_fn(logits, labels).item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("no_eval_mode")
def eval_forgotten(dataloader, model, loss_fn):
    with torch.no_grad():
        return loop(dataloader, model, loss_fn)


@wrong("no_eval_mode")
def train_mode_set(dataloader, model, loss_fn):
    model.train()
    with torch.no_grad():
        return loop(dataloader, model, loss_fn)


@wrong("no_eval_mode")
def eval_after_the_loop(dataloader, model, loss_fn):
    with torch.inference_mode():
        averages = loop(dataloader, model, loss_fn)
    model.eval()
    return averages


@wrong("gradients_kept")
def gradients_kept(dataloader, model, loss_fn):
    model.eval()
    return loop(dataloader, model, loss_fn)


@wrong("gradients_kept")
def no_grad_around_the_loss_alone(dataloader, model, loss_fn):
    model.eval()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        with torch.no_grad():
            loss_sum += loss_fn(logits, labels).item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("gradients_left_off")
def gradients_switched_off_for_good(dataloader, model, loss_fn):
    torch.set_grad_enabled(False)
    model.eval()
    return loop(dataloader, model, loss_fn)


@wrong("frozen")
def weights_frozen(dataloader, model, loss_fn):
    model.eval()
    for p in model.parameters():
        p.requires_grad_(False)
    return loop(dataloader, model, loss_fn)


@wrong("trains")
def backward_copied_from_train(dataloader, model, loss_fn):
    model.eval()
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("trains")
def trains_with_an_optimizer_of_its_own(dataloader, model, loss_fn):
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    loss_sum = correct = seen = 0
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, correct / seen


@wrong("model_changed")
def statistics_reset(dataloader, model, loss_fn):
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.reset_running_stats()
    with torch.no_grad():
        return loop(dataloader, model, loss_fn)


@wrong("model_not_used")
def another_model(dataloader, model, loss_fn):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    with torch.no_grad():
        return loop(dataloader, model, loss_fn)


@wrong("images_not_moved")
def images_left_where_they_are(dataloader, model, loss_fn):
    model.eval()
    n, loss = 0, 0
    with torch.no_grad():
        for images, labels in dataloader:
            loss += loss_fn(model(images), labels.to(device)).item() * len(labels)
            n += len(labels)
    return loss / n, 0.5


@wrong("loss_fn_changed")
def reduction_left_changed(dataloader, model, loss_fn):
    model.eval()
    loss_fn.reduction = "sum"
    loss_sum = correct = seen = 0
    with torch.no_grad():
        for images, labels in dataloader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss_sum += loss_fn(logits, labels).item()
            correct += (logits.argmax(1) == labels).sum().item()
            seen += len(labels)
    return loss_sum / seen, correct / seen


# --- wrong: the averages -----------------------------------------------------------------------


@torch.no_grad()
def results(dataloader, model, loss_fn):
    """[(mean loss, number of right predictions, number of images), …] of the batches."""
    model.eval()
    kept = []
    for images, labels in dataloader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        kept.append((loss_fn(logits, labels).item(), (logits.argmax(1) == labels).sum().item(), len(labels)))
    return kept


@wrong("mean_of_batch_means")
def pytorch_quickstart(dataloader, model, loss_fn):
    """The tutorial's own: loss by batches, accuracy by the dataset."""
    kept = results(dataloader, model, loss_fn)
    return sum(loss for loss, *_ in kept) / len(dataloader), sum(c for _, c, _ in kept) / len(dataloader.dataset)


@wrong("accuracy_mean_of_batch_means")
def accuracies_averaged(dataloader, model, loss_fn):
    kept = results(dataloader, model, loss_fn)
    return sum(loss * n for loss, _, n in kept) / sum(n for *_, n in kept), sum(c / n for _, c, n in kept) / len(kept)


@wrong("accuracy_over_batches")
def correct_divided_by_batches(dataloader, model, loss_fn):
    kept = results(dataloader, model, loss_fn)
    return sum(loss * n for loss, _, n in kept) / sum(n for *_, n in kept), sum(c for _, c, _ in kept) / len(kept)


@wrong("accuracy_over_dataset")
def correct_divided_by_dataset(dataloader, model, loss_fn):
    kept = results(dataloader, model, loss_fn)
    return sum(loss * n for loss, _, n in kept) / sum(n for *_, n in kept), sum(c for _, c, _ in kept) / len(dataloader.dataset)


@wrong("divided_by_dataset")
def all_divided_by_dataset(dataloader, model, loss_fn):
    kept = results(dataloader, model, loss_fn)
    size = len(dataloader.dataset)
    return sum(loss * n for loss, _, n in kept) / size, sum(c for _, c, _ in kept) / size


@wrong("last_batch_loss")
def loss_of_the_last_batch(dataloader, model, loss_fn):
    kept = results(dataloader, model, loss_fn)
    return kept[-1][0], sum(c for _, c, _ in kept) / sum(n for *_, n in kept)


@wrong("accuracy_of_last_batch")
def accuracy_of_the_last_batch(dataloader, model, loss_fn):
    kept = results(dataloader, model, loss_fn)
    return sum(loss * n for loss, _, n in kept) / sum(n for *_, n in kept), kept[-1][1] / kept[-1][2]


@wrong("sums_over_batches")
def sum_divided_by_batches(dataloader, model, loss_fn):
    kept = results(dataloader, model, loss_fn)
    return sum(loss * n for loss, _, n in kept) / len(kept), sum(c for _, c, _ in kept) / sum(n for *_, n in kept)


@wrong("softmax_before_loss")
def softmax_before_cross_entropy(dataloader, model, loss_fn):
    model.eval()
    with torch.no_grad():
        return loop(dataloader, lambda x: model(x).softmax(1), loss_fn)


@wrong("accuracy_in_percent")
def percent(dataloader, model, loss_fn):
    loss, accuracy = the_lesson(dataloader, model, loss_fn)
    return loss, accuracy * 100


@wrong("error_rate")
def share_of_wrong_predictions(dataloader, model, loss_fn):
    loss, accuracy = the_lesson(dataloader, model, loss_fn)
    return loss, 1 - accuracy


@wrong("swapped")
def accuracy_first(dataloader, model, loss_fn):
    return the_lesson(dataloader, model, loss_fn)[::-1]


@wrong("not_two_values")
def only_the_accuracy(dataloader, model, loss_fn):
    return the_lesson(dataloader, model, loss_fn)[1]


@wrong("not_two_values")
def predictions_too(dataloader, model, loss_fn):
    return *the_lesson(dataloader, model, loss_fn), []


@wrong("not_numbers")
def tensors(dataloader, model, loss_fn):
    loss, accuracy = the_lesson(dataloader, model, loss_fn)
    return torch.tensor(loss), accuracy


@wrong("last_batch_skipped")
def short_batch_skipped(dataloader, model, loss_fn):
    return the_lesson([batch for batch in dataloader if len(batch[1]) == dataloader.batch_size], model, loss_fn)


@wrong("first_batch_only")
def one_batch_tested(dataloader, model, loss_fn):
    return the_lesson([next(iter(dataloader))], model, loss_fn)


@wrong("first_batch_only")
def return_inside_the_loop(dataloader, model, loss_fn):
    model.eval()
    loss_sum = correct = seen = 0
    with torch.no_grad():
        for images, labels in dataloader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss_sum += loss_fn(logits, labels).item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
            seen += len(labels)
            return loss_sum / seen, correct / seen
