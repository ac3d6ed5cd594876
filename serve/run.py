"""SCRIPT make serve: a run's networks behind a page and an API."""

import logging
import signal
import socket
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from types import FrameType

import uvicorn
from fastapi import FastAPI
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt, restricted_number_type

from core.device import pick_device
from core.entrypoint import run_script
from core.errors import UserError
from predict.decide.fitted_params import read_thresholds, with_window_threshold
from predict.inference.run_loader import load_run, warn_if_unfinished
from preprocess.audio.isolated import decoder_limits
from recipe.cli import Command, add_device_options, parse_command, resolve_n_jobs
from serve.app import LOGGER, build_app
from serve.inference_service import InferenceService

Port = restricted_number_type("Port", int, [(">=", 0), ("<=", 65_535)])
Minutes = restricted_number_type("Minutes", float, [(">", 0), ("<=", 7 * 24 * 60)])
SHUTDOWN_GRACE_S = 3
"""Seconds that requests under way have when the server is ended."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--host", type=str, default="127.0.0.1", help="Address to listen at; 0.0.0.0 is all of them.")
    parser.add_argument("--port", type=Port, default=8000, help="0 takes one that is free.")
    add_device_options(parser)
    parser.add_argument("--max_mb", type=PositiveInt, default=200, help="Largest recording, in 2**20 bytes.")
    parser.add_argument("--max_minutes", type=Minutes, default=60.0, help="Longest recording.")
    parser.add_argument("--max_pending", type=PositiveInt, default=16, help="Most recordings under way.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Serve the networks of a run over HTTP.", add_options)
    options = command.options
    service = build_service(command)
    log_to_stdout()
    with bind_socket(options.host, options.port) as server_socket, service:
        app = build_app(service, command.run_paths.run, options.max_mb, options.max_pending)
        host, port = server_socket.getsockname()[:2]
        LOGGER.info("%d labels, decided at %s; Ctrl-C ends it", len(service.run.labels), service.thresholds.source)
        LOGGER.info("the page: http://%s:%d", f"[{host}]" if ":" in host else host, port)
        serve(app, server_socket)
    LOGGER.info("ended")


def log_to_stdout() -> None:
    """Have the server's logger write lines on standard output, with escapes for what its encoding lacks."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    LOGGER.addHandler(logging.StreamHandler(sys.stdout))
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
    try:
        server_socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:  # the second for what cannot be a name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: {reason}; give another, as make serve PORT=8001") from None
    # Made from a descriptor it knows its protocol, without which asyncio leaves Nagle's algorithm on: 50 ms a response.
    return socket.socket(fileno=server_socket.detach())


if __name__ == "__main__":
    run_script(main)
