"""Composition: what every suite gives, what overrides do, and one line for whatever is wrong."""

import re
import shlex
import shutil
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fakes.settings import write_settings
from hier.config.compose import compose
from hier.config.run import Run
from hier.config.settings import PARAMS, Settings
from hier.errors import ConfigError, UnknownNameError

CONF = Path(__file__).parents[2] / "conf"
SUITES = sorted(path.stem for path in (CONF / "suite").glob("*.yaml"))
# Those of few runs; test_table1.py has the large ones, which take seconds each.
SMALL = [
    name
    for name in SUITES
    if not name.startswith(
        ("table1", "smoke-table1", "ablation", "tuning", "study", "factors", "rim", "rates")
    )
]
COMPARED = ("cars_half", "demo", "grocery", "omniglot", "smoke")  # with every method in each block
HIER = "smoke-hier-test_resnet-16-s0"
PA = "smoke-pa-test_resnet-16-s0"


@pytest.fixture(scope="module")
def composed():
    return {name: compose([f"suite={name}"], CONF) for name in SMALL}


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A copy of conf/ in the current folder; yields a function that replaces text in a file."""
    shutil.copytree(CONF, tmp_path / "conf")
    monkeypatch.chdir(tmp_path)

    def edit(file, old, new):
        path = tmp_path / "conf" / file
        text = path.read_text()
        assert old in text, f"{file} no longer holds {old!r}"
        path.write_text(new if old == "" else text.replace(old, new, 1))

    return edit


def smoke(*overrides):
    return compose(["suite=smoke", *overrides], CONF)


def read(path):
    return yaml.safe_load((CONF / path).read_text())


def listed(value):
    return value if isinstance(value, list) else [value]


# --- what suites give ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_suite_has_the_runs_of_its_matrix_under_the_agreed_names(name, composed):
    names = []
    for block in read(f"suite/{name}.yaml")["matrix"]:
        axes = [listed(block[key]) for key in ("dataset", "backbone")] + [listed(block.get("dim"))]
        for dataset, backbone, dim in product(*axes):
            features = read(f"backbone/{backbone}.yaml")["features"]
            for method in block["methods"]:
                length = features if method == "pretrained" else dim
                names += [f"{dataset}-{method}-{backbone}-{length}-s{seed}" for seed in block["seeds"]]
    suite = composed[name]
    assert suite.suite == name
    assert list(suite.runs) == names
    assert [run.name for run in suite.runs.values()] == names
    assert set(suite.datasets) == {entry.split("-")[0] for entry in names}


def test_the_demo_suite_is_spelt_out(composed):
    assert list(composed["demo"].runs) == [
        f"demo-{method}-test_resnet-64-s0" for method in ("untrained", "pa", "ms", "hyp", "hier")
    ]
    run = composed["demo"].runs["demo-hier-test_resnet-64-s0"]
    assert run.regularizer.model_dump() == {
        "name": "hier", "weight": 0.5, "proxies": 64, "neighbours": 20, "triplets_per_anchor": 50,
        "temperature": 0.1, "margin": 0.1, "geometry": "poincare", "proxy_term": True,
    }  # fmt: skip
    assert run.loss.model_dump() == {"name": "pa", "margin": 0.1, "alpha": 32.0}
    assert run.head.model_dump() == {
        "dim": 64, "curvature": 0.1, "clip_radius": 2.3, "norm": "layer_norm", "riemannian": True,
        "scale": 1.0, "learns_scale": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_hier_and_pa_differ_in_nothing_but_the_regularizer_and_the_metric(name, composed):
    runs = composed[name].runs
    pairs = [
        (run, runs[key.replace("-hier-", "-pa-")])
        for key, run in runs.items()
        if "-hier-" in key and key.replace("-hier-", "-pa-") in runs
    ]
    assert pairs or not name.startswith(COMPARED)
    for hier, pa in pairs:
        a, b = hier.model_dump(), pa.model_dump()
        assert {key for key in a if a[key] != b[key]} == {"method", "regularizer", "evaluate"}
        alike = {"unmatched": "count_as_misses"}
        assert a["evaluate"] == {"metric": "poincare"} | alike
        assert b["evaluate"] == {"metric": "cosine"} | alike
        assert b["regularizer"] == {"name": "none"}


@pytest.mark.parametrize("name", SMALL)
def test_rendered_text_loads_as_the_same_suite_and_comes_out_the_same_twice(name, composed, tmp_path):
    settings = Settings.of(composed[name])
    write_settings(settings, tmp_path)
    read = Settings.read(tmp_path / PARAMS).suite(name)
    assert read == composed[name]
    written = settings.texts()
    assert Settings.of(read).texts() == written
    assert Settings.of(compose([f"suite={name}"], CONF)).texts() == written
    assert all(text.startswith("# Written by `hier compose`; do") for text in written.values())


# --- overrides -----------------------------------------------------------------------------------


def test_without_overrides_the_suite_is_demo(composed):
    assert compose([], CONF) == composed["demo"]


def test_axes_of_the_matrix():
    suite = smoke("methods=[pa,hier]", "seeds=[3,1]", "dim=8")
    assert list(suite.runs) == [
        f"smoke-{method}-test_resnet-8-s{seed}" for method in ("pa", "hier") for seed in (3, 1)
    ]
    suite = smoke("methods=pa", "dataset=demo", "backbone=efficientnet_lite0", "recipe=omniglot")
    (run,) = suite.runs.values()
    assert run.name == "demo-pa-efficientnet_lite0-16-s0"
    assert list(suite.datasets) == ["demo"]
    assert run.optimizer.lr == 2e-3


def test_a_setting_reaches_every_run_that_has_its_key():
    suite = smoke("methods=[pa,hier]", "optimizer.lr=0.25", "regularizer.weight=0.75")
    assert [run.optimizer.lr for run in suite.runs.values()] == [0.25, 0.25]
    assert suite.runs[HIER].regularizer.weight == 0.75
    assert suite.runs[PA].regularizer.model_dump() == {"name": "none"}


def test_an_override_holds_for_the_runs_that_it_fits_and_the_others_are_named():
    said = []
    suite = compose(["suite=demo", "schedule.epochs=3", "schedule.warmup_epochs=1"], CONF, said.append)
    assert {run.method: (run.schedule.epochs, run.schedule.warmup_epochs) for run in suite.runs.values()} == {
        "untrained": (0, 0), "pa": (3, 1), "ms": (3, 1), "hyp": (3, 1), "hier": (3, 1),
    }  # fmt: skip
    untrained = "demo-untrained-test_resnet-64-s0"
    assert said == [
        f"note: 'schedule.epochs=3' does not fit {untrained}, which stays as it is: "
        "schedule.epochs is 3, but loss is none",
        f"note: 'schedule.warmup_epochs=1' does not fit {untrained}, which stays as it is: "
        "schedule: warmup_epochs 1 exceeds epochs 0",
    ]


def test_of_many_runs_that_an_override_does_not_fit_one_is_named():
    said = []
    compose(["suite=demo", "seeds=[0,1,2]", "schedule.epochs=3"], CONF, said.append)
    assert said == [
        "note: 'schedule.epochs=3' does not fit demo-untrained-test_resnet-64-s0 and 2 more, which "
        "stay as they are: schedule.epochs is 3, but loss is none"
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["methods=[untrained]", "schedule.epochs=3"],
            "runs.demo-untrained-test_resnet-64-s0: schedule.epochs is 3, but loss is none",
        ),
        (
            ["runs.*-untrained-*.schedule.epochs=3"],
            "runs.demo-untrained-test_resnet-64-s0: schedule.epochs is 3, but loss is none",
        ),
        (
            ["methods=[pa,hier]", "sampler.batch_size=32", "regularizer.neighbours=40"],
            "runs.demo-hier-test_resnet-64-s0: regularizer.neighbours 40 must be below sampler.batch_size 32",
        ),
    ],
    ids=["no run", "the runs that are named", "each alone, but not together"],
)
def test_what_fits_no_run_is_an_error(overrides, message):
    said = []
    with pytest.raises(ConfigError) as caught:
        compose(["suite=demo", *overrides], CONF, said.append)
    assert str(caught.value) == f"hier compose: {message}"
    assert said == []


def test_a_pattern_reaches_the_runs_that_it_matches():
    suite = smoke("methods=[pa,hier]", "runs.smoke-pa-*.optimizer.lr=0.25")
    assert suite.runs[PA].optimizer.lr == 0.25
    assert suite.runs[HIER] == smoke("methods=hier").runs[HIER]


def test_of_two_settings_the_later_holds():
    suite = smoke("methods=[pa,hier]", "schedule.epochs=7", f"runs.{PA}.schedule.epochs=9")
    assert {name: run.schedule.epochs for name, run in suite.runs.items()} == {PA: 9, HIER: 7}


def test_a_dimension_set_as_a_setting_renames_the_run():
    assert list(smoke("methods=hier", "head.dim=8").runs) == ["smoke-hier-test_resnet-8-s0"]


def readme(start):
    """The words of a command that the docs give."""
    text = (CONF.parent / "docs" / "table1.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"`({re.escape(start)}[^`]*)`", text)
    return shlex.split(line)


def test_a_tiny_part_as_the_readme_has_it():
    command = readme("hier compose suite=grocery 'dataset.subset")
    assert command[:2] == ["hier", "compose"]
    suite = compose(command[2:], CONF)
    assert suite.datasets["grocery"].subset.model_dump() == {"classes": 8, "images": 4}
    assert {run.sampler.batch_size for run in suite.runs.values()} == {32}


PART = "dataset.subset={classes:4,images:4}"


@pytest.mark.parametrize(
    "overrides",
    [
        [PART],
        [f"runs.smoke-*.{PART}"],
        ["methods=pa", f"runs.{PA}.{PART}"],
        ["dataset.subset.classes=4", "dataset.subset.images=4"],
    ],
)
def test_a_setting_that_the_file_leaves_at_its_default(overrides):
    assert smoke(*overrides).datasets["smoke"].subset.model_dump() == {"classes": 4, "images": 4}


def test_every_key_of_the_schema_can_be_set():
    suite = smoke(
        "dataset.mirrors=[/somewhere]", "dataset.exclude=[a.jpg]", "dataset.by_hand=Ask",
        "dataset.limits={files:9,bytes:99}", "optimizer.clip_norm=1.0", "runtime.tf32=true",
        "head.norm=none", "regularizer.proxy_term=false", "backbone.pooling=avg+max",
    )  # fmt: skip
    dataset = suite.datasets["smoke"]
    assert (dataset.mirrors, dataset.exclude, dataset.by_hand) == (["/somewhere"], ["a.jpg"], "Ask")
    assert dataset.limits.bytes == 99
    run = suite.runs[HIER]
    assert run.head.norm == "none"
    assert (run.optimizer.clip_norm, run.runtime.tf32, run.backbone.pooling) == (
        1.0,
        True,
        "avg+max",
    )
    assert run.regularizer.proxy_term is False
    assert suite.runs[PA].regularizer.model_dump() == {"name": "none"}


def test_a_group_that_is_null_has_no_keys():
    suite = compose(["suite=grocery", "methods=[pretrained,pa]", "head.dim=32"], CONF)
    assert [run.dim for run in suite.runs.values()] == [1280, 32]


# --- wrong overrides -----------------------------------------------------------------------------


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_code == 2
    return text


DATASETS = ", ".join(sorted(path.stem for path in (CONF / "dataset").glob("*.yaml")))
BACKBONES = ", ".join(sorted(path.stem for path in (CONF / "backbone").glob("*.yaml")))
RECIPES = ", ".join(sorted(path.stem for path in (CONF / "recipe").glob("*.yaml")))
LOSSES = ["hyp", "hyp_sphere", "ms", "nsoftmax", "pa", "pnca", "pnca_hier", "softtriple", "xbm"]
REGULARISED = ["hier", *(f"hier_{name}" for name in LOSSES if name != "pa")]
METHODS = ", ".join(sorted([*LOSSES, *REGULARISED, "pretrained", "untrained"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("suite=nope", f"unknown suite 'nope'; choose from: {', '.join(SUITES)}"),
        ("suite=../config", f"unknown suite '../config'; choose from: {', '.join(SUITES)}"),
        ("dataset=nope", f"unknown dataset 'nope'; choose from: {DATASETS}"),
        ("backbone=nope", f"unknown backbone 'nope'; choose from: {BACKBONES}"),
        ("recipe=nope", f"unknown recipe 'nope'; choose from: {RECIPES}"),
        (
            "methods=[pa,nope]",
            "unknown method of suite smoke: 'nope'; choose from: untrained, pa, ms, hyp, hier",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_valid_ones(override, message):
    with pytest.raises(UnknownNameError) as caught:
        smoke(override)
    assert one_line(caught) == message


RUN = f"hier compose: runs.{HIER}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # keys
        ("optimizer.learning_rate=1.0", "'optimizer.learning_rate=1.0': no run of suite smoke has"),
        ("regularizer.wieght=1.0", "'regularizer.wieght=1.0': no run of suite smoke has"),
        ("optimiser.lr=1.0", "'optimiser.lr=1.0': no run of suite smoke has"),
        ("optimizer.lr.x=1.0", "'optimizer.lr.x=1.0': no run of suite smoke has"),
        ("+optimizer.lr=1.0", "'+optimizer.lr=1.0': no run of suite smoke has"),
        ("runs.smoke-ms-*.optimizer.lr=1.0", "'runs.smoke-ms-*.optimizer.lr=1.0': no run of"),
        ("runs.smoke-*.optimizer.rate=1.0", "'runs.smoke-*.optimizer.rate=1.0': no run of"),
        ("loss.beta=1.0", "'loss.beta=1.0': no run of suite smoke has"),
        ("method=pa", "'method=pa': no run of suite smoke has"),
        ("dataset=pa.x", "unknown dataset 'pa.x'"),
        ("dataset.subset.x.y=1", "'dataset.subset.x.y=1': no run of suite smoke has"),
        ("dataset.limits.files.x=1", "'dataset.limits.files.x=1': no run of suite smoke has"),
        ("optimiser.lr=1.0", "such a key; did you mean optimizer.lr?"),
        ("regularizer.wieght=1.0", "such a key; did you mean regularizer.weight?"),
        ("runs.*.dataset.subsett=1", "such a key; did you mean dataset.subset?"),
        ("optimizer.learning_rate=1.0", "no run of suite smoke has such a key"),
        ("dataset.subset=3", "datasets.smoke.subset: Input should be a valid dictionary"),
        ("dataset.subset={classes:4}", "datasets.smoke.subset.images: is missing"),
        # form
        ("optimizer.lr", "override 'optimizer.lr' is not of the form key=value"),
        ("", "override '' is not of the form key=value"),
        ("~optimizer", "override '~optimizer' is not of the form key=value"),
        ("optimizer.lr=[0.1", "override 'optimizer.lr=[0.1'"),
        ("optimizer.lr='0.1", "override 'optimizer.lr='0.1'"),
        ("seeds=[0", "override 'seeds=[0'"),
        # types
        ("optimizer.lr=fast", f"{RUN}.optimizer.lr: Input should be a valid number (given: 'fast'"),
        ("optimizer.lr='0.1'", f"{RUN}.optimizer.lr: Input should be a valid number"),
        ("optimizer.lr=true", f"{RUN}.optimizer.lr: Input should be a valid number (given: True"),
        ("optimizer.lr=", f"{RUN}.optimizer.lr: Input should be a valid number (given: ''"),
        ("schedule.epochs=1.5", f"{RUN}.schedule.epochs: Input should be a valid integer"),
        ("schedule.epochs=null", f"{RUN}.schedule.epochs: Input should be a valid integer"),
        ("augmentation.scale=0.5", f"{RUN}.augmentation.scale: Input should be a valid list"),
        ("backbone.batch_norm=on", f"{RUN}.backbone.batch_norm: Input should be"),
        ("optimizer.multipliers=1.0", "optimizer.multipliers is a group of settings, give one"),
        ("loss=hyp", "loss is a group of settings, give one of them as loss.<setting>=value"),
        ("seeds=[a]", "runs.smoke-hier-test_resnet-16-sa.seed: Input should be a valid integer"),
        ("dim=1.5", "conf/suite/smoke.yaml: matrix.0.dim.int: Input should be a valid integer"),
        # ranges
        ("dim=0", "runs.smoke-hier-test_resnet-0-s0.head.dim: Input should be greater than 0"),
        ("dim=-4", "runs.smoke-hier-test_resnet--4-s0.head.dim: Input should be greater than 0"),
        ("head.dim=0", "head.dim: Input should be greater than 0 (given: 0)"),
        ("seeds=-1", "s-1.seed: Input should be greater than or equal to 0 (given: -1)"),
        ("head.curvature=-0.1", f"{RUN}.head.curvature: Input should be greater than or equal to"),
        ("head.curvature=nan", f"{RUN}.head.curvature: Input should be a finite number"),
        ("head.clip_radius=0", f"{RUN}.head.clip_radius: Input should be greater than 0"),
        ("optimizer.lr=-0.1", f"{RUN}.optimizer.lr: Input should be greater than 0 (given: -0.1)"),
        ("optimizer.lr=0", f"{RUN}.optimizer.lr: Input should be greater than 0 (given: 0)"),
        ("optimizer.lr=nan", f"{RUN}.optimizer.lr: Input should be a finite number (given: nan)"),
        ("optimizer.lr=inf", f"{RUN}.optimizer.lr: Input should be a finite number (given: inf)"),
        ("regularizer.margin=nan", f"{RUN}.regularizer.margin: Input should be a finite number"),
        ("regularizer.neighbours=1", f"{RUN}.regularizer.neighbours: Input should be greater"),
        ("augmentation.scale=[0.5,1.5]", f"{RUN}.augmentation.scale.1: Input should be less than"),
        ("augmentation.scale=[0.0,1.0]", f"{RUN}.augmentation.scale.0: Input should be greater"),
        ("augmentation.flip=1.5", f"{RUN}.augmentation.flip: Input should be less than or equal"),
        ("sampler.batch_size=1", f"{RUN}.sampler.batch_size: Input should be greater than or"),
        ("schedule.epochs=-1", f"{RUN}.schedule.epochs: Input should be greater than or equal"),
        ("schedule.name=cosine", f"{RUN}.schedule.name: Input should be 'constant' or 'step'"),
        ("evaluate.metric=l2", f"{RUN}.evaluate.metric: Input should be 'poincare' or 'cosine'"),
        ("runtime.device=tpu", f"{RUN}.runtime.device: Input should be 'auto', 'cpu' or 'cuda'"),
        ("runtime.threads=0", f"{RUN}.runtime.threads: Input should be greater than 0"),
        ("backbone.name=a/b", "backbone.name: String should match pattern"),
        ("dataset.ks=[0]", "hier compose: datasets.smoke.ks.0: Input should be greater than 0"),
        ("dataset.ks=[]", "hier compose: datasets.smoke.ks: List should have at least 1 item"),
        ("dataset.generate=null", "datasets.smoke: dataset smoke: give either generate or sources"),
        # settings that do not go together
        (
            "regularizer.neighbours=8",
            f"{RUN}: regularizer.neighbours 8 must be below sampler.batch_size 8",
        ),
        (
            "regularizer.proxies=4",
            f"{RUN}: regularizer.neighbours 4 must be below regularizer.proxies 4",
        ),
        (
            "dataset.subset={classes:2,images:4}",
            f"run {HIER}: sampler.batch_size 8 with sampler.images_per_class 2 needs 8 images of "
            "4 classes, dataset.subset has 8 of 2; make it larger, or give sampler.batch_size=4",
        ),
        (
            "dataset.subset={classes:3,images:2}",
            "dataset.subset has 6 of 3; make it larger, or give sampler.batch_size=6",
        ),
        (
            "sampler.images_per_class=3",
            f"{RUN}.sampler: sampler.images_per_class 3 does not divide sampler.batch_size 8",
        ),
        (
            "head.curvature=0",
            f"{RUN}: regularizer.geometry poincare does not go with head.curvature 0.0",
        ),
        ("head=null", "the HIER regularizer needs a head"),
        ("embed.crop=33", f"{RUN}: embed.crop 33 exceeds embed.resize 32"),
        # nothing left
        ("methods=[]", "override 'methods=[]' leaves no runs"),
    ],
)
def test_a_wrong_override_is_one_line(override, message):
    with pytest.raises(ConfigError) as caught:
        smoke(*(["methods=hier"] if "methods" not in override else []), override)
    assert message in one_line(caught)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["methods=hyp", "sampler.images_per_class=1"],
            "smoke-hyp-test_resnet-16-s0: loss hyp needs sampler.images_per_class of at least 2",
        ),
        (
            ["methods=hyp", "head.curvature=0"],
            "smoke-hyp-test_resnet-16-s0: evaluate.metric poincare needs a head with head.curvat",
        ),
        (
            ["methods=untrained", "schedule.epochs=1"],
            "smoke-untrained-test_resnet-16-s0: schedule.epochs is 1, but loss is none",
        ),
        (["methods=[pa,ms]", "optimizer.lr=-1.0"], "(given: -1.0); and 1 more"),
    ],
)
def test_settings_that_other_methods_do_not_bear(overrides, message):
    with pytest.raises(ConfigError) as caught:
        smoke(*overrides)
    assert message in one_line(caught)


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        # an upper bound below the lower one
        (["augmentation.scale=[1.0,0.5]"], "augmentation.scale"),
        (["augmentation.ratio=[2.0,0.5]"], "augmentation.ratio"),
        # a division by zero on every image
        (["backbone.std=[0.0,0.5,0.5]"], "backbone.std"),
        # a group where a setting is wanted, and the other way round
        (["head=3"], "head"),
        (["runs.*.backbone=x"], "backbone"),
        (["runs.*.dataset=3"], "dataset"),
        (["head={a: 1}"], "head.dim: is missing"),
        (["runs.*.dataset=null"], "dataset"),
        (["runs.*.dataset={a: 1}"], "dataset"),
        (["runs.*.backbone=null"], "backbone"),
        (["runs.*.backbone={}"], "backbone"),
        # interpolation of nothing
        (["optimizer.lr=${nope}"], "nope"),
        (["optimizer.lr=${oc.env:HIER_NO_SUCH_VARIABLE}"], "HIER_NO_SUCH_VARIABLE"),
        # Hydra's sweeps, which are no values
        (["optimizer.lr=0.1,0.2"], "optimizer.lr=0.1,0.2"),
        (["optimizer.lr=choice(0.1,0.2)"], "optimizer.lr=choice(0.1,0.2)"),
        (["seeds=0,1"], "seeds=0,1"),
        (["seeds=range(0,3)"], "seeds=range(0,3)"),
        (["methods=pa,hier"], "methods=pa,hier"),
        # no seeds at all
        (["seeds=[]"], "seeds"),
        # two runs of one name, of which one would be lost
        (["seeds=[0,1]", "seed=3"], "smoke-hier-test_resnet-16-s3"),
        # one dataset with two settings, of which one would be lost
        (["methods=[pa,hier]", "runs.smoke-pa-*.dataset.store_size=16"], "smoke"),
        # `hier plan` and `train` need the number of training images
        (["dataset.counts.images={test: 32}"], "counts.images"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_used_to_get_through_or_gave_a_trace(overrides, part):
    with pytest.raises(ConfigError) as caught:
        smoke(*([] if "methods" in overrides[0] else ["methods=hier"]), *overrides)
    assert part in one_line(caught)
    assert "ChoiceSweep" not in str(caught.value)


# --- wrong files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("suite/smoke.yaml", "methods:", "method:", "conf/suite/smoke.yaml: matrix.0.methods: is"),
        ("suite/smoke.yaml", "matrix:", "matrices:", "conf/suite/smoke.yaml: matrix: is missing"),
        ("suite/smoke.yaml", "suite: smoke", "suit: smoke", "conf/suite/smoke.yaml: suite: is mis"),
        ("suite/smoke.yaml", "seeds: [0]", "seeds: []", "matrix.0.seeds: List should have at"),
        ("suite/smoke.yaml", "    dim: 16", "    dim: 16\n    x: 1", "matrix.0.x: no such key"),
        ("suite/smoke.yaml", "suite: smoke", "suite: a b", "hier compose: suite: String should"),
        ("dataset/smoke.yaml", "layout: cub", "layuot: cub", "datasets.smoke.layout: is missing"),
        (
            "dataset/smoke.yaml",
            "layout: cub",
            "layout: nope",
            "datasets.smoke.layout: unknown layout 'nope'; choose from: cars, cars_half, cub, folder, gro",
        ),
        ("dataset/smoke.yaml", "train: 32", "trian: 32", "datasets.smoke.counts.images.trian"),
        ("dataset/smoke.yaml", "  seed: 0", "  sede: 0", "datasets.smoke.generate.seed: is missi"),
        ("backbone/test_resnet.yaml", "features", "featurs", "backbone.features: is missing"),
        ("backbone/test_resnet.yaml", "96", "'96'", "backbone.features: Input should be a valid"),
        ("loss/pa.yaml", "alpha", "alhpa", f"runs.{HIER}.loss.alpha: is missing"),
        (
            "loss/pa.yaml",
            "alpha: 32.0",
            "alpha: 32.0\nalhpa: 1",
            "no such key; did you mean alpha?",
        ),
        ("loss/pa.yaml", "name: pa", "name: px", "loss.name: unknown loss 'px'; choose from: hyp"),
        ("regularizer/hier.yaml", "\n  weight", "\n  wieght", ".regularizer.weight: is missing"),
        ("regularizer/hier.yaml", "  weight", "  x: 1\n  weight", ".regularizer.x: no such key"),
        ("regularizer/hier.yaml", "metric: poincare", "metrik: x", "evaluate.metrik: no such key"),
        ("recipe/smoke.yaml", "batch_size: 8", "batchsize: 8", "sampler.batchsize: no such key"),
        ("recipe/demo.yaml", "optimizer:", "optimiser:", f"runs.{HIER}.optimizer: is missing"),
        ("recipe/demo.yaml", "lr: 5.0e-3", "lr: .nan", "optimizer.lr: Input should be a finite"),
        ("run.yaml", "  curvature: 0.1", "  curvatur: 0.1", f"runs.{HIER}.head.curvature: is mis"),
        (
            "recipe/smoke.yaml",
            "  - demo",
            "  - dmeo",
            "recipe/smoke.yaml: In 'recipe/smoke': Could",
        ),
        (
            "recipe/smoke.yaml",
            "batch_size: 8",
            "batch_size: 010",
            "sampler: holds what YAML 1.1 and",
        ),
        (
            "recipe/demo.yaml",
            "threads: 1",
            "threads: 1:30",
            "recipe/demo.yaml: runtime: holds what",
        ),
    ],
)
def test_a_wrong_file_of_each_group_is_one_line(conf, file, old, new, message):
    conf(file, old, new)
    with pytest.raises(ConfigError) as caught:
        compose(["suite=smoke", "methods=hier"])
    assert message in one_line(caught)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["protocol.name=official"], "a name alone changes nothing; give protocol=official"),
        (["protocol=official", "protocol.test_from=9"], "best_on_test has no epoch to choose"),
    ],
)
def test_a_protocol_that_is_not_what_it_says_is_refused(words, message):
    with pytest.raises(ConfigError) as caught:
        compose(["suite=smoke", "methods=[pa]", *words], CONF)
    assert message in one_line(caught)


def test_what_stands_below_a_protocols_name_must_be_settings(conf):
    conf("recipe/smoke.yaml", "augmentation:", "official: 3\naugmentation:")
    with pytest.raises(ConfigError) as caught:
        compose(["suite=smoke"])
    assert "conf/recipe/smoke.yaml: official: must be a mapping of settings" in one_line(caught)


def test_hyps_sphere_is_compared_by_cosine_under_every_protocol(conf):
    conf("suite/smoke.yaml", "methods: [untrained, pa, ms, hyp, hier]", "methods: [hyp_sphere, pa, hier]")
    for words in ([], ["protocol=official"]):
        sphere, pa, _ = compose(["suite=smoke", *words]).runs.values()
        assert (sphere.evaluate.metric, sphere.head.curvature) == ("cosine", 0)
        assert pa.evaluate.metric == ("poincare" if words else "cosine")


def test_the_small_table_1_can_be_made_by_the_official_protocol():
    for run in compose(["suite=smoke-table1", "protocol=official"], CONF).runs.values():
        assert run.protocol.choose == "best_on_test"


def test_below_a_protocols_name_stands_what_holds_for_its_runs_alone(conf):
    conf("recipe/smoke.yaml", "augmentation:", "official: {optimizer: {lr: 0.25}}\naugmentation:")
    rates = {
        protocol: {run.optimizer.lr for run in compose(["suite=smoke", *given]).runs.values()}
        for protocol, given in {
            "corrected": [],
            "official": ["protocol=official"],
            "over it": ["protocol=official", "optimizer.lr=0.5"],
        }.items()
    }
    assert rates == {"corrected": {5e-3}, "official": {0.25}, "over it": {0.5}}


def test_a_method_in_a_suite_without_a_file(conf):
    conf("suite/smoke.yaml", "[untrained, pa,", "[untraned, pa,")
    with pytest.raises(UnknownNameError) as caught:
        compose(["suite=smoke"])
    assert one_line(caught) == f"unknown method 'untraned'; choose from: {METHODS}"


HEAD = "# @package _global_\nsuite: smoke\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        ("suite/smoke.yaml", "[untrained", "[[untrained", "suite/smoke.yaml"),
        ("suite/smoke.yaml", "", HEAD + "matrix: 3\n", "suite/smoke.yaml"),
        ("suite/smoke.yaml", "", HEAD + "matrix: [3]\n", "suite/smoke.yaml"),
        ("suite/smoke.yaml", "", HEAD + "matrix: {a: 3}\n", "suite/smoke.yaml"),
        ("suite/smoke.yaml", "", HEAD + "matrix:\n", "suite/smoke.yaml"),
        ("dataset/smoke.yaml", "layout: cub", "layout: [cub", "dataset/smoke.yaml"),
        ("dataset/smoke.yaml", "layout: cub", "layout: cub\nlayout: cub", "dataset/smoke.yaml"),
        ("dataset/smoke.yaml", "name: smoke", "nmae: smoke", "name"),
        ("dataset/smoke.yaml", "name: smoke", "name: other", "other"),
        ("backbone/test_resnet.yaml", "name:", "nmae:", "name"),
        ("backbone/test_resnet.yaml", "name: test_resnet", "name: other", "other"),
        ("backbone/test_resnet.yaml", "", "[1, 2]\n", "backbone"),
        ("backbone/test_resnet.yaml", "", "word\n", "backbone"),
        ("backbone/test_resnet.yaml", "", "\n", "backbone"),
        ("backbone/test_resnet.yaml", "96", "${nope}", "nope"),
        ("loss/pa.yaml", "alpha: 32.0", "\talpha: 32.0", "loss/pa.yaml"),
        ("run.yaml", "seed: 0", "sede: 0", "seed"),
    ],
)  # fmt: skip
def test_a_file_that_used_to_get_through_or_gave_a_trace(conf, file, old, new, part):
    conf(file, old, new)
    with pytest.raises(ConfigError) as caught:
        compose(["suite=smoke", "methods=hier"])
    assert part in one_line(caught)


def test_a_preset_of_a_suite_that_no_run_has(conf):
    conf("suite/smoke.yaml", "set: [regularizer.proxies", "set: [regularizer.proxis")
    with pytest.raises(ConfigError, match=r"'regularizer\.proxis=8': no run of suite smoke has"):
        compose(["suite=smoke"])


def test_no_folder_of_configurations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        compose([])
    text = "there is no conf/ here; run hier in the project's folder"
    assert str(caught.value) == text


def test_an_error_leaves_nothing_behind_for_the_next_composition(composed):
    with pytest.raises(UnknownNameError):
        smoke("dataset=nope")
    assert smoke() == composed["smoke"]


def test_a_suite_of_many_files_that_are_read_once_is_what_hydra_gives_run_by_run():
    """Against Hydra alone, started anew for each run: some 3 s."""
    suite = compose(["suite=table1", "methods=[pa,hier]"], CONF)
    for run in [*suite.runs.values()][::6]:
        groups = {
            "dataset": run.dataset,
            "backbone": run.backbone.name,
            "loss": "pa",
            "regularizer": "hier" if run.method == "hier" else "none",
            "protocol": "corrected",
            "recipe": f"{run.backbone.name}-{run.dataset}",
        }
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            plain = hydra_compose("run", [f"+{group}={name}" for group, name in groups.items()])
        OmegaConf.set_struct(plain, False)
        own = {name: plain.pop(name, {}) for name in ("corrected", "official")}
        plain = OmegaConf.merge(plain, own["corrected"])
        plain.head.dim = run.head.dim
        found = OmegaConf.to_container(plain, resolve=True)
        found["dataset"] = found["dataset"]["name"]
        assert Run.model_validate(found | {"method": run.method, "seed": run.seed}) == run


def test_a_byte_order_mark_that_hides_the_package_is_told(conf):
    path = Path("conf/suite/smoke.yaml")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(ConfigError) as caught:
        compose(["suite=smoke"], Path("conf"))
    assert str(caught.value) == (
        "conf/suite/smoke.yaml begins with a byte order mark; save it as UTF-8 without one"
    )


def test_where_there_is_no_suite_at_all_none_is_listed(conf):
    shutil.rmtree("conf/suite")
    with pytest.raises(UnknownNameError, match=r"^unknown suite 'smoke'; there is none$"):
        compose(["suite=smoke"], Path("conf"))


def test_a_setting_of_two_kinds_is_named_as_the_user_knows_it():
    with pytest.raises(ConfigError, match=r"datasets\.smoke\.store_size: Input should be"):
        smoke("dataset.store_size=0")


def test_a_long_or_broken_name_is_shown_in_one_line(conf):
    with pytest.raises(UnknownNameError) as caught:
        raise UnknownNameError("run", "a\nb" + "c" * 5000, ["d"])
    assert str(caught.value) == f"unknown run 'a b{'c' * 97}'; choose from: d"


@pytest.mark.parametrize(
    "setting",
    [
        *(
            "schedule.epochs",
            "head.dim",
            "sampler.batch_size",
            "embed.batch_size",
            "runtime.threads",
        ),
        *("runtime.workers", "augmentation.size", "regularizer.proxies", "schedule.step_size"),
    ],
)
def test_a_count_that_no_machine_can_hold_is_refused(setting):
    with pytest.raises(ConfigError, match=rf"{setting}: Input should be less than or equal to 100"):
        smoke(f"{setting}=1{'0' * 20}")
