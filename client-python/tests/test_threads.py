"""Many threads, one handler; many handlers."""

import logging
import sysconfig
import threading

import pytest
from harness import Server, bodies, program, succeeded

from loghog import LoghogHandler


def test_a_storm_of_threads_loses_nothing_and_keeps_each_ones_order(server, logger_for):
    threads, each = 16, 500
    logger = logger_for(server, secret="s")

    def storm(number):
        for at in range(each):
            logger.info("%d %d", number, at)

    running = [threading.Thread(target=storm, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    received = bodies(server.wait_for(threads * each))
    for number in range(threads):
        of_thread = [int(b.split()[1]) for b in received if b.startswith(f"{number} ")]
        assert of_thread == list(range(each))
    stats = logger.handlers[0].stats()
    assert (stats["written"], stats["queued"], stats["reconnects"]) == (threads * each, 0, 0)


def test_threads_that_flush_and_threads_that_log(server, logger_for):
    logger = logger_for(server)
    handler = logger.handlers[0]
    done = []

    def work(number):
        for at in range(100):
            logger.info("%d %d", number, at)
            if at % 10 == 0:
                done.append(handler.flush(60))

    running = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    server.wait_for(800)
    assert all(done) and len(done) == 80


def test_many_handlers_for_one_server(server):
    handlers = [LoghogHandler("app", server.host, server.port) for _ in range(20)]
    for handler in handlers:
        handler.emit(logging.makeLogRecord({"msg": "hello"}))
    for handler in handlers:
        handler.close()
    assert len(server.wait_for(20)) == 20
    assert server.accepted == 20


def test_a_handler_that_never_logs_connects_to_nobody(server):
    handler = LoghogHandler("app", server.host, server.port)
    assert handler.flush()
    handler.close()
    assert server.accepted == 0


def test_a_server_that_restarts_gets_what_was_logged_meanwhile(logger_for):
    with Server() as server:
        logger = logger_for(server)
        logger.info("before")
        server.wait_for(1)
        port = server.port
    for number in range(10):
        logger.info("meanwhile %d", number)
    with Server(port=port) as server:
        assert logger.handlers[0].flush(60)
        assert bodies(server.wait_for(10)) == [f"meanwhile {number}" for number in range(10)]


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has no other lock to spare"
)
def test_the_free_threaded_python_does_not_get_its_lock_back(server):
    """A module that does not say that it can do without switches it on for all."""
    done = program(
        """
        import logging, sys
        from loghog import LoghogHandler
        handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]))
        handler.handle(logging.makeLogRecord({"msg": "hello"}))
        assert handler.flush()
        print(sys._is_gil_enabled())
        """,
        server.port,
    )
    assert succeeded(done).stdout == "False\n"
