"""After which epochs recall is looked at."""

from hier.config.run import Run


def is_looked_at(run: Run, epoch: int) -> bool:
    """Whether recall is looked at after `epoch` (from 0), see `Protocol`."""
    protocol = run.protocol
    if not protocol.test_every:
        return False
    is_last = epoch + 1 == run.schedule.epochs
    in_turn = epoch >= protocol.test_from and epoch % protocol.test_every == 0
    return in_turn or (protocol.test_last and is_last)
