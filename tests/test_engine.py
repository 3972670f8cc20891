"""The engine: the numbers of the plain loop, and nothing left behind."""

import copy
import json
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from sentences import one_sentence
from torch import nn

from labkit import engine, loops, models
from labkit.engine import Engine
from labkit.runs import Experiment, RunStore, run

FAST = Engine(channels_last=True, fused=True, live_taps=True, keep_memory=True)
OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=1e-2),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
}


def batches(count=4, size=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return [(torch.randn(size, 3, 32, 32, generator=generator, dtype=dtype), torch.randint(10, (size,), generator=generator)) for _ in range(count)]


def hand_written(model, optimizer, data):
    model.train()
    for images, labels in data:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def largest_difference(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert list(ours) == list(theirs)
    return max((ours[name].double() - theirs[name].double()).abs().max().item() for name in ours)


def twins(name, optimizer, dtype):
    torch.manual_seed(0)
    model = models.build(name).to(dtype)
    other = copy.deepcopy(model)
    return (model, OPTIMIZERS[optimizer](model.parameters())), (other, OPTIMIZERS[optimizer](other.parameters()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["resnet18", "SimpleCNN"])
def test_fit_ends_with_the_weights_of_a_hand_written_loop(name, optimizer):
    (model, steps), (plain, plain_steps) = twins(name, optimizer, torch.float64)
    loops.fit(model, batches(), None, steps, epochs=1, verbose=False)
    hand_written(plain, plain_steps, batches())
    assert largest_difference(model, plain) < 1e-9  # double precision: rounding cannot hide a mistake


@pytest.mark.parametrize("name", ["resnet18", "SimpleCNN"])
def test_in_single_precision_it_is_as_near_to_the_exact_weights_as_the_plain_loop(name):
    (fast, steps), (plain, plain_steps) = twins(name, "sgd", torch.float32)
    (exact, exact_steps), _ = twins(name, "sgd", torch.float64)
    exact.load_state_dict(plain.state_dict())
    data = batches(count=2, size=32, dtype=torch.float32)
    with FAST.running(fast, steps):
        hand_written(fast, steps, data)
    hand_written(plain, plain_steps, data)
    hand_written(exact, exact_steps, [(images.double(), labels) for images, labels in data])
    error, usual = largest_difference(fast, exact), largest_difference(plain, exact)
    assert 0 < error < 4 * usual < 0.04


def test_the_switch_turns_everything_off(monkeypatch):
    monkeypatch.setenv("LABKIT_ENGINE", "plain")
    (model, steps), (plain, plain_steps) = twins("resnet18", "adam", torch.float32)
    loops.fit(model, batches(dtype=torch.float32), None, steps, epochs=1, verbose=False)
    hand_written(plain, plain_steps, batches(dtype=torch.float32))
    assert largest_difference(model, plain) == 0


def test_a_switch_that_does_not_exist_is_one_sentence(monkeypatch):
    monkeypatch.setenv("LABKIT_ENGINE", "turbo")
    with one_sentence("unknown LABKIT_ENGINE 'turbo'", "accepted: fast, plain"):
        engine.choose("cpu")


def test_only_what_was_measured_is_chosen():
    assert engine.choose("cpu") == FAST and engine.choose("cuda") == engine.choose("mps") == Engine()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_moments_of_another_memory_order_are_brought_into_that_of_the_weights(optimizer):
    (model, steps), (plain, plain_steps) = twins("SimpleCNN", optimizer, torch.float64)
    data = batches()
    hand_written(model, steps, data[:2])  # moments as the plain loop lays them out
    with FAST.running(model, steps):
        hand_written(model, steps, data[2:3])
    hand_written(model, steps, data[3:])  # and back
    hand_written(plain, plain_steps, data)
    assert largest_difference(model, plain) < 1e-9


# --- precision ---------------------------------------------------------------------------------


def test_a_training_in_bfloat16_is_that_of_a_hand_written_loop(monkeypatch):
    monkeypatch.setenv("LABKIT_ENGINE", "plain")  # the fast engine rounds at other places, and bfloat16 coarsely
    (model, steps), (other, other_steps) = twins("SimpleCNN", "sgd", torch.float32)
    exact, data = copy.deepcopy(other), batches(dtype=torch.float32)
    loops.fit(model, data, None, steps, epochs=1, verbose=False, precision="bfloat16")
    hand_written(exact, OPTIMIZERS["sgd"](exact.parameters()), data)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        hand_written(other, other_steps, data)
    in_float32, in_bfloat16 = largest_difference(model, exact), largest_difference(model, other)
    assert in_bfloat16 < 1e-6 < 1e-4 < in_float32
    assert {value.dtype for value in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("chosen", [Engine(), FAST])
@pytest.mark.parametrize("name", ["resnet18", "SimpleCNN"])
def test_what_is_evaluated_has_full_precision_and_scores_are_float32(name, chosen):
    torch.manual_seed(0)
    model, images = models.build(name), torch.randn(8, 3, 32, 32)
    with torch.inference_mode():
        trained = model.train()(images)
        with replace(chosen, precision="bfloat16").running(model):
            torch.testing.assert_close(model.train()(images), trained, rtol=0, atol=0.2)
            scores = model(images)
        assert scores.dtype == torch.float32 and torch.equal(scores, scores.bfloat16().float())
        evaluated = model.eval()(images)
        with replace(chosen, precision="bfloat16").running(model):
            torch.testing.assert_close(model(images), evaluated, rtol=1e-4, atol=1e-4)


def test_a_network_that_is_one_convolution_gets_its_forward_back():
    model, images = nn.Conv2d(3, 10, 3, padding=1), torch.randn(2, 3, 1, 1)
    plain = model(images)
    with replace(FAST, precision="bfloat16").running(model):
        torch.testing.assert_close(model(images), plain, rtol=0, atol=0.05)
    assert "forward" not in vars(model) and torch.equal(model(images), plain)


def test_a_precision_that_does_not_exist_is_one_sentence():
    with one_sentence("unknown precision 'half'", "accepted: float32, bfloat16"):
        loops.fit(models.SimpleCNN(), batches(1), None, None, epochs=1, precision="half")


def test_a_run_in_bfloat16_says_so_and_its_accuracy_is_that_of_its_weights(tmp_path):
    experiment = Experiment(data="shapes:200/50", model="SimpleCNN", batch_size=50, epochs=1, precision="bfloat16")
    finished = run(experiment, RunStore(tmp_path), device="cpu", verbose=False)
    (session,) = json.loads((finished.path / "environment.json").read_text())
    assert session["engine"]["precision"] == "bfloat16"
    assert loops.test(experiment.loaders("cpu")[0]["test"], finished.model(), nn.CrossEntropyLoss())[1] == finished.result["test_acc"]


# --- live taps ---------------------------------------------------------------------------------


@pytest.fixture
def products(monkeypatch):
    """(inputs, terms of a sum, outputs) of the products that were computed."""
    seen = []
    product = engine._product
    monkeypatch.setattr(engine, "_product", lambda inputs, matrix, bias: seen.append((*inputs.shape, len(matrix))) or product(inputs, matrix, bias))
    return seen


@pytest.fixture(params=["oneDNN", "BLAS"])
def library(request, monkeypatch):
    monkeypatch.setattr(engine, "_has_onednn", lambda: request.param == "oneDNN")


TINY = [
    (3, 1, 1, 1, 1), (3, 1, 1, 2, 2), (3, 2, 1, 2, 2), (3, 1, 1, 1, 2), (3, 1, 1, 2, 1), (5, 1, 2, 2, 2), (2, 1, 0, 2, 2),
    (1, 1, 0, 1, 1), (1, 1, 0, 2, 2), (1, 1, 0, 1, 2), (1, 2, 0, 2, 2), (1, 2, 0, 4, 4), (1, 2, 0, 3, 4), (1, (2, 1), 0, 4, 2),
]  # fmt: skip


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["double", "single"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel, stride, padding, height, width", TINY)
def test_a_convolution_to_a_tiny_map_is_a_product_with_the_same_results(
    kernel, stride, padding, height, width, bias, dtype, tolerance, products, library
):  # fmt: skip
    torch.manual_seed(1)
    convolution = nn.Conv2d(5, 7, kernel, stride, padding, bias=bias, dtype=dtype)
    images = torch.randn(3, 5, height, width, dtype=dtype, requires_grad=True)
    parameters = [images, *convolution.parameters()]

    def results():
        outputs = convolution(images)
        return outputs, *torch.autograd.grad(outputs.sin().sum(), parameters)

    plain = results()
    with engine.live_taps(convolution):
        ours = results()
    assert len(products) == 1
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


OTHERS = {
    "a larger map": (nn.Conv2d(4, 4, 3, padding=1), (2, 4, 3, 3)),
    "taps on padding": (nn.Conv2d(4, 4, 3, padding=2), (2, 4, 2, 2)),
    "a 1×1 kernel on a larger map": (nn.Conv2d(4, 4, 1), (2, 4, 3, 3)),
    "a 1×1 kernel on padding": (nn.Conv2d(4, 4, 1, padding=1), (2, 4, 1, 1)),
    "pixels that are not read": (nn.Conv2d(4, 4, 2, stride=2), (2, 4, 3, 2)),
    "groups": (nn.Conv2d(4, 4, 3, padding=1, groups=2), (2, 4, 1, 1)),
    "dilation": (nn.Conv2d(4, 4, 3, padding=2, dilation=2), (2, 4, 2, 2)),
    "reflected borders": (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), (2, 4, 2, 2)),
    "padding in words": (nn.Conv2d(4, 4, 3, padding="same"), (2, 4, 2, 2)),
    "one image without a batch": (nn.Conv2d(4, 4, 3, padding=1), (4, 1, 1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_convolution_stays_what_it_is(name, products):
    convolution, shape = OTHERS[name]
    images = torch.randn(shape)
    plain = convolution(images)
    with engine.live_taps(convolution):
        assert torch.equal(convolution(images), plain)
    assert not products


def test_both_libraries_compute_the_same_product_and_weights_that_need_no_gradient_get_none(library):
    torch.manual_seed(2)
    inputs, matrix, bias = torch.randn(6, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True), torch.randn(4)
    torch.testing.assert_close(engine._product(inputs.T.reshape(6, 5), matrix, bias), inputs.T.reshape(6, 5) @ matrix.T + bias)
    frozen = engine._product(inputs.detach(), matrix, None).sum()
    assert torch.autograd.grad(frozen, matrix)[0].shape == matrix.shape


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError, NotImplementedError])
def test_a_pytorch_without_that_product_uses_its_own(error, monkeypatch):
    def missing(*_):
        raise error

    engine._has_onednn.cache_clear()
    monkeypatch.setattr(engine, "_onednn", missing)
    assert not engine._has_onednn()
    engine._has_onednn.cache_clear()


def test_a_map_that_is_too_small_for_its_kernel_is_refused_as_ever():
    convolution = nn.Conv2d(4, 4, 5)
    with engine.live_taps(convolution), pytest.raises(RuntimeError, match=r"(?i)kernel size"):
        convolution(torch.randn(2, 4, 2, 2))


def test_the_tiny_maps_of_a_resnet18_are_those_of_its_last_stages(products):
    with FAST.running(model := models.resnet18()):
        model(torch.randn(2, 3, 32, 32))
    third = [(8, 128, 256)] + 3 * [(2, 1024, 1024)]  # the 1×1 convolution beside the first block, and the 3×3 ones from 2×2 to 2×2 pixels
    fourth = [(2, 1024, 512), (2, 512, 512), (2, 256, 512)] + 2 * [(2, 512, 512)]
    assert sorted(products) == sorted(third + fourth)


def test_a_convolution_class_of_ones_own_is_left_alone():
    class Mine(nn.Conv2d):
        def forward(self, images):
            return super().forward(images) + 1

    model = nn.Sequential(Mine(2, 2, 3, padding=1))
    images = torch.randn(2, 2, 1, 1)
    plain = model(images)
    with FAST.running(model):
        assert torch.equal(model(images), plain)


# --- nothing stays behind ----------------------------------------------------------------------


def layout(model, optimizer):
    weights = {name: value.stride() for name, value in model.state_dict().items()}
    patched = [name for name, module in model.named_modules() if "forward" in vars(module)]
    return weights, patched, [group["fused"] for group in optimizer.param_groups]


@pytest.mark.parametrize("broken", [False, True])
def test_model_and_optimizer_come_out_as_they_went_in(broken):
    (model, optimizer), _ = twins("resnet18", "adam", torch.float32)
    before = layout(model, optimizer)
    parameters = list(model.parameters())
    with suppress(KeyboardInterrupt), replace(FAST, precision="bfloat16").running(model, optimizer):
        assert layout(model, optimizer) != before
        if broken:
            raise KeyboardInterrupt
    assert layout(model, optimizer) == before
    assert all(one is other for one, other in zip(parameters, model.parameters()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_update_sees_kernels_in_the_order_of_memory_and_everyone_else_in_their_own(optimizer):
    (model, steps), _ = twins("SimpleCNN", optimizer, torch.float32)
    shapes = [parameter.shape for parameter in model.parameters()]
    seen = []
    with FAST.running(model, steps):
        steps.register_step_pre_hook(lambda *_: seen.append([(p.shape, p.is_contiguous(), p.grad.is_contiguous()) for p in model.parameters()]))
        hand_written(model, steps, batches(2, dtype=torch.float32))
        assert [parameter.shape for parameter in model.parameters()] == shapes
        assert all(steps.state[p][name].shape == p.shape for p in model.parameters() for name in steps.state[p] if steps.state[p][name].dim())
    assert [shape for shape, *_ in seen[1]] == [shape[:1] + shape[2:] + shape[1:2] if len(shape) == 4 else shape for shape in shapes]
    assert all(parameter and gradient for update in seen for _, parameter, gradient in update)


def test_weights_have_their_shape_after_an_update_that_was_interrupted():
    (model, steps), (plain, _) = twins("SimpleCNN", "adam", torch.float32)

    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt), FAST.running(model, steps):
        steps.register_step_pre_hook(press_ctrl_c)
        hand_written(model, steps, batches(1, dtype=torch.float32))
    assert all(torch.equal(weight, same) for weight, same in zip(model.parameters(), plain.parameters(), strict=True))
    assert all(weight.grad.shape == weight.shape and weight.is_contiguous() for weight in model.parameters())


def test_a_copy_that_is_made_inside_computes_with_its_own_weights():
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)), torch.randn(2, 3, 1, 1)
    with FAST.running(model):
        twin = copy.deepcopy(model)
        before = twin(images)
        nn.init.zeros_(model[0].weight)
        assert torch.equal(twin(images), before) and not torch.equal(model(images), before)


def test_hooks_still_see_every_convolution():
    model, seen = models.resnet18(), []
    for module in model.modules():
        if type(module) is nn.Conv2d:
            module.register_forward_hook(lambda *args: seen.append(args[0]))
    with FAST.running(model):
        model(torch.randn(2, 3, 32, 32))
    assert len(seen) == 20


def test_an_optimizer_that_cannot_be_fused_or_is_told_how_to_work_is_left_alone():
    model = models.SimpleCNN()
    for optimizer in (torch.optim.RMSprop(model.parameters()), torch.optim.Adam(model.parameters(), foreach=True)):
        before = copy.deepcopy(optimizer.state_dict())
        with FAST.running(model, optimizer):
            hand_written(model, optimizer, batches(1, dtype=torch.float32))
            assert optimizer.state_dict()["param_groups"] == before["param_groups"]


def test_the_run_record_says_what_was_chosen(tmp_path, monkeypatch):
    experiment = Experiment(data="shapes:200/50", model="SimpleCNN", batch_size=50, epochs=1)
    for name, chosen in (("fast", True), ("plain", False)):
        monkeypatch.setenv("LABKIT_ENGINE", name)
        finished = run(experiment, RunStore(tmp_path / name), device="cpu", verbose=False)
        (session,) = json.loads((finished.path / "environment.json").read_text())
        assert session["engine"] == dict.fromkeys(("channels_last", "fused", "live_taps", "keep_memory"), chosen) | {"precision": "float32"}
