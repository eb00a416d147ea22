"""What makes a process give the same bytes each time."""

import os

import pytest
import torch

from hier.config.run import Runtime
from hier.errors import ConfigError
from hier.training.determinism import make_deterministic


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Leave torch's global settings as they were."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
        torch.get_num_threads(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    )
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.benchmark = True
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]
    torch.backends.cudnn.benchmark = before[2]
    torch.set_num_threads(before[3])
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before[4:]
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def runtime(**changes):
    return Runtime(**{"device": "cpu", "precision": "float32", "threads": 1, "workers": 0} | changes)


def test_flags_are_set():
    make_deterministic(runtime())
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("cudnn_benchmark", [False, True])
def test_what_may_trade_exactness_for_speed_is_the_runs(tf32, cudnn_benchmark):
    make_deterministic(runtime(tf32=tf32, cudnn_benchmark=cudnn_benchmark))
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert torch.backends.cuda.matmul.allow_tf32 == tf32
    assert torch.backends.cudnn.benchmark == cudnn_benchmark
    assert torch.are_deterministic_algorithms_enabled()


def test_both_are_off_unless_asked_for_and_then_not_among_what_is_hashed():
    assert (runtime().tf32, runtime().cudnn_benchmark) == (False, False)
    named = runtime(tf32=False, cudnn_benchmark=False)
    assert not {"tf32", "cudnn_benchmark"} & named.model_dump(exclude_defaults=True).keys()
    assert runtime(tf32=True).model_dump(exclude_defaults=True)["tf32"]


def test_a_users_own_cublas_workspace_is_kept(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    make_deterministic(runtime())
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_the_runs(threads):
    make_deterministic(runtime(threads=threads))
    assert torch.get_num_threads() == threads


def test_cpu_means_cpu():
    assert make_deterministic(runtime(device="cpu")) == torch.device("cpu")


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make_deterministic(runtime(device="auto")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert make_deterministic(runtime(device="auto")) == torch.device("cuda")
    assert make_deterministic(runtime(device="cuda")) == torch.device("cuda")
    assert make_deterministic(runtime(device="cpu")) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_an_error_with_the_mend():
    with pytest.raises(ConfigError, match="use auto or cpu") as caught:
        make_deterministic(runtime(device="cuda"))
    assert str(caught.value).startswith("runtime.device is cuda, but torch sees no GPU")


def test_what_has_no_deterministic_algorithm_fails():
    make_deterministic(runtime())
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        torch.nn.functional.max_unpool1d(torch.ones(1, 1, 2), torch.tensor([[[0, 2]]]), kernel_size=2)
