"""Commands in processes that are forked from one that has imported PyTorch: each saves the seconds of that import.

A command is `python -m MODULE`, in a process of its own with its own streams, environment, session and signals. What
Python reads before its first import it does not read again: the locale, sitecustomize.

    python -m tests.forked_python SOCKET ALIVE              # the server, which ends when the pipe ALIVE is closed
    FORK_SERVER=SOCKET python tests/forked_python.py -m MODULE ARGUMENT...
"""

import gc
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path
from runpy import run_module
from typing import Any

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    *("numpy", "torch", "pandas", "pyarrow", "scipy.optimize", "scipy.signal", "scipy.stats", "sklearn.metrics"),
    *("sklearn.neighbors", "h5py", "soundfile", "soxr", "jsonargparse", "joblib", "tqdm", "yaml", "jinja2"),
    *("PIL.Image", "matplotlib.pyplot", "fastapi", "uvicorn", "filelock", "psutil"),
)
SIZE, STATUS = struct.Struct("!Q"), struct.Struct("!qi")


@cache
def start_server() -> str:
    """The socket of this process's server."""
    path = str(Path(tempfile.mkdtemp(dir="/tmp")) / "socket")  # short, as it must be
    read_end, _ = os.pipe()  # the other end stays open as long as this process lives
    command = [sys.executable, "-m", "tests.forked_python", path, str(read_end)]
    subprocess.run(command, cwd=ROOT, pass_fds=[read_end], stdin=subprocess.DEVNULL, check=True)
    os.close(read_end)
    return path


class ForkedPython(subprocess.Popen[str]):
    """A process as Popen([sys.executable, "-m", MODULE, ...]) starts one, but forked by the server."""

    def _execute_child(self, *given: Any, **named: Any) -> None:
        options = signature(subprocess.Popen._execute_child).bind(self, *given, **named).arguments  # type: ignore[attr-defined]
        streams = [options[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        self._server, self.pid = _request(
            list(map(os.fspath, options["args"][1:])),
            str(options["cwd"] or Path.cwd()),
            options["env"] or dict(os.environ),
            options["start_new_session"],
            [own if stream < 0 else stream for own, stream in enumerate(streams)],
        )
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(options[name] for name in pipes))  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """The process and its status once it has ended, else (0, 0), as os.waitpid has them."""
        if wait_flags & os.WNOHANG and not select.select([self._server], [], [], 0)[0]:
            return 0, 0
        ended = STATUS.unpack(_receive(self._server, STATUS.size))
        self._server.close()
        return ended

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def _request(
    arguments: list[str], cwd: str, environment: dict[str, str], new_session: bool, streams: list[int], path: str = ""
) -> tuple[socket.socket, int]:
    """Have the server start a command; returns the connection that will tell its end, and its process."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(path or start_server())
    request = json.dumps([arguments, cwd, environment, new_session]).encode()
    socket.send_fds(server, [SIZE.pack(len(request))], streams)
    server.sendall(request)
    return server, STATUS.unpack(_receive(server, STATUS.size))[0]


def _receive(connection: socket.socket, n_bytes: int) -> bytes:
    received = b""
    while len(received) < n_bytes:
        part = connection.recv(n_bytes - len(received))
        assert part, "the server of forked commands has ended"
        received += part
    return received


def _next_command(door: socket.socket, alive: int) -> tuple[list[str], list[int]]:
    """Fork for each request until the end of `alive`; returns in the forked process, with its arguments and streams."""
    while True:
        if alive in select.select([door.fileno(), alive], [], [])[0]:
            raise SystemExit
        with door.accept()[0] as connection:
            if os.fork() == 0:
                return _keep_command(connection)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep_command(connection: socket.socket) -> tuple[list[str], list[int]]:
    """Fork the command, in which this returns, and tell the connection its process and how that ended."""
    head, streams, *_ = socket.recv_fds(connection, SIZE.size, 3)
    arguments, cwd, environment, new_session = json.loads(_receive(connection, SIZE.unpack(head)[0]))
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        with suppress(OSError):  # nobody waits for it any more
            connection.sendall(STATUS.pack(pid, 0))
            connection.sendall(STATUS.pack(*os.waitpid(pid, 0)))
        os._exit(0)
    if new_session:
        os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    return arguments, streams


def serve(path: str, alive: int) -> None:
    """Run the commands that are asked for at a socket, each in a process of its own, until `alive` ends."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        if os.fork():
            return
        os.setsid()
        for library in LIBRARIES:
            import_module(library)
        gc.freeze()
        try:
            arguments, streams = _next_command(door, alive)
        except SystemExit:
            shutil.rmtree(Path(path).parent)
            raise
    os.close(alive)
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    for own, (stream, name) in enumerate(zip(streams, ("stdin", "stdout", "stderr"), strict=True)):
        os.dup2(stream, own)
        os.close(stream)
        how = {"errors": errors or None} if own < 2 else {"errors": "backslashreplace", "buffering": 1}
        mode = "w" if own else "r"
        setattr(sys, name, open(own, mode, encoding=encoding or None, closefd=False, **how))  # noqa: SIM115
    warnings._processoptions(os.environ.get("PYTHONWARNINGS", "").split(","))  # type: ignore[attr-defined]
    sys.path[0:1] = [str(Path.cwd()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = arguments[2:]
    run_module(arguments[1], run_name="__main__", alter_sys=True)


def main() -> None:
    """A command of the server at $FORK_SERVER, which ends as it does."""
    server, _ = _request(sys.argv[1:], str(Path.cwd()), dict(os.environ), False, [0, 1, 2], os.environ["FORK_SERVER"])
    with server:
        status = os.waitstatus_to_exitcode(STATUS.unpack(_receive(server, STATUS.size))[1])
    raise SystemExit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main() if "FORK_SERVER" in os.environ else serve(sys.argv[1], int(sys.argv[2]))
