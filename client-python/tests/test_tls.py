"""TLS: both sides prove themselves; nothing is ever sent in the clear."""

import logging.config
import ssl

import pytest
from harness import Server, eventually, server_context


def options(certificates, **more):
    files = {"pemfile": str(certificates / "client.pem"), "cacert": certificates / "ca.cert"}
    return {"host": "localhost", "ssl_info": {**files, **more}}


def failure_of(logger):
    handler = logger.handlers[0]
    logger.info("secret")
    eventually("an attempt failed", lambda: handler.stats()["failures"] >= 1)
    assert handler.stats()["written"] == 0
    return handler.stats()["last_failure"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_arrive_over_mutual_tls(certificates, logger_for, version):
    context = server_context(certificates)
    context.minimum_version = context.maximum_version = version
    with Server(tls=context) as server:
        logger = logger_for(server, secret="s", **options(certificates))
        for number in range(1_000):
            logger.info("%d", number)
        received = server.wait_for(1_000)
    assert [m["body"] for m in received] == [str(n) for n in range(1_000)]


def test_an_address_is_checked_like_a_name(certificates, logger_for):
    with Server(tls=server_context(certificates)) as server:
        logger_for(server, **{**options(certificates), "host": "127.0.0.1"}).info("hello")
        server.wait_for(1)


def test_a_certificate_for_another_name_is_refused(certificates, logger_for):
    with Server(tls=server_context(certificates, "other")) as server:
        failure = failure_of(logger_for(server, **options(certificates)))
        assert "loghog-server-cert" in failure
        assert server.received() == []


@pytest.mark.parametrize(
    "more", [{"server_hostname": "logs.example.org"}, {"check_hostname": False}]
)
def test_another_name_can_be_given_or_left_unchecked(certificates, logger_for, more):
    with Server(tls=server_context(certificates, "other")) as server:
        logger_for(server, **options(certificates, **more)).info("hello")
        server.wait_for(1)


def test_a_server_that_refuses_us_is_noticed_before_anything_is_lost(certificates, logger_for):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    context.load_verify_locations(certificates / "ca2.cert")
    context.verify_mode = ssl.CERT_REQUIRED
    with Server(tls=context) as server:
        failure = failure_of(logger_for(server, **options(certificates)))
        assert "the server refused us" in failure


def test_a_server_of_another_ca_is_refused(certificates, logger_for):
    with Server(tls=server_context(certificates)) as server:
        arguments = options(certificates, check_hostname=False)
        arguments["ssl_info"]["cacert"] = certificates / "ca2.cert"
        assert "not from our CA" in failure_of(logger_for(server, **arguments))


def test_nothing_is_sent_in_the_clear_to_a_server_without_tls(certificates, logger_for):
    with Server() as server:
        handler = logger_for(server, **options(certificates)).handlers[0]
        handler.emit(logging.makeLogRecord({"msg": "secret"}))
        eventually("somebody connected", lambda: server.accepted > 0)
        assert not handler.flush(0.5)
        assert server.received() == []


def test_a_key_of_another_certificate_is_refused_at_once(certificates, logger_for):
    mixed = certificates / "mixed.pem"
    key = (certificates / "stranger.pem").read_text().split("-----BEGIN CERTIFICATE")[0]
    certificate = (certificates / "client.pem").read_text()
    mixed.write_text(key + "-----BEGIN CERTIFICATE" + certificate.split("-----BEGIN CERTIFICATE")[1])
    with Server() as server, pytest.raises(ValueError, match="mixed.pem"):
        arguments = options(certificates)
        arguments["ssl_info"]["pemfile"] = mixed
        logger_for(server, **arguments)


def test_a_servers_certificate_of_the_originals_kind_is_named_with_the_remedy(
    certificates, logger_for
):
    with Server(tls=server_context(certificates, "old")) as server:
        failure = failure_of(logger_for(server, **options(certificates, check_hostname=False)))
        assert "X.509 v1" in failure and "loghog-server-cert" in failure


def test_our_own_certificate_of_the_originals_kind_is_named_with_the_remedy(
    certificates, logger_for
):
    with Server() as server, pytest.raises(ValueError, match="X.509 v1.*loghog-client-cert"):
        logger_for(server, **options(certificates, pemfile=certificates / "old.pem"))


def test_dict_config_resolves_what_stands_in_ssl_info(certificates):
    with Server(tls=server_context(certificates, "other")) as server:
        handler = {
            "class": "loghog.LoghogHandler",
            "app_name": "app",
            "port": server.port,
            **options(certificates, server_hostname="cfg://name"),
        }
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "name": "logs.example.org",
                "handlers": {"loghog": handler},
                "loggers": {"resolved": {"handlers": ["loghog"]}},
            }
        )
        logging.getLogger("resolved").warning("hello")
        server.wait_for(1)
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
