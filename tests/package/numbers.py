"""Logs numbers over mutual TLS until it is told to stop, and says how many.

    python3 numbers.py SPOOL COUNT_FILE

Ends on SIGTERM, when all is acknowledged. The numbers are 1, 2, 3, ... in the file
/var/log/loghogd/load/root.log, each once, whatever has happened to the daemon meanwhile.
"""

import logging
import signal
import sys
import time

import loghog

going_on = True


def stop(*_):
    global going_on
    going_on = False


def main():
    spool, count_file = sys.argv[1:]
    signal.signal(signal.SIGTERM, stop)
    handler = loghog.LoghogHandler(
        "load",
        "localhost",
        5577,
        ssl_info={"pemfile": "/root/certs/client.pem", "cacert": "/root/certs/loghog-ca.cert"},
        protocol=2,
        spool_dir=spool,
    )
    logger = logging.getLogger()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    number = 0
    while going_on:
        number += 1
        logger.info("number %d", number)
        time.sleep(0.0005)
    flushed = handler.flush(timeout=30)
    with open(count_file, "w") as file:
        print(number, file=file)
    handler.close()
    sys.exit(0 if flushed else 1)


main()
