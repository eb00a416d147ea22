"""The plot of a sweep: what is drawn is what the table says of the seeds."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fakes.content import cells_of, content_of
from fakes.reader import read
from hier.config.compose import compose
from hier.reporting.site import write_report
from hier.reporting.sweeps import sweep_figure, sweep_plots

from .conftest import CONF

KEY = "regularizer.weight"
VALUES = [0.1, 1.0]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    overrides = ["methods=[pa,hier]", "seeds=[0,1,2]", f"sweep.{KEY}=[0.1,1.0]"]
    suite = compose(["suite=smoke", *overrides], CONF)
    weights = {name: getattr(run.regularizer, "weight", np.nan) for name, run in suite.runs.items()}
    cells = cells_of(suite)
    cells = cells.assign(**{KEY: cells["run"].map(weights).astype(object)})
    return content_of(suite, tmp_path_factory.mktemp("stores"), cells=cells)


def test_means_and_intervals_are_those_of_the_seeds(content):
    ((name, plot),) = sweep_plots(content).items()
    assert name == f"smoke-test_resnet-16-{KEY}"
    assert list(plot["lines"]) == ["HIER"]
    cells = content.cells[content.cells["measure"] == "R@1"]
    for value, (_, row) in zip(VALUES, plot["lines"]["HIER"].iterrows(), strict=True):
        of = cells.loc[cells[KEY] == value, "value"]
        low, high = stats.t.interval(0.95, 2, of.mean(), of.std(ddof=1) / np.sqrt(3))
        assert (row[KEY], row["n"]) == (value, 3)
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((of.mean(), low, high))
    pa = cells.loc[cells["method"] == "pa", "value"].mean()
    assert plot["levels"] == {"PA": pytest.approx(pa)}
    assert f"PA: {pa:.2f} without it." in plot["words"]


def test_the_drawn_line_has_the_means_and_the_page_has_them_as_text(content, tmp_path):
    ((name, plot),) = sweep_plots(content).items()
    (axes,) = sweep_figure(plot).axes
    drawn = axes.get_lines()[0].get_xydata()
    np.testing.assert_allclose(drawn, plot["lines"]["HIER"][[KEY, "mean"]].to_numpy(float))
    assert axes.get_xscale() == "log"
    write_report(tmp_path, content)
    words = read(tmp_path / "index.html").words
    assert all(sentence in words for sentence in plot["words"])
    assert (tmp_path / "figures" / f"sweep-{name}.svg").exists()


def test_words_can_be_swept_and_one_seed_has_no_interval(content):
    cells = content.cells[content.cells["seed"] == 0]
    words = {0.1: "poincare", 1.0: "euclidean"}
    names = {
        f"hier_weight_{str(value).replace('.', '_')}": f"hier_weight_{word}" for value, word in words.items()
    }
    cells = cells.assign(**{KEY: cells[KEY].map(words), "method": cells["method"].replace(names)})
    ((_, plot),) = sweep_plots(type(content)(content.suite, cells, pd.DataFrame(), {}, {})).items()
    assert plot["words"][0].startswith(f"HIER, {KEY} poincare: ")
    assert plot["words"][0].endswith("(one seed).")
    assert sweep_figure(plot).axes[0].get_xscale() == "linear"


def test_without_a_sweep_nothing_is_drawn(content):
    assert (
        sweep_plots(type(content)(content.suite, content.cells.drop(columns=KEY), pd.DataFrame(), {}, {}))
        == {}
    )
