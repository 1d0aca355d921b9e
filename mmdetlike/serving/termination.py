"""Stopping a server with all its processes when one of them is told to end."""

import os
import signal


def stop_when_terminated() -> None:
    """Take SIGTERM as Ctrl-C: it would end this process alone, and those that it has started would keep the port."""
    server = os.getpid()

    def stop(number: int, frame) -> None:
        if os.getpid() == server:
            raise KeyboardInterrupt
        os._exit(128 + number)  # a process that was forked and has the handler with the rest

    signal.signal(signal.SIGTERM, stop)
