"""Each argument means what it meant in the original."""

import logging
import socket

import pytest
from harness import Server, eventually, signature

from loghog import LoghogHandler


def test_a_message_has_the_fields_of_the_original(server, logger_for):
    logger_for(server, name="web.auth").info("hello %s", "world")
    (received,) = server.wait_for(1)
    assert set(received) == {
        *("version", "app_id", "module", "stamp", "nsecs", "hostname", "body"),
    }
    assert received["version"] == 1
    assert received["app_id"] == "app"
    assert received["module"] == "web.auth"
    assert received["hostname"] == socket.gethostname()
    assert received["body"] == "hello world"
    assert received.flags == 0


def test_stamp_and_nsecs_are_the_records(server, logger_for):
    logger = logger_for(server)
    record = logging.makeLogRecord({"name": "web", "msg": "m"})
    record.created, record.msecs = 1353836302.99, 120.43
    logger.handlers[0].handle(record)
    (received,) = server.wait_for(1)
    assert (received["stamp"], received["nsecs"]) == (1353836302, int(120.43 * 10**6))


@pytest.mark.parametrize(
    ("created", "msecs", "stamp", "nsecs"),
    [
        (0.0, 1000.0, 0, 999_999_999),
        (-1.5, -1.0, -1, 0),
        (float("nan"), float("nan"), 0, 0),
        (1e300, float("inf"), 2**63 - 1, 999_999_999),
        (12, 34, 12, 34_000_000),
    ],
)
def test_odd_times_stay_within_what_the_wire_takes(
    server, logger_for, created, msecs, stamp, nsecs
):
    logger = logger_for(server)
    record = logging.makeLogRecord({"name": "web", "msg": "m"})
    record.created, record.msecs = created, msecs
    logger.handlers[0].handle(record)
    (received,) = server.wait_for(1)
    assert (received["stamp"], received["nsecs"]) == (stamp, nsecs)


def test_the_default_address_is_the_originals():
    handler = LoghogHandler("app")
    handler.emit(logging.makeLogRecord({"msg": "m"}))
    # Whether somebody listens there or not, the failure would name it.
    handler.flush_timeout = 0.0
    handler.close()
    failure = handler.stats()["last_failure"]
    assert failure is None or ":5566" in failure


@pytest.mark.parametrize("secret", ["s3cret", b"s3cret", "schlüssel", b"\x00\xff" * 50])
@pytest.mark.parametrize("body", ["hello", "ünïcode \U0001f600 日本", "a\nb\t\"\\\x00", ""])
def test_the_signature_is_the_one_that_python_computes(server, logger_for, secret, body):
    logger_for(server, secret=secret).info("%s", body)
    (received,) = server.wait_for(1)
    key = secret.encode() if isinstance(secret, str) else secret
    assert received["body"] == body
    assert received["signature"] == signature(key, received)


@pytest.mark.parametrize("secret", [None, "", b""])
def test_without_a_secret_nothing_is_signed(server, logger_for, secret):
    logger_for(server, secret=secret).info("hello")
    assert "signature" not in server.wait_for(1)[0]


def test_compression_makes_each_message_a_zlib_stream(server, logger_for):
    logger = logger_for(server, compression=True, secret="s")
    for body in ("hello", "x" * 100_000):
        logger.info(body)
    received = server.wait_for(2)
    assert [message.flags for message in received] == [1, 1]
    assert received[1]["body"] == "x" * 100_000
    assert received[0]["signature"] == signature(b"s", received[0])


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [("web01", "web01"), (None, socket.gethostname()), ("", socket.gethostname())],
)
def test_hostname_is_the_machines_unless_given(server, logger_for, hostname, expected):
    logger_for(server, hostname=hostname).info("hello")
    assert server.wait_for(1)[0]["hostname"] == expected


def test_without_a_stream_each_message_is_a_datagram(logger_for):
    with Server(udp=True) as server:
        logger = logger_for(server, stream=False, secret="s", compression=True)
        for number in range(10):
            logger.info("%d", number)
        received = server.wait_for(10)
    assert [message["body"] for message in received] == [str(number) for number in range(10)]
    assert received[9]["signature"] == signature(b"s", received[9])


def test_a_message_that_no_datagram_holds_is_counted(logger_for):
    with Server(udp=True) as server:
        logger = logger_for(server, stream=False)
        logger.info("x" * 65_507)
        logger.info("short")
        assert server.wait_for(1)[0]["body"] == "short"
    assert logger.handlers[0].stats()["dropped_too_large"] == 1


def test_a_message_longer_than_a_frame_is_counted(server, logger_for):
    logger = logger_for(server)
    logger.info("x" * (1 << 20))
    logger.info("short")
    assert server.wait_for(1)[0]["body"] == "short"
    assert logger.handlers[0].stats()["dropped_too_large"] == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_goes_with_and_without_brackets(logger_for, host):
    with Server(family=socket.AF_INET6) as server:
        logger_for(server, host=host).info("hello")
        server.wait_for(1)


def test_a_name_is_looked_up_and_every_address_tried(server, logger_for):
    logger_for(server, host="localhost").info("over TCP")
    server.wait_for(1)
    with Server(udp=True) as datagrams:
        logger_for(datagrams, host="localhost", stream=False).info("over UDP")
        datagrams.wait_for(1)


def test_the_port_may_be_text(server, logger_for):
    logger_for(server, port=str(server.port)).info("hello")
    server.wait_for(1)


def test_max_buffer_size_keeps_the_newest_while_the_server_is_away(nobody, logger_for):
    logger = logger_for(nobody, max_buffer_size=10)
    handler = logger.handlers[0]
    logger.info("0")
    eventually("the outage is known", lambda: handler.stats()["failures"] >= 2)
    for number in range(1, 100):
        logger.info("%d", number)
    stats = handler.stats()
    assert (stats["queued"], stats["dropped_queue_full"]) == (10, 90)
    nobody.leave()
    with Server(port=nobody.port) as server:
        assert handler.flush(60)
        assert [m["body"] for m in server.wait_for(10)] == [str(n) for n in range(90, 100)]


def test_a_burst_larger_than_max_buffer_size_arrives_while_the_server_is_there(
    server, logger_for
):
    logger = logger_for(server, max_buffer_size=1)
    for number in range(20_000):
        logger.info("%d", number)
    received = server.wait_for(20_000)
    assert [m["body"] for m in received] == [str(n) for n in range(20_000)]


def test_print_debug_prints_to_stdout_and_otherwise_nothing_does(nobody, logger_for, capfd):
    for print_debug in (False, True):
        logger = logger_for(nobody, print_debug=print_debug)
        handler = logger.handlers[0]
        logger.info("hello")
        eventually("an attempt failed", lambda: handler.stats()["failures"] >= 1)
        logger.info("too few %s %s", "arguments")
        logger.info("again")
        out, err = capfd.readouterr()
        assert err == ""
        if print_debug:
            assert f"cannot connect to 127.0.0.1:{nobody.port}" in out
            assert "not enough arguments" in out
        else:
            assert out == ""


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"app_name": ""}, ValueError),
        ({"app_name": 5}, TypeError),
        ({"host": 5}, TypeError),
        ({"host": ""}, ValueError),
        ({"host": "localhost:5566"}, ValueError),
        ({"port": 0}, ValueError),
        ({"port": 65_536}, ValueError),
        ({"port": "http"}, ValueError),
        ({"max_buffer_size": 0}, ValueError),
        ({"secret": 5}, TypeError),
        ({"ssl_info": {"pemfile": "x"}}, ValueError),
        ({"ssl_info": {"pemfile": None, "cacert": "x"}}, ValueError),
        ({"ssl_info": {"pemfile": "x", "cacert": "x", "cafile": "x"}}, ValueError),
        ({"ssl_info": {"pemfile": "x", "cacert": "x"}, "stream": False}, ValueError),
        ({"ssl_info": {"pemfile": "/nonexistent/x", "cacert": "x"}}, FileNotFoundError),
    ],
)
def test_what_cannot_work_is_said_at_once(arguments, error):
    with pytest.raises(error):
        LoghogHandler(**{"app_name": "app", **arguments})
