"""What a network is made of: its layers with weights and multiply-adds, and pictures of its first filters."""

from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.utils import make_grid

from report.media.data_uris import picture_uri, png_uri
from train.networks.factory import AudioNetwork

TILE_COLUMNS = 16
MAX_FILTERS = 128


@torch.no_grad()
def list_layers(network: AudioNetwork, n_frames: int, n_bins: int) -> list[dict[str, Any]]:
    """The layers of a network in eval mode that a window [n_frames, n_bins] passes, in the order of their calls.

    These have no layers in them, or weights beside them. Shapes are those of one window's output, and multiply-adds
    those of convolutions and matrix products for it.
    """
    names = {
        module: name
        for name, module in network.named_modules()
        if not any(module.children()) or [*module.parameters(recurse=False)]
    }
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note_shape(module: nn.Module, _: object, output: Tensor) -> None:
        shapes.setdefault(module, tuple(output.shape[1:]))

    hooks = [module.register_forward_hook(note_shape) for module in names]
    device = next(network.parameters()).device
    try:
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, n_frames, n_bins, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    root = type(network).__name__
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    return [
        {
            "name": names[module],
            "kind": type(module).__name__,
            "output_shape": shape,
            "n_weights": sum(weights.numel() for weights in module.parameters(recurse=False)),
            "n_multiply_adds": 0 if any(module.children()) else flops.get(f"{root}.{names[module]}", 0) // 2,
        }
        for module, shape in shapes.items()
    ]


def picture_filters(network: AudioNetwork, sample_rate_hz: float) -> tuple[str, str] | None:
    """A picture's data URI and description: the filters of the first convolution; None of a network without one.

    Filters over bins and frames are tiles; those over samples are shown by their frequency responses.
    """
    convolutions = (each for each in network.modules() if isinstance(each, nn.Conv1d | nn.Conv2d))
    first = next(convolutions, None)
    if first is None:
        return None
    weights = first.weight.detach().float().cpu().numpy()[:MAX_FILTERS]
    shown = f"{len(weights)} of {first.out_channels}" if len(weights) < first.out_channels else f"{len(weights)}"
    if weights.ndim == 3:
        responses = respond(weights[:, 0])
        return (
            picture_uri(responses.T),
            f"The frequency responses of {shown} filters, one a row, sorted by their strongest frequency: from 0 Hz on "
            f"the left to {sample_rate_hz / 2:g} Hz on the right, the brighter, the stronger.",
        )
    tiles = tile(weights.reshape(len(weights), -1, weights.shape[-1]))
    channels = f" Their {weights.shape[1]} input channels lie one below the other." if weights.shape[1] > 1 else ""
    return (
        png_uri(Image.fromarray(tiles)),
        f"{shown} filters of {weights.shape[2]} bins × {weights.shape[3]} frames: time to the right, low bins below; "  # noqa: RUF001
        f"red adds, blue takes away.{channels}",
    )


def respond(filters: np.ndarray) -> np.ndarray:
    """Frequency responses in dB [n_filters, n] of filters [n_filters, n_samples], by their strongest frequency."""
    magnitudes = np.abs(np.fft.rfft(filters, max(512, filters.shape[1]), axis=1))
    order = np.argsort(magnitudes.argmax(axis=1), kind="stable")
    return 20 * np.log10(np.maximum(magnitudes[order], 1e-6))


def tile(filters: np.ndarray) -> np.ndarray:
    """RGBA uint8 [height, width, 4]: filters [n_filters, n_bins, n_frames] in rows, transparent lines between them."""
    reach = np.abs(filters).max(axis=(1, 2), keepdims=True) + 1e-12
    colours = matplotlib.colormaps["RdBu_r"]((filters[:, ::-1] / reach + 1) / 2, bytes=True)
    grid = make_grid(torch.from_numpy(colours).permute(0, 3, 1, 2), TILE_COLUMNS, padding=1)
    inner = grid[:, 1:-1, 1:-1] if len(filters) > 1 else grid  # a single one has no frame
    return inner.permute(1, 2, 0).numpy()
