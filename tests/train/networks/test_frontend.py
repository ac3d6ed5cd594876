"""Raw frames come out normalised, in the channels asked for."""

import numpy as np
import torch

from recipe import Network
from train.networks.frontend import IMAGENET_MEAN, IMAGENET_STD, SpectrogramFrontend, WaveformFrontend


def random_frames(n_frames: int = 12, n_bins: int = 8) -> torch.Tensor:
    return torch.randn(3, n_frames, n_bins, generator=torch.Generator().manual_seed(0)) * 12 - 60


def test_bins_are_the_height_and_time_the_width() -> None:
    x = random_frames()
    out = SpectrogramFrontend(8, -60.0, 12.0, Network())(x)
    assert out.shape == (3, 1, 8, 12)
    assert torch.allclose(out[:, 0].transpose(1, 2), (x + 60) / 12)


def test_each_bin_may_have_its_own_mean_and_deviation() -> None:
    x = random_frames()
    mean, std = x.mean((0, 1)), x.std((0, 1))
    out = SpectrogramFrontend(8, mean, std, Network())(x)
    assert torch.allclose(out.mean((0, 1, 3)), torch.zeros(8), atol=1e-5)
    assert torch.allclose(out.transpose(0, 2).flatten(1).std(1), torch.ones(8), atol=1e-5)


def test_fewer_bins_are_normalised_by_averages_of_their_neighbours() -> None:
    mean = torch.arange(8.0)
    out = SpectrogramFrontend(8, mean, 1.0, Network())(mean.reshape(4, 2).mean(1).expand(3, 12, 4))
    assert out.shape == (3, 1, 4, 12)
    assert torch.allclose(out, torch.zeros_like(out))


def test_copies_are_the_frames_three_times() -> None:
    x = random_frames()
    out = SpectrogramFrontend(8, -60.0, 12.0, Network(channels="copies"))(x)
    for channel in range(3):
        assert torch.equal(out[:, channel], SpectrogramFrontend(8, -60.0, 12.0, Network())(x)[:, 0])


def test_imagenet_frames_are_pictures_of_its_average_brightness_normalised() -> None:
    x = random_frames()
    out = SpectrogramFrontend(8, -60.0, 12.0, Network(channels="copies", normalise="imagenet"))(x)
    brightness = np.mean(IMAGENET_MEAN) + np.mean(IMAGENET_STD) * (x.transpose(1, 2).numpy() + 60) / 12
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        assert np.allclose(out[:, channel].numpy(), (brightness - mean) / std, atol=1e-5)


def test_networks_of_pictures_from_minus_one_to_one_get_such_pictures() -> None:
    network = Network(name="googlenet", channels="copies", normalise="imagenet")
    x = random_frames()
    out = SpectrogramFrontend(8, -60.0, 12.0, network)(x)
    brightness = np.mean(IMAGENET_MEAN) + np.mean(IMAGENET_STD) * (x.transpose(1, 2).numpy() + 60) / 12
    assert np.allclose(out.numpy(), (2 * brightness - 1)[:, None].repeat(3, 1), atol=1e-5)


def test_each_clip_has_its_own_mean_and_deviation_and_silence_stays_silent() -> None:
    x = random_frames() * torch.tensor([1.0, 0.1, 0.0])[:, None, None] - 20
    out = SpectrogramFrontend(8, -60.0, 12.0, Network(normalise="clip"))(x)
    for clip, each in zip(x[:2].numpy(), out[:2, 0].numpy(), strict=True):
        assert np.allclose(each.T, (clip - clip.mean()) / clip.std(), atol=1e-4)
    assert (out[2] == 0).all()


def test_deltas_are_slopes_over_five_frames() -> None:
    x = random_frames()
    out = SpectrogramFrontend(8, -60.0, 12.0, Network(channels="deltas"))(x)
    for channel in (1, 2):
        before = np.pad(out[:, channel - 1].numpy(), ((0, 0), (0, 0), (2, 2)), mode="edge")
        for frame in range(12):
            slope = sum(step * (before[..., frame + 2 + step] - before[..., frame + 2 - step]) for step in (1, 2)) / 10
            assert np.allclose(out[:, channel, :, frame].numpy(), slope, atol=1e-5)


def test_deltas_of_a_short_type_are_those_of_float32() -> None:
    x, frontend = random_frames(), SpectrogramFrontend(8, -60.0, 12.0, Network(channels="deltas"))
    with torch.autocast("cpu", torch.bfloat16):
        short = frontend(x)
    assert torch.equal(short, frontend(x))


def test_a_waveform_becomes_one_channel() -> None:
    x = torch.randn(2, 100, 1)
    out = WaveformFrontend(0.1, 0.5)(x)
    assert torch.allclose(out[:, 0], (x[:, :, 0] - 0.1) / 0.5)
