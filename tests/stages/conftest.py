import shutil
from pathlib import Path

import pytest

import hier
from fakes import kitchen as fake
from fakes.settings import write_settings
from hier.config.compose import compose
from hier.pipeline import job as real_job
from hier.provenance.hashing import hashing
from hier.provenance.keep import keep
from hier.provenance.record import recorded

ROOT = Path(__file__).parents[2]
SOURCE = Path(hier.__file__).parents[1]
RUN = "smoke-hier-test_resnet-16-s0"


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """The small pipeline of fakes/kitchen.py in the current folder; nothing of it was run yet."""
    fake.furnish(tmp_path, monkeypatch)
    return fake


@pytest.fixture
def real(tmp_path, monkeypatch):
    """A function that fills a folder with the real pipeline's code and params, and a record of made-up
    outputs for the whole way to one run's model."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SOURCE / "hier", "src/hier", ignore=shutil.ignore_patterns("__pycache__"))
    Path("expected").mkdir()

    def made(seeds=1):
        suite = compose(
            ["suite=smoke", "methods=[hier]", f"seeds={list(range(seeds))}"], ROOT / "conf"
        )
        params = suite.model_dump()
        write_settings(params)
        for name, key in (("download", "smoke"), ("prepare", "smoke"), ("train", RUN)):
            job = real_job(name, key, params)
            with recorded(job, params):
                for path in job.outputs:
                    (Path(path) if job.stage.directory else Path(path).parent).mkdir(
                        parents=True, exist_ok=True
                    )
                    (Path(path, "a") if job.stage.directory else Path(path)).write_bytes(b"made up")
            with hashing() as hasher:
                keep(job, hasher)

    return made
