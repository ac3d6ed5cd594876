"""The networks of a run as one ONNX file: frames of windows in, probabilities out."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from core.files import written_whole
from predict.decide.calibration import soften
from predict.inference.tagger import Run
from preprocess.store.encoding import coding_of
from train.evaluate.blend import Blend, blend
from train.evaluate.score_clips import window_frames
from train.networks.factory import SoundNetwork


class WindowScores(nn.Module):
    """Frames [n_windows, n_frames, n_bins] in the features' unit → probabilities [n_windows, n_labels], calibrated."""

    def __init__(self, networks: Sequence[SoundNetwork], how: Blend, temperature: float) -> None:
        super().__init__()
        self.networks, self.how, self.temperature = nn.ModuleList(networks), how, temperature
        self.activation = networks[0].activation

    def forward(self, frames: Tensor) -> Tensor:
        scores = []
        for network in self.networks:
            assert isinstance(network, SoundNetwork)
            scores.append(network.probabilities(network(frames)))
        return soften(blend(torch.stack(scores), self.how), self.temperature, self.activation)


def write_onnx(path: Path, run: Run) -> None:
    """Write a run's networks, blended; any number of windows, each of `prediction.window_seconds`, without views."""
    networks = [each for group in run.folds.values() for each in group]
    module = WindowScores(networks, run.prediction.blend, run.temperature).eval()
    window, _ = window_frames(run.prediction, run.frames_per_second)
    example = torch.zeros(2, window, coding_of(run.recipe.features).n_bins)
    with written_whole(path) as temporary:
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["frames"],
            output_names=["scores"],
            dynamic_shapes={"frames": {0: "n_windows"}},
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(temporary)
        onnx.checker.check_model(temporary)
