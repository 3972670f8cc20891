"""Optimizers that torch has not, or not for convolutions."""

import torch


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal: every direction of a kernel moves by the same amount, however rare its gradient is.

    Kernels of convolutions, seen as (out channels, in channels × pixels), are trained so, and keep their norm, as the batch norm
    behind them takes no notice of it. What is left (biases, shifts, the linear head) gets SGD with Nesterov momentum and weight
    decay at the same rate. lr: the length of an update of a kernel, relative to its norm.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, model, lr=0.24, momentum=0.6, weight_decay=0.0):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        kernels = {"params": [p for p in trained if p.dim() == 4], "orthogonal": True}
        rest = {"params": [p for p in trained if p.dim() != 4], "orthogonal": False}
        groups = [group for group in (kernels, rest) if group["params"]]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = self._momentum(parameter, group["momentum"])
                    if group["orthogonal"]:
                        _turn(parameter, update, group["lr"])
                    else:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])

    def _momentum(self, parameter, momentum):
        """Nesterov's: the gradient, and what is left of those before it."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"]
        buffer.mul_(momentum).add_(parameter.grad)
        return parameter.grad.add(buffer, alpha=momentum)


def _turn(kernel, update, lr):
    """Without weight decay, as the norm stays what a fresh kernel of unit rows has."""
    kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
    kernel.sub_(orthogonal(update.flatten(1)).view_as(kernel), alpha=lr)


def orthogonal(matrix, steps=3):
    """About the nearest matrix with orthonormal rows or columns: singular values go to around 1, singular vectors stay.

    Newton–Schulz iteration with the quintic of Jordan et al. (2024), whose slope at 0 lifts small singular values fastest.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def lookahead(optimizer, every=5, rate=0.5):
    """Let slow weights follow those that `optimizer` trains: after `every` updates they go `rate` of the way, and training goes on
    from there. They are kept in the optimizer's state, so that a resumed training has them.

    M. Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019.
    """
    for group in optimizer.param_groups:
        group["lookahead_step"] = 0

    @torch.no_grad()
    def follow(optimizer, *_):
        for group in optimizer.param_groups:
            group["lookahead_step"] += 1
            for parameter in group["params"]:
                state = optimizer.state[parameter]
                if "slow" not in state:
                    state["slow"] = parameter.clone()
                if group["lookahead_step"] % every == 0:
                    parameter.copy_(state["slow"].lerp_(parameter, rate))

    optimizer.register_step_post_hook(follow)
    return optimizer
