"""What `hier verify` prints of what it found."""

import pandas as pd
import pytest

from hier.provenance.proof import Proof
from hier.reporting import proof as printed


@pytest.mark.parametrize(("grades", "runs"), [
    (("identical", "identical"), 2), (("identical", "no reference"), 1), (("no reference",) * 2, 0),
])  # fmt: skip
def test_a_promise_is_told_of_runs_that_have_a_reference(monkeypatch, capsys, grades, runs):
    cells = pd.DataFrame({
        "run": ["a", "b"], "grade": grades, "promise": "the same bytes", "proved": None,
    })  # fmt: skip
    monkeypatch.setattr(printed, "print_grades", lambda cells: None)
    found = Proof(cells=cells, findings=[], damaged=[], notices={}, refuted={})
    printed.print_proof(found)
    said = f"promise of {runs} runs against the reference: the same bytes\n"
    assert capsys.readouterr().out == (said if runs else "")
