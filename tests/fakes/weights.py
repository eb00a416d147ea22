"""Random weights in the files that the paper's four backbones are published in.

Names, shapes and wrappings are written out here, not asked of timm: a test that loads them checks
timm's reading of the genuine files too.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

FILES = {
    "vit_small": "vit_small_patch16_224.augreg_in21k_ft_in1k.safetensors",
    "deit_small": "deit_small_distilled_patch16_224-649709d9.pth",
    "dino_vits16": "dino_deitsmall16_pretrain.pth",
    "resnet50": "resnet50-0676ba61.pth",
}
AUGREG = (
    "S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224.npz"
)
WIDTH, DEPTH, HEADS, PATCH = 384, 12, 6, 16

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def make_weights(folder: Path, backbone: str) -> tuple[Path, str]:
    """Write the file of a backbone of conf/backbone/ into `folder`; return it and its SHA-256."""
    path = folder / FILES[backbone]
    if backbone == "vit_small":
        save_file(drawn([*_vit(), *_classifier("head", WIDTH)]), path)
    elif backbone == "deit_small":
        heads = [*_classifier("head", WIDTH), *_classifier("head_dist", WIDTH)]
        torch.save({"model": drawn([*_vit(distilled=True), *heads])}, path)
    elif backbone == "dino_vits16":
        torch.save(drawn(_vit()), path)
    else:
        torch.save(drawn([*_resnet50(), *_classifier("fc", 2048)]), path)
    return path, hash_of(path)


def make_augreg_npz(folder: Path) -> tuple[Path, str]:
    """Write ViT-S/16 as the authors of augreg do (JAX's names and order of axes)."""
    path = folder / AUGREG
    arrays = {name: value.numpy() for name, value in drawn(_augreg()).items()}
    np.savez(path, **arrays)
    return path, hash_of(path)


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return sha256(path.read_bytes()).hexdigest()


def drawn(shapes: Shapes | list[tuple[str, tuple[int, ...]]], seed: int = 7) -> dict[str, Tensor]:
    """A tensor for every name: small, and no two alike; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes:
        if name.endswith("running_var"):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[name] = torch.randn(shape, generator=generator) * 0.02
    return state


def _vit(distilled: bool = False) -> Shapes:
    yield "cls_token", (1, 1, WIDTH)
    yield "pos_embed", (1, (224 // PATCH) ** 2 + 1 + distilled, WIDTH)
    if distilled:
        yield "dist_token", (1, 1, WIDTH)
    yield "patch_embed.proj.weight", (WIDTH, 3, PATCH, PATCH)
    yield "patch_embed.proj.bias", (WIDTH,)
    for i in range(DEPTH):
        block = f"blocks.{i}."
        yield from _affine(f"{block}norm1", WIDTH)
        yield from _linear(f"{block}attn.qkv", WIDTH, 3 * WIDTH)
        yield from _linear(f"{block}attn.proj", WIDTH, WIDTH)
        yield from _affine(f"{block}norm2", WIDTH)
        yield from _linear(f"{block}mlp.fc1", WIDTH, 4 * WIDTH)
        yield from _linear(f"{block}mlp.fc2", 4 * WIDTH, WIDTH)
    yield from _affine("norm", WIDTH)


def _resnet50() -> Shapes:
    """torchvision's names as of its first files, which have no num_batches_tracked."""
    yield "conv1.weight", (64, 3, 7, 7)
    yield from _batch_norm("bn1", 64)
    before = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for i in range(blocks):
            block = f"layer{stage}.{i}."
            yield f"{block}conv1.weight", (width, before, 1, 1)
            yield from _batch_norm(f"{block}bn1", width)
            yield f"{block}conv2.weight", (width, width, 3, 3)
            yield from _batch_norm(f"{block}bn2", width)
            yield f"{block}conv3.weight", (4 * width, width, 1, 1)
            yield from _batch_norm(f"{block}bn3", 4 * width)
            if i == 0:
                yield f"{block}downsample.0.weight", (4 * width, before, 1, 1)
                yield from _batch_norm(f"{block}downsample.1", 4 * width)
            before = 4 * width


def _augreg() -> Shapes:
    each = WIDTH // HEADS
    yield "cls", (1, 1, WIDTH)
    yield "embedding/kernel", (PATCH, PATCH, 3, WIDTH)
    yield "embedding/bias", (WIDTH,)
    yield "Transformer/posembed_input/pos_embedding", (1, (224 // PATCH) ** 2 + 1, WIDTH)
    for i in range(DEPTH):
        block = f"Transformer/encoderblock_{i}/"
        attention = f"{block}MultiHeadDotProductAttention_1/"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            yield f"{block}{norm}/scale", (WIDTH,)
            yield f"{block}{norm}/bias", (WIDTH,)
        for part in ("query", "key", "value"):
            yield f"{attention}{part}/kernel", (WIDTH, HEADS, each)
            yield f"{attention}{part}/bias", (HEADS, each)
        yield f"{attention}out/kernel", (HEADS, each, WIDTH)
        yield f"{attention}out/bias", (WIDTH,)
        yield f"{block}MlpBlock_3/Dense_0/kernel", (WIDTH, 4 * WIDTH)
        yield f"{block}MlpBlock_3/Dense_0/bias", (4 * WIDTH,)
        yield f"{block}MlpBlock_3/Dense_1/kernel", (4 * WIDTH, WIDTH)
        yield f"{block}MlpBlock_3/Dense_1/bias", (WIDTH,)
    yield "Transformer/encoder_norm/scale", (WIDTH,)
    yield "Transformer/encoder_norm/bias", (WIDTH,)
    yield "head/kernel", (WIDTH, 1000)
    yield "head/bias", (1000,)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _classifier(name: str, features: int) -> Shapes:
    return _linear(name, features, 1000)


def _affine(name: str, width: int) -> Shapes:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _batch_norm(name: str, width: int) -> Shapes:
    for part in ("running_mean", "running_var", "weight", "bias"):
        yield f"{name}.{part}", (width,)
