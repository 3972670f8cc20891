"""One pass, one evaluation, many epochs: against loops written out by hand, bit for bit."""

import copy
import math
import os
import pty
import subprocess
import sys
import termios
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from labkit import data, loops
from labkit.data import ImageSet
from labkit.errors import LabkitError
from labkit.loops import EarlyStopping, NonFiniteLossError, fit, train
from labkit.models import ConvNet
from labkit.schedules import Schedule

CLASSES = tuple("abcdefghij")


def random_images(count, seed):
    """Images whose labels mean nothing: all that can be learned of them is learned by heart."""
    generator = torch.Generator().manual_seed(seed)
    return ImageSet(torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator), torch.arange(count) % 10, CLASSES)


def network(dropout=0.0):
    torch.manual_seed(0)
    return ConvNet(channels=(16, 16), dropout=dropout)


def train_loader(seed=0):
    return data.loader(random_images(70, seed=1), 32, shuffle=True, seed=seed)  # batches of 32, 32 and 6


def valid_loader():
    return data.loader(random_images(40, seed=2), 40)


def weights(model):
    return copy.deepcopy(model.state_dict())


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_times(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


# --- train -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [torch.optim.Adam, lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)], ids=["adam", "sgd"])
def test_train_equals_a_loop_written_by_hand_to_the_bit(make):
    by_hand, ours = network(), network()
    optimizer = make(by_hand.parameters(), lr=0.01)
    by_hand.train()
    for images, labels in train_loader():
        optimizer.zero_grad()
        F.cross_entropy(by_hand(images), labels).backward()
        optimizer.step()
    train(train_loader(), ours, nn.CrossEntropyLoss(), make(ours.parameters(), lr=0.01))
    assert same(ours.state_dict(), by_hand.state_dict())
    assert not same(ours.state_dict(), network().state_dict())


def test_train_averages_over_samples_the_losses_before_each_update():
    model, loader = network(), train_loader()
    batches = list(train_loader())
    assert [len(labels) for _, labels in batches] == [32, 32, 6]
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    losses = [F.cross_entropy(network().train()(images), labels).item() for images, labels in batches]
    loss, accuracy = train(loader, model, nn.CrossEntropyLoss(), frozen)
    assert loss == pytest.approx((32 * losses[0] + 32 * losses[1] + 6 * losses[2]) / 70, abs=1e-6)
    assert abs(loss - sum(losses) / 3) > 1e-4  # what the mean of the batch means would be
    assert accuracy * 70 == pytest.approx(round(accuracy * 70))


def test_train_trains_in_training_mode_and_test_tests_in_evaluation_mode():
    model, modes = network(dropout=0.5), []
    model.register_forward_hook(lambda module, *_: modes.append([part.training for part in module.modules()]))
    model.eval()
    train(train_loader(), model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))
    loops.test(valid_loader(), model, nn.CrossEntropyLoss())
    assert all(all(mode) for mode in modes[:3]) and not any(modes[3])


def test_the_first_loss_is_near_the_logarithm_of_10_and_the_loss_falls():
    model = network()
    assert round(loops.test(train_loader(), model, nn.CrossEntropyLoss())[0], 1) == round(math.log(10), 1) == 2.3
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = [train(train_loader(), model, nn.CrossEntropyLoss(), optimizer)[0] for _ in range(8)]
    assert losses[-1] < losses[0] - 0.3


def test_train_and_test_take_a_plain_dataloader():
    images = random_images(70, seed=1)
    plain, ours = DataLoader(images, 32), data.loader(images, 32)
    first, second = network(), network()
    results = [
        (train(loader, model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1)), loops.test(loader, model, nn.CrossEntropyLoss()))
        for loader, model in ((plain, first), (ours, second))
    ]
    assert results[0] == results[1]
    assert same(first.state_dict(), second.state_dict())


def test_train_says_that_a_dataloader_is_empty():
    model = network()
    with pytest.raises(LabkitError, match="the dataloader is empty"):
        train([], model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))


# --- test --------------------------------------------------------------------------------------


def test_test_keeps_no_gradients_and_changes_neither_weights_nor_batch_norm_statistics():
    model, outputs = network(dropout=0.5), []
    train(train_loader(), model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))
    model.zero_grad(set_to_none=True)
    before = weights(model)
    model.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    loops.test(train_loader(), model, nn.CrossEntropyLoss())
    assert same(model.state_dict(), before)
    assert any("running_mean" in name for name in before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len(outputs) == 3 and not any(output.requires_grad for output in outputs)


def test_test_gives_the_same_answer_for_any_batch_size():
    model, images = network(), random_images(70, seed=1)
    whole = loops.test(data.loader(images, 70), model, nn.CrossEntropyLoss())
    parts = loops.test(data.loader(images, 32), model, nn.CrossEntropyLoss())
    assert parts[0] == pytest.approx(whole[0], abs=1e-6) and parts[1] == whole[1]


# --- early stopping ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, values, best",
    [("min", [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.5, 1.1], 1.0), ("max", [0.1, 0.5, 0.5, 0.4, 0.9, 0.9, 0.2, 0.8], 0.9)],
)
def test_early_stopping_stops_after_patience_epochs_without_improvement(mode, values, best):
    stopping = EarlyStopping(patience=3, mode=mode)
    assert [stopping.step(value) for value in values] == [False] * 7 + [True]
    assert stopping.best == best and not stopping.improved


def test_early_stopping_says_which_value_was_an_improvement():
    stopping, improved = EarlyStopping(patience=5), []
    for value in (2.0, 2.0, 1.9, 3.0, 1.8):
        stopping.step(value)
        improved.append(stopping.improved)
    assert improved == [True, False, True, False, True]  # an equal value is none


def test_early_stopping_takes_nan_for_no_improvement():
    stopping = EarlyStopping(patience=2)
    assert [stopping.step(value) for value in (math.nan, 2.0, math.nan, math.nan)] == [False, False, False, True]
    assert stopping.best == 2.0


def test_early_stopping_without_patience_never_stops():
    stopping = EarlyStopping(patience=None)
    assert not any(stopping.step(float(value)) for value in range(100))
    assert stopping.best == 0.0


@pytest.mark.parametrize("patience", [0, -1])
def test_early_stopping_refuses_a_patience_below_one(patience):
    with pytest.raises(LabkitError, match=f"at least 1 epoch, or None for no early stopping, not {patience}"):
        EarlyStopping(patience)


def test_early_stopping_refuses_an_unknown_mode():
    with pytest.raises(LabkitError, match="unknown mode 'smallest'; accepted: min, max"):
        EarlyStopping(5, mode="smallest")


# --- fit: choosing -----------------------------------------------------------------------------


class Recorder:
    """Called after each epoch: keeps the weights and the rows of then."""

    def __init__(self, model):
        self.model, self.weights, self.rows = model, [], []

    def __call__(self, progress):
        self.weights.append(weights(self.model))
        self.rows.append(progress.history[-1])
        assert progress.epoch == len(progress.history) == len(self.rows)


def fit_by_heart(epochs=6, **options):
    """Train on labels that mean nothing, so that the validation loss soon rises; returns (model, recorder, progress)."""
    model = network()
    recorder = Recorder(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    options = {"valid_loader": valid_loader(), "on_epoch": [recorder], "verbose": False} | options
    progress = fit(model, train_loader(), optimizer=optimizer, epochs=epochs, **options)
    return model, recorder, progress


@pytest.mark.parametrize("monitor, better", [("valid_loss", min), ("valid_acc", max)])
def test_fit_leaves_the_weights_of_the_best_epoch_in_the_model(monitor, better):
    # From the fifth epoch on the training unlearns what it knew: the last weights are not the best ones.
    unlearning = {"loss_fn": loss_that_turns(-1.0, at=13), "valid_loader": data.loader(random_images(70, seed=1), 70)}
    model, recorder, progress = fit_by_heart(epochs=8, monitor=monitor, **unlearning)
    values = [row[monitor] for row in recorder.rows]
    best = values.index(better(values))
    assert best < len(values) - 1
    assert progress.best_epoch == best + 1
    assert same(model.state_dict(), recorder.weights[best])
    assert not same(model.state_dict(), recorder.weights[-1])


def test_fit_reports_of_the_best_weights_what_they_score():
    model, recorder, progress = fit_by_heart()
    row = recorder.rows[progress.best_epoch - 1]
    assert loops.test(valid_loader(), model, nn.CrossEntropyLoss()) == (row["valid_loss"], row["valid_acc"])


def test_fit_without_validation_data_keeps_the_last_weights():
    model, recorder, progress = fit_by_heart(valid_loader=None, test_loader=valid_loader())
    assert progress.best_epoch == 6 and progress.best_weights is None
    assert same(model.state_dict(), recorder.weights[-1])
    assert list(recorder.rows[0]) == ["epoch", "lr", "train_loss", "train_acc", "test_loss", "test_acc", "seconds"]


def test_patience_stops_that_many_epochs_after_the_best_one():
    _, recorder, progress = fit_by_heart(epochs=30, patience=2)
    losses = [row["valid_loss"] for row in recorder.rows]
    assert progress.stopped and progress.epoch == progress.best_epoch + 2 < 30
    assert min(losses) == losses[-3]


def test_the_test_data_are_never_used_to_choose():
    # The training set as test set: by its loss the last epoch would always be the best one.
    model, recorder, progress = fit_by_heart(epochs=30, patience=2, test_loader=data.loader(random_images(70, seed=1), 70))
    test_losses = [row["test_loss"] for row in recorder.rows]
    assert test_losses.index(min(test_losses)) + 1 != progress.best_epoch
    without, _, progress_without = fit_by_heart(epochs=30, patience=2)
    assert (progress.epoch, progress.best_epoch) == (progress_without.epoch, progress_without.best_epoch)
    assert same(model.state_dict(), without.state_dict())


def test_every_callback_gets_every_epoch_in_order():
    calls = []
    callbacks = [lambda progress, name=name: calls.append((name, progress.epoch)) for name in "ab"]
    model = network()
    fit(model, train_loader(), None, torch.optim.SGD(model.parameters(), lr=0.1), 3, on_epoch=callbacks, verbose=False)
    assert calls == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]


@pytest.mark.parametrize(
    "options, said",
    [({"patience": 3, "valid_loader": None}, "early stopping needs validation data"), ({"monitor": "test_acc"}, "accepted: valid_loss, valid_acc")],
)
def test_fit_refuses_to_choose_on_what_it_must_not(options, said):
    with pytest.raises(LabkitError, match=said):
        fit_by_heart(**options)


def test_fit_prints_a_line_an_epoch_with_the_rate_and_the_losses(capsys):
    model = network()
    fit(model, train_loader(), valid_loader(), torch.optim.SGD(model.parameters(), lr=0.01), 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [["epoch 1/2", "lr 1.00e-02"], ["epoch 2/2", "lr 1.00e-02"]]
    assert all("train loss" in line and "valid loss" in line and "test loss" not in line for line in lines)


# --- fit: schedules and resuming ---------------------------------------------------------------


def rates_seen(optimizer):
    rates = []
    optimizer.register_step_pre_hook(lambda opt, *_: rates.append([group["lr"] for group in opt.param_groups]))
    return rates


@pytest.mark.parametrize("name", ["step", "cyclic", "cosine", "one_cycle"])
def test_each_update_is_made_at_the_rate_of_its_schedule(name):
    model = network()
    groups = [{"params": model.features.parameters()}, {"params": model.fc.parameters(), "lr": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=0.7)
    rates, schedule = rates_seen(optimizer), Schedule(name, 0.01, epochs=4, steps_per_epoch=3, step_size=1)
    progress = fit(model, train_loader(), None, optimizer, 4, schedule=schedule, verbose=False)
    assert rates == [[schedule.lr(step)] * 2 for step in range(12)]
    assert len(set(map(tuple, rates))) >= 4
    assert [row["lr"] for row in progress.history] == [schedule.lr(step) for step in (2, 5, 8, 11)]


def test_without_a_schedule_the_rate_of_the_optimizer_is_left_alone():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    rates = rates_seen(optimizer)
    fit(model, train_loader(), None, optimizer, 2, verbose=False)
    assert rates == [[0.03]] * 6


def test_a_resumed_fit_equals_an_uninterrupted_one_to_the_bit():
    model, loader, snapshots = network(dropout=0.4), train_loader(), []
    optimizer = torch.optim.Adam(model.parameters())
    options = {"schedule": Schedule("one_cycle", 0.02, epochs=6, steps_per_epoch=3), "patience": 5, "verbose": False}

    def snapshot(progress):
        snapshots.append((copy.deepcopy(progress), weights(model), copy.deepcopy(optimizer.state_dict()), torch.get_rng_state()))

    whole = fit(model, loader, valid_loader(), optimizer, 6, on_epoch=[snapshot], **options)
    for progress, stored_weights, stored_optimizer, rng in snapshots[:-1]:
        resumed = ConvNet(channels=(16, 16), dropout=0.4)
        resumed.load_state_dict(stored_weights)
        again = torch.optim.Adam(resumed.parameters())
        again.load_state_dict(stored_optimizer)
        rest = train_loader()
        rest.epoch = progress.epoch
        torch.set_rng_state(rng)
        progress = fit(resumed, rest, valid_loader(), again, 6, progress=progress, **options)
        assert without_times(progress.history) == without_times(whole.history)
        assert same(resumed.state_dict(), model.state_dict())


def test_a_training_that_has_stopped_early_does_not_go_on_when_resumed():
    model, _, progress = fit_by_heart(epochs=30, patience=2)
    optimizer = torch.optim.Adam(model.parameters())
    rates = rates_seen(optimizer)
    assert fit(model, train_loader(), valid_loader(), optimizer, 30, progress=progress, verbose=False).epoch == progress.epoch
    assert rates == []


# --- fit: what goes wrong ----------------------------------------------------------------------


def loss_that_turns(value, at):
    """Cross-entropy, multiplied by `value` in training from its call number `at` (from 1) on."""
    calls = 0

    def loss_fn(logits, labels):
        nonlocal calls
        calls += torch.is_grad_enabled()
        return F.cross_entropy(logits, labels) * (value if torch.is_grad_enabled() and calls >= at else 1.0)

    return loss_fn


@pytest.mark.parametrize("value, at, said", [(math.nan, 8, "nan"), (math.inf, 9, "inf")])
def test_a_non_finite_loss_is_one_sentence_and_gives_the_last_good_weights_back(value, at, said):
    model = network()
    recorder, optimizer = Recorder(model), torch.optim.Adam(model.parameters(), lr=0.02)
    with pytest.raises(NonFiniteLossError) as error:
        fit(model, train_loader(), valid_loader(), optimizer, 9, loss_fn=loss_that_turns(value, at), on_epoch=[recorder], verbose=False)
    assert str(error.value) == (
        f"epoch 3: the loss became {said} by step 3; use a smaller learning rate (it was 0.02); the model has its weights of epoch 2 back"
    )
    assert isinstance(error.value, LabkitError)
    assert len(recorder.rows) == 2
    assert same(model.state_dict(), recorder.weights[-1])


def test_a_rate_far_too_large_is_found_out_by_a_real_training():
    model = network()
    before = weights(model)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1: the loss became (nan|inf) .* \(it was 1e\+20\); the model has its weights of epoch 0 back"):
        fit(model, train_loader(), None, torch.optim.SGD(model.parameters(), lr=1e20), 5, verbose=False)
    assert same(model.state_dict(), before)


def test_weights_ruined_by_the_last_update_of_an_epoch_are_not_taken_for_good_ones():
    # One update an epoch: the training loss, computed before it, is still fine.
    model, one_batch = network(), data.loader(random_images(70, seed=1), 70)
    before = weights(model)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1: the loss became (nan|inf) on the valid data; .* weights of epoch 0 back"):
        fit(model, one_batch, valid_loader(), torch.optim.SGD(model.parameters(), lr=1e30), 5, verbose=False)
    assert same(model.state_dict(), before)


def test_a_non_finite_loss_stops_the_pass_soon_and_not_at_its_end():
    model, steps = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    with pytest.raises(NonFiniteLossError, match="by step 51"):
        train([next(iter(train_loader()))] * 300, model, loss_that_turns(math.nan, at=10), optimizer)
    assert len(steps) == 51


def test_ctrl_c_in_the_middle_of_an_epoch_passes_through_and_that_epoch_is_not_reported():
    model = network()
    recorder, calls = Recorder(model), []

    def interrupted(logits, labels):
        calls.append(1)
        if len(calls) == 5:  # of 3 training batches an epoch
            raise KeyboardInterrupt
        return F.cross_entropy(logits, labels)

    with pytest.raises(KeyboardInterrupt):
        fit(model, train_loader(), valid_loader(), torch.optim.SGD(model.parameters(), lr=0.1), 5, loss_fn=interrupted, on_epoch=[recorder], verbose=False)
    assert [row["epoch"] for row in recorder.rows] == [1]


# --- progress bars -----------------------------------------------------------------------------

SCRIPT = textwrap.dedent("""
    from labkit.runs import Experiment, run
    run(Experiment(data="shapes:100/50", model="ConvNet", batch_size=5, epochs=2))
""")


def start_script(**streams):
    return subprocess.Popen([sys.executable, "-c", SCRIPT], env=os.environ | {"OMP_NUM_THREADS": "1"}, **streams)


def test_a_log_file_holds_lines_and_no_bars(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        assert start_script(stdout=log, stderr=log).wait(120) == 0
    text = (tmp_path / "log").read_bytes().decode()
    assert not set("\r\x1b█▏") & set(text) and "%|" not in text and "it/s" not in text
    lines = text.splitlines()
    assert lines[0].startswith("shapes:100/50: 100 training and 50 test images")
    assert [line[:9] for line in lines[1:]] == ["epoch 1/2", "epoch 2/2", "kept as r"]


def test_a_terminal_shows_a_bar_on_stderr_and_the_lines_on_stdout():
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))  # a bar is drawn as wide as the terminal, and a new one has no width
    process = start_script(stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    shown = read_to_end(master)
    out = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0
    assert "train:" in shown and "%|" in shown and "\r" in shown and "\n" not in shown
    assert "%|" not in out and out.count("epoch") == 2


def read_to_end(terminal):
    """All that was written to a pseudo-terminal; where its last writer is gone Linux raises EIO."""
    chunks = []
    try:
        while chunk := os.read(terminal, 4096):
            chunks.append(chunk)
    except OSError:
        pass
    os.close(terminal)
    return b"".join(chunks).decode()
