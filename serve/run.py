"""SCRIPT make serve: a run's networks behind a page and an API."""

import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import uvicorn
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveFloat, PositiveInt

from command import Command, count_jobs, read_command
from errors import BadInput
from predict.tagger import load_run
from predict.thresholds import read_thresholds, with_tuned_windows
from script import run_script
from serve.app import Limits, build_app
from serve.service import Service
from train.device import pick_device

GRACE_S = 3
"""How long those under way have when the server is ended."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--host", type=str, default="127.0.0.1", help="Address to listen at; 0.0.0.0 is all of them.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes one that is free.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=int, default=-1, help="Cores to keep busy; -1 is all.")
    parser.add_argument("--most_mb", type=PositiveFloat, default=200.0, help="Largest recording, in 2**20 bytes.")
    parser.add_argument("--most_minutes", type=PositiveFloat, default=60.0, help="Longest recording.")
    parser.add_argument("--most_waiting", type=PositiveInt, default=16, help="Most recordings under way.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Answer recordings by the networks of a run, over HTTP.", add_options)
    options = command.options
    if command.recipe.prediction.view_copies:
        print("warning: prediction.view_copies is for clips of a dataset: recordings have no copies", file=sys.stderr)
    service = build_service(command)
    with listen(options.host, options.port) as listening:
        app = build_app(service, command.places.run, Limits(options.most_mb, options.most_waiting))
        host, port = listening.getsockname()[:2]
        print(f"{len(service.run.labels)} labels, decided at {service.thresholds.source}; Ctrl-C ends it")
        print(f"the page: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S))
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # sent again by uvicorn, after it has ended as asked
            print("ended")


def build_service(command: Command) -> Service:
    """The networks and thresholds of a run, as `make predict` has them."""
    options, home = command.options, command.places.run_home
    device, n_jobs = pick_device(options.device), count_jobs(options.jobs)
    run = load_run(home, with_tuned_windows(home, command.recipe.prediction), device)
    thresholds = read_thresholds(home, run.labels, run.prediction)
    return Service(run, thresholds, device, n_jobs, options.most_minutes * 60)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises BadInput where there can be none."""
    if not 0 <= port <= 65_535:
        raise BadInput(f"--port {port}: give one from 1 to 65535, or 0 for any that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as unless_it_listens:
            # With the protocol left out, asyncio leaves Nagle's algorithm on: each answer came about 50 ms later.
            listening = unless_it_listens.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
            unless_it_listens.pop_all()
        return listening
    except OSError as error:
        raise BadInput(
            f"--host {host} --port {port}: {error.strerror}; give another, as make serve PORT=8001"
        ) from None


if __name__ == "__main__":
    run_script(main)
