"""Answers to `make_layer`."""

from collections import OrderedDict

from torch import nn

from corpus import catalogue

right, wrong = catalogue("make_layer")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(self, block, channels, num_blocks, stride):
    blocks = [block(self.in_channels, channels, stride)]
    blocks += [block(channels, channels, 1) for _ in range(num_blocks - 1)]
    self.in_channels = channels
    return nn.Sequential(*blocks)


@right
def strides_in_a_list(self, block, channels, num_blocks, stride):
    strides = [stride] + [1] * (num_blocks - 1)
    layers = []
    for s in strides:
        layers.append(block(self.in_channels, channels, stride=s))
        self.in_channels = channels
    print(strides)
    return nn.Sequential(*layers)


@right
def appended_to_a_sequential(self, block, channels, num_blocks, stride):
    stage = nn.Sequential()
    for number in range(num_blocks):
        stage.append(block(in_channels=self.in_channels if number == 0 else channels, channels=channels, stride=stride if number == 0 else 1))
    self.in_channels = channels
    return stage


@right
def recursion(self, block, channels, num_blocks, stride):
    if num_blocks == 0:
        return nn.Sequential()
    first = block(self.in_channels, channels, stride)
    self.in_channels = channels
    return nn.Sequential(first, *self.make_layer(block, channels, num_blocks - 1, 1))


@right
def an_ordered_dict(self, block, channels, num_blocks, stride):
    blocks = OrderedDict({"0": block(self.in_channels, channels, stride)})
    for number in range(1, num_blocks):
        blocks[str(number)] = block(channels, channels)
    self.in_channels = channels
    return nn.Sequential(blocks)


@right
class WithAHelperMethod(nn.Module):
    """The whole class may be handed over."""

    def __init__(self):
        super().__init__()
        self.in_channels = 64

    def next_block(self, block, channels, stride):
        made = block(self.in_channels, channels, stride)
        self.in_channels = channels
        return made

    def make_layer(self, block, channels, num_blocks, stride):
        return nn.Sequential(*(self.next_block(block, channels, 1 if i else stride) for i in range(num_blocks)))


# --- wrong -------------------------------------------------------------------------------------


@wrong("stride_in_every_block")
def stride_in_every_block(self, block, channels, num_blocks, stride):
    layers = []
    for _ in range(num_blocks):
        layers.append(block(self.in_channels, channels, stride))
        self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("stride_ignored")
def stride_ignored(self, block, channels, num_blocks, stride):
    layers = []
    for _ in range(num_blocks):
        layers.append(block(self.in_channels, channels))
        self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("stride_fixed")
def stride_always_two(self, block, channels, num_blocks, stride):
    layers = [block(self.in_channels, channels, 2)] + [block(channels, channels, 1) for _ in range(num_blocks - 1)]
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("wrong_strides")
def stride_in_the_last_block(self, block, channels, num_blocks, stride):
    layers = []
    for number in range(num_blocks):
        layers.append(block(self.in_channels, channels, stride if number == num_blocks - 1 else 1))
        self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("in_channels_not_updated")
def in_channels_not_updated(self, block, channels, num_blocks, stride):
    return nn.Sequential(block(self.in_channels, channels, stride), *(block(channels, channels, 1) for _ in range(num_blocks - 1)))


@wrong("in_channels_in_every_block")
def in_channels_in_every_block(self, block, channels, num_blocks, stride):
    layers = [block(self.in_channels, channels, stride if number == 0 else 1) for number in range(num_blocks)]
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("in_channels_ignored")
def in_channels_updated_too_early(self, block, channels, num_blocks, stride):
    self.in_channels = channels
    return nn.Sequential(*(block(self.in_channels, channels, 1 if number else stride) for number in range(num_blocks)))


@wrong("wrong_in_channels")
def sixty_four_channels_assumed(self, block, channels, num_blocks, stride):
    layers = [block(64, channels, stride)] + [block(channels, channels, 1) for _ in range(num_blocks - 1)]
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("wrong_channels")
def channels_of_the_input_kept(self, block, channels, num_blocks, stride):
    layers = [block(self.in_channels, channels, stride)] + [block(channels, 2 * channels, 1) for _ in range(num_blocks - 1)]
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("in_channels_wrong_after")
def in_channels_doubled(self, block, channels, num_blocks, stride):
    layers = [block(self.in_channels, channels, stride)] + [block(channels, channels, 1) for _ in range(num_blocks - 1)]
    self.in_channels *= 2
    return nn.Sequential(*layers)


@wrong("wrong_number_of_blocks")
def two_blocks_always(self, block, channels, num_blocks, stride):
    layers = [block(self.in_channels, channels, stride), block(channels, channels, 1)]
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("wrong_number_of_blocks")
def one_block_too_many(self, block, channels, num_blocks, stride):
    layers = [block(self.in_channels, channels, stride)] + [block(channels, channels, 1) for _ in range(num_blocks)]
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("same_block_repeated")
def one_block_repeated(self, block, channels, num_blocks, stride):
    layers = [block(self.in_channels, channels, stride)] + [block(channels, channels, 1)] * (num_blocks - 1)
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("not_sequential")
def a_plain_list(self, block, channels, num_blocks, stride):
    return list(the_lesson(self, block, channels, num_blocks, stride))


@wrong("not_sequential")
def a_module_list(self, block, channels, num_blocks, stride):
    return nn.ModuleList(the_lesson(self, block, channels, num_blocks, stride))


@wrong("not_sequential")
def return_forgotten(self, block, channels, num_blocks, stride):
    the_lesson(self, block, channels, num_blocks, stride)


@wrong("nested")
def nested_sequentials(self, block, channels, num_blocks, stride):
    first, *others = the_lesson(self, block, channels, num_blocks, stride)
    return nn.Sequential(first, nn.Sequential(*others))


@wrong("block_ignored")
def plain_convolutions(self, block, channels, num_blocks, stride):
    layers = [nn.Conv2d(self.in_channels, channels, 3, stride, 1)] + [nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(num_blocks - 1)]
    self.in_channels = channels
    return nn.Sequential(*layers)


@wrong("blocks_renamed")
def blocks_with_names(self, block, channels, num_blocks, stride):
    stage = the_lesson(self, block, channels, num_blocks, stride)
    return nn.Sequential(OrderedDict((f"block{name}", part) for name, part in stage.named_children()))


@wrong("raises")
def list_not_unpacked(self, block, channels, num_blocks, stride):
    return nn.Sequential([block(self.in_channels, channels, stride) for _ in range(num_blocks)])


@wrong("signature")
def self_forgotten(block, channels, num_blocks, stride):
    return nn.Sequential(*(block(64, channels, stride) for _ in range(num_blocks)))
