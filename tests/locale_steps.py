"""Scripts of make targets in one process, as each imports PyTorch: ROOT DATA [TARGETS KEYS]..."""

from core.entrypoint import run_script

import sys
from pathlib import Path

from tests.make_commands import SCRIPTS, run_in_process

SCRIPTS["survey_page"] = "report.survey"  # of make survey, as preprocess.survey is


def main() -> None:
    root, data, *steps = sys.argv[1:]
    for targets, keys in zip(steps[::2], steps[1::2], strict=True):
        run_in_process(Path(root), targets, keys, data=data)


if __name__ == "__main__":
    run_script(main)
