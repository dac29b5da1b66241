#!/usr/bin/env python3
"""Logs over TCP, signed UDP and mutual TLS, as any program would.

usage: hello.py TCP-PORT TLS-PORT SECRET PEMFILE CACERT

The server is on localhost and takes UDP on the port of TCP.
"""

import logging
import logging.config
import sys


def configuration(tcp_port, tls_port, secret, pemfile, cacert):
    """What would stand in Django's LOGGING."""
    server = {"class": "loghog.LoghogHandler", "host": "localhost", "formatter": "usual"}
    return {
        "version": 1,
        "formatters": {"usual": {"format": "%(levelname)s - %(message)s"}},
        "handlers": {
            "tcp": {**server, "app_name": "hello", "port": tcp_port},
            "udp": {
                **server,
                "app_name": "hello-signed",
                "port": tcp_port,
                "stream": False,
                "secret": secret,
            },
            "tls": {
                **server,
                "app_name": "hello-tls",
                "port": tls_port,
                "compression": True,
                "ssl_info": {"pemfile": pemfile, "cacert": cacert},
            },
        },
        "loggers": {
            "plain": {"handlers": ["tcp"], "level": "INFO"},
            "signed": {"handlers": ["udp"], "level": "INFO"},
            "encrypted": {"handlers": ["tls"], "level": "INFO"},
        },
    }


def main():
    tcp_port, tls_port, secret, pemfile, cacert = sys.argv[1:]
    logging.config.dictConfig(
        configuration(int(tcp_port), int(tls_port), secret, pemfile, cacert)
    )
    logging.getLogger("plain").info("hello over TCP, %s", "world")
    logging.getLogger("signed").warning("hello over signed UDP, in Ελληνικά too")
    logging.getLogger("encrypted.below").error("hello over TLS")
    try:
        {}["missing"]
    except KeyError:
        logging.getLogger("encrypted").exception("a traceback stays readable")


if __name__ == "__main__":
    main()
