"""Everything but images and search, at the size of the paper's largest dataset."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.config.run import Sampler
from hier.data.sampling import epoch_batches
from hier.seeding import numpy_generator

CONF = Path(__file__).parents[2] / "conf/dataset"

PROGRAM = """
    import json, sys
    from pathlib import Path

    import numpy as np
    import pandas as pd
    import yaml

    from hier.ledger.environment import peak_memory
    from hier.config.dataset import Dataset
    from hier.config.run import Sampler
    from hier.data.index import check_index, read_index, write_index
    from hier.data.sampling import epoch_batches

    def side(images, classes, first):
        more = np.random.default_rng(0).integers(0, classes, images - 2 * classes)
        return first + np.concatenate([np.repeat(np.arange(classes), 2), more])

    path = Path(sys.argv[2])
    sop = Dataset.model_validate(yaml.safe_load(Path(sys.argv[1]).read_text("utf-8")))
    labels = np.concatenate([side(59551, 11318, 0), side(60502, 11316, 11318)])
    text = {
        "image": [f"kind_{c % 12}_final/{c}_{i}.JPG" for i, c in enumerate(labels.tolist())],
        "label": labels,
        "class_name": [f"{111085122871 + c}" for c in labels.tolist()],
        "superclass": [f"kind_{c % 12}" for c in labels.tolist()],
        "split": ["train"] * 59551 + ["test"] * 60502,
    }
    table = pd.DataFrame({k: v if k == "label" else pd.Series(v, dtype=object)
                          for k, v in text.items()})
    check_index(table, sop)
    size = np.full(len(table), 512, dtype=np.int32)
    offset = np.arange(len(table)) * 512 * 512 * 3
    write_index(table.assign(height=size, width=size, offset=offset), path)
    index = read_index(path)
    train = index.loc[index["split"] == "train", "label"].to_numpy()
    batches = epoch_batches(train, Sampler(batch_size=180, images_per_class=2), 0, 0)
    part = index.iloc[np.flatnonzero(index["split"] != "train")]
    split = part["split"].to_numpy()
    query, gallery = split != "gallery", split != "query"
    assert part["superclass"].notna().all()
    kinds = pd.factorize(part["superclass"])[0]
    sizes = np.bincount(part["label"].to_numpy()[gallery])
    print(json.dumps({
        "rows": len(index),
        "batches": batches.shape,
        "queries": int(query.sum()),
        "kinds": int(kinds.max()) + 1,
        "classes": int((sizes > 0).sum()),
        "peak_mb": peak_memory()["process_bytes"] >> 20,
    }))
"""


def test_an_index_of_the_size_of_sop(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), CONF / "sop.yaml", tmp_path / "index"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    found = json.loads(run.stdout)
    assert found["rows"] == 120053
    assert found["batches"] == [330, 180]
    assert (found["queries"], found["kinds"], found["classes"]) == (60502, 12, 11316)
    assert found["peak_mb"] < 2000


def plain_epoch_batches(labels, sampler, seed, epoch):
    """`epoch_batches` as it was first written, which looks through all labels for each class."""
    n, size = sampler.images_per_class, sampler.batch_size
    classes = np.unique(labels)
    rng = numpy_generator(seed, "sampling", epoch)
    steps = len(labels) // size
    members = [np.flatnonzero(labels == c) for c in classes]
    drawn = np.concatenate([rng.permutation(len(classes))[: size // n] for _ in range(steps)])
    rows = np.empty((len(drawn), n), dtype=np.int64)
    for c in range(len(classes)):
        visits = np.flatnonzero(drawn == c)
        length, items = len(visits) * n, members[c]
        rounds = [rng.permutation(items) for _ in range(-(-length // len(items)))] or [items]
        rows[visits] = np.concatenate(rounds)[:length].reshape(-1, n)
    return rows.reshape(steps, size)


@settings(deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=40),
    n=st.integers(1, 4),
    per_batch=st.integers(2, 3),
    step=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 100),
)
def test_batches_are_those_of_the_plain_form(sizes, n, per_batch, step, seed, epoch):
    labels = np.repeat(np.arange(len(sizes)) * step, sizes)
    labels = np.random.default_rng(seed).permutation(np.concatenate([labels, np.zeros(12, int)]))
    sampler = Sampler(batch_size=n * per_batch, images_per_class=n)
    batches = epoch_batches(labels, sampler, seed, epoch)
    assert batches.dtype == np.int64
    np.testing.assert_array_equal(batches, plain_epoch_batches(labels, sampler, seed, epoch))
