"""Serves S3 by moto.

    moto_server.py PORT [PEM]

One request at a time: moto checks a condition (If-Match) and writes in two steps, where
S3 promises one.
"""

import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

port, *pem = sys.argv[1:]
run_simple(
    "127.0.0.1",
    int(port),
    DomainDispatcherApplication(create_backend_app),
    threaded=False,
    ssl_context=(pem[0], pem[0]) if pem else None,
)
