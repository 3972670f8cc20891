"""The facts of the lesson about its networks, FLOPs and parameters against `thop`, and weights files good and bad."""

import copy
import urllib.error

import pytest
import thop
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from labkit import models
from labkit.errors import LabkitError

CHECKPOINT = "resnet18-f37072fd.pth"  # the name torchvision keeps ResNet18_Weights.IMAGENET1K_V1 under


# --- the facts of the lesson -------------------------------------------------------------------


@pytest.mark.parametrize("build, in_features", [(models.resnet18, 512), (models.resnet50, 2048)])
def test_the_head_of_1000_outputs_becomes_one_of_10(build, in_features):
    original = torchvision.models.get_model(build.__name__).fc
    assert (original.in_features, original.out_features) == (in_features, 1000)
    replaced = build().fc
    assert (replaced.in_features, replaced.out_features) == (in_features, 10)


@pytest.mark.parametrize("build, parameters, flops", [(models.SimpleCNN, 114_186, 10_571_776), (models.resnet18, 11_181_642, 37_220_352)])
def test_parameters_and_flops_of_the_lesson(build, parameters, flops):
    model = build()
    assert models.num_parameters(model) == parameters
    assert models.flops(model, (3, 32, 32)) == flops


@pytest.mark.parametrize(
    "name, stem, input_size",
    [
        ("SimpleCNN", "imagenet", (3, 32, 32)),
        ("ConvNet", "imagenet", (3, 32, 32)),
        ("ConvNet", "imagenet", (3, 48, 40)),
        ("resnet18", "imagenet", (3, 32, 32)),
        ("resnet18", "cifar", (3, 32, 32)),
        ("resnet50", "imagenet", (3, 64, 64)),
        ("resnet50", "cifar", (3, 32, 32)),
    ],
)
def test_flops_and_parameters_agree_with_thop(name, stem, input_size):
    model = models.build(name, stem=stem)
    # thop hangs counters into the model it measures, so it gets a copy.
    flops, parameters = thop.profile(copy.deepcopy(model), (torch.zeros(1, *input_size),), verbose=False)
    assert models.flops(model, input_size) == flops
    assert models.num_parameters(model) == parameters


def test_replace_head_with_dropout_is_dropout_then_linear():
    head = models.replace_head(torchvision.models.resnet18(), 7, dropout=0.25).fc
    assert [type(layer) for layer in head] == [nn.Dropout, nn.Linear]
    assert head[0].p == 0.25
    assert (head[1].in_features, head[1].out_features) == (512, 7)


def test_replace_head_changes_the_head_of_the_given_model_and_nothing_else():
    model = torchvision.models.resnet18()
    before = copy.deepcopy(model.state_dict())
    assert models.replace_head(model, 10) is model
    after = model.state_dict()
    assert {name for name in before if before[name].shape != after[name].shape} == {"fc.weight", "fc.bias"}
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("fc."))


@pytest.mark.parametrize("build", [models.resnet18, models.resnet50])
def test_the_imagenet_stem_is_torchvisions_network(build):
    ours = build(num_classes=1000).state_dict()
    theirs = torchvision.models.get_model(build.__name__).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}


def test_the_cifar_stem_keeps_a_32_pixel_image_large_up_to_the_first_block():
    rows = {row.name: row for row in models.layers(models.resnet18(stem="cifar"))}
    assert rows["conv1"].output_shape == (64, 32, 32)
    assert rows["layer1.0.conv1"].output_shape == (64, 32, 32)
    assert rows["layer4.1.conv2"].output_shape == (512, 4, 4)


@pytest.mark.parametrize("input_size", [(3, 8, 8), (3, 33, 40)])
def test_convnet_takes_any_image_of_8_pixels_or_more(input_size):
    model = models.ConvNet(num_classes=6).eval()
    assert model(torch.zeros(2, *input_size)).shape == (2, 6)


# --- layers and summary ------------------------------------------------------------------------


def test_layers_leaves_the_mode_of_every_module_and_its_hooks_as_they_were():
    model = models.resnet18().train()
    model.bn1.eval()  # a frozen batch norm, as in fine-tuning
    model.conv1.register_forward_hook(lambda *_: None)
    modes = [module.training for module in model.modules()]
    weights = copy.deepcopy(model.state_dict())
    models.layers(model)
    assert [module.training for module in model.modules()] == modes
    assert [len(module._forward_hooks) for module in model.modules()] == [int(module is model.conv1) for module in model.modules()]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_layers_leaves_no_hook_behind_when_the_image_does_not_fit():
    model = models.SimpleCNN().train()
    with pytest.raises(RuntimeError):
        models.layers(model, (3, 64, 64))
    assert not any(module._forward_hooks for module in model.modules())
    assert all(module.training for module in model.modules())


def test_summary_prints_each_layer_and_the_sums(capsys):
    models.summary(models.SimpleCNN())
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "Conv2d" in line]) == 3
    first = next(line for line in lines if "Conv2d" in line)
    assert "[-1, 32, 32, 32]" in first and first.split()[-2:] == ["896", "884,736"]  # 3·9·32 + 32 weights; 32·32·32·27
    assert lines[-1].split() == ["total", "114,186", "10,571,776"]


def test_the_sums_of_a_model_with_a_frozen_part_are_the_sums_of_its_rows(capsys):
    model = models.SimpleCNN()
    model.features.requires_grad_(False)
    models.summary(model)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["total", "114,186", "10,571,776"]
    assert models.num_parameters(model) == 20_490  # those that are trained


# --- ImageNet weights --------------------------------------------------------------------------


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Torchvision's folder for checkpoints, empty, and no network."""

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_imagenet_weights_are_loaded_below_a_new_head(checkpoints):
    stored = torchvision.models.resnet18().state_dict()
    torch.save(stored, checkpoints / CHECKPOINT)
    loaded = models.resnet18(weights="IMAGENET1K_V1").state_dict()
    assert loaded["fc.weight"].shape == (10, 512)
    assert all(torch.equal(loaded[name], stored[name]) for name in stored if not name.startswith("fc."))


def test_imagenet_weights_under_the_cifar_stem_keep_all_but_the_first_convolution(checkpoints):
    stored = torchvision.models.resnet18().state_dict()
    torch.save(stored, checkpoints / CHECKPOINT)
    loaded = models.resnet18(weights="IMAGENET1K_V1", stem="cifar").state_dict()
    assert loaded["conv1.weight"].shape == (64, 3, 3, 3)
    assert torch.equal(loaded["layer4.1.conv2.weight"], stored["layer4.1.conv2.weight"])


def test_without_network_and_file_one_sentence_names_file_url_and_folder(checkpoints):
    with pytest.raises(LabkitError) as error:
        models.resnet18(weights="IMAGENET1K_V1")
    text = one_sentence(error)
    assert "no route to host" in text
    assert f"put {CHECKPOINT} from https://download.pytorch.org/models/{CHECKPOINT} into {checkpoints}" in text
    assert text.endswith("or give the path of a copy in place of the name")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_copy_of_the_checkpoint_anywhere_gives_what_the_name_gives(checkpoints, tmp_path, name):
    stored, url = torchvision.models.get_model(name).state_dict(), torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    for file in (checkpoints / url.rsplit("/", 1)[1], tmp_path / "copy.pth"):
        torch.save(stored, file)
    by_name, by_path = (models.build(name, weights=weights).state_dict() for weights in ("IMAGENET1K_V1", tmp_path / "copy.pth"))
    body = [entry for entry in stored if not entry.startswith("fc.")]
    assert all(torch.equal(by_name[entry], by_path[entry]) and torch.equal(by_name[entry], stored[entry]) for entry in body)
    assert by_name["fc.weight"].shape == by_path["fc.weight"].shape == (10, 2048 if name == "resnet50" else 512)


@pytest.mark.parametrize("content", [b"", b"<html>moved</html>", "half", "other network", "list"], ids=str)
def test_a_stored_checkpoint_that_does_not_fit_is_named_and_said_to_be_deleted(checkpoints, content):
    file = checkpoints / CHECKPOINT
    torch.save({"other network": models.SimpleCNN().state_dict(), "list": [1, 2]}.get(content, torchvision.models.resnet18().state_dict()), file)
    if content == "half":
        content = file.read_bytes()[: file.stat().st_size // 2]
    if isinstance(content, bytes):
        file.write_bytes(content)
    with pytest.raises(LabkitError) as error:
        models.resnet18(weights="IMAGENET1K_V1")
    assert "do not fit" in one_sentence(error) and f"delete {file}" in one_sentence(error)


# --- weights files -----------------------------------------------------------------------------


def one_sentence(error):
    text = str(error.value)
    assert "\n" not in text and ". " not in text
    return text


def save_pt(state, path):
    torch.save(state, path)


@pytest.mark.parametrize("suffix, save", [(".pt", save_pt), (".pth", save_pt), (".safetensors", save_file)])
@pytest.mark.parametrize("name", ["SimpleCNN", "ConvNet"])
def test_a_weights_file_is_loaded(tmp_path, name, suffix, save):
    source = models.build(name)
    save(source.state_dict(), tmp_path / f"weights{suffix}")
    loaded = models.build(name, weights=tmp_path / f"weights{suffix}")
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in loaded.state_dict().items())


def body_of(state):
    return {name: value for name, value in state.items() if not name.startswith(("fc.", "classifier."))}


HEADS = {
    "other classes": ("ConvNet", lambda: models.ConvNet(num_classes=26).state_dict()),
    "dropout": ("ConvNet", lambda: models.ConvNet(dropout=0.5).state_dict()),
    "another name": ("SimpleCNN", lambda: models.ConvNet().state_dict()),
    "none": ("SimpleCNN", lambda: body_of(models.SimpleCNN().state_dict())),
}


@pytest.mark.parametrize("name, source", HEADS.values(), ids=HEADS)
def test_a_head_that_does_not_fit_stays_behind_when_a_network_is_built(tmp_path, name, source):
    state = source()
    torch.save(state, tmp_path / "weights.pt")
    built = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        built.append(models.build(name, weights=tmp_path / "weights.pt"))
    for model in built:
        loaded = body_of(model.state_dict())
        assert loaded.keys() == body_of(state).keys() and all(torch.equal(value, state[key]) for key, value in loaded.items())
    heads = [(model.fc if name == "ConvNet" else model.classifier).weight for model in built]
    assert not torch.equal(*heads), "a head that is not in the file is a random one"


def test_a_body_that_does_not_fit_is_refused_with_a_new_head_too(tmp_path):
    state = models.ConvNet(num_classes=26).state_dict()
    del state["features.4.weight"]
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(LabkitError, match=r"features\.4\.weight is missing in the file"):
        models.build("ConvNet", weights=tmp_path / "weights.pt")


def test_a_file_without_the_counters_of_the_batch_norms_is_loaded(tmp_path):
    """They came with torch 0.4.1; older checkpoints are still handed out."""
    state = {name: value for name, value in torchvision.models.resnet18().state_dict().items() if not name.endswith("num_batches_tracked")}
    assert len(state) == 102
    torch.save(state, tmp_path / "weights.pt")
    loaded = models.resnet18(weights=tmp_path / "weights.pt").state_dict()
    assert len(loaded) == 122 and all(torch.equal(loaded[name], state[name]) for name in body_of(state))


def a_wrong_architecture(path):
    torch.save(models.ConvNet(channels=(8, 16)).state_dict(), path)


def another_number_of_classes(path):
    torch.save(models.ConvNet(num_classes=100).state_dict(), path)


def an_additional_layer(path):
    torch.save({**models.ConvNet().state_dict(), "extra.weight": torch.zeros(3)}, path)


def a_truncated_file(path):
    torch.save(models.ConvNet().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5000])


def a_whole_checkpoint(path):
    torch.save({"model": models.ConvNet().state_dict(), "epoch": 3}, path)


def a_list_of_tensors(path):
    torch.save([torch.zeros(3)], path)


def some_text(path):
    path.write_text("not weights at all")


def a_truncated_safetensors(path):
    save_file(models.ConvNet().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5000])


@pytest.mark.parametrize(
    "write, name, said",
    [
        (a_wrong_architecture, "weights.pt", r"another architecture: features\.0\.weight is \(8, 3, 3, 3\) in the file and \(32, 3, 3, 3\) in ConvNet"),
        (another_number_of_classes, "weights.pt", r"fc\.weight is \(100, 128\) in the file and \(10, 128\) in ConvNet"),
        (an_additional_layer, "weights.pt", r"extra\.weight is \(3,\) in the file and missing in ConvNet"),
        (a_truncated_file, "weights.pt", "is not a readable weights file"),
        (a_truncated_safetensors, "weights.safetensors", "is not a readable weights file"),
        (some_text, "weights.pt", "is not a readable weights file"),
        (some_text, "weights.safetensors", "is not a readable weights file"),
        (a_whole_checkpoint, "weights.pt", "holds no state dict"),
        (a_list_of_tensors, "weights.pt", "holds no state dict"),
        (lambda path: None, "weights.pt", "there is no weights file"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence_and_changes_nothing(tmp_path, write, name, said):
    write(tmp_path / name)
    model = models.ConvNet()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(LabkitError, match=said) as error:
        models.load_weights(model, tmp_path / name)
    assert str(tmp_path / name) in one_sentence(error)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("saved, built", [(6, 6), (6, 1), (1, 6)])
def test_weights_that_were_saved_behind_views_are_those_of_the_network(tmp_path, saved, built):
    torch.save(models.build("FastNet16", views=saved).state_dict(), tmp_path / "weights.pt")
    model = models.build("FastNet16", weights=tmp_path / "weights.pt", views=built)
    expected = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(torch.equal(one, other) for one, other in zip(model.state_dict().values(), expected.values(), strict=True))


def test_a_weights_file_cannot_run_code(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "it ran"), "w"))

    torch.save({"fc.weight": Hostile()}, tmp_path / "weights.pt")
    with pytest.raises(LabkitError, match="not a readable weights file"):
        models.load_weights(models.ConvNet(), tmp_path / "weights.pt")
    assert not (tmp_path / "it ran").exists()


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, said",
    [
        ({"name": "resnet81"}, r"unknown model 'resnet81' \(did you mean 'resnet18'\?\); accepted: resnet18, resnet50, SimpleCNN, ConvNet"),
        ({"name": "resnet18", "stem": "mnist"}, "unknown stem 'mnist'; accepted: imagenet, cifar"),
        ({"name": "resnet18", "weights": "IMAGENET1K_V9"}, "no weights file IMAGENET1K_V9; accepted: IMAGENET1K_V1, DEFAULT or the path of a weights file"),
        ({"name": "resnet50", "weights": "none"}, "accepted: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT or the path"),
        ({"name": "ConvNet", "stem": "cifar"}, "stem='cifar' is a choice of the resnets"),
        ({"name": "SimpleCNN", "dropout": 0.5}, "use ConvNet"),
        ({"name": "SimpleCNN", "num_classes": 11}, "use ConvNet"),
    ],
)
def test_bad_input_is_refused_with_the_accepted_values(options, said):
    with pytest.raises(LabkitError, match=said):
        models.build(**options)


# --- a model of one's own -------------------------------------------------------------------------

OWN = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(3072, num_classes))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """`own(text)` writes net.py into the working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda text: (tmp_path / "net.py").write_text(text)


def test_a_model_of_ones_own_is_built_from_its_file_as_it_is_now(own):
    own(OWN)
    assert models.build("net.py:Net", num_classes=7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    own(OWN.replace("nn.Flatten(), ", "nn.Flatten(), nn.ReLU(), "))
    assert len(models.build("net.py:Net")) == 3


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (OWN, "other.py:Net", "there is no file other.py in"),
        (OWN, "net.py:Nest", "net.py does not define 'Nest'; put the name of your class after the colon"),
        (OWN, "net.txt:Net", "unknown model 'net.txt:Net'"),
        (OWN, "net.py:", "unknown model 'net.py:'"),
        (OWN.replace("num_classes):", "classes):"), "net.py:Net", "cannot be built: TypeError"),
        ("x = 1 / 0", "net.py:Net", "cannot be built: ZeroDivisionError: division by zero"),
        ("def f(:", "net.py:Net", "cannot be built: SyntaxError"),
        ("def Net(num_classes):\n    return None", "net.py:Net", "must make an nn.Module, not NoneType"),
    ],
)
def test_a_model_of_ones_own_that_cannot_be_built_is_one_sentence(own, text, name, words):
    own(text)
    with pytest.raises(LabkitError) as error:
        models.build(name)
    assert words in one_sentence(error)


@pytest.mark.parametrize("option", [{"dropout": 0.5}, {"stem": "cifar"}])
def test_options_of_labkits_models_are_refused_for_ones_own(own, option):
    own(OWN)
    with pytest.raises(LabkitError) as error:
        models.build("net.py:Net", **option)
    assert next(iter(option)) in one_sentence(error)


# --- FastNet, its first layer, and several views -------------------------------------------------


@pytest.mark.parametrize("name, parameters", [("FastNet16", 126_808), ("FastNet32", 497_528), ("FastNet64", 1_971_640), ("FastNet128", 7_850_552)])
def test_a_fastnet_says_nothing_of_the_classes_before_it_has_seen_any(name, parameters):
    torch.manual_seed(0)
    model = models.build(name)
    scores = model(torch.randn(64, 3, 32, 32))
    loss = nn.functional.cross_entropy(scores, torch.arange(64) % 10)
    assert models.num_parameters(model) == parameters and abs(loss.item() - 2.3026) < 0.05
    assert models.flops(model) == thop.profile(copy.deepcopy(model), (torch.zeros(1, 3, 32, 32),), verbose=False)[0]
    assert models.build(name, num_classes=7)(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def natural(n=200):
    """Images whose neighbours are alike and whose channels go together, as those of photographs."""
    noise = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.3 * torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(noise, size=32, mode="bilinear") + 0.05 * torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def test_whitened_patches_have_variance_one_in_every_direction_and_no_correlation():
    images, model = natural(), models.build("FastNet16")
    models.whiten(model, images, eps=0)
    with torch.no_grad():
        found = (model.first(images) - model.first.bias.view(-1, 1, 1)).transpose(0, 1).flatten(1)
    assert torch.allclose(found[:12], -found[12:], atol=1e-5)
    assert torch.allclose(found[:12] @ found[:12].T / found.shape[1], torch.eye(12), atol=1e-3)


def test_eps_keeps_directions_of_mere_noise_small():
    images, model = natural(), models.build("FastNet16")
    models.whiten(model, images, eps=0.05)
    with torch.no_grad():
        variances = (model.first(images) - model.first.bias.view(-1, 1, 1)).square().mean(dim=(0, 2, 3))
    assert variances.min() < 0.1 and 0.9 < variances.max() <= 1


def test_the_whitening_layer_is_frozen_and_looked_for_behind_views():
    for model in (models.build("FastNet16"), models.build("FastNet16", views=2)):
        assert models.whitening_layer(model).weight.requires_grad is False
        assert models.num_parameters(model) == 126_808 - 24 * 12


@pytest.mark.parametrize("name", ["resnet18", "SimpleCNN"])
def test_a_network_without_such_a_layer_is_refused(name):
    with pytest.raises(LabkitError, match="has no first layer that can whiten; use FastNet64"):
        models.whiten(models.build(name), torch.rand(4, 3, 32, 32))


def test_views_are_the_mean_over_the_image_its_mirror_image_and_three_places():
    model, images = models.build("ConvNet", views=6).eval(), torch.rand(5, 3, 32, 32)
    padded = nn.functional.pad(images, [1] * 4, mode="reflect")
    shown = [images, torchvision.transforms.functional.crop(padded, 0, 0, 32, 32), torchvision.transforms.functional.crop(padded, 2, 2, 32, 32)]
    with torch.no_grad():
        expected = sum(model.network(view) + model.network(torchvision.transforms.functional.hflip(view)) for view in shown) / 6
        assert torch.allclose(model(images), expected, atol=1e-6)
        assert torch.allclose(models.Views(model.network, 2).eval()(images), (model.network(images) + model.network(images.flip(-1))) / 2, atol=1e-6)


def test_in_training_there_is_one_view():
    model, images = models.build("ConvNet", views=6).train(), torch.rand(5, 3, 32, 32)
    assert torch.equal(model(images), copy.deepcopy(model).network(images))


@pytest.mark.parametrize("options, said", [({"name": "ConvNet", "views": 3}, "accepted: 1, 2, 6"), ({"name": "FastNet64", "dropout": 0.5}, "has no dropout")])
def test_what_a_fastnet_or_views_cannot_do_is_said(options, said):
    with pytest.raises(LabkitError, match=said):
        models.build(**options)
