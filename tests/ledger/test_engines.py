"""Programs that are called: silent when all is well, one line when not."""

import pytest

from hier.errors import HierError
from hier.ledger.locks import call


def test_nothing_is_said_where_all_is_well(capfd):
    call("timeit", "-n", "1", "-r", "1", "print('loud')")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "print('a'); print('ERROR: no space', file=stderr); print('hint', file=stderr)",
            "ERROR: no space",
        ),
        ("print('first', file=stderr); print('last', file=stderr)", "last"),
        ("print('on standard output')", "on standard output"),
        ("pass", "it says nothing"),
    ],
)
def test_a_failure_says_why(tmp_path, monkeypatch, code, said):
    (tmp_path / "program.py").write_text(f"from sys import stderr, exit\n{code}\nexit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(HierError) as caught:
        call("program", "-x")
    assert str(caught.value) == f"program -x failed: {said}"
