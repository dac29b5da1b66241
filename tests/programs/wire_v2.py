#!/usr/bin/env python3
"""Makes every golden frame of protocol v2 anew, from what it says.

usage: wire_v2.py tests/golden/wire_v2.json

A second implementation of docs/protocol.md, of nothing but hashlib, hmac,
struct and zlib, so that the vectors do not only say what our own code does.
Cases of kind "bad" and "forged" are for readers; this is a writer.
"""

import hashlib
import hmac
import json
import struct
import sys
import zlib

TYPES = {"HELLO": 1, "CHALLENGE": 2, "PROOF": 3, "WELCOME": 4, "BATCH": 5,
         "ACK": 6, "REPORT": 7, "FAREWELL": 8, "REFUSED": 9}
COMPRESSIONS = {"none": 0, "zlib": 1, "zstd": 2}
INTERNED_MAX, INTERNED_BYTES_MAX = 4096, 128


def integer(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def signed(value):
    value = (value + 2**63) % 2**64 - 2**63  # differences wrap around
    return integer(value << 1 if value >= 0 else (-value << 1) - 1)


def string(text):
    data = text.encode()
    return integer(len(data)) + data


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


class Interned:
    """The strings of one batch."""

    def __init__(self):
        self.strings = []

    def __call__(self, text):
        if text in self.strings:
            return integer(self.strings.index(text) + 1)
        if len(text.encode()) <= INTERNED_BYTES_MAX and len(self.strings) < INTERNED_MAX:
            self.strings.append(text)
        return integer(0) + string(text)


def value(kind, of):
    return {
        "null": lambda: b"\0",
        "bool": lambda: b"\2" if of else b"\1",
        "int": lambda: b"\3" + signed(of),
        "float": lambda: b"\4" + struct.pack("<d", of),
        "text": lambda: b"\5" + string(of),
        "json": lambda: b"\6" + string(of),
    }[kind]()


def batch(fields):
    interned, before = Interned(), fields["records"][0]["time_ns"]
    out = integer(fields["first_number"]) + integer(len(fields["records"])) + signed(before)
    for record in fields["records"]:
        out += bytes([record["level"]]) + signed(record["time_ns"] - before)
        out += interned(record["logger"]) + interned(record["thread"])
        out += integer(record["process_id"]) + string(record["body"])
        at = record["exception_at"]
        out += integer(0 if at is None else at + 1) + integer(len(record["fields"]))
        for key, kind, of in record["fields"]:
            out += interned(key) + value(kind, of)
        before = record["time_ns"]
    return out


def payload(case, session):
    """The payload, plain and without a MAC."""
    of, kind = case["fields"], case["type"]
    if kind == "HELLO":
        out = b"LogHog2\n" + bytes.fromhex(of["client_id"]) + bytes.fromhex(of["nonce"])
        out += string(of["app"]) + string(of["host"]) + string(of["module"])
        return out + integer(of["first_held"]) + integer(of["next_number"]) + integer(0)
    if kind == "CHALLENGE":
        out = bytes.fromhex(of["nonce"]) + integer(of["needs_proof"])
        out += integer(of["frame_bytes_max"]) + integer(of["records_max"])
        return out + integer(of["compressions"])
    if kind == "PROOF":
        return mac(session["secret"], b"LogHog2 client", session["transcript"])
    if kind == "WELCOME":
        out = integer(of["durable"]) + integer(of["taken"])
        if session["secret"]:
            out += mac(session["secret"], b"LogHog2 server", session["transcript"], out)
        return out
    if kind == "BATCH":
        return batch(of)
    if kind == "ACK":
        return integer(of["durable"])
    if kind == "REPORT":
        dropped = b"".join(integer(reason) + integer(n) for reason, n in of["dropped"])
        return integer(len(of["dropped"])) + dropped
    if kind == "REFUSED":
        return (integer(of["messages"]) + integer(of["first"]) + integer(of["code"])
                + string(of["text"]))
    assert kind == "FAREWELL", kind
    return integer(of["code"]) + string(of["text"])


def frame(case, session, sent):
    """The frame around a payload as it is sent."""
    flags = 2 << 24 | TYPES[case["type"]] << 16 | COMPRESSIONS[case["compression"]]
    sealed = session["secret"] and case["counter"] is not None
    header = struct.pack(">II", len(sent) + (32 if sealed else 0), flags)
    if not sealed:
        return header + sent
    key = session["key " + case["direction"]]
    return header + sent + mac(key, struct.pack(">Q", case["counter"]), header, sent)


def start_session(case):
    secret = case["secret"].encode()
    hello, challenge = (bytes.fromhex(case[name]) for name in ("hello_hex", "challenge_hex"))
    transcript = hashlib.sha256(hello + challenge).digest()
    session = {"secret": secret, "transcript": transcript}
    for direction in ("to server", "to client"):
        session["key " + direction] = mac(secret, b"LogHog2 " + direction.encode(), transcript)
    return session


def check(case, sessions):
    if case["kind"] == "session":
        session = sessions[case["name"]] = start_session(case)
        assert session["transcript"].hex() == case["transcript_hex"]
        for direction in ("to server", "to client") if session["secret"] else ():
            name = f"key_{direction.replace(' ', '_')}_hex"
            assert session["key " + direction].hex() == case[name], name
        return
    session = sessions[case["session"]]
    plain, sent = payload(case, session), bytes.fromhex(case["payload_hex"])
    if case["compression"] == "none":
        assert sent == plain
    elif case["compression"] == "zlib":  # zstd is not in the standard library
        assert zlib.decompress(sent) == plain
    assert frame(case, session, sent).hex() == case["frame_hex"]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    checked, sessions = 0, {}
    for case in cases:
        if case["kind"] in ("session", "frame"):
            try:
                check(case, sessions)
            except AssertionError as error:
                sys.exit(f"{case['name']}: made anew, it is different {error}")
            checked += 1
    print(f"{checked} cases are as they were")


if __name__ == "__main__":
    main()
