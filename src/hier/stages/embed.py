"""embed: the embeddings of a dataset's test images."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from hier.config.suite import Suite
from hier.data.index import rows_to_embed
from hier.evaluation.retrieval.embed import embed
from hier.files.atomic import atomic_file
from hier.jobs import Job
from hier.ledger.artifacts import read_images, read_tensors, reading
from hier.models.network import build_network
from hier.training.determinism import make_deterministic


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write runs/<run>/embeddings.safetensors: `embedding` float32 (N×D), `row` of the index int64 (N), and
    where they are asked for `features`, float32 (N×F)."""
    run = suite.run(job.key)
    index_path, store_path, model_path = map(Path, job.inputs)
    index, store = read_images(index_path, store_path)
    rows = rows_to_embed(index)
    device = make_deterministic(run.runtime)
    network = build_network(run.backbone, run.head, pretrained=False, drawn=False)
    tensors = read_tensors(model_path)
    with reading(model_path):
        network.load_state_dict(tensors)
    network = network.to(device)
    found = {"embedding": embed(network, store, rows, run, device), "row": torch.from_numpy(rows)}
    if run.embed.features:
        found["features"] = embed(network, store, rows, run, device, features=True)
    with atomic_file(Path(job.outputs[0])) as path:
        save_file(found, path)
