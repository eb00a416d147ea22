"""What config/ defines is data: what decides how a model comes out belongs where its change is seen.

No stage lists config/ as code, since every setting is in a run's key by its value. A property there that
computes something would change results while every record stays current.
"""

import ast
from pathlib import Path

import pytest

import hier

SOURCE = Path(hier.__file__).parent
SCHEMA = ("config/base.py", "config/dataset.py", "config/protocol.py", "config/run.py", "config/suite.py")
SCIENCE = ("geometry", "losses", "models", "data", "training", "evaluation")

VALIDATORS = {"model_validator", "field_validator"}
# Names, look-ups and words; and what refuses settings.
HELPERS = {
    "Run.dim", "Run.name", "Suite.run", "Suite.dataset", "Dataset.advice", "Loss.check",
    "_own_settings",
}  # fmt: skip


def defined(text, functions=True):
    """Functions of a module and methods of its classes that are neither validators nor helpers."""
    body = ast.parse(text).body
    groups = [(f"{node.name}.", node.body) for node in body if isinstance(node, ast.ClassDef)]
    for prefix, nodes in [*groups, *([("", body)] if functions else [])]:
        for node in nodes:
            if isinstance(node, ast.FunctionDef) and not VALIDATORS & set(decorators(node)):
                yield f"{prefix}{node.name}"


def decorators(node):
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        yield called.id if isinstance(called, ast.Name) else ast.unparse(called)


def problems(path, text):
    # suite.py reads and names suites besides; the test below sees that no computation calls that.
    return sorted(set(defined(text, functions=path != "config/suite.py")) - HELPERS)


@pytest.mark.parametrize("path", SCHEMA)
def test_the_schema_defines_fields_validators_and_names_alone(path):
    assert problems(path, (SOURCE / path).read_text()) == []


def test_every_module_with_a_model_of_a_suite_is_looked_at():
    parts = [Path(path).stem for path in SCHEMA]
    for path in (SOURCE / "config").glob("*.py"):
        if "(Strict)" in path.read_text():
            assert path.stem in [*parts, "matrix"]  # a matrix is resolved before there are runs


PROPERTY = """
    @property
    def rate(self) -> float:
        return 2 * self.optimizer.lr

    @property
    def dim(self)"""
FUNCTION = "def rate(run):\n    return 2 * run.optimizer.lr\n\n\nclass Run(Strict)"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("\n    @property\n    def dim(self)", PROPERTY, "Run.rate"),
        ("class Run(Strict)", FUNCTION, "rate"),
    ],
)
def test_what_computes_is_found(old, new, found):
    text = (SOURCE / "config/run.py").read_text()
    assert text.count(old) == 1
    assert problems("config/run.py", text.replace(old, new)) == [found]


def called_of_config(text):
    """Functions of config/ that a module imports: their names begin in lower case."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hier.config"):
            yield from (alias.name for alias in node.names if not alias.name[0].isupper())
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("hier.config"))


@pytest.mark.parametrize("folder", SCIENCE)
def test_what_computes_takes_data_alone_from_config(folder):
    files = sorted((SOURCE / folder).rglob("*.py"))
    assert files
    for file in files:
        assert list(called_of_config(file.read_text())) == [], file
    assert list(called_of_config("from hier.config.suite import one_line")) == ["one_line"]
