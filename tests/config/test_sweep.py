"""Sweeps: which runs they give, what these are called and set to, and one line for whatever is wrong."""

import re
import shutil
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.settings import write_settings
from hier.config.compose import compose
from hier.config.matrix import Matrix
from hier.config.overrides import _value, override_of
from hier.config.settings import PARAMS, Settings
from hier.config.suite import filter_runs, has_setting, setting_of
from hier.config.sweep import label, labelled, tails, without_labels
from hier.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"
ENDS_WITH = "-test_resnet-16-s0"
UNTRAINED = f"smoke-untrained{ENDS_WITH}"


def smoke(*overrides):
    return compose(["suite=smoke", "methods=[pa,hier]", *overrides], CONF)


def methods(suite):
    return list(dict.fromkeys(run.method for run in suite.runs.values()))


def refused(*overrides, suite="smoke", conf=CONF):
    """The one line that composing such a sweep ends with."""
    with pytest.raises(ConfigError) as caught:
        compose([f"suite={suite}", *overrides], conf, lambda text: None)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.fixture
def conf(tmp_path):
    """A copy of conf/ with a suite `own` of these blocks."""
    shutil.copytree(CONF, tmp_path / "conf")

    def write(*blocks):
        base = {"dataset": "smoke", "backbone": "test_resnet", "recipe": "smoke", "dim": 16, "seeds": [0]}
        matrix = [base | {"set": ["regularizer.neighbours=4"]} | block for block in blocks]
        text = yaml.safe_dump({"suite": "own", "matrix": matrix}, sort_keys=False)
        (tmp_path / "conf/suite/own.yaml").write_text(f"# @package _global_\n{text}")
        return tmp_path / "conf"

    return write


# --- runs ----------------------------------------------------------------------------------------


def test_each_run_that_has_the_key_is_made_once_for_each_value_and_the_others_once():
    suite = compose(["suite=demo", "sweep.regularizer.weight=[0.1,0.5,1.0]", "seeds=[0,1,2]"], CONF)
    names = ["untrained", "pa", "ms", "hyp", "hier_weight_0_1", "hier_weight_0_5", "hier_weight_1_0"]
    assert list(suite.runs) == [f"demo-{m}-test_resnet-64-s{seed}" for m in names for seed in (0, 1, 2)]
    weights = {run.method: run.regularizer.weight for run in suite.runs.values() if "hier" in run.method}
    assert weights == {"hier_weight_0_1": 0.1, "hier_weight_0_5": 0.5, "hier_weight_1_0": 1.0}
    assert suite.swept == ["regularizer.weight"]


def test_a_run_differs_from_the_one_before_it_was_swept_in_the_value_alone():
    plain = smoke().runs[f"smoke-hier{ENDS_WITH}"].model_dump()
    swept = smoke("sweep.regularizer.weight=[0.25]").runs[f"smoke-hier_weight_0_25{ENDS_WITH}"].model_dump()
    assert swept["regularizer"].pop("weight") == 0.25 != plain["regularizer"].pop("weight")
    assert (swept.pop("method"), plain.pop("method")) == ("hier_weight_0_25", "hier")
    assert swept == plain
    assert smoke("sweep.regularizer.weight=[0.25]").runs[f"smoke-pa{ENDS_WITH}"] == smoke().run(
        f"smoke-pa{ENDS_WITH}"
    )


def test_several_sweeps_cross_each_run_over_the_keys_that_it_has():
    suite = smoke("sweep.regularizer.weight=[0.1,1.0]", "sweep.optimizer.lr=[0.01,0.1]")
    found = {
        run.method: (setting_of(run, "regularizer.weight"), run.optimizer.lr) for run in suite.runs.values()
    }
    assert found == {
        "pa_lr_0_01": (None, 0.01),
        "pa_lr_0_1": (None, 0.1),
        "hier_weight_0_1_lr_0_01": (0.1, 0.01),
        "hier_weight_0_1_lr_0_1": (0.1, 0.1),
        "hier_weight_1_0_lr_0_01": (1.0, 0.01),
        "hier_weight_1_0_lr_0_1": (1.0, 0.1),
    }
    assert suite.swept == ["regularizer.weight", "optimizer.lr"]


def test_a_value_comes_after_the_settings_of_the_block_and_goes_with_other_overrides():
    """The demo's block sets the number of proxies; without the overrides of smoke no 8 fits."""
    words = ["suite=demo", "methods=[hier]", "sweep.regularizer.proxies=[32,128]", "schedule.epochs=5"]
    runs = compose(words, CONF).runs.values()
    assert [(run.regularizer.proxies, run.schedule.epochs) for run in runs] == [(32, 5), (128, 5)]
    words = ["sweep.regularizer.neighbours=[6,8]", "sampler.batch_size=16", "regularizer.proxies=32"]
    suite = smoke("methods=hier", *words)
    assert methods(suite) == ["hier_neighbours_6", "hier_neighbours_8"]
    assert {run.sampler.batch_size for run in suite.runs.values()} == {16}


def test_values_that_fit_with_those_of_another_sweep_are_made():
    words = ["sweep.sampler.batch_size=[16,32]", "sweep.regularizer.neighbours=[8,12]"]
    assert methods(smoke("methods=hier", *words, "regularizer.proxies=64")) == [
        f"hier_batch_size_{size}_neighbours_{k}" for size in (16, 32) for k in (8, 12)
    ]


def test_an_override_can_name_the_runs_of_one_value():
    suite = smoke("sweep.regularizer.weight=[0.1,1.0]", "runs.smoke-hier_weight_0_1-*.optimizer.lr=0.25")
    assert [run.method for run in suite.runs.values() if run.optimizer.lr == 0.25] == ["hier_weight_0_1"]


def test_a_run_that_no_value_fits_stays_as_it_is_and_is_named():
    said = []
    words = ["suite=smoke", "methods=[untrained,pa]", "seeds=[0,1]", "sweep.schedule.epochs=[3,4]"]
    suite = compose(words, CONF, said.append)
    assert {run.method: run.schedule.epochs for run in suite.runs.values()} == {
        "untrained": 0, "pa_epochs_3": 3, "pa_epochs_4": 4,
    }  # fmt: skip
    assert said == [
        f"note: 'sweep.schedule.epochs=[3,4]' does not fit {UNTRAINED} and 1 more, which stay as they are: "
        "schedule.epochs is 3, but loss is none"
    ]


def test_a_dimension_is_swept_where_a_network_has_a_head():
    words = ["suite=grocery", "methods=[pretrained,pa]", "sweep.head.dim=[32,64]"]
    suite = compose(words, CONF)
    assert [(run.method, run.dim) for run in suite.runs.values()] == [
        ("pretrained", 1280), ("pa_dim_32", 32), ("pa_dim_64", 64),
    ]  # fmt: skip


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.floats(0, 9, allow_nan=False), min_size=1, max_size=3, unique_by=label),
    st.lists(st.integers(2, 99), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(0, 99), min_size=1, max_size=2, unique=True),
)
def test_there_are_as_many_runs_as_values_times_values_times_seeds(weights, counts, seeds):
    weights = [0.0 if weight == 0 else weight for weight in weights]
    matrix = [
        f"sweep.regularizer.weight=[{','.join(map(repr, weights))}]",
        f"sweep.regularizer.triplets_per_anchor={counts}".replace(" ", ""),
        f"seeds={seeds}".replace(" ", ""),
    ]
    runs = smoke("methods=hier", *matrix).runs.values()
    found = [(run.regularizer.weight, run.regularizer.triplets_per_anchor, run.seed) for run in runs]
    assert found == [*product(weights, counts, seeds)]
    assert len({run.method for run in runs}) == len(weights) * len(counts)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("sweep.regularizer.weight=[0.1,1,2.50]", ["weight_0_1", "weight_1", "weight_2_5"]),
        ("sweep.optimizer.eps=[0.00001,1E-8]", ["eps_1e_05", "eps_1e_08"]),
        ("sweep.loss.margin=[-0.5,0.5]", ["margin__0_5", "margin_0_5"]),
        ("sweep.regularizer.proxy_term=[true,False]", ["proxy_term_true", "proxy_term_false"]),
        ("sweep.optimizer.clip_value=[null,10.0]", ["clip_value_null", "clip_value_10_0"]),
        ("sweep.backbone.pooling=[timm,avg+max]", ["pooling_timm", "pooling_avg_max"]),
        ("sweep.backbone.batch_norm=['train','eval']", ["batch_norm_train", "batch_norm_eval"]),
        ("sweep.augmentation.scale=[[0.25,1.0],[0.5,1]]", ["scale_0_25_1_0", "scale_0_5_1"]),
        ("sweep.optimizer.multipliers.head=[2.0]", ["head_2_0"]),
    ],
)
def test_a_method_is_called_after_the_key_and_the_value(override, names):
    suite = smoke("methods=hier", override)
    assert methods(suite) == [f"hier_{name}" for name in names]
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in methods(suite))


def test_what_a_value_is_called_in_a_name_is_what_the_run_is_set_to():
    suite = smoke("methods=hier", "sweep.backbone.pooling=[timm,avg+max]", "sweep.optimizer.eps=[1e-5]")
    assert {run.method: (run.backbone.pooling, run.optimizer.eps) for run in suite.runs.values()} == {
        "hier_pooling_timm_eps_1e_05": ("timm", 1e-5),
        "hier_pooling_avg_max_eps_1e_05": ("avg+max", 1e-5),
    }


def test_keys_that_end_alike_are_told_apart_by_more_of_them():
    suite = smoke("sweep.regularizer.margin=[0.1]", "sweep.loss.margin=[0.2]", "sweep.optimizer.lr=[0.1]")
    assert methods(suite) == [
        "pa_loss_margin_0_2_lr_0_1", "hier_regularizer_margin_0_1_loss_margin_0_2_lr_0_1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["a.x"], ["x"]),
        (["a.x", "b.y"], ["x", "y"]),
        (["a.x", "b.x", "b.y"], ["a_x", "b_x", "y"]),
        (["a.b.x", "c.b.x"], ["a_b_x", "c_b_x"]),
        (["b.x", "c.b.x"], ["b_x", "c_b_x"]),
    ],
)
def test_as_much_of_a_key_is_in_a_name_as_tells_it_apart(keys, expected):
    assert [*tails(keys).values()] == expected


KEYS = st.lists(st.from_regex(r"[a-z]{1,3}(\.[a-z_]{1,3}){1,3}", fullmatch=True), max_size=3, unique=True)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab+-.", min_size=1)


@given(KEYS, st.data())
def test_the_method_before_a_sweep_is_found_again(keys, data):
    values = {key: data.draw(VALUES) for key in keys}
    name = labelled("hier", values, keys)
    assert re.fullmatch(r"[a-z0-9_]+", name)
    assert without_labels(name, values) == "hier"


def test_a_value_that_the_schema_made_a_float_is_found_in_the_name():
    assert without_labels("hier_weight_1", {"regularizer.weight": 1.0}) == "hier"
    assert without_labels("hier_scale_0_5_1", {"augmentation.scale": [0.5, 1.0]}) == "hier"
    assert without_labels("hier_scale_0_5_1", {"augmentation.scale": "[0.5,1.0]"}) == "hier"
    assert without_labels("untrained", {"schedule.epochs": 0}) == "untrained"


@given(st.recursive(VALUES | st.text("aZ'\"\\ ,:${}[]()=", max_size=5), st.lists, max_leaves=4))
def test_a_value_as_an_override_is_that_value_in_hydras_grammar(value):
    assert _value(override_of("a.b", value)) == value


# --- suites --------------------------------------------------------------------------------------


def test_a_block_says_what_it_sweeps(conf):
    sweep = {"regularizer.weight": [0.1, 1.0e-5], "backbone.batch_norm": ["train", "eval"]}
    path = conf({"methods": ["pa"]}, {"methods": ["pnca", "hier"], "sweep": sweep, "seeds": [0, 1]})
    suite = compose(["suite=own"], path)
    assert methods(suite) == [
        "pa", "pnca_batch_norm_train", "pnca_batch_norm_eval",
        "hier_weight_0_1_batch_norm_train", "hier_weight_0_1_batch_norm_eval",
        "hier_weight_1e_05_batch_norm_train", "hier_weight_1e_05_batch_norm_eval",
    ]  # fmt: skip
    assert len(suite.runs) == 1 + 6 * 2
    assert suite.swept == [*sweep]
    assert compose(["suite=own", "methods=[pa]"], path).swept == []  # of which no run is left


def test_an_override_replaces_and_extends_what_blocks_sweep(conf):
    path = conf(
        {"methods": ["pa"]},
        {"methods": ["hier"], "sweep": {"regularizer.weight": [0.1], "loss.alpha": [8.0]}},
    )
    suite = compose(["suite=own", "sweep.regularizer.weight=[0.2,0.3]", "sweep.loss.margin=[0.4]"], path)
    assert methods(suite) == [
        "pa_margin_0_4", "hier_weight_0_2_margin_0_4_alpha_8_0", "hier_weight_0_3_margin_0_4_alpha_8_0",
    ]  # fmt: skip
    assert suite.swept == ["regularizer.weight", "loss.margin", "loss.alpha"]


def test_a_name_lists_keys_in_one_order_whatever_that_of_the_blocks(conf):
    one, other = {"loss.alpha": [8.0], "loss.margin": [0.4]}, {"loss.margin": [0.4], "loss.alpha": [8.0]}
    path = conf({"methods": ["pa"], "sweep": one}, {"methods": ["hier"], "sweep": other})
    suite = compose(["suite=own"], path)
    assert methods(suite) == ["pa_alpha_8_0_margin_0_4", "hier_alpha_8_0_margin_0_4"]


def test_variants_cross_with_sweeps(conf):
    block = {"methods": ["hier"], "variants": {"a": [], "b": ["loss.alpha=8.0"]}}
    suite = compose(["suite=own"], conf(block | {"sweep": {"regularizer.weight": [0.1, 1]}}))
    assert {run.method: (run.loss.alpha, run.regularizer.weight) for run in suite.runs.values()} == {
        "hier_a_weight_0_1": (32.0, 0.1),
        "hier_a_weight_1": (32.0, 1.0),
        "hier_b_weight_0_1": (8.0, 0.1),
        "hier_b_weight_1": (8.0, 1.0),
    }


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"regularizer.weight": []}, "regularizer.weight: an empty list leaves no runs"),
        ({"regularizer.weight": [1, 1.0]}, "regularizer.weight: 1.0 is given twice"),
        ({"seeds": [0, 1]}, "seeds: seeds is an axis of the matrix: give seeds=[0,1]"),
    ],
)
def test_a_wrong_sweep_of_a_block_names_the_file(conf, sweep, message):
    path = conf({"methods": ["hier"], "sweep": sweep})
    assert refused(suite="own", conf=path) == f"{path}/suite/own.yaml: matrix.0.sweep: {message}"


def test_a_sweep_of_a_block_must_be_lists_and_of_a_key_that_some_run_has(conf):
    path = conf({"methods": ["hier"], "sweep": {"regularizer.weight": 0.1}})
    assert "matrix.0.sweep.regularizer.weight: Input should be a valid list" in refused(
        suite="own", conf=path
    )
    path = conf({"methods": ["pa"], "sweep": {"regularizer.wieght": [0.1]}}, {"methods": ["hier"]})
    assert refused(suite="own", conf=path) == (
        "override 'sweep.regularizer.wieght=[0.1]': no run of suite own has such a key; "
        "did you mean regularizer.weight?"
    )


def test_what_a_sweep_gives_may_not_be_called_as_a_variant(conf):
    variant = {"methods": ["hier"], "variants": {"weight_0_1": ["regularizer.weight=0.2"]}, "seeds": [1]}
    path = conf(variant, {"methods": ["hier"], "sweep": {"regularizer.weight": [0.1]}})
    assert refused(suite="own", conf=path) == (
        "suite own has two methods called hier_weight_0_1: hier_weight_0_1, hier with regularizer.weight=0.1"
    )


def test_a_variant_that_sets_what_is_swept_is_refused(conf):
    block = {"methods": ["hier"], "variants": {"w": ["regularizer.weight=0.2"]}}
    path = conf(block | {"sweep": {"regularizer.weight": [0.1]}})
    assert refused(suite="own", conf=path) == (
        "override 'regularizer.weight=0.2' sets what 'sweep.regularizer.weight=[0.1]' sweeps; "
        "leave one of them out"
    )


def test_a_matrix_without_sweeps_is_what_it_was():
    block = {"dataset": "cub", "backbone": "b", "recipe": "r", "methods": ["pa"], "seeds": [0]}
    matrix = Matrix.model_validate({"suite": "a", "matrix": [block]})
    assert [cell.sweep for cell in matrix.cells({})] == [{}]
    assert matrix.swept() == []
    assert [cell.sweep for cell in matrix.with_axes({}, {"loss.alpha": [1]}).cells({})] == [
        {"loss.alpha": [1]}
    ]


# --- settings ------------------------------------------------------------------------------------


def test_what_is_swept_is_kept_in_the_settings_and_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swept, plain = smoke("sweep.regularizer.weight=[0.1,1.0]", "sweep.optimizer.lr=[0.1]"), smoke()
    for suite in (swept, plain):
        write_settings(Settings.of(suite))
        assert Settings.read() == Settings.of(suite)
        assert Settings.read().suite("smoke") == suite == Settings.read().suite()
    write_settings(Settings.of(swept, plain.model_copy(update={"suite": "other"})))
    assert yaml.safe_load(Path("params/suites/smoke.yaml").read_text())["swept"] == [
        "regularizer.weight", "optimizer.lr",
    ]  # fmt: skip
    assert [*yaml.safe_load(Path("params/suites/other.yaml").read_text())] == ["runs"]
    one = Settings.read(only=f"smoke-pa_lr_0_1{ENDS_WITH}")
    assert list(one.suite("smoke").runs) == [f"smoke-pa_lr_0_1{ENDS_WITH}"]
    assert Settings.read().of_suite("other").swept == {}


@pytest.mark.parametrize("text", ["word", "{a: 1}", "[1]", "3"])
def test_keys_that_are_no_names(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    write_settings(Settings.of(smoke()))
    path = Path("params/suites/smoke.yaml")
    path.write_text(f"{path.read_text()}swept: {text}\n")
    with pytest.raises(ConfigError) as caught:
        Settings.read(PARAMS)
    again = "write it anew with: hier compose suite=smoke"
    assert str(caught.value) == f"params/suites/smoke.yaml: swept: must be names; {again}"


def test_of_some_runs_the_keys_that_they_have_are_swept():
    suite = smoke("sweep.regularizer.weight=[0.1,1.0]", "sweep.loss.margin=[0.1]")
    assert filter_runs(suite, method=("pa_margin_0_1",)).swept == ["loss.margin"]
    assert filter_runs(suite, backbone=("test_resnet",)) == suite


def test_a_setting_of_a_run_by_its_dotted_key():
    run = smoke("optimizer.clip_value=null").run(f"smoke-hier{ENDS_WITH}")
    assert setting_of(run, "optimizer.multipliers.head") == run.optimizer.multipliers.head
    assert (setting_of(run, "optimizer.clip_value"), has_setting(run, "optimizer.clip_value")) == (None, True)
    for key in ("optimizer.nope", "nope.lr", "optimizer.lr.x", "loss.beta"):
        assert (setting_of(run, key), has_setting(run, key)) == (None, False)


# --- what is wrong -------------------------------------------------------------------------------

RUN = "hier compose: runs.smoke-hier"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "regularizer.wieght=[0.1]",
            "no run of suite smoke has such a key; did you mean regularizer.weight?",
        ),
        ("nope.x=[0.1]", "no run of suite smoke has such a key"),
        ("runs.smoke.loss.margin=[0.1]", "no run of suite smoke has such a key"),
        ("loss.margin.x=[0.1]", "no run of suite smoke has such a key; did you mean loss.margin?"),
        ("runs.smoke-*.loss.margin=[0.1]", "token recognition error at: '*'"),
        ("regularizer.weight=[]", "an empty list leaves no runs"),
        ("regularizer.weight=0.1", "a sweep takes a list of values: sweep.regularizer.weight=[a,b]"),
        ("regularizer.weight=", "a sweep takes a list of values: sweep.regularizer.weight=[a,b]"),
        ("regularizer.weight={a:1}", "a sweep takes a list of values: sweep.regularizer.weight=[a,b]"),
        ("regularizer.weight=[0.1,0.5,0.10]", "0.1 is given twice"),
        ("regularizer.weight=[1,1.0]", "1.0 is given twice"),
        ("backbone.pooling=[timm,'timm']", "timm is given twice"),
        ("regularizer.weight=[{a:1}]", '{"a":1} is a group of settings; sweep one of them'),
        (
            "backbone.pooling=[avg+max,avg-max]",
            "avg+max and avg-max give one name, avg_max; make them variants of a suite",
        ),
        (
            "regularizer.weight=[1e22,1e-22]",
            "1e+22 and 1e-22 give one name, 1e_22; make them variants of a suite",
        ),
        ("seeds=[0,1]", "seeds is an axis of the matrix: give seeds=[0,1]"),
        ("seed=[0,1]", "seeds is an axis of the matrix: give seeds=[0,1]"),
        ("methods=[pa,hier]", "methods is an axis of the matrix: give methods=[pa,hier]"),
        ("dim=[8,16]", "dim is an axis of the matrix: give dim=[8,16]"),
        ("protocol=[official,corrected]", "protocol is an axis of the matrix: give protocol=<one name>"),
        ("head=[null]", "a sweep is of one setting: sweep.<group>.<setting>=[a,b]"),
        (
            "dataset.ks=[[1],[2]]",
            "a suite has one setting of each dataset; compose one suite after the other",
        ),
    ],
)
def test_a_wrong_sweep_is_one_line(override, message):
    assert refused("methods=[pa,hier]", f"sweep.{override}") == f"override 'sweep.{override}': {message}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "sweep.regularizer.weight=[0.1,fast]",
            f"{RUN}_weight_fast{ENDS_WITH}.regularizer.weight: Input should be a valid number "
            "(given: 'fast')",
        ),
        (
            "sweep.regularizer.weight=[-1.0]",
            f"{RUN}_weight__1_0{ENDS_WITH}.regularizer.weight: Input should be greater than or equal to 0 "
            "(given: -1.0)",
        ),
        (
            "sweep.regularizer.neighbours=[4,8]",
            f"{RUN}_neighbours_8{ENDS_WITH}: regularizer.neighbours 8 must be below sampler.batch_size 8",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_run(override, message):
    assert refused("methods=[pa,hier]", override) == message


def test_what_fits_no_run_is_an_error():
    said = f"hier compose: runs.smoke-untrained_epochs_1{ENDS_WITH}: schedule.epochs is 1, but loss is none"
    assert refused("methods=[untrained]", "sweep.schedule.epochs=[1]") == said


@pytest.mark.parametrize(
    ("sweep", "other"),
    [
        ("sweep.regularizer.weight=[0.1,0.5]", "regularizer.weight=1.0"),
        ("sweep.regularizer.weight=[0.1,0.5]", "runs.smoke-hier-*.regularizer.weight=1.0"),
        ("sweep.regularizer.weight=[0.1,0.5]", "regularizer={name: none}"),
        ("sweep.optimizer.multipliers=[1]", "optimizer.multipliers.head=2.0"),
        ("sweep.head.dim=[8,16]", "dim=16"),
    ],
)
def test_what_is_swept_and_set_is_refused(sweep, other):
    for words in ((sweep, other), (other, sweep)):
        said = f"override '{other}' sets what '{sweep}' sweeps; leave one of them out"
        assert refused("methods=[pa,hier]", *words) == said


def test_hydras_own_sweeps_are_still_none():
    said = "is a sweep; several values are a list: key=[a,b]"
    assert refused("sweep.loss.margin=0.1,0.2") == f"override 'sweep.loss.margin=0.1,0.2' {said}"
    assert refused("sweep.loss.margin") == "override 'sweep.loss.margin' is not of the form key=value"
