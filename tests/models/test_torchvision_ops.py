"""torchvision imports beside any torch build, and is left alone where it does so by itself."""

import os
import subprocess
import sys
from pathlib import Path

import hier

PACKAGE = Path(hier.__file__).parents[1]


def python(code, *, path=()):
    """Run `code` in a fresh interpreter where the folders of `path` come first."""
    folders = os.pathsep.join(map(str, [*path, PACKAGE]))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=False,
    )


def fake_torchvision(folder, text):
    (folder / "torchvision").mkdir()
    (folder / "torchvision/__init__.py").write_text(text)
    (folder / "torchvision/part.py").write_text("")


def test_torchvision_imports_after_ensure_called_once_or_twice():
    done = python(
        "from hier.models import torchvision_ops as ops\n"
        "ops.ensure()\n"
        "import torchvision\n"
        "libraries = list(ops._LIBRARIES)\n"
        "ops.ensure()\n"
        "import torchvision as again\n"
        "assert again is torchvision and ops._LIBRARIES == libraries\n"
        "from torchvision.transforms import functional\n"
        "from torchvision.models import resnet18\n"
        "import torch, timm\n"
        "assert torch.ops.torchvision.nms is not None\n"
        "print(torchvision.__version__)"
    )
    assert done.returncode == 0, done.stderr
    from importlib.metadata import version

    assert done.stdout.split("+")[0].strip() == version("torchvision").split("+")[0]


def test_without_trouble_nothing_is_changed(tmp_path):
    fake_torchvision(tmp_path, "from torchvision import part\nmark = object()\n")
    done = python(
        "import torch, torchvision\n"
        "before = torchvision, torchvision.mark, torchvision.part\n"
        "from hier.models import torchvision_ops as ops\n"
        "ops.ensure()\n"
        "import torchvision, sys\n"
        "assert before == (torchvision, torchvision.mark, sys.modules['torchvision.part'])\n"
        "assert ops._LIBRARIES == []\n"
        "assert not hasattr(torch.ops.torchvision, 'nms')\n",
        path=[tmp_path],
    )
    assert done.returncode == 0, done.stderr


def test_the_missing_operators_are_declared_and_half_imported_modules_forgotten(tmp_path):
    fake_torchvision(
        tmp_path,
        "import torch\n"
        "from torchvision import part\n"
        "if not hasattr(torch.ops.torchvision, 'nms'):\n"
        "    part.stale = True\n"
        "    raise RuntimeError('operator torchvision::nms does not exist')\n",
    )
    done = python(
        "from hier.models import torchvision_ops as ops\n"
        "ops.ensure()\n"
        "import torch, torchvision\n"
        "assert not hasattr(torchvision.part, 'stale')\n"
        "assert len(ops._LIBRARIES) == 1\n"
        "schema = torch.ops.torchvision.nms.default._schema\n"
        "print(schema)\n",
        path=[tmp_path],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    )


def test_any_other_trouble_is_not_hidden(tmp_path):
    fake_torchvision(
        tmp_path,
        "import torch\n"
        "if not hasattr(torch.ops.torchvision, 'nms'):\n"
        "    raise RuntimeError('something else')\n",
    )
    done = python("from hier.models import torchvision_ops as ops\nops.ensure()", path=[tmp_path])
    assert done.returncode == 1
    assert done.stderr.strip().endswith("RuntimeError: something else")
