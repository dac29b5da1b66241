"""A program that forks keeps logging in the child: each message once, whoever
sends it, and nobody waits for a lock that nobody holds."""

import logging
import subprocess
import sys
import textwrap

import pytest
from harness import PATIENCE, Server, bodies, program, run_to_end, succeeded

PROGRAM = """
import logging, os, sys, threading, time
from loghog import LoghogHandler

handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]))
logger = logging.getLogger("web")
logger.setLevel(logging.INFO)
logger.addHandler(handler)

def child_ends(pid):
    assert os.waitpid(pid, 0)[1] == 0
"""


def run(source, server):
    return succeeded(program(PROGRAM + textwrap.dedent(source), server.port))


def test_parent_and_child_go_on_over_connections_of_their_own(server):
    run(
        """
        logger.info("before")
        handler.flush()
        pid = os.fork()
        if pid == 0:
            logger.info("child")
            assert handler.stats()["enqueued"] == 1
            assert handler.flush()
            os._exit(0)
        child_ends(pid)
        logger.info("after")
        """,
        server,
    )
    assert sorted(bodies(server.wait_for(3))) == ["after", "before", "child"]
    assert server.accepted == 2


def test_what_waited_at_the_fork_is_sent_once_by_the_parent(server, nobody):
    nobody.leave()
    source = """
        for number in range(100):
            logger.info("%d", number)
        pid = os.fork()
        if pid == 0:
            assert handler.stats()["queued"] == 0
            logger.info("child")
            assert handler.flush(30)
            os._exit(0)
        print("forked", flush=True)
        child_ends(pid)
        assert handler.flush(30)
    """
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(source), str(nobody.port)],
        stdout=subprocess.PIPE,
    )
    with running:
        assert running.stdout.readline() == b"forked\n"
        with Server(port=nobody.port) as late:
            assert running.wait(PATIENCE) == 0
            received = bodies(late.wait_for(101))
    assert sorted(received) == sorted([*map(str, range(100)), "child"])


def test_the_child_closes_the_parents_socket_and_the_parent_keeps_it(server):
    run(
        """
        def sockets():
            links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
            return sum(os.path.exists(l) and os.readlink(l).startswith("socket:") for l in links)

        logger.info("before")
        handler.flush()
        assert sockets() == 1
        pid = os.fork()
        if pid == 0:
            assert sockets() == 0, "inherited"
            os._exit(0)
        child_ends(pid)
        assert sockets() == 1
        logger.info("after")
        """,
        server,
    )
    assert bodies(server.wait_for(2)) == ["before", "after"]
    assert server.accepted == 1


def test_a_grandchild_logs_too(server):
    run(
        """
        def deeper(depth):
            logger.info("depth %d", depth)
            if depth < 4:
                pid = os.fork()
                if pid == 0:
                    deeper(depth + 1)
                child_ends(pid)
            assert handler.flush(30)
            if depth:
                os._exit(0)

        deeper(0)
        """,
        server,
    )
    assert sorted(bodies(server.wait_for(5))) == [f"depth {depth}" for depth in range(5)]


def test_forking_while_other_threads_log_never_locks_anybody(server):
    """Every lock is held by some thread in some of these forks."""
    forks, threads = 200, 4
    done = run(
        f"""
        stop = threading.Event()
        counts = [0] * {threads}

        def storm(number):
            while not stop.is_set():
                logger.info("storm %d %d", number, counts[number])
                counts[number] += 1

        running = [threading.Thread(target=storm, args=(n,)) for n in range({threads})]
        [thread.start() for thread in running]
        for number in range({forks}):
            pid = os.fork()
            if pid == 0:
                logger.info("child %d", number)
                assert handler.stats()["enqueued"] == 1
                os._exit(0 if handler.flush(30) else 1)
            child_ends(pid)
        stop.set()
        [thread.join() for thread in running]
        assert handler.flush(30)
        stats = handler.stats()
        # On a busy machine the storm may be faster than the server.
        lost = stats["dropped_queue_full"]
        assert stats["written"] + lost == sum(counts) == stats["enqueued"], (stats, counts)
        print(stats["written"])
        """,
        server,
    )
    received = server.wait_for(forks + int(done.stdout))
    children = [body for body in bodies(received) if body.startswith("child")]
    assert sorted(children) == sorted(f"child {number}" for number in range(forks))
    storm = [body for body in bodies(received) if body.startswith("storm")]
    assert len(storm) == int(done.stdout) == len(set(storm)), "all, and nothing twice"


def test_a_hook_that_logs_in_the_child_before_ours_has_run(server):
    succeeded(
        program(
            """
            import logging, os, sys
            logger = logging.getLogger("web")
            # Registered before loghog is imported: runs before its own hook.
            os.register_at_fork(after_in_child=lambda: logger.warning("hook"))
            from loghog import LoghogHandler
            handler = LoghogHandler("app", "127.0.0.1", int(sys.argv[1]))
            logger.addHandler(handler)
            logger.warning("parent")
            pid = os.fork()
            if pid == 0:
                logger.warning("child")
                os._exit(0 if handler.flush(30) else 1)
            assert os.waitpid(pid, 0)[1] == 0
            """,
            server.port,
        )
    )
    assert sorted(bodies(server.wait_for(3))) == ["child", "hook", "parent"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_with_every_start_method(server, tmp_path, method):
    # spawn imports the main module again: it must be a file.
    script = tmp_path / "script.py"
    script.write_text(
        """
import logging, multiprocessing, sys
from loghog import LoghogHandler

def logger():
    logger = logging.getLogger("web")
    if not logger.handlers:
        logger.addHandler(LoghogHandler("app", "127.0.0.1", int(sys.argv[1])))
    return logger

def work(number):
    # The last thing that a process does: nobody flushes.
    logger().warning("process %d", number)

def pooled(number):
    logger().warning("pool %d", number)
    return number

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    logger().warning("parent")
    processes = [context.Process(target=work, args=(n,)) for n in range(5)]
    [process.start() for process in processes]
    [process.join() for process in processes]
    assert [process.exitcode for process in processes] == [0] * 5
    with context.Pool(2) as pool:
        assert pool.map(pooled, range(5)) == list(range(5))
        pool.close()
        pool.join()
    logger().warning("parent again")
"""
    )
    succeeded(run_to_end([sys.executable, script, server.port, method]))
    expected = ["parent", "parent again"]
    expected += [f"process {n}" for n in range(5)] + [f"pool {n}" for n in range(5)]
    assert sorted(bodies(server.wait_for(len(expected)))) == sorted(expected)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_handler_that_importing_the_main_module_makes(server, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(
        """
import logging, multiprocessing, sys
from loghog import LoghogHandler

logger = logging.getLogger("web")
logger.addHandler(LoghogHandler("app", "127.0.0.1", int(sys.argv[1])))

def work(number):
    logger.warning("process %d", number)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    processes = [context.Process(target=work, args=(n,)) for n in range(5)]
    [process.start() for process in processes]
    [process.join() for process in processes]
    assert [process.exitcode for process in processes] == [0] * 5
"""
    )
    succeeded(run_to_end([sys.executable, script, server.port, method]))
    assert sorted(bodies(server.wait_for(5))) == [f"process {n}" for n in range(5)]


def test_a_server_that_forks_its_workers_before_they_serve(server):
    """As gunicorn does: the master logs, forks workers, replaces one that died."""
    run(
        """
        import signal

        def work(number):
            logger.info("worker %d booted", number)
            for request in range(50):
                logger.info("worker %d request %d", number, request)
            sys.exit(3 if number == 0 else 0)

        def spawn(number):
            pid = os.fork()
            if pid == 0:
                work(number)
            logger.info("master started %d", number)
            return pid

        logger.info("master starts")
        workers = {spawn(number): number for number in range(3)}
        while workers:
            pid, status = os.wait()
            number = workers.pop(pid)
            logger.info("master saw %d end", number)
            if os.WEXITSTATUS(status) == 3:
                workers[spawn(99)] = 99
        logger.info("master ends")
        """,
        server,
    )
    expected = ["master starts", "master ends"]
    for number in (0, 1, 2, 99):
        expected += [f"worker {number} booted", f"master started {number}"]
        expected += [f"worker {number} request {request}" for request in range(50)]
        expected += [f"master saw {number} end"]
    received = bodies(server.wait_for(len(expected)))
    assert sorted(received) == sorted(expected)
    of_one = [body for body in received if body.startswith("worker 1 request")]
    assert of_one == [f"worker 1 request {request}" for request in range(50)]


def test_a_daemon_that_forks_twice_and_leaves_its_parents(server):
    run(
        """
        logger.info("in front")
        if os.fork():
            sys.exit(0)
        os.setsid()
        if os.fork():
            sys.exit(0)
        logger.info("in the background")
        """,
        server,
    )
    assert sorted(bodies(server.wait_for(2))) == ["in front", "in the background"]


def test_a_fork_without_pythons_hooks(server):
    """As servers written in C may do it."""
    run(
        """
        import ctypes
        logger.info("before")
        handler.flush()
        pid = ctypes.PyDLL(None).fork()
        if pid == 0:
            assert handler.stats()["enqueued"] == 0
            assert handler.flush(30)
            logger.info("child")
            os._exit(0 if handler.flush(30) else 1)
        child_ends(pid)
        logger.info("after")
        """,
        server,
    )
    assert sorted(bodies(server.wait_for(3))) == ["after", "before", "child"]


def test_a_record_of_another_process_is_no_fork(server, logger_for):
    logger = logger_for(server)
    record = logging.makeLogRecord({"name": "web", "msg": "from elsewhere", "process": 1})
    logger.handlers[0].handle(record)
    logger.info("from here")
    assert bodies(server.wait_for(2)) == ["from elsewhere", "from here"]
    assert server.accepted == 1


def test_forking_in_threads_at_the_same_time(server):
    run(
        """
        def fork_and_log(number):
            for round in range(10):
                logger.info("thread %d round %d", number, round)
                pid = os.fork()
                if pid == 0:
                    logger.info("child of %d round %d", number, round)
                    os._exit(0 if handler.flush(30) else 1)
                child_ends(pid)

        running = [threading.Thread(target=fork_and_log, args=(n,)) for n in range(4)]
        [thread.start() for thread in running]
        [thread.join() for thread in running]
        """,
        server,
    )
    assert len(set(bodies(server.wait_for(80)))) == 80
