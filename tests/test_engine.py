"""The engine: the numbers of the plain loop, and nothing left behind."""

import copy
import json
import math
from contextlib import suppress
from dataclasses import asdict, replace

import pytest
import torch
from sentences import one_sentence
from torch import nn

from labkit import data, engine, loops, models, optimizers
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


def test_the_plain_way_leaves_the_choice_of_the_update_to_pytorch():
    (model, optimizer), _ = twins("SimpleCNN", "adam", torch.float32)
    with Engine().running(model, optimizer):
        assert [(group["fused"], group["foreach"]) for group in optimizer.param_groups] == [(None, None)]


def test_an_optimizer_that_is_fused_by_itself_goes_on_with_moments_in_the_order_of_its_weights():
    (model, _), (plain, plain_steps) = twins("SimpleCNN", "adam", torch.float64)
    steps = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    with FAST.running(model, steps):
        hand_written(model, steps, batches(2))
    assert all(steps.state[weight]["exp_avg"].stride() == weight.stride() for weight in model.parameters())
    hand_written(model, steps, batches(2))
    hand_written(plain, plain_steps, batches(2) + batches(2))
    assert largest_difference(model, plain) < 1e-9


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_where_memory_cannot_be_kept_a_training_goes_on_without(error, monkeypatch):
    """TypeError is what Windows answers."""

    def missing(name):
        raise error

    engine._keep_memory.cache_clear()
    monkeypatch.setattr(engine.ctypes, "CDLL", missing)
    with FAST.running(models.SimpleCNN()):
        engine._keep_memory.cache_clear()


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
        assert session["engine"] == dict.fromkeys(("channels_last", "fused", "live_taps", "keep_memory"), chosen) | {"precision": "float32", "compiled": False}


# --- a trial where no rule holds ---------------------------------------------------------------

FUSED, LAST, TAPS = Engine(fused=True), Engine(fused=True, channels_last=True), Engine(fused=True, channels_last=True, live_taps=True)
COMPILED = replace(TAPS, compiled=True)


@pytest.fixture
def gpu(monkeypatch):
    """The CPU takes the part of a GPU; `gpu(seconds)` says how long an update takes with which engine, and returns those that were tried."""
    monkeypatch.setattr(engine, "_TRIED_ON", ("cpu",))

    def play(seconds):
        tried = []
        monkeypatch.setattr(engine, "_seconds_of_update", lambda model, optimizer, images, labels, chosen: tried.append(chosen) or seconds[chosen])
        return tried

    return play


def chosen_for(updates, recorded=None, precision="float32"):
    image_set = data.load("shapes:100/50").train
    model = models.SimpleCNN()
    return engine.for_training(model, torch.optim.Adam(model.parameters()), data.loader(image_set, 20), precision, updates, recorded)


@pytest.mark.parametrize(
    "seconds, chosen",
    [
        ({Engine(): 1.0, FUSED: 0.8, LAST: 0.7, TAPS: 0.9}, LAST),
        ({Engine(): 1.0, FUSED: 0.96, LAST: 1.2, TAPS: 1.1}, Engine()),  # what could be noise does not decide
        ({Engine(): 1.0, FUSED: math.inf, LAST: 0.9, TAPS: math.inf}, LAST),
        ({Engine(): math.inf, FUSED: math.inf, LAST: math.inf, TAPS: math.inf}, Engine()),
    ],
)
def test_the_clearly_fastest_way_is_taken(gpu, seconds, chosen):
    gpu(seconds)
    assert chosen_for(engine.PAY_FOR_TRIAL) == chosen


def test_only_long_trainings_pay_for_a_trial_and_only_very_long_ones_for_compiling(gpu):
    tried = gpu({Engine(): 1.0, FUSED: 0.8, LAST: 0.7, TAPS: 0.6, COMPILED: 0.5})
    assert chosen_for(engine.PAY_FOR_TRIAL - 1) == FAST and not tried
    assert chosen_for(engine.PAY_FOR_COMPILING - 1) == TAPS and COMPILED not in tried
    tried.clear()
    assert chosen_for(engine.PAY_FOR_COMPILING) == COMPILED and sorted(map(str, tried)) == sorted(map(str, {Engine(), FUSED, LAST, TAPS, COMPILED}))


def test_compiling_that_wins_nothing_is_left(gpu):
    gpu({Engine(): 1.0, FUSED: 0.8, LAST: 0.7, TAPS: 0.6, COMPILED: 0.59})
    assert chosen_for(engine.PAY_FOR_COMPILING) == TAPS


def test_each_way_is_tried_in_the_precision_of_the_training(gpu):
    low = [replace(way, precision="bfloat16") for way in (Engine(), FUSED, LAST, TAPS)]
    tried = gpu(dict(zip(low, (4, 3, 2, 1))))
    assert chosen_for(engine.PAY_FOR_TRIAL, precision="bfloat16") == low[-1] and set(tried) == set(low)


def test_a_record_and_the_switch_save_the_trial(gpu, monkeypatch):
    tried = gpu({})
    assert chosen_for(engine.PAY_FOR_TRIAL, recorded=asdict(LAST)) == LAST
    monkeypatch.setenv("LABKIT_ENGINE", "plain")
    assert chosen_for(engine.PAY_FOR_TRIAL, recorded=asdict(LAST)) == Engine() and not tried


@pytest.mark.parametrize("recorded", [None, {"fused": True}, asdict(LAST) | {"warp": 9}, "fast"])
def test_a_record_of_another_version_counts_as_none(gpu, recorded):
    gpu({Engine(): 1.0, FUSED: 0.5, LAST: 0.6, TAPS: 0.6})
    assert chosen_for(engine.PAY_FOR_TRIAL, recorded) == FUSED


def test_a_loader_whose_batches_are_not_known_beforehand_is_not_tried(gpu):
    tried, model = gpu({}), models.SimpleCNN()
    assert engine.for_training(model, OPTIMIZERS["adam"](model.parameters()), batches(), "float32", engine.PAY_FOR_TRIAL) == FAST and not tried


@pytest.mark.parametrize("name", ["adam", "sgd", "muon"])
def test_a_trial_leaves_no_trace(monkeypatch, name):
    monkeypatch.setattr(engine, "_TRIED_ON", ("cpu",))
    torch.manual_seed(0)
    model = models.build("ConvNet", dropout=0.5)
    optimizer = OPTIMIZERS.get(name, lambda _: optimizers.lookahead(optimizers.Muon(model)))(model.parameters())
    loader = data.loader(data.load("shapes:100/50").train, 20, shuffle=True)
    loops.train(loader, model, nn.CrossEntropyLoss(), optimizer)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), loader.epoch)), torch.get_rng_state()
    seconds = []
    measure = engine._seconds_of_update
    monkeypatch.setattr(engine, "_seconds_of_update", lambda *args: seconds.append(measure(*args)) or seconds[-1])
    engine.for_training(model, optimizer, loader, updates=engine.PAY_FOR_TRIAL)
    assert len(seconds) == 4 and all(0 < one < math.inf for one in seconds)
    after = (model.state_dict(), optimizer.state_dict(), loader.epoch), torch.get_rng_state()
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_a_way_that_fails_takes_for_ever():
    model, images, labels = nn.Linear(3, 2), torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)
    assert engine._seconds_of_update(model, OPTIMIZERS["adam"](model.parameters()), images, labels, Engine()) == math.inf


def test_a_resumed_run_goes_on_with_the_engine_that_it_began_with(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "PAY_FOR_TRIAL", 1)
    experiment = Experiment(data="shapes:200/50", model="ConvNet", batch_size=50, epochs=3)

    def press_ctrl_c(progress):
        raise KeyboardInterrupt

    def sessions(store):
        return [session["engine"] for session in json.loads((store.path(experiment) / "environment.json").read_text())]

    gpu({Engine(): 1.0, FUSED: 0.9, LAST: 0.5, TAPS: 0.9})
    whole = run(experiment, RunStore(tmp_path / "whole"), device="cpu", verbose=False)
    with suppress(KeyboardInterrupt):
        run(experiment, store := RunStore(tmp_path / "resumed"), device="cpu", verbose=False, on_epoch=[press_ctrl_c])
    gpu({Engine(): 1.0, FUSED: 0.5, LAST: 0.9, TAPS: 0.9})
    resumed = run(experiment, store, device="cpu", verbose=False)
    assert sessions(store) == [asdict(LAST)] * 2
    assert resumed.result["sha256"] == whole.result["sha256"]


def test_fused_updates_find_their_steps_beside_the_weights():
    weight = nn.Parameter(torch.zeros(2, device="meta"))
    optimizer = torch.optim.Adam([weight])
    optimizer.state[weight] = {"step": torch.tensor(3.0)}
    engine._set_fused(optimizer, optimizer.param_groups[0], True)
    assert optimizer.state[weight]["step"].device == weight.device


# --- compiled ----------------------------------------------------------------------------------


@pytest.fixture
def compiler(monkeypatch):
    """The shapes of the batches that were compiled, by a compiler that changes nothing."""
    shapes = []

    def compile_nothing(graph, inputs):
        shapes.extend(one.shape for one in inputs if one.dim() == 4 and one.shape[1:] == (3, 32, 32))
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(engine, "_COMPILER", {"backend": compile_nothing, "dynamic": False})
    return shapes


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("chosen", [Engine(), TAPS])
def test_a_compiled_training_has_the_numbers_of_the_other_one(compiler, chosen, precision):
    (model, steps), (other, other_steps) = twins("ConvNet", "adam", torch.float32)
    data = [*batches(3, dtype=torch.float32), *batches(1, 4, dtype=torch.float32)]  # the last one is short
    for network, optimizer, way in ((model, steps, replace(chosen, compiled=True)), (other, other_steps, chosen)):
        with replace(way, precision=precision).running(network, optimizer):
            torch.manual_seed(0)
            hand_written(network, optimizer, data)
            with torch.inference_mode():
                network.eval()(data[0][0])
    assert largest_difference(model, other) < 1e-6
    assert compiler == [data[0][0].shape] and "forward" not in vars(model)


def test_where_nothing_can_be_compiled_the_training_goes_on_as_usual(monkeypatch):
    def refuse(graph, inputs):
        raise RuntimeError("there is no compiler here")

    torch._dynamo.reset()
    monkeypatch.setattr(engine, "_COMPILER", {"backend": refuse, "dynamic": False})
    (model, steps), (plain, plain_steps) = twins("ConvNet", "adam", torch.float32)
    with Engine(compiled=True).running(model, steps):
        hand_written(model, steps, batches(dtype=torch.float32))
    hand_written(plain, plain_steps, batches(dtype=torch.float32))
    assert largest_difference(model, plain) == 0


def test_the_compiler_of_pytorch_keeps_the_random_numbers_of_a_dropout():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3072, 10))
    plain, data = copy.deepcopy(model), batches(2, dtype=torch.float32)
    for network, way in ((model, Engine(compiled=True)), (plain, Engine())):
        optimizer = OPTIMIZERS["sgd"](network.parameters())
        torch.manual_seed(1)
        with way.running(network, optimizer):
            hand_written(network, optimizer, data)
    assert largest_difference(model, plain) < 1e-6
