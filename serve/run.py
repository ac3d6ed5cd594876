"""SCRIPT make serve: a run's networks behind a page and an API."""

from core.entrypoint import MAX_OPEN_FILES, run_script

import logging
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt, restricted_number_type

from core.device import pick_device
from core.errors import UserError
from predict.decide.fitted_params import read_thresholds, with_window_threshold
from predict.inference.run_loader import load_run, warn_if_unfinished
from preprocess.audio.isolated import decoder_limits
from preprocess.dataset.discovery import normalize_label
from preprocess.dataset.label_names import describe_unknown_labels, name_labels
from recipe.cli import Command, add_device_options, parse_command, resolve_n_jobs
from serve.access import AccessRules, normalize_origin
from serve.app import LOGGER, Tagging, build_app
from serve.connections import BoundedProtocol
from serve.inference_service import InferenceService
from serve.schema import ServerInfo
from train.runs.run_folder import find_best_checkpoints

Port = restricted_number_type("Port", int, [(">=", 0), ("<=", 65_535)])
Minutes = restricted_number_type("Minutes", float, [(">", 0), ("<=", 7 * 24 * 60)])
FILES_PER_RECORDING = 6
"""Its upload, its decoder's pipes, and those while the decoder is started."""
MAX_CONNECTIONS, ACCEPTED_AT_ONCE = 512, 4
SPARE_FILES = 32
"""For a few times ACCEPTED_AT_ONCE, which are open before others are closed for them, and the event loop."""
LISTEN_BACKLOG = 2048
SHUTDOWN_GRACE_S = 3
"""Seconds that requests under way have when the server is ended."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--host", type=str, default="127.0.0.1", help="Address to listen at; 0.0.0.0 is all of them.")
    parser.add_argument("--port", type=Port, default=8000, help="0 takes one that is free.")
    add_device_options(parser)
    parser.add_argument("--max_mb", type=PositiveInt, default=200, help="Largest recording, in 2**20 bytes.")
    parser.add_argument("--max_minutes", type=Minutes, default=60.0, help="Longest recording.")
    parser.add_argument("--max_pending", type=PositiveInt, default=16, help="Most recordings being scored.")
    origin_help = "A page that may ask too, as https://example.org; once for each."
    parser.add_argument("--allow_origin", action="append", default=[], help=origin_help)


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Serve the networks of a run over HTTP.", add_options)
    options = command.options
    rules = AccessRules(options.host, list(map(normalize_origin, options.allow_origin)))
    with bind_socket(options.host, options.port) as server_socket, build_service(command) as service:
        log_to_stdout()
        max_pending, max_connections = plan_limits(options.max_pending)
        tagging = Tagging(service, options.max_mb * 2**20, max_connections // 2, max_pending)
        app = build_app(tagging, describe_server(command, service), rules)
        host, port = server_socket.getsockname()[:2]
        for warning in describe_unknown_labels(service.run.labels, command.recipe.data):
            LOGGER.warning(warning)
        LOGGER.info("%d labels, decided at %s; Ctrl-C ends it", len(service.run.labels), service.thresholds.source)
        LOGGER.info("the page: http://%s:%d", f"[{host}]" if ":" in host else host, port)
        serve(app, server_socket, max_connections)
    LOGGER.info("ended")


def describe_server(command: Command, service: InferenceService) -> ServerInfo:
    """What clients are told of the run and of the limits of a request."""
    run, data = service.run, command.recipe.data
    saved_s = max(path.stat().st_mtime for path in find_best_checkpoints(command.run_paths.run_dir))
    return ServerInfo(
        run=command.run_paths.run,
        labels=run.labels,
        thresholds=dict(zip(run.labels, map(float, service.thresholds.values), strict=True)),
        label_names=name_labels(run.labels, data),
        label_icons={normalize_label(label): icon for label, icon in (data.label_icons or {}).items()},
        networks=run.digest,
        n_networks=len(run.networks),
        trained_on=date.fromtimestamp(saved_s).isoformat(),
        max_mb=command.options.max_mb,
        max_minutes=command.options.max_minutes,
    )


def plan_limits(max_pending: int) -> tuple[int, int]:
    """The recordings, at most `max_pending`, and the connections for which this process may open files enough."""
    max_files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MAX_OPEN_FILES)
    n_free = max_files - len(list(Path("/dev/fd").iterdir())) - SPARE_FILES
    n_pending = max(1, min(max_pending, n_free // (4 * FILES_PER_RECORDING)))
    max_connections = min((n_free - n_pending * FILES_PER_RECORDING) * 2 // 3, MAX_CONNECTIONS)
    if max_connections < 2 * ACCEPTED_AT_ONCE:
        raise UserError(f"only {max_files} files may be open: raise the limit by ulimit -n")
    if n_pending < max_pending:
        LOGGER.info("%d recordings at a time, not %d: only %d files may be open", n_pending, max_pending, max_files)
    return n_pending, max_connections


def log_to_stdout() -> None:
    """Have the server's logger write lines on standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_EscapingFormatter())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)


def build_service(command: Command) -> InferenceService:
    """The networks and thresholds of a run, as `make predict` has them."""
    options, run_dir = command.options, command.run_paths.run_dir
    device, n_jobs = pick_device(options.device), resolve_n_jobs(options.jobs)
    run = load_run(run_dir, with_window_threshold(run_dir, command.recipe.prediction), device)
    warn_if_unfinished(run_dir, run.recipe.training.epochs)
    return InferenceService(
        run,
        read_thresholds(run_dir, run.labels, run.prediction),
        device,
        decoder_limits(command.recipe.data),
        n_jobs=n_jobs,
        max_duration_s=options.max_minutes * 60,
        max_pending=options.max_pending,
    )


class _EscapingFormatter(logging.Formatter):
    """One line a message, whatever names of recordings hold."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class _Server(uvicorn.Server):
    """Accepts few connections at once, and ends in order, however often it is asked to."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or []:
            # asyncio takes its number of connections accepted at once for the queue's length too.
            each.listen(LISTEN_BACKLOG)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.force_exit = False


def serve(app: FastAPI, server_socket: socket.socket, max_connections: int) -> None:
    """Answer until Ctrl-C, SIGTERM, or the end of the terminal."""
    protocol: Any = partial(BoundedProtocol, max_connections=max_connections)
    config = uvicorn.Config(
        app,
        http=protocol,
        backlog=ACCEPTED_AT_ONCE,
        log_level="error",  # warnings tell of every request that is no HTTP
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )
    server = _Server(config)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, server.handle_exit)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn sends them again, when it has ended as they asked
        signal.signal(number, signal.SIG_IGN)
    server.run(sockets=[server_socket])


def bind_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UserError where there can be none."""
    try:
        server_socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:  # the second for what cannot be a name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: {reason}; give another, as make serve PORT=8001") from None
    # Made from a descriptor it knows its protocol, without which asyncio leaves Nagle's algorithm on: 50 ms a response.
    return socket.socket(fileno=server_socket.detach())


if __name__ == "__main__":
    run_script(main)
