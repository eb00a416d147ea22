"""`hier dataset add` on photos of every kind: what it writes, what it says, what it refuses in one line."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from hier import yaml12
from hier.cli import cli
from hier.config.compose import compose
from hier.config.dataset import Columns, Dataset
from hier.errors import HierError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the project's configuration, in which commands can work."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("conf", "params", "params.yaml", "src"):
        (root / name).symlink_to(ROOT / name)
    (root / "conf").unlink()
    for path in (ROOT / "conf").rglob("*.yaml"):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(root)
    monkeypatch.delenv("HIER_MIRROR", raising=False)
    return root


def photo(path, shade=0, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade % 256, shade // 256, 90)).save(path)


@pytest.fixture
def photos(project):
    """Six classes of five photos in two super-classes, as folders beside the project."""
    root = project.parent / "photos"
    for i, name in enumerate(
        ["boots/ankle", "boots/chelsea", "boots/hiking", "flat/clog", "flat/mule", "flat/slip"]
    ):
        for j in range(5):
            photo(root / name / f"{j}.png", 10 * i + j)
    return root


def table(photos, text, name="labels.csv"):
    path = photos.parent / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(photos, columns="path,label", line="{path},{label}"):
    """A table of all photos as text."""
    found = sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
    lines = [line.format(path=path, label=path.parent.name, above=path.parts[0]) for path in found]
    return "\n".join([columns, *lines]) + "\n"


def add(photos, *options, name="shoes"):
    done = CliRunner().invoke(cli, ["dataset", "add", str(photos), "--name", name, *map(str, options)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def written(name="shoes"):
    return Dataset.model_validate(yaml12.read(Path(f"conf/dataset/{name}.yaml")))


def test_folders_of_super_classes_become_a_suite_that_composes(photos):
    done = add(photos)
    assert "30 photos in" in done.output
    assert "3 classes for training, 3 unseen, drawn by seed 0\nlevels: class, super-class" in done.output
    assert "next: hier compose suite=shoes && snakemake --cores all" in done.output
    dataset = written()
    assert (dataset.layout, dataset.levels, dataset.exif) == ("folder", ["class", "super-class"], "upright")
    assert dataset.counts.images == {"train": 15, "test": 15}
    suite = compose(["suite=shoes"])
    assert [run.method for run in suite.runs.values()][1:] == ["pa", "hier"]
    (run,) = (run for run in suite.runs.values() if run.method == "hier")
    assert run.sampler.batch_size <= 15
    assert run.regularizer.neighbours < run.sampler.batch_size


def test_the_list_is_what_sha256sum_checks(photos, tmp_path):
    from hier.data.in_place import list_photos

    add(photos)
    (tmp_path / "list").write_text(list_photos(photos, "shoes"))
    subprocess.run(["sha256sum", "--check", "--quiet", tmp_path / "list"], cwd=photos, check=True)
    said = subprocess.run(["sha256sum", tmp_path / "list"], capture_output=True, text=True, check=True)
    assert written().sources[0].files[0].sha256 == said.stdout.split()[0]


def test_a_table_gives_levels_splits_and_crops(photos):
    text = rows(photos, "file;breed;kind;side;crop", "{path};{label};{above};SIDE;0 0 20 20")
    for name in ("ankle", "chelsea", "clog"):
        text = text.replace(f"{name};boots;SIDE", f"{name};boots;train").replace(
            f"{name};flat;SIDE", f"{name};flat;train"
        )
    path = table(photos, text.replace("SIDE", "test"))
    done = add(
        photos,
        "--table",
        path,
        "--columns",
        "path=file,label=breed",
        "--levels",
        "shoe,kind",
        "--split",
        "side",
    )
    dataset = written()
    assert "levels: shoe, kind" in done.output
    assert (dataset.layout, dataset.levels) == ("table", ["shoe", "kind"])
    assert dataset.columns == Columns(path="file", label="breed", split="side", above=["kind"])
    assert (dataset.unseen, dataset.superclass) == (None, True)
    assert [Path(str(f.url or f.folder)).name for f in dataset.sources[0].files] == ["photos", "labels.csv"]


def test_folders_may_say_the_split(photos):
    for side, name in (("train", "boots"), ("test", "flat")):
        (photos / side).mkdir()
        (photos / name).rename(photos / side / name)
    assert "as the data say" in add(photos).output
    assert written().levels == ["class", "super-class"]


def test_a_file_may_say_the_split(photos):
    sides = {
        "ankle": "train",
        "chelsea": "train",
        "hiking": "query",
        "clog": "train",
        "mule": "query",
        "slip": "query",
    }
    lines = [
        f"{'/'.join(path.relative_to(photos).parts)},{sides[path.parent.name]}"
        for path in photos.rglob("*.png")
    ]
    text = "\n".join(line.replace("query", "gallery") if "/0." in line else line for line in lines)
    done = add(photos, "--split", table(photos, f"path,split\n{text}\n", "sides.csv"))
    assert written().counts.images == {"train": 15, "query": 12, "gallery": 3}
    assert "cannot be measured" not in done.output


def test_what_is_no_photo_is_told(photos):
    photo(photos / ".thumbs/x.png")
    photo(photos / "flat/clog/.hidden.png")
    (photos / "flat/empty").mkdir()
    (photos / "flat/clog/notes.txt").write_text("old")
    (photos / "flat/clog/link.png").symlink_to(photos / "flat/mule/0.png")
    (photos / "flat/loop").symlink_to(photos)
    output = add(photos).output
    assert "30 photos in" in output
    assert "note: 2 hidden are left out (such as .thumbs)" in output
    assert "note: 2 links are not followed (such as flat/clog/link.png)" in output
    assert "note: 1 files that are no photos are left out (such as flat/clog/notes.txt)" in output
    assert "note: 1 folders without a photo do not count (such as flat/empty)" in output


def test_copies_are_told(photos):
    (photos / "flat/clog/copy.png").write_bytes((photos / "flat/clog/0.png").read_bytes())
    assert (
        "1 photos are copies of others of their class (such as flat/clog/0.png and flat/clog/copy.png)"
        in (add(photos).output)
    )
    for other in ("flat/mule", "flat/slip", "boots/hiking"):
        (photos / other / "copy.png").write_bytes((photos / "boots/ankle/0.png").read_bytes())
    output = add(photos, "--replace").output
    assert "1 photos lie in training and among the unseen, the same bytes" in output


def test_classes_that_cannot_be_measured_are_told(photos):
    for name in ("ankle", "chelsea", "hiking"):
        for j in range(1, 5):
            (photos / f"boots/{name}/{j}.png").unlink()
    for name in ("ankle", "chelsea"):
        photo(photos / f"boots/{name}/9.png", 1000 + len(name))
    sides = {"hiking": "test", "clog": "test"}
    lines = [f"{n},{sides.get(n, 'train')}" for n in ("ankle", "chelsea", "hiking", "clog", "mule", "slip")]
    output = add(photos, "--split", table(photos, "label,split\n" + "\n".join(lines))).output
    assert "1 unseen classes cannot be measured, having nothing to find (hiking)" in output


def test_the_same_name_again_only_by_replace(photos):
    add(photos)
    before = {path: path.read_bytes() for path in Path("conf").rglob("shoes.yaml")}
    photo(photos / "flat/clog/new.png", 999)
    with pytest.raises(
        HierError, match=r"conf/dataset/shoes.yaml is there already; choose another --name, or"
    ):
        add(photos)
    assert {path: path.read_bytes() for path in before} == before
    add(photos, "--replace")
    assert sum(written().counts.images.values()) == 31
    assert Path("conf/recipe/shoes.yaml").read_bytes() == before[Path("conf/recipe/shoes.yaml")]


def test_replace_asks_for_what_was_asked_before(photos):
    path = table(photos, rows(photos, "file,label,superclass", "{path},{label},{above}"))
    add(photos, "--table", path, "--columns", "path=file", "--unseen", "0.4", "--seed", "7")
    before = written()
    text = Path("conf/dataset/shoes.yaml").read_text().replace("store_size: 30", "store_size: 16")
    Path("conf/dataset/shoes.yaml").write_text(text)
    path.write_text(path.read_text().replace("flat/slip/4.png,slip,flat\n", ""))
    add(photos, "--replace")
    after = written()
    assert (after.unseen, after.columns, after.levels) == (before.unseen, before.columns, before.levels)
    assert sum(after.counts.images.values()) == 29
    assert after.sources[0].files[1].sha256 != before.sources[0].files[1].sha256


def of_one_class(photos):
    for path in photos.rglob("*.png"):
        if path.parent.name != "clog":
            path.unlink()


def at_the_top(photos):
    photo(photos / "stray.png")


def at_two_depths(photos):
    photo(photos / "clog/0.png")


def with_few_photos(photos):
    for path in photos.rglob("*.png"):
        if path.name != "0.png":
            path.unlink()


def with_the_same_class_on_both_sides(photos):
    for side in ("train", "test"):
        for j in range(3):
            photo(photos / side / "flat/clog" / f"{j}.png", j)
    for name in ("boots", "flat"):
        (photos / name).rename(photos / "train" / f"{name}s")


def with_a_validation_side(photos):
    for side in ("train", "val", "test"):
        photo(photos / side / "clog" / "0.png")
    for name in ("boots", "flat"):
        (photos / name).rename(photos / "train" / name)


def of_sides_without_classes(photos):
    for side, name in (("train", "boots"), ("test", "flat")):
        for path in (photos / name).rglob("*.png"):
            (photos / side).mkdir(exist_ok=True)
            path.rename(photos / side / f"{path.parent.name}{path.name}")


def damaged(photos):
    (photos / "flat/clog/1.png").write_bytes(b"\x89PNG\r\n\x1a\nand then nothing")


def without_photos(photos):
    for path in photos.rglob("*.png"):
        path.rename(path.with_suffix(".heic"))


FOLDERS = {
    "no such folder": (None, ["NOWHERE"], r"NOWHERE is not there; name a folder"),
    "no photos": (without_photos, [], r"has no photos, but 30 other files \(such as boots/ankle/0.heic\)"),
    "one class": (of_one_class, [], r"all photos are of one class, flat/clog; two at least"),
    "a photo in no folder": (at_the_top, [], r"1 photos lie in no folder of a class \(stray.png\); put"),
    "two depths": (at_two_depths, [], r"at different depths: 'clog/0.png' in 1, 'boots/ankle/0.png' in 2;"),
    "too few": (with_few_photos, [], r"3 training photos of 3 classes are fewer than a batch needs"),
    "a validation side": (with_a_validation_side, [], r"the folders test, train, val look like sides of a"),
    "sides without classes": (of_sides_without_classes, [], r"the folders test, train look like sides of a"),
    "both sides": (with_the_same_class_on_both_sides, [], r"class flat/clog is in two splits: "),
    "a damaged photo": (damaged, [], r"1 of 30 photos cannot be read \(flat/clog/1.png\)"),
    "a bad name": (None, ["--name", "Shoes!"], r"--name: 'Shoes!' must be of a to z, 0 to 9 and _"),
    "a name that is taken": (None, ["--name", "demo"], r"conf/dataset/demo.yaml is there already; choose"),
    "nothing to replace": (None, ["--replace"], r"conf/dataset/shoes.yaml was not written by `hier"),
    "levels twice": (None, ["--levels", "class,class"], r"--levels names one twice: class, class"),
    "levels": (None, ["--levels", "a,b,c"], r"--levels names 3 levels \(a, b, c\); there are 2"),
    "columns of no table": (None, ["--columns", "path=file"], r"--columns names path of a table; give it"),
    "unknown columns": (None, ["--columns", "paht=file"], r"--columns: 'paht=file' must be path=, label="),
    "no such split": (None, ["--split", "nowhere.csv"], r"--split: .*nowhere.csv is not there"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "options", "said"), FOLDERS.values(), ids=FOLDERS)
def test_bad_folders_are_one_line_each_and_nothing_is_written(change, options, said, photos):
    if change:
        change(photos)
    folder = options.pop() if options[:1] == ["NOWHERE"] else photos
    before = sorted(Path("conf").rglob("*.yaml"))
    with pytest.raises(HierError, match=said) as caught:
        add(folder, *options)
    assert "\n" not in str(caught.value)
    assert sorted(Path("conf").rglob("*.yaml")) == before


def rows_below(text):
    """With a column for the super-class, the first folder of each path."""
    head, *lines = text.splitlines()
    return "\n".join([f"{head},superclass", *(f"{line},{line.partition('/')[0]}" for line in lines)]) + "\n"


def test_tables_of_other_kinds_are_refused(photos):
    path = table(photos, rows(photos), "labels.xlsx")
    with pytest.raises(HierError, match=r"labels.xlsx is none of .csv, .parquet, .tsv; save it as one"):
        add(photos, "--table", path)


def test_classes_of_one_name_below_two_folders_are_told(photos):
    (photos / "boots/hiking").rename(photos / "boots/clog")
    assert "note: classes of one name below several super-classes count apart (clog)" in add(photos).output


def changed(old, new):
    return lambda text: text.replace(old, new, 1)


TABLES = {
    "a missing file": (changed("clog/1.png", "clog/9.png"), r"line 18: 'flat/clog/9.png' is not among the"),
    "a path outside": (changed("flat/clog/1.png", "../clog/1.png"), r"line 18: '../clog/1.png' is not among"),
    "an absolute path": (changed("flat/clog/1.png", "/etc/1.png"), r"line 18: '/etc/1.png' is not among"),
    "a path twice": (changed("clog/1.png", "clog/0.png"), r"line 18: 'flat/clog/0.png' was named before \("),
    "no column label": (changed("label", "breed"), r"has no column label \(it has path, breed\); rename one"),
    "an empty label": (changed("clog/1.png,clog", "clog/1.png,"), r"line 18: label is empty"),
    "a value too many": (changed("clog/1.png,clog", "clog/1.png,clog,x"), r"line 18: 3 values, where"),
    "no rows": (lambda _: "path,label\n", r"has no rows"),
    "two columns of a name": (changed("path,label", "path,path"), r"has two columns 'path'"),
    "no such split": (lambda text: text.replace("\n", ",holdout\n").replace("label,holdout", "label,split"),
                      r"line 2: split 'holdout' is none of train, test, query, gallery"),
    "one side alone": (lambda text: text.replace("\n", ",train\n").replace("label,train", "label,split"),
                       r"the splits are train; they must be test, train or"),
    "a class in two splits": (
        lambda text: text.replace("\n", ",train\n").replace("label,train", "label,split").replace(
            "clog/1.png,clog,train", "clog/1.png,clog,test"),
        r"class clog is in two splits: 'flat/clog/0.png' in train, 'flat/clog/1.png' in test"),
    "a split of some": (
        lambda text: text.replace("\n", ",train\n").replace("label,train", "label,split").replace(
            "clog/1.png,clog,train", "clog/1.png,clog,"), r"line 18: 'flat/clog/1.png' has no split, and"),
    "no box": (lambda text: text.replace("\n", ",1 2 3\n").replace("label,1 2 3", "label,crop"),
               r"line 2: crop '1 2 3' is not left, top, right, bottom"),
    "an empty box": (lambda text: text.replace("\n", ",9 9 3 3\n").replace("label,9 9 3 3", "label,crop"),
                     r"line 2: crop '9 9 3 3' is empty or begins outside"),
    "a / in a level": (lambda text: text.replace("\n", ",a/b\n").replace("label,a/b", "label,superclass"),
                       r"line 2: 'a/b' has a / in it; give each level its own column"),
    "a label below two": (
        lambda text: rows_below(text).replace("clog/1.png,clog,flat", "clog/1.png,clog,boots"),
        r"label 'clog' is below flat \(.*labels.csv, line 17\) and boots \(.*line 18\); a class has one"),
    "a box beyond": (lambda text: text.replace("\n", ",9 9 13 33\n").replace("label,9 9 13 33", "label,crop"),
                     r"boots/ankle/0.png: its crop \(9, 9, 13, 33\) leads out of its 40 × 30 pixels"),
    "not UTF-8": (changed(",clog", ",cl\udcf6g"), r"is not UTF-8 text"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), TABLES.values(), ids=TABLES)
def test_bad_tables_are_one_line_each_and_nothing_is_written(change, said, photos):
    path = photos.parent / "labels.csv"
    path.write_text(change(rows(photos)), encoding="utf-8", errors="surrogateescape")
    with pytest.raises(HierError, match=said) as caught:
        add(photos, "--table", path)
    assert "\n" not in str(caught.value)
    assert not list(Path("conf").rglob("shoes.yaml"))


def test_a_split_that_the_data_say_is_not_drawn(photos):
    path = table(photos, rows(photos, "path,label,split", "{path},{label},train"))
    with pytest.raises(HierError, match=r"the data say which classes are for training; leave out --unseen"):
        add(photos, "--table", path, "--unseen", "0.3")
