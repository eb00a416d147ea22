"""Replays of the official training: networks, settings, batches and draws of tests/golden/steps.

Another folder of files of the same form can be tried: HIER_GOLDEN_STEPS=FOLDER.
"""

import json
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hier.config.compose import compose
from hier.config.run import Run
from hier.losses import hier
from hier.losses.triplets import reciprocal_neighbours
from hier.models import torchvision_ops
from hier.models.network import EmbeddingHead, EmbeddingNetwork
from hier.training.objective import Objective
from hier.training.optimisation import start_epoch
from hier.training.step import Step

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("HIER_GOLDEN_STEPS", ROOT / "tests/golden/steps"))
CLIP = nn.utils.clip_grad_norm_  # before any replay notes what it gives
TRAININGS = sorted(path.stem for path in FOLDER.glob("*.npz") if not path.stem.startswith(("eval_", "pnca")))


def golden(name):
    """Arrays of a file as tensors, and its settings."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {key: np.asarray(file[key]) for key in file.files}
    settings = json.loads(str(arrays.pop("settings")))
    return {key: torch.from_numpy(value) for key, value in arrays.items()}, settings


class TinyCnn(nn.Module):
    """The small network of `bn_freeze`; features are global average plus global maximum."""

    def __init__(self, first, second):
        super().__init__()
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        conv = nn.Conv2d(first, second, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(OrderedDict({"0": conv, "1": nn.BatchNorm2d(second)}))

    def forward(self, images):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(images)).relu(), 2)
        x = self.layer1(x).relu()
        return x.mean((2, 3)) + x.amax((2, 3))


def network_of(settings, run):
    config = dict(settings["backbone"])
    if config["kind"] == "cnn":
        backbone, features = TinyCnn(*config["widths"]), config["widths"][-1]
    else:
        torchvision_ops.ensure()
        from timm.models import VisionTransformer

        sizes = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")
        given = {key: config[key] for key in sizes}
        backbone = VisionTransformer(num_classes=0, **given)
        features = config["embed_dim"]
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(f"backbone.{name}" not in settings["frozen"])
    head = EmbeddingHead(features, run.head)
    return EmbeddingNetwork(backbone, head, run.backbone.batch_norm).double()


def run_of(settings):
    """A run with the settings of a file, every one through the project's own schema."""
    plain = compose(["suite=smoke", "methods=[pa]"], ROOT / "conf")
    run = next(iter(plain.runs.values())).model_dump()
    optimizer, head, loss = (settings[key] for key in ("optimizer", "head", "loss"))
    groups = ("backbone", "head", "hierarchical_proxies", "metric_proxies")
    rates = optimizer["multipliers"] if len(optimizer["multipliers"]) > 1 else [1, 1, 1, 1]
    assert (optimizer["name"], optimizer["betas"]) == ("adamw", [0.9, 0.999])
    run["head"] = {
        **{key: head[key] for key in ("dim", "curvature", "clip_radius", "riemannian")},
        "norm": "layer_norm" if head["layer_norm"] else "none",
    }
    run["loss"] = loss | ({"reduction": "hyp"} if loss["name"] == "hyp" else {})
    run["regularizer"] = {"name": "none"}
    if given := settings["regularizer"]:
        run["regularizer"] = {key: given[key] for key in given if key != "k_may_equal_i"}
    run["optimizer"] |= {
        **{key: optimizer[key] for key in ("lr", "weight_decay", "eps", "clip_value", "clip_norm")},
        "multipliers": dict(zip(groups, rates, strict=True)),
        "network_gradient_scale": 1 / settings["ranks"],
    }
    warmup = int(settings["warmup_steps"] > 0)
    run["schedule"] |= {"epochs": 2, "warmup_epochs": warmup, "name": "constant"}
    run["sampler"] |= {
        "batch_size": settings["batch"], "images_per_class": settings["images_per_class"],
    }  # fmt: skip
    if settings["backbone"]["kind"] == "cnn":
        assert settings["backbone"]["batch_norm"] == "eval mode, weight and bias trained"
        run["backbone"] |= {"batch_norm": "eval"}
    return Run.model_validate(run)


class Replay:
    """A training with stored start, batches and draws, through the project's own step.

    Attributes:
        losses: of each step: all, metric, hier.
        rates: of each step, of each group.
        gradients: of step 1, as the optimiser got them.
        after: parameters after each step of which the file has them.
        lengths: of the backbone's move in each step.
        norms: gradient norms before clipping.
        others: draws whose related pairs are not the official ones.
    """

    def __init__(self, name, monkeypatch, **changes):
        """`changes` are of the run's groups of settings: `schedule={"warmup": "no_gradient"}`."""
        self.arrays, self.settings = golden(name)
        run = run_of(self.settings)
        groups = {key: getattr(run, key).model_copy(update=new) for key, new in changes.items()}
        self.run = run.model_copy(update=groups)
        self.network = network_of(self.settings, self.run)
        self.objective = Objective(self.run, self.settings["classes"]).double()
        self._load_start()
        self.step = Step(self.run, self.network, self.objective, torch.device("cpu"))
        self.losses, self.rates, self.norms, self.others = [], [], [], []
        self.gradients, self.after, self.lengths = {}, {}, []
        self._terms = iter(())
        self._give_draws(monkeypatch)

    def parameters(self):
        """The trained parameters by the file's names."""
        found = dict(self.network.named_parameters())
        if self.objective.regularizer is not None:
            found["regularizer.proxies"] = self.objective.regularizer.proxies
        if hasattr(self.objective.metric, "proxies"):
            found["metric.proxies"] = self.objective.metric.proxies
        return found

    def follow(self):
        """Take all steps."""
        images, labels, rows = (self.arrays[key] for key in ("pool/images", "pool/labels", "rows"))
        self.step.optimizer.register_step_pre_hook(self._note_gradients)
        self.network.train()
        for number, batch in enumerate(rows, 1):
            epoch = int(number > self.settings["warmup_steps"])
            start_epoch(self.step.optimizer, self.run.schedule, epoch)
            self.rates.append([group["lr"] for group in self.step.optimizer.param_groups])
            self._draws = iter([self._draw(number, term) for term in ("data", "proxy")])
            before = self._backbone()
            loss, terms = self.step(images[batch], labels[batch], torch.Generator())
            self.lengths.append((self._backbone() - before).norm().item())
            self.losses.append([loss.item(), *(term.item() for term in terms.values())])
            if number in self.settings["snapshots"]:
                values = self.parameters().items()
                self.after[number] = {name: value.detach().clone() for name, value in values}
        return self

    def _backbone(self):
        return nn.utils.parameters_to_vector(self.network.backbone.parameters()).detach()

    def _load_start(self):
        start = {
            key.removeprefix("start/"): value
            for key, value in self.arrays.items()
            if key.startswith("start/")
        }
        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(start.pop(name))
            for name, buffer in self.network.named_buffers():
                buffer.copy_(start.pop(name))
        assert set(start) <= {"regularizer.proxies"}  # which have no gradient without a regulariser

    def _draw(self, number, term):
        at = f"step{number}/{term}"
        return tuple(self.arrays.get(f"{at}/{key}") for key in ("related", "ijk", "noise"))

    def _give_draws(self, monkeypatch):
        """In place of what the regulariser draws, what the file has; what it computes is compared."""
        now = {}

        def related(similarity, k):
            now["related"], now["ijk"], now["noise"] = next(self._draws)
            found = reciprocal_neighbours(similarity, k)
            if not torch.equal(found, now["related"]):
                self.others.append(len(self.losses) + 1)
            return found

        def gumbel(*_):
            rest = [now["noise"]]

            def following(n):
                block, rest[0] = rest[0][:n].clone(), rest[0][n:]
                return block

            return following

        monkeypatch.setattr(hier, "reciprocal_neighbours", related)
        monkeypatch.setattr(hier, "sample_triplets", lambda *_: tuple(now["ijk"]))
        monkeypatch.setattr(hier, "gumbel", gumbel)

        def clip_and_note(*given):
            norm = CLIP(*given)
            self.norms.append(norm.item())
            return norm

        monkeypatch.setattr(nn.utils, "clip_grad_norm_", clip_and_note)

    def _note_gradients(self, *_):
        if not self.gradients:
            self.gradients = {
                name: parameter.grad.clone()
                for name, parameter in self.parameters().items()
                if parameter.grad is not None
            }
