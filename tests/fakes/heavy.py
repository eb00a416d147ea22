"""What a nursery imports with care: timm, as hier does, and torch's compiler, without its last words.

hier is forgotten again, since each child finds its code for itself.
"""

import atexit
import sys

from torch._dynamo.utils import dump_compile_times

from hier.models import torchvision_ops

torchvision_ops.ensure()
import timm  # noqa: E402, F401

LIBRARIES = torchvision_ops._LIBRARIES  # the operators live as long as these
atexit.unregister(dump_compile_times)
for name in [name for name in sys.modules if name.partition(".")[0] == "hier"]:
    del sys.modules[name]
