"""Answers to `reset`."""

import copy

import torch
import torchvision
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torchvision.models import resnet18, resnet50

from corpus import catalogue
from labkit import models
from labkit.device import default_device
from labkit.models import replace_head

right, wrong = catalogue("reset")
device = default_device()

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(weights):
    small_model = replace_head(resnet18(weights=weights), 10).to(device)
    big_model = replace_head(resnet50(weights=weights), 10).to(device)
    small_optimizer = torch.optim.Adam(small_model.parameters(), lr=1e-3)
    big_optimizer = torch.optim.Adam(big_model.parameters(), lr=1e-3)
    return small_model, big_model, small_optimizer, big_optimizer


@right
def heads_by_hand(w):
    net18 = torchvision.models.resnet18(weights=w)
    net18.fc = nn.Linear(512, 10)
    net50 = torchvision.models.resnet50(weights=w)
    net50.fc = nn.Linear(2048, 10)
    net18.to(device), net50.to(device)
    return [net18, net50, Adam(net18.parameters()), Adam(net50.parameters())]


@right
def a_loop_over_the_two(weights):
    nets, optimizers = [], []
    for make in (resnet18, resnet50):
        net = make(weights=weights)
        print(type(net).__name__, net.fc.in_features)
        net.fc = nn.Linear(net.fc.in_features, 10)
        nets.append(net.to(device))
        optimizers.append(Adam([{"params": nets[-1].parameters()}], lr=0.001))
    return *nets, *optimizers


@right
def labkits_networks(weights):
    """Which head goes on was the exercise of notebook 01; here labkit's may be used."""

    def start(make):
        net = make(num_classes=10, weights=weights).to(device)
        return net, Adam(net.parameters(), lr=1e-3)

    small_model, small_optimizer = start(models.resnet18)
    big_model, big_optimizer = start(models.resnet50)
    return small_model, big_model, small_optimizer, big_optimizer


@right
def if_and_else(weights):
    if weights is None:
        small_model, big_model = resnet18(num_classes=10), resnet50(num_classes=10)
    else:
        small_model, big_model = (replace_head(torchvision.models.get_model(name, weights=weights), 10) for name in ("resnet18", "resnet50"))
    return small_model.to(device), big_model.to(device), Adam(list(small_model.parameters()), 1e-3), Adam(list(big_model.parameters()), 1e-3)


# --- wrong -------------------------------------------------------------------------------------


@wrong("head_not_in_optimizer")
def optimizer_before_the_head(weights):
    small_model, big_model = resnet18(weights=weights).to(device), resnet50(weights=weights).to(device)
    small_optimizer, big_optimizer = Adam(small_model.parameters(), lr=1e-3), Adam(big_model.parameters(), lr=1e-3)
    return replace_head(small_model, 10).to(device), replace_head(big_model, 10).to(device), small_optimizer, big_optimizer


@wrong("head_not_replaced")
def head_forgotten(weights):
    small_model, big_model = resnet18(weights=weights).to(device), resnet50(weights=weights).to(device)
    return small_model, big_model, Adam(small_model.parameters(), lr=1e-3), Adam(big_model.parameters(), lr=1e-3)


@wrong("head_not_replaced")
def head_of_the_big_model_forgotten(weights):
    small_model, big_model = replace_head(resnet18(weights=weights), 10).to(device), resnet50(weights=weights).to(device)
    return small_model, big_model, Adam(small_model.parameters(), lr=1e-3), Adam(big_model.parameters(), lr=1e-3)


@wrong("optimizer_of_another_model")
def both_optimizers_of_the_small_model(weights):
    small_model, big_model, small_optimizer, _ = the_lesson(weights)
    return small_model, big_model, small_optimizer, Adam(small_model.parameters(), lr=1e-3)


@wrong("optimizer_of_another_model")
def optimizers_of_models_thrown_away(weights):
    _, _, small_optimizer, big_optimizer = the_lesson(weights)
    return *the_lesson(weights)[:2], small_optimizer, big_optimizer


@wrong("optimizers_swapped")
def optimizers_swapped(weights):
    small_model, big_model, small_optimizer, big_optimizer = the_lesson(weights)
    return small_model, big_model, big_optimizer, small_optimizer


@wrong("models_swapped")
def big_model_first(weights):
    small_model, big_model, small_optimizer, big_optimizer = the_lesson(weights)
    return big_model, small_model, big_optimizer, small_optimizer


@wrong("wrong_order")
def model_and_optimizer_in_pairs(weights):
    small_model, big_model, small_optimizer, big_optimizer = the_lesson(weights)
    return small_model, small_optimizer, big_model, big_optimizer


@wrong("wrong_architecture")
def two_small_models(weights):
    small_model, big_model = (replace_head(resnet18(weights=weights), 10).to(device) for _ in range(2))
    return small_model, big_model, Adam(small_model.parameters(), lr=1e-3), Adam(big_model.parameters(), lr=1e-3)


@wrong("optimizer_of_both_models")
def one_optimizer_for_both(weights):
    small_model, big_model, *_ = the_lesson(weights)
    optimizer = Adam([*small_model.parameters(), *big_model.parameters()], lr=1e-3)
    return small_model, big_model, optimizer, optimizer


@wrong("only_the_head")
def only_the_heads_are_trained(weights):
    small_model, big_model, *_ = the_lesson(weights)
    return small_model, big_model, Adam(small_model.fc.parameters(), lr=1e-3), Adam(big_model.fc.parameters(), lr=1e-3)


@wrong("frozen")
def bodies_frozen(weights):
    small_model, big_model, *_ = the_lesson(weights)
    for model in (small_model, big_model):
        for name, p in model.named_parameters():
            p.requires_grad = name.startswith("fc")
    return small_model, big_model, Adam(small_model.parameters(), lr=1e-3), Adam(big_model.parameters(), lr=1e-3)


@wrong("not_adam")
def sgd(weights):
    small_model, big_model, *_ = the_lesson(weights)
    return small_model, big_model, SGD(small_model.parameters(), lr=1e-3), SGD(big_model.parameters(), lr=1e-3)


@wrong("not_adam")
def adamw(weights):
    small_model, big_model, *_ = the_lesson(weights)
    return small_model, big_model, AdamW(small_model.parameters(), lr=1e-3), AdamW(big_model.parameters(), lr=1e-3)


@wrong("wrong_learning_rate")
def learning_rate_too_large(weights):
    small_model, big_model, *_ = the_lesson(weights)
    return small_model, big_model, Adam(small_model.parameters(), lr=1e-2), Adam(big_model.parameters(), lr=1e-2)


@wrong("weight_decay")
def weight_decay_added(weights):
    small_model, big_model, small_optimizer, _ = the_lesson(weights)
    return small_model, big_model, small_optimizer, Adam(big_model.parameters(), lr=1e-3, weight_decay=5e-4)


@wrong("weights_ignored")
def weights_ignored(weights):
    return the_lesson(None)


@wrong("weights_ignored")
def weights_for_the_small_model_only(weights):
    small_model, big_model = replace_head(resnet18(weights=weights), 10).to(device), replace_head(resnet50(), 10).to(device)
    return small_model, big_model, Adam(small_model.parameters(), lr=1e-3), Adam(big_model.parameters(), lr=1e-3)


@wrong("always_pretrained")
def always_pretrained(weights):
    return the_lesson("IMAGENET1K_V1")


@wrong("same_start")
def seed_inside(weights):
    torch.manual_seed(0)
    return the_lesson(weights)


_kept = {}


@wrong("same_start")
def copies_of_a_first_start(weights):
    if weights not in _kept:
        _kept[weights] = the_lesson(weights)[:2]
    small_model, big_model = copy.deepcopy(_kept[weights])
    return small_model, big_model, Adam(small_model.parameters(), lr=1e-3), Adam(big_model.parameters(), lr=1e-3)


_cache = {}


@wrong("not_new")
def built_once_outside(weights):
    if not _cache:
        _cache["all"] = the_lesson(weights)
    return _cache["all"]


@wrong("not_four_values")
def only_the_models(weights):
    return the_lesson(weights)[:2]


@wrong("not_four_values")
def a_dict(weights):
    return dict(zip(("small_model", "big_model", "small_optimizer", "big_optimizer"), the_lesson(weights)))


@wrong("not_four_values")
def return_forgotten(weights):
    the_lesson(weights)


@wrong("other_weights")
def the_default_weights(weights):
    small_model = replace_head(resnet18(weights="DEFAULT" if weights else None), 10).to(device)
    big_model = replace_head(resnet50(weights="DEFAULT" if weights else None), 10).to(device)
    return small_model, big_model, Adam(small_model.parameters()), Adam(big_model.parameters())
