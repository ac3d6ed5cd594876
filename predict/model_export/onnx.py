"""The networks of a run as one ONNX file: frames of windows in, probabilities out."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from predict.decide.calibration import apply_temperature
from predict.inference.run_loader import TrainedRun
from preprocess.store.encoding import encoding_for
from train.evaluate.windows import Blend, blend, window_and_hop_frames
from train.networks.factory import AudioNetwork


class EnsembleModule(nn.Module):
    """Frames [n_windows, n_frames, n_bins] in the features' unit → probabilities [n_windows, n_labels], calibrated."""

    def __init__(self, networks: Sequence[AudioNetwork], blend_method: Blend, temperature: float) -> None:
        super().__init__()
        self.networks, self.blend_method, self.temperature = nn.ModuleList(networks), blend_method, temperature
        self.activation = networks[0].activation

    def forward(self, frames: Tensor) -> Tensor:
        scores = []
        for network in self.networks:
            assert isinstance(network, AudioNetwork)
            scores.append(network.probabilities(network(frames)))
        blended = blend(torch.stack(scores), self.blend_method, self.activation)
        return apply_temperature(blended, self.temperature, self.activation)


def build_ensemble(run: TrainedRun) -> EnsembleModule:
    """A run's networks, blended, without views."""
    return EnsembleModule(run.networks, run.prediction.blend, run.temperatures.temperature)


def write_onnx(path: Path, run: TrainedRun) -> None:
    """Write a run's networks, blended; any number of windows, each of `prediction.window_seconds`, without views."""
    window, _ = window_and_hop_frames(run.prediction, run.frames_per_second)
    frames = torch.zeros(2, window, encoding_for(run.recipe.features).n_bins)
    save_onnx(path, build_ensemble(run).eval(), {"frames": frames})


def save_onnx(
    path: Path, module: nn.Module, inputs: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a module that gives `scores` as ONNX; the first axis of its `inputs`, by name, may have any length."""
    n_windows = torch.export.Dim("n_windows")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name: n_windows")  # that inputs share it is meant
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["scores"],
            dynamic_shapes={name: {0: n_windows} for name in inputs},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(metadata or {})
    program.save(path)
    onnx.checker.check_model(path)
