"""`make same-networks`: two steps of larger networks, natively and on emulated processors: the same bytes?

Emulated, a large step takes minutes, so batches and images are small; the kernels are those of large ones.

    python -m fakes.same_networks
"""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from fakes.same_bytes import EMULATOR, HERE

ROOT = Path(__file__).parents[2]
PROCESSORS = (HERE, "Haswell", "EPYC")
NETWORKS = {
    "EfficientNet-Lite0": ("grocery", "grocery-hier-efficientnet_lite0-128-s0", 16, 64),
    "ResNet-50": ("table1", "cub-hier-resnet50-512-s0", 4, 64),
    "ViT-S": ("table1", "cub-hier-vit_small-384-s0", 16, 32),
}
"""By name: suite, run, images in a batch, their side in pixels."""


def main() -> None:
    """Ask three processors beside each other, print the table.

    Raises:
        SystemExit: the emulator is missing, a process failed, or the hashes are not the same.
    """
    if shutil.which(EMULATOR) is None:
        raise SystemExit(f"{EMULATOR} is missing; install it: apt-get install qemu-user (Debian)")
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ask, PROCESSORS))
    print(f"| network | parameters | {' | '.join(PROCESSORS)} |\n|---|---|" + "---|" * len(PROCESSORS))
    for key in found[0]:
        print(f"| {key} | {' | '.join(side[key] for side in found)} |")
    if any(side != found[0] for side in found):
        raise SystemExit("same-networks: other bytes")
    print(f"same-networks: all is well [{time.monotonic() - started:.0f} s]", flush=True)


def ask(processor: str) -> dict[str, str]:
    """The hashes that a processor gives."""
    emulated = [] if processor == HERE else [EMULATOR, "-cpu", processor]
    command = [*emulated, sys.executable, "-m", "fakes.same_networks", "--steps"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def steps() -> dict[str, str]:
    """The first digits of the SHA-256 of each network's parameters, at the start and after two steps."""
    from hier.kernels import choose_kernels

    choose_kernels("portable")
    import torch

    from hier.config.compose import compose
    from hier.models.network import build_network
    from hier.training.determinism import make_deterministic
    from hier.training.objective import Objective
    from hier.training.step import Step

    def digest(*modules: torch.nn.Module) -> str:
        found = sha256()
        for module in modules:
            for parameter in module.parameters():
                found.update(parameter.detach().contiguous().numpy().tobytes())
        return found.hexdigest()[:12]

    hashes = {}
    for name, (suite, run_name, batch, side) in NETWORKS.items():
        changes = [f"sampler.batch_size={batch}", "sampler.images_per_class=2", "runtime.threads=1"]
        changes += ["runtime.device=cpu", "runtime.precision=float32", f"regularizer.neighbours={batch - 1}"]
        run = compose([f"suite={suite}", "methods=[hier]", *changes], ROOT / "conf").runs[run_name]
        device = make_deterministic(run.runtime)
        torch.manual_seed(0)
        network = build_network(run.backbone, run.head, pretrained=False).train()
        objective = Objective(run, batch // 2)
        step = Step(run, network, objective, device)
        hashes[f"{name} | at the start"] = digest(network)
        images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
        for seed in range(2):
            images = images.contiguous(memory_format=torch.channels_last)
            step(images, torch.arange(batch) // 2, torch.Generator().manual_seed(seed))
        hashes[f"{name} | after two steps"] = digest(network, objective)
    return hashes


if __name__ == "__main__":
    if sys.argv[1:] == ["--steps"]:
        print(json.dumps(steps()))
    else:
        main()
