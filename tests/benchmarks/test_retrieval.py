"""The benchmark of Recall@K, at a tiny scale: it prints its table, and a missed bound is its exit."""

import pytest

import retrieval


@pytest.mark.parametrize(("seconds", "code"), [(1.0, 0), (100.0, 1)])
def test_a_missed_bound_is_the_exit_status(monkeypatch, capsys, seconds, code):
    """Made-up times: the product takes 1 s, the others long enough."""
    took = {"poincare": seconds, "cosine": 1.0, "product": 1.0, "row by row": 1e4, "faiss": 1e4}

    def note(self, name, work, share=1.0):
        work()
        self.seconds.setdefault(name, []).append(took[name])

    monkeypatch.setattr(retrieval.Turns, "note", note)
    monkeypatch.setattr(retrieval, "peak_memory", lambda device: 10**9)
    monkeypatch.setattr(retrieval, "accuracy_calculator", lambda setting: None)
    with pytest.raises(SystemExit) as exit_status:
        retrieval.main(["--queries", "300", "--gallery", "200", "--rounds", "1"])
    assert exit_status.value.code == code
    out = capsys.readouterr().out
    assert f"| custom 300 × 200 | poincare / product | {seconds:.2f} |" in out
    assert "| custom 300 × 200 | peak memory, GB | 1.00 |  | ≤ 2 |  |" in out


def test_the_search_row_by_row_finds_the_nearest_own_item():
    sides = retrieval.made_up(retrieval.Setting("tiny", 40, 60, 5, (1,)))
    ranks = retrieval.row_by_row(sides, 40)
    hits = sum(rank == 0 for rank in ranks) / 40
    found = retrieval.recall_at_k(
        sides.query, sides.query_labels, sides.gallery, sides.gallery_labels,
        [1], "poincare", retrieval.C,
    )  # fmt: skip
    assert found == {1: hits}
