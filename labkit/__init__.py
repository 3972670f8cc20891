"""labkit: train ResNet-18/50 on CIFAR-10 and understand why the accuracy moves."""

__version__ = "0.1.0"
