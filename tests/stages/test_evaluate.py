"""The stage evaluate on made-up embeddings, against brute force in plain Python."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from hier.config.compose import compose
from hier.config.settings import Settings
from hier.data.index import write_index
from hier.errors import DamagedInputError
from hier.evaluation.classes import by_class
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.jobs import job
from hier.results.measures import MEASURES, computed
from hier.stages import evaluate as stage
from hier.stages import views

CONF = Path(__file__).parents[2] / "conf"
KS = [1, 2, 5]
C = 0.1


@pytest.fixture(scope="module")
def suite():
    settings = [
        "methods=[untrained,pa,hier]",
        "dataset.ks=[1,2,5]",
        "dataset.levels=[class,kind]",
        "head.dim=4",
    ]
    return compose(["suite=smoke", "head.dim=4", *settings], CONF)


def run_of(suite, method):
    return next(run for run in suite.runs.values() if run.method == method)


def index_of(labels, splits, superclasses):
    texts = {
        "image": [f"{i}.png" for i in range(len(labels))],
        "class_name": [f"class {label}" for label in labels],
        "superclass": superclasses,
        "split": splits,
    }
    index = pd.DataFrame({name: pd.Series(text, dtype=object) for name, text in texts.items()})
    index.insert(1, "label", np.asarray(labels, np.int64))
    return index


@pytest.fixture
def data():
    """60 embeddings on the ball, 7 classes in 3 super-classes, some on the clip radius."""
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.arange(60) % 7)
    points = rng.normal(size=(60, 4)) + 0.8 * rng.normal(size=(7, 4))[labels]
    radius = rng.uniform(0.2, 2.3, size=60)
    radius[:15] = 2.3
    # exp0 of curvature −c at a tangent vector of norm r has norm tanh(√c·r)/√c
    norm = np.tanh(np.sqrt(C) * radius) / np.sqrt(C)
    points *= (norm / np.linalg.norm(points, axis=1))[:, None]
    return torch.from_numpy(points).float(), labels


def measured(points, index, run):
    """What metrics.json has of retrieval."""
    return computed(MEASURES, stage.Evaluation(run, KS, Retrieval(points, index, run)))


def poincare(x, y):
    gap, a, b = ((v * v).sum() for v in (x - y, x, y))
    return math.acosh(1 + 2 * C * gap / ((1 - C * a) * (1 - C * b)))


def cosine(x, y):
    return 1 - float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))


def brute_force(points, labels, queries, gallery, distance):
    """Recall at each of KS, and MAP@R, by sorting all distances."""
    points = points.double().numpy()
    hits, averages = dict.fromkeys(KS, 0), []
    for q in queries:
        near = sorted((distance(points[q], points[g]), g) for g in gallery if g != q)
        right = [labels[g] == labels[q] for _, g in near]
        for k in KS:
            hits[k] += any(right[:k])
        r = sum(right)
        if r:
            found = np.cumsum(right[:r])
            averages.append(sum(found[i] / (i + 1) for i in range(r) if right[i]) / r)
    return {str(k): hits[k] / len(queries) for k in KS}, sum(averages) / max(1, len(averages))


@pytest.mark.parametrize(("method", "distance"), [("hier", poincare), ("pa", cosine)])
def test_each_test_image_searches_all_others(suite, data, method, distance):
    points, labels = data
    index = index_of(labels, ["test"] * 60, labels % 3)
    metrics = measured(points, index, run_of(suite, method))
    recall, map_at_r = brute_force(points, labels, range(60), range(60), distance)
    coarse, _ = brute_force(points, labels % 3, range(60), range(60), distance)
    assert metrics["recall"] == recall
    assert metrics["superclass_recall"] == coarse
    assert metrics["map_at_r"] == pytest.approx(map_at_r, rel=1e-12)
    assert (metrics["queries"], metrics["gallery"]) == (60, 60)
    assert metrics["clip_share"] == 0.25
    assert 0 < recall["1"] < recall["5"] < 1  # the made-up data decides something


def test_the_two_metrics_are_not_the_same_on_this_data(suite, data):
    points, labels = data
    index = index_of(labels, ["test"] * 60, labels % 3)
    both = [measured(points, index, run_of(suite, m)) for m in ("hier", "pa")]
    assert both[0]["map_at_r"] != both[1]["map_at_r"]


@pytest.mark.parametrize(("method", "distance"), [("hier", poincare), ("pa", cosine)])
def test_queries_search_the_gallery_and_nothing_else(suite, data, method, distance):
    points, labels = data
    split = np.where(np.random.default_rng(0).random(60) < 0.4, "query", "gallery")
    index = index_of(labels, split, labels % 3)
    metrics = measured(points, index, run_of(suite, method))
    queries, gallery = np.flatnonzero(split == "query"), np.flatnonzero(split == "gallery")
    recall, map_at_r = brute_force(points, labels, queries, gallery, distance)
    coarse, _ = brute_force(points, labels % 3, queries, gallery, distance)
    assert metrics["recall"] == recall
    assert metrics["superclass_recall"] == coarse
    assert metrics["map_at_r"] == pytest.approx(map_at_r, rel=1e-12)
    assert (metrics["queries"], metrics["gallery"]) == (len(queries), len(gallery))


def test_each_class_adds_what_its_queries_have(suite, data):
    """A gallery without two of the classes: their queries are misses in R@1, and have no MAP@R."""
    points, labels = data
    split = np.where(np.random.default_rng(1).random(60) < 0.5, "query", "gallery")
    split[labels < 2] = "query"
    index = index_of(labels, split, labels % 3)
    queries, gallery = np.flatnonzero(split == "query"), np.flatnonzero(split == "gallery")
    names = {"recall": "R@1", "superclass_recall": "super-class R@1", "map_at_r": "MAP@R"}

    def expected(own):
        return {
            label: brute_force(points, own, queries[labels[queries] == label], gallery, cosine)
            for label in range(7)
            if label in labels[queries]
        }

    run = run_of(suite, "pa")
    found = by_class(Retrieval(points, index, run), names).set_index(["measure", "label"])["value"]
    of_class = {label: of for label, of in expected(labels).items() if label > 1}
    assert found["R@1"].to_dict() == pytest.approx(
        {0: 0.0, 1: 0.0} | {label: 100 * recall["1"] for label, (recall, _) in of_class.items()}
    )
    assert found["MAP@R"].to_dict() == pytest.approx({label: 100 * m for label, (_, m) in of_class.items()})
    coarse = {label: 100 * recall["1"] for label, (recall, _) in expected(labels % 3).items()}
    assert found["super-class R@1"].to_dict() == pytest.approx(coarse)
    leaves_out = run.evaluate.model_copy(update={"unmatched": "leave_out"})
    table = by_class(Retrieval(points, index, run.model_copy(update={"evaluate": leaves_out})), names)
    assert table.loc[table["measure"] == "R@1", "label"].tolist() == [*of_class]


@pytest.mark.parametrize("superclasses", [[None] * 60, [None] + ["fruit"] * 59])
def test_without_a_super_class_for_all_there_is_no_super_class_recall(suite, data, superclasses):
    points, labels = data
    index = index_of(labels, ["test"] * 60, superclasses)
    metrics = measured(points, index, run_of(suite, "hier"))
    assert "superclass_recall" not in metrics
    assert set(metrics) == {
        "recall", "map_at_r", "clip_share", "queries", "queries_without_match", "gallery",
    }  # fmt: skip


def test_a_network_without_a_head_has_no_clip_share(suite, data):
    points, labels = data
    run = run_of(suite, "untrained")
    headless = run.model_copy(update={"head": None})
    index = index_of(labels, ["test"] * 60, labels % 3)
    assert "clip_share" in measured(points, index, run)
    assert "clip_share" not in measured(points, index, headless)


LOOKED = """epoch,loss,metric,rate,test R@1,test R@2,test R@5
1,3.5,3.5,1.0,0.25,0.5,0.75
2,2.5,2.5,1.0,,,
3,2.25,2.25,1.0,0.3125,0.5,1.0
4,2.0,2.0,1.0,0.3125,0.75,0.875
"""


@pytest.fixture
def prepared(suite, data, tmp_path, monkeypatch):
    """What `evaluate` reads, in the current folder: the job, the rows that were embedded, and files'
    tensors by path."""
    monkeypatch.chdir(tmp_path)
    points, labels = data
    run = run_of(suite, "hier")
    # 10 training images stand among the 60 that were embedded.
    rows = np.sort(np.random.default_rng(1).permutation(70)[:60])
    every = np.full(70, 99)
    every[rows] = labels
    split = np.full(70, "train", dtype=object)
    split[rows] = "test"
    index = index_of(every, split, [f"kind {label % 3}" for label in every])
    for column in ("height", "width"):
        index[column] = np.ones(70, np.int32)
    index["offset"] = np.arange(70, dtype=np.int64) * 3
    work = job("evaluate", run.name, Settings.of(suite))
    write_index(index, Path(work.inputs[0]))
    Path(work.inputs[1]).parent.mkdir(parents=True)
    Path(work.inputs[2]).write_text("epoch,loss,rate\n")
    proxies = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    tensors = {
        work.inputs[1]: {"embedding": points, "row": torch.from_numpy(rows)},
        work.inputs[3]: {
            "regularizer.proxies": proxies,
            "metric.loss.proxies": proxies[:3].clone(),
        },
    }
    for path, content in tensors.items():
        save_file(content, path)
    return work, rows, tensors


def run_stage(work, suite, stage=stage):
    threads = torch.get_num_threads()
    try:
        stage.run(work, suite, "content_key")
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("history", "best"),
    [
        ("epoch,loss,rate\n", None),
        ("epoch,loss,metric,rate\n1,3.5,3.5,1.0\n", None),
        (LOOKED, {"epoch": 3, "recall": {"1": 0.3125, "2": 0.5, "5": 1.0}}),
    ],
    ids=["not trained", "not looked at", "looked at"],
)
def test_the_stage_takes_the_rows_that_were_embedded(suite, prepared, data, history, best):
    points, labels = data
    work, _, _ = prepared
    Path(work.inputs[2]).write_text(history)
    run_stage(work, suite)
    output, classes = work.outputs
    metrics = json.loads(Path(output).read_text())
    recall, map_at_r = brute_force(points, labels, range(60), range(60), poincare)
    assert metrics["recall"] == recall
    assert metrics["map_at_r"] == pytest.approx(map_at_r, rel=1e-12)
    assert metrics.get("best_on_test") == best  # beside the result, which it does not touch
    assert metrics["hierarchy"]["images"] == 60
    assert set(metrics["hierarchy"]) == {
        "images", "levels", "proxies", "nearest_proxies", "groups", "clustering", "clustering_cut",
    }  # fmt: skip
    table = pd.read_csv(classes)
    assert list(table) == ["label", "measure", "queries", "value"]
    for measure, value in ("R@1", recall["1"]), ("MAP@R", map_at_r):
        of = table[table["measure"] == measure]
        assert of["queries"].tolist() == np.bincount(labels).tolist()
        assert np.average(of["value"], weights=of["queries"]) == pytest.approx(100 * value, abs=1e-3)
    assert [path.name for path in Path(output).parent.glob(".*")] == []


def test_the_views_are_of_the_rows_that_were_embedded(suite, prepared):
    work, rows, _ = prepared
    work = job("views", work.key, work.settings)
    run_stage(work, suite, views)
    seen = json.loads(Path(work.outputs[0]).read_text())
    assert sorted(seen["samples"]["row"]) == rows.tolist()  # rows of the index, not positions
    assert seen["tree"]["kind"] == "proxies"


@pytest.mark.parametrize(
    ("at", "change", "reason"),
    [
        (
            1,
            lambda t: {**t, "embedding": t["embedding"] * math.nan},
            "embedding holds NaN or infinity",
        ),
        (1, lambda t: {**t, "embedding": t["embedding"] / 0}, "embedding holds NaN or infinity"),
        (
            1,
            lambda t: {k: v[:3].clone() for k, v in t.items()},
            "its rows are not those of the index",
        ),
        (1, lambda t: {**t, "row": t["row"] + 1}, "its rows are not those of the index"),
        (
            1,
            lambda t: {**t, "row": t["row"].float()[:, None]},
            "its rows are not those of the index",
        ),
        (1, lambda t: {"row": t["row"]}, "embedding should be float32 60 × 4, is missing"),
        (1, lambda t: {"x": t["row"]}, "its rows are not those of the index"),
        (
            1,
            lambda t: {**t, "embedding": t["embedding"][:, :3].clone()},
            "embedding should be float32 60 × 4, is float32 60 × 3",
        ),
        (
            1,
            lambda t: {**t, "embedding": t["embedding"].int()},
            "embedding should be float32 60 × 4, is int32 60 × 4",
        ),
        (3, lambda t: {k: v * math.nan for k, v in t.items()}, "holds NaN or infinity"),
        (3, lambda t: {}, "regularizer.proxies should be float32 8 × 4, is missing"),
        (
            3,
            lambda t: {k: v[:2].clone() for k, v in t.items()},
            "regularizer.proxies should be float32 8 × 4, is float32 2 × 4",
        ),
    ],
)
@pytest.mark.parametrize("made_by", [stage, views], ids=["evaluate", "views"])
def test_tensors_of_something_else_are_refused(suite, prepared, made_by, at, change, reason):
    work, _, tensors = prepared
    path = work.inputs[at]
    save_file(change(tensors[path]), path)
    work = job(made_by.__name__.rpartition(".")[2], work.key, work.settings)
    with pytest.raises(DamagedInputError) as caught:
        run_stage(work, suite, made_by)
    said = str(caught.value)
    assert said.startswith(f"{path} is damaged (")
    assert reason in said
    assert said.endswith(f"make it anew with: hier {'embed' if at == 1 else 'train'} {work.key}")
    assert not any(Path(path).exists() for path in work.outputs)
