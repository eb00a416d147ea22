"""What holds for every test."""

import signal


def pytest_configure() -> None:
    """Let Ctrl-C be Ctrl-C: a shell that starts the tests in the background has it ignored, and
    every process that a test starts would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
