import shutil
from pathlib import Path

import pytest

import hier
from fakes.settings import write_settings
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.files.hashing import hashing
from hier.jobs import job as real_job
from hier.ledger.output_cache import cache_outputs
from hier.ledger.record import recorded

ROOT = Path(__file__).parents[2]
SOURCE = Path(hier.__file__).parents[1]
RUN = "smoke-hier-test_resnet-16-s0"


@pytest.fixture
def real(tmp_path, monkeypatch):
    """A function that fills a folder with the real pipeline's code and params, and a record of made-up
    outputs for the whole way to one run's model."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SOURCE / "hier", "src/hier", ignore=shutil.ignore_patterns("__pycache__"))
    Path("expected").mkdir()

    def made(seeds=1):
        suite = compose(["suite=smoke", "methods=[hier]", f"seeds={list(range(seeds))}"], ROOT / "conf")
        params = Settings.of(suite)
        write_settings(params)
        for name, key in (("download", "smoke"), ("prepare", "smoke"), ("train", RUN)):
            job = real_job(name, key, params)
            with recorded(job):
                for path in job.outputs:
                    (Path(path) if job.stage.directory else Path(path).parent).mkdir(
                        parents=True, exist_ok=True
                    )
                    (Path(path, "a") if job.stage.directory else Path(path)).write_bytes(b"made up")
            with hashing() as hasher:
                cache_outputs(job, hasher)

    return made


@pytest.fixture
def job(toy):
    """cook@soup, all of whose inputs were made; its source is pot.py and what lies in tools/."""
    toy.make("shop@veg")
    toy.make("chop@veg")
    return toy.job("cook@soup")
