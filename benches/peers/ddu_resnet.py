"""The CIFAR ResNets of DDU in PyTorch, written from their description, with an L2 head.

Source: Mukhoti et al., Deep Deterministic Uncertainty (arXiv 2102.11582), net/resnet.py,
net/wide_resnet.py and net/spectral_normalization of the published code: the same architecture and the same names in the
`state_dict`, so that checkpoints of either load into the other. `check_fixtures.py` compares it
with numbers computed by the published code.

    net = network(NetConfig(net="resnet18", l2="train_and_inference"))
    features, normalized, logits = net(images)          # images [N, C, H, W], normalised
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-12
BLOCKS = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
}
WIDE = "wide-resnet28"
NETS = (*BLOCKS, WIDE)
L2_MODES = ("off", "train_and_inference", "train_only")


@dataclass(frozen=True)
class NetConfig:
    """A network. `spectral_norm` is the coefficient of the soft bound, or None for none."""

    net: str = "resnet18"
    width: int = 64
    in_channels: int = 3
    input_size: int = 32
    n_classes: int = 10
    modified: bool = True
    spectral_norm: float | None = 3.0
    l2: str = "off"
    temperature: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.net not in NETS:
            raise ValueError(f"net {self.net!r} is unknown; choose one of {', '.join(NETS)}")
        if self.l2 not in L2_MODES:
            raise ValueError(f"l2 {self.l2!r} is unknown; choose one of {', '.join(L2_MODES)}")
        if min(self.width, self.in_channels, self.input_size, self.n_classes) < 1:
            raise ValueError(f"every size must be at least 1: {self}")

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Output(NamedTuple):
    """Raw features z [N, D], z / max(|z|, 1e-12) [N, D], and logits [N, C]."""

    features: Tensor
    normalized: Tensor
    logits: Tensor


def unit(vector: Tensor) -> Tensor:
    return F.normalize(vector, dim=0, eps=EPSILON)


class Conv(nn.Module):
    """A convolution without bias, its weight held under a soft spectral bound if asked.

    3x3: power iteration on the convolution operator over one [1, C, H, W] input, H and W the
    nominal input size; W_used = W / (max(1, sigma / c) + 1e-5). 1x1: power iteration on the
    matrix; W_used = W / max(1, sigma / c). One iteration a training forward; u and v are
    constants for the gradient, sigma is not.
    """

    def __init__(
        self,
        spectral_norm: float | None,
        input_size: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = kernel_size // 2
        self.coefficient = spectral_norm
        plain = nn.Conv2d(in_channels, out_channels, kernel_size, stride, self.padding, bias=False)
        if spectral_norm is None:
            self.weight = plain.weight
            return
        self.weight_orig = plain.weight
        output_size = (input_size + 2 * self.padding - kernel_size) // stride + 1
        on_operator = kernel_size > 1
        self.in_shape = (1, in_channels, input_size, input_size) if on_operator else (in_channels,)
        self.out_shape = (1, out_channels, output_size, output_size) if on_operator else (out_channels,)
        # The size that conv_transpose2d cannot know: how many rows a stride dropped.
        self.output_padding = input_size - ((output_size - 1) * stride - 2 * self.padding + kernel_size)
        for name, shape in (("weight_u", self.out_shape), ("weight_v", self.in_shape)):
            self.register_buffer(name, unit(torch.randn(torch.Size(shape).numel())))
        self.register_buffer("weight_sigma", torch.ones(1))

    def apply_operator(self, v: Tensor) -> Tensor:
        """W v."""
        if len(self.in_shape) == 1:
            return self.weight_orig.flatten(1) @ v
        return F.conv2d(v.view(self.in_shape), self.weight_orig, stride=self.stride, padding=self.padding).flatten()

    def apply_adjoint(self, u: Tensor) -> Tensor:
        """W^T u."""
        if len(self.in_shape) == 1:
            return self.weight_orig.flatten(1).T @ u
        return F.conv_transpose2d(
            u.view(self.out_shape),
            self.weight_orig,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
        ).flatten()

    @torch.no_grad()
    def power_iteration(self) -> None:
        v = unit(self.apply_adjoint(self.weight_u))
        self.weight_v = v
        self.weight_u = unit(self.apply_operator(v))

    def used_weight(self) -> Tensor:
        """The weight the convolution uses, and `weight_sigma` brought up to date."""
        if self.coefficient is None:
            return self.weight
        # Mixed precision must not reach the power iteration: sigma decides a scale of every weight.
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            if self.training:
                self.power_iteration()
            sigma = self.weight_u @ self.apply_operator(self.weight_v)
            self.weight_sigma = sigma.detach().view(1)
            bound = torch.clamp(sigma / self.coefficient, min=1.0)
            if len(self.in_shape) > 1:
                bound = bound + 1e-5
            return self.weight_orig / bound

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.used_weight(), stride=self.stride, padding=self.padding)


class AveragePoolShortcut(nn.Module):
    """Average pool of kernel = stride, then zero channels appended; no parameters.

    A map of odd size is subsampled instead, as DDU does, so that both branches end equal in size.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.extra_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 1 if x.shape[2] % 2 else self.stride, self.stride)
        return F.pad(x, (0, 0, 0, 0, 0, self.extra_channels))


def shortcut(conv, modified: bool, size: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    if modified:
        return nn.Sequential(AveragePoolShortcut(in_channels, out_channels, stride))
    return nn.Sequential(conv(size, in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


def halved(size: int, stride: int) -> int:
    return -(-size // stride)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, conv, modified: bool, size: int, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(size, in_channels, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(halved(size, stride), planes, planes, 3, 1)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = shortcut(conv, modified, size, in_channels, planes, stride)
        self.activation = F.leaky_relu if modified else F.relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.bn1(self.conv1(x)))
        return self.activation(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, conv, modified: bool, size: int, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        out_channels = self.expansion * planes
        self.conv1 = conv(size, in_channels, planes, 1, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(size, planes, planes, 3, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv(halved(size, stride), planes, out_channels, 1, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(conv, modified, size, in_channels, out_channels, stride)
        self.activation = F.leaky_relu if modified else F.relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.bn1(self.conv1(x)))
        y = self.activation(self.bn2(self.conv2(y)))
        return self.activation(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, four stages, average pool, linear head. Returns `Output`."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        kind, depths = BLOCKS[config.net]
        block = BasicBlock if kind == "basic" else Bottleneck
        conv = partial(Conv, config.spectral_norm)
        self.config = config
        self.activation = F.leaky_relu if config.modified else F.relu
        # bn1 comes before conv1: the order of DDU's state_dict.
        self.bn1 = nn.BatchNorm2d(config.width)
        self.conv1 = conv(config.input_size, config.in_channels, config.width, 3, 1)
        channels, size = config.width, config.input_size
        for stage, depth in enumerate(depths):
            planes = config.width << stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(conv, config.modified, size, channels, planes, stride))
                channels, size = planes * block.expansion, halved(size, stride)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, config.n_classes)

    def forward(self, images: Tensor) -> Output:
        x = self.activation(self.bn1(self.conv1(images)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return head(self, self.fc, x.mean(dim=(2, 3)))


class WideBlock(nn.Module):
    """x + conv(dropout(act(bn(conv(act(bn(x))))))); without `mod` a bare 1x1 convolution is the shortcut."""

    def __init__(self, conv, config: NetConfig, size: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels, momentum=0.01)
        self.conv1 = conv(size, in_channels, out_channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(out_channels, momentum=0.01)
        self.conv2 = conv(halved(size, stride), out_channels, out_channels, 3, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.activation = F.leaky_relu if config.modified else F.relu
        if stride == 1 and in_channels == out_channels:
            self.shortcut = nn.Identity()
        elif config.modified:
            self.shortcut = AveragePoolShortcut(in_channels, out_channels, stride)
        else:
            self.shortcut = conv(size, in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.activation(self.bn1(x)))
        y = self.conv2(self.dropout(self.activation(self.bn2(y))))
        return y + self.shortcut(x)


class WideResNet(nn.Module):
    """Wide-ResNet-28-k with k = width / 16. Returns `Output`."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        conv = partial(Conv, config.spectral_norm)
        self.config = config
        self.activation = F.leaky_relu if config.modified else F.relu
        channels, size = min(16, config.width), config.input_size
        self.conv1 = conv(size, config.in_channels, channels, 3, 1)
        for stage in range(3):
            blocks = []
            for index in range(4):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(WideBlock(conv, config, size, channels, config.width << stage, stride))
                channels, size = config.width << stage, halved(size, stride)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn1 = nn.BatchNorm2d(channels, momentum=0.01)
        self.linear = nn.Linear(channels, config.n_classes)
        for module in self.modules():
            if isinstance(module, Conv):
                weight = module.weight if module.coefficient is None else module.weight_orig
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        nn.init.kaiming_normal_(self.linear.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Output:
        x = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        features = self.activation(self.bn1(x)).mean(dim=(2, 3))
        return head(self, self.linear, features)


def head(net: nn.Module, linear: nn.Linear, features: Tensor) -> Output:
    normalized = F.normalize(features, dim=1, eps=EPSILON)
    l2 = net.config.l2
    sees_normalized = l2 == "train_and_inference" or (l2 == "train_only" and net.training)
    logits = linear(normalized if sees_normalized else features) / net.config.temperature
    return Output(features, normalized, logits)


def network(config: NetConfig) -> nn.Module:
    """The network of a configuration."""
    return WideResNet(config) if config.net == WIDE else ResNet(config)


def forward_flops(net: ResNet, images: int) -> int:
    """Multiplications and additions (2 a multiply-add) of one forward's convolutions and head.

    Padding taps count; a training step is three times as much.
    """
    total = 0

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight if getattr(module, "coefficient", None) is None else module.weight_orig
        total += 2 * weight.numel() * output.numel() // output.shape[1]

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, (Conv, nn.Linear))]
    config = net.config
    was_training = net.training
    shape = (1, config.in_channels, config.input_size, config.input_size)
    with torch.no_grad():
        net.eval()(torch.zeros(shape, device=next(net.parameters()).device))
    net.train(was_training)
    for hook in hooks:
        hook.remove()
    return total * images
