"""What the record says of the machine, against what the operating system's own tool says."""

import json
import shutil
import subprocess

import pytest

from hier.ledger.environment import processor


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="lscpu, of util-linux, is not here")
def test_processor_has_name_family_and_model() -> None:
    """Two kinds that a cloud calls by one name are told apart."""
    done = subprocess.run(["lscpu", "--json"], capture_output=True, text=True, check=True)
    facts = {f["field"].rstrip(":"): f["data"] for f in _flat(json.loads(done.stdout)["lscpu"])}
    if "CPU family" not in facts:
        pytest.skip("this kind of processor has no family")
    expected = f"{facts['Model name']} (family {facts['CPU family']}, model {facts['Model']})"
    assert processor() == expected


def _flat(fields: list[dict]) -> list[dict]:
    return [f for field in fields for f in [field, *_flat(field.get("children", []))]]
