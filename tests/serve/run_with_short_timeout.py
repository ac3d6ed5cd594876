"""make serve with connections that wait a second for the head of a request."""

from core.entrypoint import run_script

from serve import connections
from serve.run import main

connections.IDLE_TIMEOUT_S = 1.0

if __name__ == "__main__":
    run_script(main)
