"""A torch that sees as many GPUs as a test says, for machines that have none."""

import os
import sys
from types import ModuleType, SimpleNamespace

UUIDS = [f"{letter * 8}-0000-0000-0000-000000000000" for letter in "abcd"]


class Cuda:
    """What hier asks of torch.cuda about a machine whose driver has `uuids`.

    Like the driver, it counts the cards of CUDA_VISIBLE_DEVICES anew, and shows of slices the first.
    """

    def __init__(self, uuids):
        asked = os.environ.get("CUDA_VISIBLE_DEVICES")
        entries = [str(i) for i in range(len(uuids))] if asked is None else asked.split(",")
        self.seen = []
        for entry in map(str.strip, entries):
            if entry.startswith("MIG-"):  # cards that are cut up look like the first one
                self.seen = uuids[:1]
                break
            if entry.startswith("GPU-"):
                found = [uuid for uuid in uuids if uuid.startswith(entry.removeprefix("GPU-"))]
            else:
                found = uuids[int(entry) :][:1] if entry.isdecimal() else []
            if not found:
                break
            self.seen += found
        self.current = 0
        self.emptied = lambda: None

    def is_available(self):
        return bool(self.seen)

    def device_count(self):
        return len(self.seen)

    def current_device(self):
        return self.current

    def get_device_properties(self, index):
        return SimpleNamespace(uuid=self.seen[index])

    def set_device(self, index):
        self.current = index

    def empty_cache(self):
        self.emptied()

    def get_device_name(self):
        return "Pretended GPU"

    def is_initialized(self):
        return self.is_available()

    def max_memory_allocated(self):
        return 1

    @property
    def uuid(self):
        """The card that "cuda" means now."""
        return self.seen[self.current]


def pretend(number):
    """The torch.cuda of a machine with `number` cards, in place of the real one.

    The rest of torch is there where it was loaded before.
    """
    torch = ModuleType("torch")
    torch.__dict__.update(vars(sys.modules.get("torch", torch)))
    torch.cuda = Cuda(UUIDS[:number])
    sys.modules["torch"] = torch
    return torch.cuda
