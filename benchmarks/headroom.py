"""How much any engine could win: the products that an update cannot do without, at the speed of one large matrix product.

    python benchmarks/headroom.py

Counted are the multiply–accumulates of convolutions and linear layers whose weight meets a pixel, not those that meet padding: one
pass forward, one for the gradients of the weights, and but for the first layer one for those of the inputs. Adam, batch norm and all
else that is no product is taken to be free. labkit, plain PyTorch and the matrix product take turns; ratios are medians (lowest to highest).
"""

import argparse
import statistics
import time

import torch
from arms import UPDATES
from speed import CASES, case, end, ratio, updates
from torch import nn

from labkit import data, models
from labkit.device import default_device, describe
from labkit.engine import PRECISIONS
from labkit.live_taps import product

SIDE = 2_048  # of the large matrices: a tenth of a second on two cores
_TRIES = 3


def needed(model, size=32):
    """Multiply–accumulates of an update for one image of so many pixels in height and width."""
    found = []

    def count(module, inputs, outputs):
        found.append(_live(module, inputs[0].shape[2:], outputs.shape[2:]) if isinstance(module, nn.Conv2d) else module.weight.numel())

    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, size, size, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    return 3 * sum(found) - found[0]


def _live(convolution, inputs, outputs):
    """Of one image: for each axis, the pairs of an output pixel and a tap that lies on the image."""
    c, pairs = convolution, 1
    for size, places, kernel, stride, padding, dilation in zip(inputs, outputs, c.kernel_size, c.stride, c.padding, c.dilation):
        pairs *= sum(0 <= place * stride + tap * dilation - padding < size for place in range(places) for tap in range(kernel))
    return pairs * c.in_channels * c.out_channels // c.groups


def products_per_second(device, precision):
    """Multiply–accumulates a second of a large matrix product, the best of some."""
    matrix = torch.randn(SIDE, SIDE, device=device, dtype=getattr(torch, precision))
    with torch.inference_mode():
        return SIDE**3 / min(_seconds(way, matrix) for way in (torch.mm, product) for _ in range(_TRIES))


def _seconds(way, matrix):
    start = time.perf_counter()
    way(matrix, matrix)[0, 0].item()  # waits for the device
    return time.perf_counter() - start


def row(name, batch_size, image_set, device, args):
    """A line of the table, after a turn that does not count."""
    ways = updates(image_set, name, batch_size, device, args)
    count = needed(models.build(name)) * len(image_set)
    turns = [(ways["labkit"](), ways["plain"](), count / products_per_second(device, args.precision)) for _ in range(args.turns + 1)][1:]
    end(ways)
    labkit, _, products = map(statistics.median, zip(*turns))
    won, possible = ratio([plain / ours for ours, plain, _ in turns]), ratio([plain / least for _, plain, least in turns])
    return f"| {name}, batch {batch_size} | {labkit:.3g} s | {products:.3g} s | {won} | {possible} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=2_560, help="in an epoch")
    parser.add_argument("--cases", type=case, nargs="*", default=CASES[:3], metavar="NETWORK:BATCH")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of labkit's updates and of the matrix product")
    parser.add_argument("--updates", type=int, default=UPDATES, help="length of the training that labkit's engine is chosen for, on a GPU")
    args = parser.parse_args()
    device, image_set = default_device(), data.load(f"shapes:{args.images}/10").train
    print(f"{describe(device)}, torch {torch.__version__}; {args.images:,} images an epoch, {args.turns} turns; labkit in {args.precision}")
    print("\n| updates of an epoch | labkit | its products alone | plain / labkit | plain / products |\n| --- | --- | --- | --- | --- |")
    for name, batch_size in args.cases:
        print(row(name, batch_size, image_set, device, args), flush=True)


if __name__ == "__main__":
    main()
