"""Writes shapes.json: the convolutions with odd windows of known networks at 224 x 224, and GPT-2's linear layers,
taken from the definitions in transformers, run on meta tensors (DenseNet-121, which it lacks: from the paper's
table). `python benchmarks/solver/shapes.py` makes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

FILE = Path(__file__).with_name("shapes.json")


class Dense(nn.Module):
    """DenseNet-121's convolutions (Huang et al. 2017, table 1), which transformers does not have."""

    def __init__(self, growth: int = 32, blocks: tuple[int, ...] = (6, 12, 24, 16)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        channels, layers = 64, []
        for number, length in enumerate(blocks):
            for _ in range(length):
                layers.append((nn.Conv2d(channels, 4 * growth, 1), nn.Conv2d(4 * growth, growth, 3, padding=1), number))
                channels += growth
            if number + 1 < len(blocks):
                layers.append((nn.Conv2d(channels, channels // 2, 1), None, number))
                channels //= 2
        self.layers = layers

    def convolutions(self, size: int = 224) -> list[tuple[nn.Conv2d, int]]:
        found = [(self.stem, size)]
        for first, second, number in self.layers:
            extent = size // 4 // 2**number
            found += [(conv, extent) for conv in (first, second) if conv is not None]
        return found


def fields(conv: nn.Conv2d, extents: tuple[int, int]) -> dict[str, Any]:
    return {
        "c_in": conv.in_channels, "c_out": conv.out_channels, "spatial": list(extents), "stride": conv.stride[0],
        "window": conv.kernel_size[0], "groups": conv.groups,
    }  # fmt: skip


def traced(model: nn.Module, size: int = 224) -> list[dict[str, Any]]:
    """The convolutions that one forward pass calls, in order."""
    found: list[dict[str, Any]] = []

    def note(conv: nn.Conv2d, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if conv.kernel_size[0] % 2 == 1:
            # What the layer makes of its input; a padding done outside is not part of it.
            found.append(fields(conv, tuple(extent * conv.stride[0] for extent in output.shape[2:])))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size, device="meta"))
    return found


def gpt2() -> list[dict[str, Any]]:
    from transformers import GPT2Config

    config = GPT2Config()
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    block = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    return [
        {"c_in": a, "c_out": b, "spatial": [], "window": 1, "tokens": config.n_positions}
        for _ in range(config.n_layer)
        for a, b in block
    ]


def networks() -> dict[str, list[dict[str, Any]]]:
    from transformers import (
        ConvNextConfig,
        ConvNextModel,
        MobileNetV2Config,
        MobileNetV2Model,
        ResNetConfig,
        ResNetModel,
    )

    resnet18 = ResNetConfig(
        layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], embedding_size=64
    )
    with torch.device("meta"):
        dense = Dense()
        models = {
            "resnet18": ResNetModel(resnet18),
            "resnet50": ResNetModel(ResNetConfig()),
            "mobilenetv2": MobileNetV2Model(MobileNetV2Config()),
            "convnext_t": ConvNextModel(ConvNextConfig()),
        }
    shapes = {name: traced(model.eval()) for name, model in models.items()}
    shapes["densenet121"] = [
        fields(conv, (extent, extent)) for conv, extent in dense.convolutions() if conv.kernel_size[0] % 2
    ]
    shapes["gpt2"] = gpt2()
    return shapes


def load(name: str) -> list[Any]:
    """The layers of a network, each by itself.

    Example:
        >>> len(load("resnet50"))
        53
    """
    from canvas import Layer

    return [Layer(**{**entry, "spatial": tuple(entry["spatial"])}) for entry in json.loads(FILE.read_text())[name]]


if __name__ == "__main__":
    made = networks()
    FILE.write_text(
        "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(layers)}" for name, layers in made.items()) + "\n}\n"
    )
    print({name: len(layers) for name, layers in made.items()})
