"""Signals ask for a stop within the block and act as before outside of it."""

import os
import signal
import threading
from pathlib import Path

import pytest

from hier.training.interruption import SIGNALS, interruptible


@pytest.fixture(autouse=True)
def handlers():
    """Handlers of the test's own; those of before come back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    caught = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: caught.append(number))
    yield caught
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_it_is_noted_and_answered(number, handlers, capfd):
    before = signal.getsignal(number)
    with interruptible() as interruption:
        assert not interruption.asked
        interruption.leave(Path("never.pt"))  # nothing was asked
        send(number)
        assert interruption.asked
        with pytest.raises(SystemExit) as left:
            interruption.leave(Path("some.pt"))
    assert left.value.code == 128 + number
    err = capfd.readouterr().err
    assert err == (
        "stopping after this step; Ctrl-C twice stops at once\n"
        "stopped; goes on from some.pt with the same command\n"
    )
    assert signal.getsignal(number) is before
    assert handlers == []


def test_the_first_signal_gives_the_code():
    with interruptible() as interruption:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            send(number)
        with pytest.raises(SystemExit, match="143"):
            interruption.leave(Path("some.pt"))


@pytest.mark.parametrize("before", [[], [signal.SIGTERM]])
def test_a_second_ctrl_c_is_not_waited_for(before):
    old = signal.getsignal(signal.SIGINT)
    with interruptible():
        for number in [*before, signal.SIGINT]:
            send(number)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is old


def test_what_the_block_did_not_answer_is_passed_on(handlers):
    with interruptible():
        send(signal.SIGTERM)
    assert handlers == [signal.SIGTERM]


def test_handlers_come_back_after_an_error(handlers):
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), interruptible():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_ignored_signal_stays_ignored():
    """As for a job that a shell script has put into the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible() as interruption:
        send(signal.SIGINT)
        assert not interruption.asked
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_outside_the_main_thread_nothing_happens():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with interruptible() as interruption:
            seen.append((interruption.asked, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
