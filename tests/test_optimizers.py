"""Muon and lookahead against their formulas, written down anew."""

import copy

import pytest
import torch
from torch import nn

from labkit import models, optimizers
from labkit.engine import Engine
from labkit.runs import Experiment, RunStore, run

FAST = Experiment(
    data="shapes:200/100", model="FastNet16", whiten=True, views=2, lookahead=True, optimizer="muon", lr=0.24, momentum=0.6,
    augmentation=("crop", "alternating_flip"), batch_size=30, epochs=3, schedule="cosine", label_smoothing=0.2,
)  # fmt: skip


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(24, 5)).double()


def set_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


# --- Muon --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, columns", [(8, 40), (40, 8), (12, 12)])
def test_an_orthogonal_matrix_keeps_singular_vectors_and_brings_singular_values_near_to_one(rows, columns):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ optimizers.orthogonal(matrix, steps=7) @ right.T
    assert torch.allclose(found, found.diagonal().diag(), atol=1e-9), "only the singular values changed"
    assert found.diagonal().min() > 0.6 and found.diagonal().max() < 1.25


def test_the_scale_of_a_gradient_does_not_matter():
    matrix = torch.randn(8, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(optimizers.orthogonal(matrix), optimizers.orthogonal(1000 * matrix), atol=1e-9)


def test_kernels_turn_by_an_orthogonal_update_and_keep_their_norm():
    model = network()
    kernel = model[0].weight
    optimizer = optimizers.Muon(model, lr=0.1, momentum=0.6)
    before = kernel.detach() * (6**0.5 / kernel.norm())
    set_gradients(model, 1)
    optimizer.step()
    update = optimizers.orthogonal(1.6 * kernel.grad.flatten(1))  # Nesterov: the gradient + 0.6 × a buffer that is the gradient
    assert torch.allclose(kernel, before - 0.1 * update.view_as(kernel))
    set_gradients(model, 2)
    turned = kernel.detach().clone()
    optimizer.step()
    assert (kernel - turned * (6**0.5 / turned.norm())).norm() < 0.1 * 6**0.5 * 1.25, "as long as lr says, relative to the norm"


def test_all_but_kernels_is_trained_as_by_torchs_sgd_with_nesterov_momentum():
    model, twin = network(), network()
    optimizer = optimizers.Muon(model, lr=0.1, momentum=0.6)
    sgd = torch.optim.SGD([twin[0].bias, *twin[2].parameters()], lr=0.1, momentum=0.6, nesterov=True)
    for seed in range(4):
        set_gradients(model, seed)
        set_gradients(twin, seed)
        optimizer.step()
        sgd.step()
    for ours, theirs in zip((model[0].bias, *model[2].parameters()), (twin[0].bias, *twin[2].parameters())):
        assert torch.allclose(ours, theirs)


def test_weight_decay_pulls_the_head_and_leaves_the_norm_of_kernels_alone():
    plain, decayed = network(), network()
    for model, weight_decay in ((plain, 0.0), (decayed, 0.5)):
        optimizer = optimizers.Muon(model, lr=0.1, weight_decay=weight_decay)
        set_gradients(model, 1)
        optimizer.step()
    assert torch.equal(plain[0].weight, decayed[0].weight)
    assert torch.allclose(plain[2].weight - decayed[2].weight, 0.1 * 0.5 * network()[2].weight)


def test_frozen_weights_stay():
    model = models.build("FastNet16")
    models.whiten(model, torch.rand(20, 3, 32, 32))
    before = model.first.weight.clone()
    optimizer = optimizers.Muon(model)
    model(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert torch.equal(model.first.weight, before) and len(optimizer.param_groups) == 2


# --- lookahead ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sgd", "adam", "muon"])
def test_slow_weights_go_half_of_the_way_after_every_fifth_update(kind):
    make = {
        "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9),
        "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.1),
        "muon": lambda m: optimizers.Muon(m, lr=0.1),
    }[kind]
    model, twin = network(), network()
    optimizer, plain, slow = optimizers.lookahead(make(model)), make(twin), None
    for step in range(1, 13):
        set_gradients(model, step)
        set_gradients(twin, step)
        optimizer.step()
        plain.step()
        slow = slow or copy.deepcopy(twin.state_dict())  # as they were after the first update
        if step % 5 == 0:
            slow = {name: (value + twin.state_dict()[name]) / 2 for name, value in slow.items()}
            twin.load_state_dict(slow)
    assert all(torch.allclose(ours, theirs) for ours, theirs in zip(model.parameters(), twin.parameters()))


def test_the_engine_changes_nothing_of_it():
    results = []
    for engine in (Engine(), Engine(channels_last=True, fused=True, live_taps=True)):
        torch.manual_seed(0)
        model = models.build("FastNet16").double()
        optimizer = optimizers.lookahead(optimizers.Muon(model, lr=0.05), every=2)
        with engine.running(model, optimizer):
            for seed in range(4):
                images = torch.rand(8, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
                optimizer.zero_grad()
                model(images).square().sum().backward()
                optimizer.step()
        results.append(torch.cat([parameter.flatten() for parameter in model.parameters()]).detach())
    assert torch.allclose(*results, atol=1e-9)


# --- as a run ----------------------------------------------------------------------------------


def test_a_cut_off_run_of_the_whole_recipe_goes_on_bit_for_bit(tmp_path):
    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    whole = run(FAST, RunStore(tmp_path / "whole"), "cpu", verbose=False)
    with pytest.raises(KeyboardInterrupt):
        run(FAST, RunStore(tmp_path / "cut"), "cpu", verbose=False, on_epoch=[stop])
    resumed = run(FAST, RunStore(tmp_path / "cut"), "cpu", verbose=False)
    assert resumed.result["sha256"] == whole.result["sha256"]
    assert whole.history["train_loss"].iloc[-1] < whole.history["train_loss"].iloc[0]


def test_what_is_recorded_is_what_the_kept_network_says_with_its_views(tmp_path):
    finished = run(FAST, RunStore(tmp_path), "cpu", verbose=False)
    model, loader = finished.model(), FAST.loaders("cpu")[0]["test"]
    with torch.inference_mode():
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    assert finished.result["test_acc"] == pytest.approx(right / 100)
    assert finished.result["parameters"] == models.num_parameters(FAST.build_model(10)) == models.num_parameters(model) == 126_520
