#!/usr/bin/env python3
"""Logs numbered messages through loghog's handler and keeps a diary, as
tests/src/bin/proof_program.rs does.

usage: proof.py PLAN

PLAN is a file of JSON; its members stand in tests/src/proof/program.rs. The end
of standard input asks for the end of the program.
"""

import json
import logging
import os
import random
import sys
import threading
import time

from loghog import LoghogHandler

OPEN_MAX = 40_000


class Program:
    def __init__(self, plan):
        self.plan = plan
        self.handler = handler(plan)
        self.diary = os.open(plan["diary"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.loggers = [logger(name, self.handler) for name in plan["loggers"]]
        self.random = random.Random(plan["seed"])
        self.number = 0
        self.is_over = threading.Event()
        threading.Thread(target=self.wait_for_the_end, daemon=True).start()

    def wait_for_the_end(self):
        sys.stdin.read()
        self.is_over.set()

    def log(self):
        """Logs until it is over, but something in any case."""
        while True:
            end = self.number + 1 + self.random.randrange(400)
            self.note(f"logging {end}")
            while self.number < end:
                self.number += 1
                self.log_one()
            self.note(f"logged {self.number} {self.counters()}")
            if self.random.randrange(4) == 0:
                self.flush(0.02 + 2 * self.random.random())
            while self.plan["waits"] and self.queued() > OPEN_MAX and not self.is_over.is_set():
                self.flush(0.1)
            if self.is_over.is_set():
                return
            time.sleep(0.03 * self.random.random())

    def finish(self):
        while not self.flush(5.0):
            pass
        self.handler.close()
        self.note(f"done {self.number} {self.counters()}")

    def log_one(self):
        number = self.number
        filling = "x" * (number * 7919 % 97)
        self.loggers[number % len(self.loggers)].info(
            "%s run %d number %d %s; end.", self.plan["name"], self.plan["run"], number, filling
        )

    def flush(self, limit):
        is_safe = self.handler.flush(limit)
        if is_safe:
            self.note(f"durable {self.number} dropped {dropped(self.handler.stats())}")
        return is_safe

    def queued(self):
        return self.handler.stats()["queued"]

    def counters(self):
        stats = self.handler.stats()
        named = ("written", "resent", "refused", "damaged", "reconnects", "spooled")
        told = " ".join(f"{name} {stats[name]}" for name in named)
        return f"{told} dropped {dropped(stats)}"

    def note(self, line):
        # One call, and so a whole line or none.
        os.write(self.diary, f"{line}\n".encode())


def dropped(stats):
    return sum(value for name, value in stats.items() if name.startswith("dropped_"))


def handler(plan):
    ssl_info = None
    if plan["pemfile"]:
        ssl_info = {"pemfile": plan["pemfile"], "cacert": plan["cacert"]}
    return LoghogHandler(
        plan["app"],
        host="localhost",
        port=plan["port"],
        secret=plan["secret"],
        compression=plan["compression"] or False,
        hostname=plan["name"],
        ssl_info=ssl_info,
        max_buffer_size=plan["queue"],
        protocol=2,
        spool_dir=plan["spool"],
        spool_bytes=plan["spool_bytes"],
    )


def logger(name, its_handler):
    named = logging.getLogger(name or None)
    named.setLevel(logging.INFO)
    if name == "" or "." not in name:
        named.handlers = [its_handler]
        named.propagate = False
    return named


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        program = Program(json.load(file))
    program.log()
    program.finish()


if __name__ == "__main__":
    main()
