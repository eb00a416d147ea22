"""Let torchvision import beside a torch build that lacks its compiled operators.

The registry's torchvision registers metadata for `torchvision::nms` at import, which fails with
"operator torchvision::nms does not exist" where its C++ library was built for another torch (a CPU
build, typically). Nothing in this project uses these operators; timm imports torchvision, though.
Where torchvision imports by itself this module does nothing.
"""

import torch

_LIBRARIES: list[torch.library.Library] = []  # a library's definitions live as long as it does


def ensure() -> None:
    """Make `import torchvision` work in this process."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)
        _forget_half_imported()
        import torchvision  # noqa: F401


def _forget_half_imported() -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
