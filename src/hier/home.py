"""A home for a user who has none, as in a container that runs under any number of a user."""

import os
from pathlib import Path


def see_to_a_home() -> None:
    """Set HOME and USER for this process and those it starts, where neither they nor the system say.

    Matplotlib, torch, Snakemake, DVC and `hier plan` keep things there. The folder is the user's own,
    in the temporary one.
    """
    try:
        Path.home()
    except RuntimeError:
        from tempfile import gettempdir, mkdtemp

        home = Path(gettempdir(), f"hier-home-{os.geteuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        is_own = home.lstat().st_uid == os.geteuid()
        os.environ["HOME"] = str(home) if is_own else mkdtemp(prefix="hier-home-")
        os.environ.setdefault("USER", str(os.geteuid()))
