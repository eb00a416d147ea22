"""The benchmark of images, at a tiny scale: it prints its table, and a missed bound is its exit."""

import numpy as np
import pytest
import torch

import images


@pytest.mark.parametrize(("seconds", "code"), [(4.0, 0), (3.9, 1)])
def test_a_missed_bound_is_the_exit_status(monkeypatch, capsys, seconds, code):
    """Made-up times: the store takes 1 s."""

    def note(self, name, work, share=1.0):
        work()
        took = seconds if name == "original files" else 1.0
        self.seconds.setdefault(name, []).append(took)

    monkeypatch.setattr(images.Turns, "note", note)
    monkeypatch.setattr(images, "SOP_IMAGES", 1000)
    with pytest.raises(SystemExit) as exit_status:
        images.main(["--images", "8", "--rounds", "1"])
    assert exit_status.value.code == code
    out = capsys.readouterr().out
    assert f"| photos 500 × 375 | original files / store | {seconds:.2f} |" in out
    assert "| photos 500 × 375 | store: KB for an image | 562." in out  # 500 · 375 · 3 bytes
    assert "| photos 500 × 375 | PNG / store's crops | 1.00 |" in out
    assert "| SOP's index | opening its store, s | " in out


def test_both_sides_load_the_same_photos_alike(tmp_path):
    """The same number of normalised batches; with the whole image as the crop, the same pixels."""
    run = images.settings(8)
    still = {"scale": [1.0, 1.0], "ratio": [4 / 3, 4 / 3], "flip": 0.0}
    run = run.model_copy(update={"augmentation": run.augmentation.model_copy(update=still)})
    index = images.photos(tmp_path, 8)
    store = images.prepared(tmp_path, index, run)
    plain = torch.cat(list(images.plain_loader(tmp_path, index, run)))
    labels = index["label"].to_numpy()
    ours = images.TrainingImages(store, np.arange(8), labels, run)
    batches = list(ours.epoch(0, torch.device("cpu")))
    assert [batch.shape for batch, _ in batches] == [(4, 3, 224, 224)] * 2
    for batch, classes in batches:
        for image, label in zip(batch, classes, strict=True):
            same = plain[torch.tensor(labels) == label]
            # Normalised by a spread of 0.5, half a grey value is 0.004.
            assert min((image - other).abs().max() for other in same) < 0.05


@pytest.mark.parametrize("name", images.FORMATS)
def test_other_formats_hold_the_photo(tmp_path, name):
    index = images.photos(tmp_path, 4)
    store = images.prepared(tmp_path, index, images.settings(4))
    for row, file in enumerate(images.encode(store, images.FORMATS[name])):
        difference = np.abs(images.decode(file).astype(int) - store[row])
        assert difference.mean() < (4 if name.startswith("JPEG") else 1e-9)
