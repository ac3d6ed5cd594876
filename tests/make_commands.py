"""make commands as users type them, and their scripts without `make`; all that they write lies below one folder."""

import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from tests import forked_python

ROOT = Path(__file__).parent.parent
SMALL_RECIPE = (
    "--data.layout folders --data.folds 2 --features.sample_rate_hz 16000 --features.hop_length 250 "
    "--features.n_fft 512 --features.n_bins 32 --features.fmax_hz null "
    "--training.crop_seconds 0.5 --training.batch_size 5 --prediction.window_seconds 0.5 --prediction.hop_seconds 0.25 "
    "--network.name cnn_small --training.ema_decay 0 --tuning.mixtures 0"
)
"""A recipe shrunk to seconds of sound."""
SCRIPTS = {
    "features": "preprocess.features",
    "survey": "preprocess.survey",
    "baselines": "train.baselines",
    "train": "train.fit",
    "lr": "train.find_lr",
    "calibrate": "predict.calibrate",
    "tune": "predict.tune",
    "predict": "predict.run",
    "embed": "predict.embed",
    "similar": "predict.similar",
    "blend": "predict.blend",
    "export": "predict.export",
    "score": "predict.score",
    "inspect": "report.inspect",
    "review": "report.review",
    "serve": "serve.run",
}
WITHOUT_JOBS = {"lr", "similar", "blend", "export", "score"}


def output_options(root: Path) -> str:
    """Options by which everything lands below `root`."""
    return f"--cache {root}/cache --submissions {root}/submissions"


def run_make(
    root: Path, targets: str, args: str, environment: dict[str, str] | None = None, **variables: object
) -> subprocess.CompletedProcess[str]:
    """`make TARGETS VARIABLE=...` with these ARGS, in one process at a time; any warning is an error.

    Its commands are forked (tests/forked_python.py), but where `PY` or an environment says what starts them.
    """
    forked = {} if environment or "PY" in variables else {"FORK_SERVER": forked_python.start_server()}
    python = f"{sys.executable} {forked_python.__file__}" if forked else sys.executable
    values = {"PY": python, "JOBS": "1", "ARGS": f"{output_options(root)} {args}", **variables}
    return subprocess.run(
        ["make", "-o", ".venv/.ready", *targets.split(), *(f"{key}={value}" for key, value in values.items())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="backslashreplace",  # of a terminal that is not UTF-8
        env=os.environ | {"PYTHONWARNINGS": "error"} | forked | (environment or {}),
    )


def make(root: Path, targets: str, args: str, **variables: object) -> str:
    """The same; standard output, or an AssertionError with that and standard error."""
    completed = run_make(root, targets, args, None, **variables)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def run_in_process(root: Path, targets: str, args: str, recipe: str = "demo", **options: object) -> None:
    """The scripts of these targets in this process: PyTorch takes seconds to import, in each of `make`'s again."""
    known = {"recipe": ROOT / "recipes" / f"{recipe}.yaml", "run": recipe, "data.folder": options.pop("data", None)}
    arguments = [part for key, value in (known | options).items() if value for part in (f"--{key}", str(value))]
    for target in targets.split():
        jobs = [] if target in WITHOUT_JOBS else ["--jobs", "1"]
        import_module(SCRIPTS[target]).main([*arguments, *jobs, *shlex.split(f"{output_options(root)} {args}")])
