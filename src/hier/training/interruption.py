"""SIGTERM and Ctrl-C while training: finish the step, keep a checkpoint, leave."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Whether the process was asked to stop: `number` is the signal that asked first."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.interrupts = 0

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal: take note of the first one; a second Ctrl-C stops at once."""
        self.interrupts += number == signal.SIGINT
        if self.interrupts > 1:
            raise KeyboardInterrupt
        if self.number is None:
            self.number = number
            # Not print: the signal may have come in the middle of one.
            os.write(2, b"stopping after this step; Ctrl-C twice stops at once\n")

    @property
    def asked(self) -> bool:
        return self.number is not None

    def leave(self, checkpoint: Path) -> None:
        """End the process as its signal would, if any came; training goes on from `checkpoint`."""
        if self.number is None:
            return
        text = f"stopped; goes on from {checkpoint} with the same command"
        print(text, file=sys.stderr, flush=True)
        code, self.number = 128 + self.number, None
        raise SystemExit(code)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Let signals ask for a stop until the block ends; they act as before afterwards.

    A signal that is ignored stays so. One that the block did not answer is passed on to the handler
    of before. Outside of the main thread, where Python handles no signals, nothing happens.
    """
    interruption = Interruption()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interruption.ask)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if interruption.number is not None:
        signal.raise_signal(interruption.number)
