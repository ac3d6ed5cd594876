"""SCRIPT make serve: a run's networks behind a page and an API."""

import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType

import uvicorn
from fastapi import FastAPI
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt, restricted_number_type

from core.device import pick_device
from core.entrypoint import run_script
from core.errors import UserError
from predict.decide.thresholds import read_thresholds, with_tuned_window_threshold
from predict.inference.run_loader import load_run, warn_if_unfinished
from preprocess.audio.isolated import decoder_limits
from recipe.cli import Command, add_device_options, parse_command, resolve_n_jobs
from serve.app import RequestLimits, build_app
from serve.inference_service import InferenceService
from serve.log import LineLogger

Minutes = restricted_number_type("Minutes", float, [(">", 0), ("<=", 7 * 24 * 60)])
SHUTDOWN_GRACE_S = 3
"""How long those under way have when the server is ended."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--host", type=str, default="127.0.0.1", help="Address to listen at; 0.0.0.0 is all of them.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes one that is free.")
    add_device_options(parser)
    parser.add_argument("--max_mb", type=PositiveInt, default=200, help="Largest recording, in 2**20 bytes.")
    parser.add_argument("--max_minutes", type=Minutes, default=60.0, help="Longest recording.")
    parser.add_argument("--max_pending", type=PositiveInt, default=16, help="Most recordings under way.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Answer recordings by the networks of a run, over HTTP.", add_options)
    options = command.options
    service = build_service(command)
    with bind_socket(options.host, options.port) as server_socket, LineLogger() as log, service:
        app = build_app(service, command.run_paths.run, RequestLimits(options.max_mb, options.max_pending), log)
        host, port = server_socket.getsockname()[:2]
        log.line(f"{len(service.run.labels)} labels, decided at {service.thresholds.source}; Ctrl-C ends it")
        log.line(f"the page: http://{f'[{host}]' if ':' in host else host}:{port}")
        serve(app, server_socket)
        log.line("ended")


def build_service(command: Command) -> InferenceService:
    """The networks and thresholds of a run, as `make predict` has them."""
    options, run_dir = command.options, command.run_paths.run_dir
    device, n_jobs = pick_device(options.device), resolve_n_jobs(options.jobs)
    run = load_run(run_dir, with_tuned_window_threshold(run_dir, command.recipe.prediction), device)
    warn_if_unfinished(run_dir, run.recipe.training.epochs)
    thresholds = read_thresholds(run_dir, run.labels, run.prediction)
    return InferenceService(
        run,
        thresholds,
        device,
        decoder_limits(command.recipe.data),
        n_jobs=n_jobs,
        max_duration_s=options.max_minutes * 60,
        max_pending=options.max_pending,
    )


class _Server(uvicorn.Server):
    """Ends in order, however often it is asked to."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.force_exit = False


def serve(app: FastAPI, server_socket: socket.socket) -> None:
    """Answer until Ctrl-C, SIGTERM, or the end of the terminal."""
    server = _Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_GRACE_S))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, server.handle_exit)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn sends them again, when it has ended as they asked
        signal.signal(number, signal.SIG_IGN)
    server.run(sockets=[server_socket])


def bind_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UserError where there can be none."""
    if not 0 <= port <= 65_535:
        raise UserError(f"--port {port}: give one from 1 to 65535, or 0 for any that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as cleanup:
            # With the protocol left out, asyncio leaves Nagle's algorithm on: each answer came about 50 ms later.
            server_socket = cleanup.enter_context(socket.socket(family, kind, protocol))
            server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server_socket.bind(address)
            server_socket.listen()
            cleanup.pop_all()
        return server_socket
    except (OSError, UnicodeError) as error:  # the second for what cannot be a name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: {reason}; give another, as make serve PORT=8001") from None


if __name__ == "__main__":
    run_script(main)
