"""Runs of a few hundred drawn images through the real stages, with their records, to take models out of."""

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pandas as pd
from safetensors.numpy import load_file

from fakes.settings import write_settings
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.data.archive import unpack
from hier.jobs import job
from hier.ledger.record import recorded
from hier.pipeline import EMBEDDINGS, INDEX
from hier.stages import download, embed, evaluate, prepare, train, views

ROOT = Path(__file__).parents[2]
OF_DATASET, OF_RUN, MEASURED = (download, prepare), (train, embed), (evaluate, views)
# 64 species of seven images each, half of them to be tested.
DRAWN = [
    "suite=demo", "dataset.generate.images_per_class=7", "dataset.counts.images={train:224,test:224}",
    "schedule.epochs=0", "runtime.device=cpu", "dataset.store_size=60",
]  # fmt: skip


def make_run(*overrides, measured=True):
    """Do the jobs of a suite of one run in the current folder, of which some only measure; the run's name."""
    suite = compose([*DRAWN, *overrides], ROOT / "conf")
    settings = Settings.of(suite)
    write_settings(settings)
    for name in ("src", "conf"):
        if not Path(name).exists():
            Path(name).symlink_to(ROOT / name)
    ((name, run),) = suite.runs.items()
    for stages, key in ((OF_DATASET, run.dataset), (OF_RUN + MEASURED * measured, name)):
        for module in stages:
            this = job(module.__name__.rpartition(".")[2], key, settings)
            if not this.record.exists():
                Path(this.outputs[0]).parent.mkdir(parents=True, exist_ok=True)
                with recorded(this) as identity:
                    module.run(this, suite, identity)
    return name


def photos_and_embeddings(run):
    """The run's test images as files, in the order of its embeddings, and these (N×D)."""
    folder, archive = Path("photos"), Path("data/demo/archive/demo.tgz")
    if not folder.exists():
        unpack(archive, folder)
    kept = load_file(EMBEDDINGS.format(run=run))
    index = pd.read_parquet(INDEX.format(dataset="demo"))
    (top,) = folder.iterdir()
    return [top / image for image in index["image"].iloc[kept["row"]]], kept["embedding"]


def weights_override(path):
    """A file of weights as an override of the backbone's."""
    digest = sha256(path.read_bytes()).hexdigest()
    return f"backbone.weights={{file:'{path.name}',sha256:'{digest}',match:name}}"


def blocks(page, language="python"):
    """The blocks of code of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


# The build of torchvision may not be that of torch; of its own parts timm needs none.
WITHOUT_PROJECT = """
import sys, warnings
sys.modules["hier"] = None
import torch
torch.set_num_threads(1)
try:
    import torchvision
except RuntimeError:
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
"""


def run_without_project(code, folder):
    """What code prints in a process that cannot import the project, in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PROJECT + code],
        cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
