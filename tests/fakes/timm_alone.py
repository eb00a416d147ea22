"""Imports timm as hier does, and forgets hier, whose code each child of a nursery finds for itself."""

import sys

from hier.models import torchvision_ops

torchvision_ops.ensure()
import timm  # noqa: E402, F401

LIBRARIES = torchvision_ops._LIBRARIES  # the operators live as long as these
for name in [name for name in sys.modules if name.partition(".")[0] == "hier"]:
    del sys.modules[name]
