#!/usr/bin/env python3
"""What a log message costs a Python program, beside what people use today.

    python_handler.py PROGRAMS [--calls N] [--rounds N]

PROGRAMS is the folder with the release build of loghogd and loghog-*-cert. Needs
what bench/python installs. Rounds of all ways alternate, so that a busy moment of
the machine meets all of them. Every call is timed by itself; nothing is
subtracted. Microseconds of all rounds:

    handle   handler.handle(record), of a record that has just been made
    info     logger.info(), which makes the record as well
    cpu      processor time of the program for a message, all threads, until the
             last one has left it: in v2 is acknowledged, which is after the sync
    lost     messages that were not handed to the kernel; in v2, that were not
             acknowledged

Behind the table, what ours costs for each microsecond of FileHandler's, round by
round. `a call` is a call of a function that does nothing; `nothing` a handler that does
nothing, which is what logging itself costs, whoever handles the record. It fails
when one of ours has lost a message, or costs more than half of FileHandler.
"""

import argparse
import contextlib
import logging
import os
import pathlib
import statistics
import sys
import tempfile
import time

from python_servers import daemon, sink
from python_ways import all_ways

FORMAT = "%(levelname)s - %(message)s"
TEXT = "request %d of %s took %.3f ms"
ARGUMENTS = ("/accounts/login", 12.345)

# Calls before the clock runs: the thread, the connection, the file.
WARM_UP = 200

# What our handlers may cost at most, for each microsecond of FileHandler's.
SHARE_MAX = 0.5
# Those that the promise is made for.
PROMISED = ("LoghogHandler, v1 TCP", "LoghogHandler, v2 TCP")


class Figures:
    """What has been seen of one way, in nanoseconds: all calls of a round, or
    one figure for it."""

    def __init__(self):
        self.handle, self.info, self.cpu = [], [], []
        self.messages, self.lost = 0, None

    def columns(self):
        for rounds in (self.handle, self.info):
            times = [each for times in rounds for each in times]
            yield statistics.median(times) / 1e3
            yield statistics.quantiles(times, n=100)[98] / 1e3
        yield statistics.median(self.cpu) / 1e3

    def shares(self, other):
        """How much it costs of what the other one does, round by round."""
        for mine, others in ((self.handle, other.handle), (self.info, other.info)):
            pairs = zip(map(statistics.median, mine), map(statistics.median, others))
            yield statistics.median(one / two for one, two in pairs)


def time_info(logger, calls, extra):
    clock, times = time.perf_counter_ns, []
    for number in range(calls):
        begun = clock()
        logger.info(TEXT, number, *ARGUMENTS, extra=extra)
        times.append(clock() - begun)
    return times


def time_handle(logger, handler, calls, extra):
    clock, times = time.perf_counter_ns, []
    for number in range(calls):
        record = logger.makeRecord(
            logger.name, logging.INFO, __file__, 1, TEXT, (number, *ARGUMENTS), None, extra=extra
        )
        begun = clock()
        handler.handle(record)
        times.append(clock() - begun)
    return times


def measure(way, calls, figures):
    handler = way.make()
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.Logger("web.requests", logging.INFO)
    logger.addHandler(handler)
    time_info(logger, WARM_UP, way.extra)
    way.drain(handler)
    cpu = time.process_time_ns()
    figures.info.append(time_info(logger, calls, way.extra))
    way.drain(handler)
    figures.cpu.append((time.process_time_ns() - cpu) / calls)
    figures.handle.append(time_handle(logger, handler, calls, way.extra))
    way.drain(handler)
    figures.messages += WARM_UP + 2 * calls
    lost = way.lost(handler)
    if lost is not None:
        figures.lost = (figures.lost or 0) + lost
    handler.close()


def nothing():
    pass


def empty_call(calls):
    clock, times = time.perf_counter_ns, []
    for _ in range(calls):
        begun = clock()
        nothing()
        times.append(clock() - begun)
    return statistics.median(times) / 1e3, statistics.quantiles(times, n=100)[98] / 1e3


def show(figures, calls):
    print(f"{'microseconds':34}{'handle':>8}{'p99':>8}{'info':>9}{'p99':>8}{'cpu':>9}{'lost':>6}")
    median, late = empty_call(calls)
    print(f"{'a call':34}{median:8.2f}{late:8.2f}")
    for name, seen in figures.items():
        handle, handle_late, info, info_late, cpu = seen.columns()
        lost = "" if seen.lost is None else seen.lost
        line = f"{name:34}{handle:8.2f}{handle_late:8.2f}{info:9.2f}{info_late:8.2f}"
        print(f"{line}{cpu:9.2f}{lost:>6}")


def judge(figures, ways, lines):
    """What was not kept, in words."""
    file = figures["logging.FileHandler"]
    for name in ("nothing", *PROMISED):
        handle, info = figures[name].shares(file)
        print(f"{name}: {handle:.2f} of FileHandler's handle, {info:.2f} of its info")
        if name in PROMISED and handle > SHARE_MAX:
            yield f"{name} costs more than {SHARE_MAX} of FileHandler"
    for way in ways:
        if figures[way.name].lost:
            yield f"{way.name} lost {figures[way.name].lost} messages"
    sent = sum(figures[way.name].messages for way in ways if way.is_counted)
    print(f"{sent} messages were sent to the daemon, {lines} are in its file")
    if sent != lines:
        yield f"{sent} messages were sent to the daemon, and {lines} are in its file"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", help="the folder of the release build")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, "
        f"{arguments.rounds} rounds of {arguments.calls} calls"
    )
    logging.raiseExceptions = False
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = stack.enter_context(sink())
        real = stack.enter_context(daemon(arguments.programs))
        ways = all_ways(folder, *ports, real)
        figures = {way.name: Figures() for way in ways}
        for _ in range(arguments.rounds):
            for way in ways:
                measure(way, arguments.calls // way.fewer, figures[way.name])
        show(figures, arguments.calls)
        problems = list(judge(figures, ways, real.lines()))
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
