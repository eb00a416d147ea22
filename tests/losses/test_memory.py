"""Cross-batch memory against a plain queue, and its continuation from a saved state."""

import io

import pytest
import torch

from hier.losses.memory import CrossBatch

DIM, BATCH, MEMORY = 5, 6, 20


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def xbm(memory=MEMORY, start=0, positive=1.0, negative=0.2):
    return CrossBatch(
        DIM,
        memory=memory,
        start=start,
        positive_similarity=positive,
        negative_similarity=negative,
    )


def batches(steps, dtype=torch.float64, size=BATCH):
    for step in range(steps):
        z = torch.randn(size, DIM, generator=generator(step), dtype=torch.float64)
        yield z.to(dtype).requires_grad_(), torch.arange(size) // 2 + step % 2


def plain_contrastive(z, labels, others, other_labels, own, positive=1.0, negative=0.2):
    """Mean of the positive hinges above 0 plus mean of the negative ones; `own[i]` is skipped."""
    pulls, pushes = [], []
    for i, (x, y) in enumerate(zip(z, labels.tolist(), strict=True)):
        for j, (o, other) in enumerate(zip(others, other_labels, strict=True)):
            cosine = (x @ o) / (x.norm() * o.norm())
            if y == other and j != own[i]:
                pulls.append((positive - cosine).clamp_min(0))
            elif y != other:
                pushes.append((cosine - negative).clamp_min(0))
    total = z.sum() * 0
    for hinges in (pulls, pushes):
        above = [h for h in hinges if h > 0]
        if above:
            total = total + torch.stack(above).mean()
    return total


class PlainQueue:
    """The latest `size` embeddings as a list, oldest first."""

    def __init__(self, size, start):
        self.size, self.start, self.seen = size, start, 0
        self.points, self.labels = [], []

    def __call__(self, z, labels, **similarities):
        self.seen += 1
        if self.seen <= self.start:
            own = list(range(len(z)))
            return plain_contrastive(z, labels, z, labels.tolist(), own, **similarities)
        self.points = [*self.points, *z.detach()][-self.size :]
        self.labels = [*self.labels, *labels.tolist()][-self.size :]
        own = [len(self.points) - len(z) + i for i in range(len(z))]
        return plain_contrastive(z, labels, self.points, self.labels, own, **similarities)


@pytest.mark.parametrize("memory", [6, 7, 20, 24, 1000])
@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize(("positive", "negative"), [(1.0, 0.2), (0.8, -0.1)])
def test_values_and_gradients_are_those_of_a_plain_queue(memory, start, positive, negative):
    loss, plain = xbm(memory, start, positive, negative), PlainQueue(memory, start)
    for z, labels in batches(12):
        value = loss(z, labels)
        expected = plain(z, labels, positive=positive, negative=negative)
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, expected)
        ours, theirs = (torch.autograd.grad(v, z)[0] for v in (value, expected))
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs)


def test_the_memory_is_used_from_start_on():
    remembering, never = xbm(start=4), xbm(start=1000)
    same = [
        remembering(z, labels).item() == never(z, labels).item() for z, labels in batches(8, torch.float32)
    ]
    # at step 4 the memory holds the batch alone, so that the values agree but for rounding
    assert same[:4] == [True] * 4
    assert not any(same[5:])
    assert (never.memory.embedding_memory == 0).all()


def test_nothing_is_remembered_before_start():
    loss = xbm(start=3)
    for step, (z, labels) in enumerate(batches(5, torch.float32)):
        loss(z, labels)
        assert int((loss.memory.embedding_memory.norm(dim=1) > 0).sum()) == BATCH * max(0, step - 2)


@pytest.mark.parametrize("saved_after", [0, 2, 3, 4, 5, 7, 9])
def test_training_goes_on_from_a_saved_state_bit_by_bit(saved_after):
    """Before the memory starts, while it fills, and when the queue has wrapped."""
    straight, first, second = (xbm(start=3) for _ in range(3))
    expected = [straight(z, labels) for z, labels in batches(12, torch.float32)]
    for step, (z, labels) in enumerate(batches(12, torch.float32)):
        if step == saved_after:
            file = io.BytesIO()
            torch.save(first.state_dict(), file)
            file.seek(0)
            second.load_state_dict(torch.load(file, weights_only=True))
        loss = first if step < saved_after else second
        assert torch.equal(loss(z, labels), expected[step])
    ours, theirs = second.state_dict(), straight.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_state_is_all_tensors_and_no_parameters():
    loss = xbm()
    assert list(loss.parameters()) == []
    assert all(isinstance(value, torch.Tensor) for value in loss.state_dict().values())


def test_a_batch_without_a_pair_above_zero_gives_a_differentiable_zero():
    z = torch.eye(DIM)[:2].repeat_interleave(2, 0).requires_grad_()
    loss = xbm()(z, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("start", [0, 1000])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_changes_nothing(start, half):
    plain, cast, low = (xbm(start=start) for _ in range(3))
    for z, labels in batches(4, torch.float32):
        z = z.detach().to(half)
        expected = plain(z.float(), labels)
        with torch.autocast("cpu", dtype=half):
            value = cast(z.float(), labels)
        assert value.dtype == torch.float32
        assert torch.equal(value, expected)
        assert torch.equal(low(z, labels), expected)


def test_loss_sees_only_the_direction():
    near, far = xbm(), xbm()
    for z, labels in batches(5, torch.float32):
        torch.testing.assert_close(far(3.0 * z, labels), near(z, labels))


def test_a_batch_larger_than_the_memory():
    z, labels = next(batches(1))
    with pytest.raises(ValueError, match="batch of 6 does not fit a memory of 5"):
        xbm(memory=5)(z, labels)
