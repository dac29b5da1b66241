"""A handler that was closed opens again with the next message, as those of the
standard library do: dictConfig() closes all handlers, also those that loggers
keep."""

from harness import bodies, eventually, flushed, program, succeeded


def test_the_next_message_opens_it_again(server, logger_for):
    logger = logger_for(server)
    handler = logger.handlers[0]
    for round in range(3):
        logger.info("%d", round)
        logger.info("%d", [])
        handler.close()
        handler.close()
        assert handler.flush()
    assert bodies(server.wait_for(3)) == ["0", "1", "2"]
    stats = handler.stats()
    assert (stats["enqueued"], stats["written"]) == (6, 3)
    assert (stats["dropped_unformattable"], stats["dropped_closed"]) == (3, 0)
    assert server.accepted == 3


def test_what_was_lost_before_stays_counted(nobody, logger_for):
    logger = logger_for(nobody)
    handler = logger.handlers[0]
    handler.flush_timeout = 0.0
    for _ in range(3):
        logger.info("lost")
        handler.close()
        eventually("it is given up", lambda: handler.stats()["queued"] == 0)
    stats = handler.stats()
    assert (stats["enqueued"], stats["dropped_closed"]) == (3, 3)


def test_what_stays_in_the_spool_is_sent_by_the_same_handler(daemon, tmp_path, logger_for):
    daemon.stop()
    logger = logger_for(daemon, spool_dir=tmp_path / "spool")
    handler = logger.handlers[0]
    handler.flush_timeout = 0.0
    logger.info("first")
    eventually("it is kept", lambda: handler.stats()["spooled"] == 1)
    handler.close()
    daemon.start()
    logger.info("second")
    stats = flushed(logger)
    daemon.wait_for(2)
    assert sorted(daemon.messages()) == ["first", "second"]
    assert stats["enqueued"] == stats["written"] + stats["queued"]


def test_a_handler_that_dict_config_has_closed_goes_on(daemon, tmp_path):
    """uvicorn.run() configures logging in programs that have done so already."""
    succeeded(
        program(
            """
            import logging, logging.config, sys
            from loghog import LoghogHandler
            handler = LoghogHandler(
                "app", "127.0.0.1", int(sys.argv[1]), protocol=2, spool_dir=sys.argv[2]
            )
            logging.getLogger().addHandler(handler)
            logging.getLogger("web").warning("before")
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
            logging.getLogger("web").warning("after")
            """,
            daemon.port,
            tmp_path / "spool",
        )
    )
    daemon.wait_for(2)
    assert sorted(daemon.messages()) == ["after", "before"]


def test_a_child_opens_what_its_parent_has_closed(server):
    succeeded(
        program(
            """
            import logging, os, sys
            from loghog import LoghogHandler
            logger = logging.getLogger("web")
            handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]))
            logger.addHandler(handler)
            logger.warning("before")
            handler.close()
            pid = os.fork()
            if pid == 0:
                logger.warning("child")
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            assert handler.stats()["enqueued"] == 1
            """,
            server.port,
        )
    )
    assert bodies(server.wait_for(2)) == ["before", "child"]


def test_at_the_end_of_the_program_it_stays_closed(server):
    """Nobody would wait for the message any more: it is lost, and counted."""
    done = succeeded(
        program(
            """
            import atexit, sys
            def last():
                logger.warning("too late")
                print(handler.stats()["dropped_closed"])
            # Hooks run last in, first out: this one behind logging.shutdown().
            atexit.register(last)
            import logging
            from loghog import LoghogHandler
            logger = logging.getLogger("web")
            handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]))
            logger.addHandler(handler)
            logger.warning("in time")
            """,
            server.port,
        )
    )
    assert done.stdout == "1\n"
    assert bodies(server.received()) == ["in time"]
