"""The networks of the benchmarks, with seeded random weights.

    python -m benchmarks.models NAME OUT.onnx

Weights are scaled so that activations neither die nor explode; speed does not depend on their
values otherwise.  BatchNorms are folded, as exporters do, unless `fold=False`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import onnx

from benchmarks.net import Net

RESIDUAL_GAIN = 0.3
"""Scale of a block's last convolution: sixteen unit-gain blocks would add up to 2^16."""


def _bottleneck(
    net: Net, x: str, cin: int, width: int, *, stride: int, dilation: int, project: bool
) -> str:
    y = net.relu(net.conv(x, cin, width))
    y = net.relu(net.conv(y, width, width, 3, stride=stride, dilation=dilation))
    y = net.conv(y, width, 4 * width, gain=RESIDUAL_GAIN)
    skip = net.conv(x, cin, 4 * width, stride=stride) if project else x
    return net.relu(net.node("Add", y, skip))


def _basic(net: Net, x: str, cin: int, width: int, stride: int) -> str:
    y = net.relu(net.conv(x, cin, width, 3, stride=stride))
    y = net.conv(y, width, width, 3, gain=RESIDUAL_GAIN)
    skip = x if cin == width else net.conv(x, cin, width, stride=stride)
    return net.relu(net.node("Add", y, skip))


def _stem(net: Net, x: str, channels: int) -> str:
    y = net.relu(net.conv(x, channels, 64, 7, stride=2))
    return net.node("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def _resnet50_body(net: Net, x: str, channels: int, output_stride: int = 32) -> str:
    """The convolutional part: [N, 2048, size / output_stride, ...].

    Below an output stride of 32 the late stages dilate instead of striding; the first block of
    such a stage still has the dilation of the stage before.
    """
    x = _stem(net, x, channels)
    cin, reached, dilation = 64, 4, 1
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width, before, stride = 64 << stage, dilation, 1
        if stage > 0 and reached < output_stride:
            stride, reached = 2, 2 * reached
        elif stage > 0:
            dilation *= 2
        for block in range(blocks):
            first = block == 0
            step, spread = (stride, before) if first else (1, dilation)
            x = _bottleneck(net, x, cin, width, stride=step, dilation=spread, project=first)
            cin = 4 * width
    return x


def _pooled(net: Net, x: str) -> str:
    return net.node("Flatten", net.node("GlobalAveragePool", x), axis=1)


def resnet50(
    channels: int = 12, size: int = 224, classes: int = 17, *, fold: bool = True, seed: int = 0
) -> onnx.ModelProto:
    """ResNet-50: `input` [N, channels, size, size] -> `logits` [N, classes]."""
    net = Net("resnet50", seed, fold)
    x = _resnet50_body(net, net.input("input", channels, size, size), channels)
    return net.model(net.dense(_pooled(net, x), 2048, classes), classes)


def late_fusion(
    branches: int = 4, size: int = 224, classes: int = 17, *, fold: bool = True, seed: int = 0
) -> onnx.ModelProto:
    """One ResNet-18 an input (`source_0` ...: [N, 3, size, size]), joined before the last layer."""
    net = Net("late_fusion_resnet18", seed, fold)
    ends = []
    for branch in range(branches):
        x, cin = _stem(net, net.input(f"source_{branch}", 3, size, size), 3), 64
        for stage in range(4):
            x = _basic(net, x, cin, 64 << stage, stride=1 if stage == 0 else 2)
            cin = 64 << stage
            x = _basic(net, x, cin, cin, stride=1)
        ends.append(_pooled(net, x))
    joined = net.node("Concat", *ends, axis=1)
    return net.model(net.dense(joined, 512 * branches, classes), classes)


def deeplabv3_resnet50(
    channels: int = 12,
    size: int = 256,
    classes: int = 8,
    *,
    output_stride: int = 8,
    fold: bool = True,
    seed: int = 0,
) -> onnx.ModelProto:
    """DeepLabV3: `input` [N, channels, size, size] -> `logits` [N, classes, size, size].

    ASPP with rates 12, 24, 36 and image pooling, bilinear Resize back to the input's size.
    """
    net = Net("deeplabv3_resnet50", seed, fold)
    x = _resnet50_body(net, net.input("input", channels, size, size), channels, output_stride)
    arms = [net.relu(net.conv(x, 2048, 256))]
    arms += [net.relu(net.conv(x, 2048, 256, 3, dilation=rate)) for rate in (12, 24, 36)]
    pooled = net.relu(net.conv(net.node("GlobalAveragePool", x), 2048, 256))
    arms.append(net.upsample(pooled, size // output_stride))
    x = net.relu(net.conv(net.node("Concat", *arms, axis=1), 5 * 256, 256))
    x = net.relu(net.conv(x, 256, 256, 3))
    x = net.conv(x, 256, classes, norm=False)
    return net.model(net.upsample(x, size), classes, size, size)


def vgg16(
    channels: int = 3, size: int = 224, classes: int = 1000, *, seed: int = 0
) -> onnx.ModelProto:
    """VGG-16 without BatchNorm: `input` [N, channels, size, size] -> `logits` [N, classes]."""
    net = Net("vgg16", seed)
    x, cin = net.input("input", channels, size, size), channels
    for cout, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convs):
            x, cin = net.relu(net.conv(x, cin, cout, 3, norm=False)), cout
        x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Flatten", x, axis=1)
    x = net.relu(net.dense(x, 512 * (size // 32) ** 2, 4096))
    x = net.relu(net.dense(x, 4096, 4096))
    return net.model(net.dense(x, 4096, classes), classes)


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet50": resnet50,
    "late_fusion": late_fusion,
    "deeplabv3_resnet50": deeplabv3_resnet50,
    "vgg16": vgg16,
}


def main(arguments: list[str]) -> int:
    """Write one model to a file."""
    if len(arguments) != 2 or arguments[0] not in MODELS:
        print(f"usage: python -m benchmarks.models {'|'.join(MODELS)} OUT.onnx", file=sys.stderr)
        return 2
    onnx.save(MODELS[arguments[0]](), arguments[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
