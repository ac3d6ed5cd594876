"""make predict INPUT=... on a dask cluster of two worker processes: the same scores as on one machine."""

import shutil

import numpy as np
import pandas as pd

from core.paths import FAILED_NAME, SUBMISSION_NAME
from predict.run import main
from tests.dask_cluster import Cluster, cluster
from tests.predict.conftest import TinyRun
from train.evaluate.score_table import read_scores

__all__ = ["cluster"]


def test_a_cluster_scores_recordings_the_same(tiny_run: TinyRun, cluster: Cluster) -> None:
    folder = tiny_run.run_paths.cache.parent / "sound"
    (folder / "broken.mp3").write_bytes(b"no sound")
    command = [*tiny_run.arguments, "--input", str(folder), "--jobs", "1"]
    main(command)
    submission = tiny_run.run_paths.input_dir(folder) / SUBMISSION_NAME
    here = read_scores(submission)
    shutil.rmtree(tiny_run.run_paths.run_dir / "score_cache")
    main([*command, "--scheduler", cluster.address])
    there = read_scores(submission)
    assert there.clips == here.clips
    np.testing.assert_allclose(there.values, here.values, atol=1e-6)
    assert pd.read_csv(submission.with_name(FAILED_NAME))["clip"].tolist() == ["broken.mp3"]
