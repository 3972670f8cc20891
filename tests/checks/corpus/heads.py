"""Answers to `replace_head`."""

import copy

import torch
from torch import nn

from corpus import catalogue

right, wrong = catalogue("replace_head")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(model, num_classes, dropout=0.0):
    linear = nn.Linear(model.fc.in_features, num_classes)
    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear
    return model


@right
def other_names_and_prints(net, k, dropout=0):
    n = net.fc.weight.shape[1]
    print("features:", n)
    if not dropout:
        net.fc = nn.Linear(in_features=n, out_features=k, bias=True)
    else:
        net.fc = nn.Sequential(nn.Dropout(p=dropout), nn.Linear(n, k))
    return net


@right
def layers_collected_in_a_list(model, num_classes, dropout=0.0):
    layers = []
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(model.fc.in_features, num_classes))
    setattr(model, "fc", layers[0] if len(layers) == 1 else nn.Sequential(*layers))  # noqa: B010
    return model


@right
def start_values_chosen(model, num_classes, dropout=0.0):
    head = nn.Linear(model.fc.in_features, num_classes)
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)
    if dropout:
        head = nn.Sequential(nn.Dropout(dropout, inplace=True), head)
    model._modules["fc"] = head
    return model


class HeadReplacer:
    __name__ = "callable_class"

    def __call__(self, model, num_classes, dropout=0.0):
        return the_lesson(model, num_classes, dropout)


right(HeadReplacer())

# --- wrong -------------------------------------------------------------------------------------


@wrong("returns_nothing")
def return_forgotten(model, num_classes, dropout=0.0):
    the_lesson(model, num_classes, dropout)


@wrong("returns_the_head")
def head_returned(model, num_classes, dropout=0.0):
    return the_lesson(model, num_classes, dropout).fc


@wrong("returns_another_model")
def copy_changed(model, num_classes, dropout=0.0):
    return the_lesson(copy.deepcopy(model), num_classes, dropout)


@wrong("head_not_replaced")
def head_kept_in_a_variable(model, num_classes, dropout=0.0):
    fc = nn.Linear(model.fc.in_features, num_classes)
    if dropout > 0:
        fc = nn.Sequential(nn.Dropout(dropout), fc)
    return model


@wrong("head_not_replaced")
def head_under_another_name(model, num_classes, dropout=0.0):
    model.classifier = nn.Linear(model.fc.in_features, num_classes)
    return model


@wrong("only_a_number_changed")
def out_features_assigned(model, num_classes, dropout=0.0):
    model.fc.out_features = num_classes
    return model


@wrong("in_features_fixed")
def features_of_resnet18(model, num_classes, dropout=0.0):
    linear = nn.Linear(512, num_classes)
    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear
    return model


@wrong("num_classes_fixed")
def ten_classes(model, num_classes, dropout=0.0):
    linear = nn.Linear(model.fc.in_features, 10)
    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear
    return model


@wrong("old_head_kept")
def new_layer_behind_the_old_one(model, num_classes, dropout=0.0):
    model.fc = nn.Sequential(model.fc, nn.Linear(1000, num_classes))
    return model


@wrong("dropout_without_asking")
def dropout_always(model, num_classes, dropout=0.0):
    model.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(model.fc.in_features, num_classes))
    return model


@wrong("dropout_ignored")
def dropout_ignored(model, num_classes, dropout=0.0):
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model


@wrong("dropout_after_linear")
def dropout_after_linear(model, num_classes, dropout=0.0):
    linear = nn.Linear(model.fc.in_features, num_classes)
    model.fc = nn.Sequential(linear, nn.Dropout(dropout)) if dropout > 0 else linear
    return model


@wrong("dropout_rate_fixed")
def dropout_of_one_half(model, num_classes, dropout=0.0):
    linear = nn.Linear(model.fc.in_features, num_classes)
    model.fc = nn.Sequential(nn.Dropout(), linear) if dropout > 0 else linear
    return model


@wrong("activation_in_head")
def softmax_at_the_end(model, num_classes, dropout=0.0):
    model.fc = nn.Sequential(nn.Linear(model.fc.in_features, num_classes), nn.Softmax(dim=1))
    return model


@wrong("extra_layers")
def hidden_layer(model, num_classes, dropout=0.0):
    model.fc = nn.Sequential(nn.Linear(model.fc.in_features, 128), nn.ReLU(), nn.Linear(128, num_classes))
    return model


@wrong("no_bias")
def without_bias(model, num_classes, dropout=0.0):
    linear = nn.Linear(model.fc.in_features, num_classes, bias=False)
    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear
    return model


@wrong("wrapped_without_asking")
def always_a_sequential(model, num_classes, dropout=0.0):
    layers = [nn.Dropout(dropout)] if dropout > 0 else []
    model.fc = nn.Sequential(*layers, nn.Linear(model.fc.in_features, num_classes))
    return model


@wrong("frozen")
def body_frozen(model, num_classes, dropout=0.0):
    for p in model.parameters():
        p.requires_grad = False
    return the_lesson(model, num_classes, dropout)


@wrong("body_changed")
def body_started_anew(model, num_classes, dropout=0.0):
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return the_lesson(model, num_classes, dropout)


@wrong("old_weights_kept")
def first_rows_of_the_old_head(model, num_classes, dropout=0.0):
    linear = nn.Linear(model.fc.in_features, num_classes)
    with torch.no_grad():
        linear.weight.copy_(model.fc.weight[:num_classes])
    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear
    return model


@wrong("wrong_outputs")
def arguments_of_linear_swapped(model, num_classes, dropout=0.0):
    model.fc = nn.Linear(num_classes, model.fc.in_features)
    return model


@wrong("signature")
def dropout_must_be_given(model, num_classes, dropout):
    return the_lesson(model, num_classes, dropout)


@wrong("signature")
def dropout_under_another_name(model, num_classes, p=0.0):
    return the_lesson(model, num_classes, p)


@wrong("in_features_fixed")
def sizes_fixed_beside_the_dropout(model, num_classes, dropout=0.0):
    model.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(512, 10)) if dropout > 0 else nn.Linear(model.fc.in_features, num_classes)
    return model


@wrong("num_classes_fixed")
def classes_fixed_beside_the_dropout(model, num_classes, dropout=0.0):
    features = model.fc.in_features
    model.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, 10)) if dropout > 0 else nn.Linear(features, num_classes)
    return model


@wrong("wrong_outputs")
def square_beside_the_dropout(model, num_classes, dropout=0.0):
    features = model.fc.in_features
    model.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(num_classes, num_classes)) if dropout > 0 else nn.Linear(features, num_classes)
    return model


@wrong("no_bias")
def no_bias_beside_the_dropout(model, num_classes, dropout=0.0):
    linear = nn.Linear(model.fc.in_features, num_classes, bias=not dropout)
    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear
    return model


@wrong("returns_nothing")
def return_forgotten_with_dropout(model, num_classes, dropout=0.0):
    the_lesson(model, num_classes, dropout)
    return None if dropout else model


@wrong("returns_another_model")
def copied_for_the_dropout(model, num_classes, dropout=0.0):
    return the_lesson(copy.deepcopy(model) if dropout else model, num_classes, dropout)


@wrong("frozen")
def frozen_with_dropout(model, num_classes, dropout=0.0):
    return the_lesson(model.requires_grad_(not dropout), num_classes, dropout).requires_grad_(not dropout)
