"""The README and docs/: links that lead somewhere, pages and tables that are those of now."""

import re
import sys
import textwrap
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pandas as pd
import pytest
import torch

from hier import losses, yaml12
from hier.config.dataset import Dataset
from hier.data import layouts
from hier.registry import LAYOUTS, LOSSES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def script(name):
    """A module of docs/, which is no package."""
    spec = spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


commands, study, study_picture, tables = map(script, ("commands", "study", "study_picture", "tables"))
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md"), *DOCS.glob("commands/*.md")])
FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def prose(page):
    """A page without its blocks and pieces of code."""
    return re.sub(r"`[^`\n]*`", "code", FENCED.sub("", page.read_text(encoding="utf-8")))


def anchors(page):
    """What can stand behind `#`: a code host makes it of each heading."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = (re.sub(r"[^\w\- ]", "", found.lower()) for found in HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120


def test_the_pages_of_commands_are_their_help():
    """Written anew by `python docs/commands.py`."""
    written = {page.name: page.read_text("utf-8") for page in DOCS.glob("commands/*.md")}
    assert written == commands.pages()


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_the_tables_are_the_expected_results(page):
    """Written anew by `python docs/tables.py`."""
    text = page.read_text(encoding="utf-8")
    assert tables.TABLE.search(text) or tables.STEPS.search(text) or tables.HIERARCHY.search(text)
    assert tables.with_tables(text) == text


def test_the_studys_tables_are_its_results():
    """Written anew by `python docs/study.py`."""
    text = study.PAGE.read_text(encoding="utf-8")
    assert len(study.TABLE.findall(text)) == 21
    assert study.with_tables(text) == text


def test_the_studys_picture_is_its_results():
    """Drawn anew by `python docs/study_picture.py`."""
    drawn = study_picture.PICTURE.read_text(encoding="utf-8")
    rows = [row for dataset in study_picture.DATASETS for row in study_picture.rows_of(dataset)]
    assert re.findall(r">([+−][\d.]+ \(.*?\))<", drawn) == list(map(study_picture.in_words, rows))


TOLD_APART = {("grocery", "hier_ms_tuned", "MAP@R"), ("cars_half", "hier_hyp_tuned", "super-class R@1")}


@pytest.mark.parametrize("dataset", study_picture.DATASETS)
def test_what_is_said_of_the_study_is_its_comparisons(dataset):
    rows = pd.read_csv(ROOT / "results" / f"study-{dataset}" / "comparisons.csv")
    page = " ".join(study.PAGE.read_text(encoding="utf-8").split())
    for row in rows[rows["method"].str.startswith("hier")].to_dict("records"):
        told = (dataset, row["method"], row["measure"]) in TOLD_APART
        assert row["verdict"] == ("higher" if told else "not told apart")
        if row["measure"] == "R@1":
            low, high, mean = (f"{row[name]:+.1f}".replace("-", "−") for name in ("low", "high", "mean"))
            assert f"{mean} ({low} to {high})" in page


def test_what_the_readme_says_of_the_study_is_its_comparisons():
    rows = [row for dataset in study_picture.DATASETS for row in study_picture.rows_of(dataset)]
    assert len(rows) == 12
    assert {row["verdict"] for row in rows} == {"not told apart"}
    assert sum(row["low"] < 0 < row["high"] for row in rows) == 10
    pa, hyp = (f"{row['low']:+.1f} to {row['high']:+.1f}" for row in rows if row["low"] > 0)
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "of twelve 95 % intervals of the difference in R@1 ten hold 0" in readme
    assert f"two on cars lie above it ({hyp} on Hyp, {pa} on PA)" in readme


def test_what_is_said_of_the_rate_is_its_comparisons():
    rows = pd.read_csv(ROOT / "results" / "rates-grocery" / "comparisons.csv")
    page = " ".join(study.PAGE.read_text(encoding="utf-8").split())
    assert {*rows[rows["measure"] == "R@1"]["verdict"]} == {"not told apart"}
    said = rows[rows["measure"] == "MAP@R"].set_index("method")
    assert [*said["verdict"]] == ["higher", "not told apart", "not told apart"]
    rate = said.loc["ms_faster"]
    words = f"{rate['mean']:.2f} points ({rate['low']:.2f} to {rate['high']:.2f}; other classes "
    assert f"{words}{rate['classes_low']:.2f} to {rate['classes_high']:.2f}; Holm's p 0.010)" in page
    for name, where in (("hier_ms_tuned", "faster"), ("hier_ms_slower", "slower")):
        low, high, mean = (f"{said.loc[name, of]:+.2f}".replace("-", "−") for of in ("low", "high", "mean"))
        assert f"{mean} at the {where} one ({low} to {high})" in page


def test_what_is_said_of_settings_is_their_comparisons():
    page = " ".join(study.PAGE.read_text(encoding="utf-8").split())
    found = {s: pd.read_csv(ROOT / "results" / s / "comparisons.csv") for s in ("rim-demo", "factors-demo")}
    assert {verdict for rows in found.values() for verdict in rows["verdict"]} == {"not told apart"}
    rim, factors = (rows[rows["measure"] == "R@1"].set_index("method") for rows in found.values())
    said = ("hier_s0_1", "hyp_r4_6", "hyp_s0_25", "hier_hyp_s0_25", "hier_hyp_s0_1", "hier_hyp_learned")
    for row in (rim.loc[name] for name in said):
        assert f"({row['low']:+.1f} to {row['high']:+.1f})".replace("-", "−") in page
        assert f"{abs(row['mean']):.1f}" in page
    assert len(factors) == 21
    assert (factors["mean"].idxmin(), factors["mean"].idxmax()) == ("hier_k10", "hier_w0_5")
    least, most = (f"{of(factors['mean']):+.1f}".replace("-", "−") for of in (min, max))
    assert f"between {least} (K of 10) and {most} (λ2 of 0.5)" in page


@pytest.mark.parametrize("suite", ["demo", "grocery", "omniglot"])
def test_what_is_said_of_hier_against_pa_is_the_comparison(suite):
    rows = pd.read_csv(ROOT / "results" / f"{suite}-seeds" / "comparisons.csv")
    (row,) = rows[(rows["method"] == "hier") & (rows["measure"] == "R@1")].to_dict("records")
    assert (row["against"], row["verdict"]) == ("pa", "not told apart")
    mean, low, high = (f"{row[name]:+.2f}".replace("-", "−") for name in ("mean", "low", "high"))
    results = " ".join((DOCS / "results.md").read_text(encoding="utf-8").split())
    assert re.search(rf"{re.escape(mean)} (points )?on {suite} \({re.escape(f'{low} to {high}')}\)", results)
    assert f"{row['detectable']:.1f}" in results
    if suite == "demo":
        readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
        assert f"not tell HIER from PA: {mean} points, {low} to {high} for other seeds" in readme


def example(language, start, page="extending.md"):
    """The block of a page that begins with `start`."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    (block,) = (b for b in map(textwrap.dedent, blocks) if b.startswith(start))
    return block


def add(monkeypatch, package, folder, name, code):
    """A module of a package, in another folder."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    where = [*package.__path__, str(folder)]
    monkeypatch.setattr(package, "__path__", where)
    monkeypatch.setattr(package.__spec__, "submodule_search_locations", where)
    monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)


def test_the_example_of_a_loss_works(tmp_path, monkeypatch):
    add(monkeypatch, losses, tmp_path, "triplet", example("python", '"""Triplet'))
    module = LOSSES.module("triplet")
    values = yaml12.load(example("yaml", "# Triplet loss"))
    loss = module.build(
        module.Settings(**values), dim=2, num_classes=2, curvature=0.1, generator=torch.Generator()
    )
    z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], requires_grad=True)
    value = loss(z, torch.tensor([0, 1, 0, 1]))
    value.backward()
    assert value.item() > 0
    assert torch.isfinite(z.grad).all()


def test_the_example_of_a_dataset_works(tmp_path, monkeypatch):
    add(monkeypatch, layouts, tmp_path, "folders", example("python", '"""A folder'))
    dataset = Dataset.model_validate(yaml12.load(example("yaml", "# Source")))
    for image in ("train/b/1.jpg", "train/a/2.jpg", "test/c/3.jpg"):
        path = tmp_path / "root" / image
        path.parent.mkdir(parents=True)
        path.touch()
    index = LAYOUTS.module(dataset.layout).read(tmp_path / "root", dataset)
    assert index["image"].tolist() == ["train/a/2.jpg", "train/b/1.jpg", "test/c/3.jpg"]
    assert index["label"].tolist() == [0, 1, 2]
    assert index["split"].tolist() == ["train", "train", "test"]


def test_the_training_loop_of_ones_own_trains():
    """As it is written, with a layer as network and batches of ten classes that can be told apart."""
    draws, values = torch.Generator().manual_seed(0), []
    centres, labels = torch.randn(10, 16, generator=draws), torch.arange(10).repeat_interleave(4)

    def loader():
        for _ in range(12):
            yield centres[labels] + 0.3 * torch.randn(40, 16, generator=draws), labels
            values.append(names["loss"].item())

    network = torch.nn.Linear(16, 128)
    torch.nn.init.normal_(network.weight, std=0.1, generator=draws)
    names = {"network": network, "loader": loader()}
    block = example("python", "import torch", "losses.md")
    exec(block, names)
    assert len(block.split("\n\n")[1].splitlines()) <= 10
    assert len(values) == 12
    assert values[-1] < 0.8 * values[0]
    assert sum(p.grad.abs().sum() > 0 for part in ("metric", "hier") for p in names[part].parameters()) == 2
