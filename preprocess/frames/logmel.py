"""Log-mel spectrograms, as librosa defines them."""

from collections.abc import Iterable, Iterator

from preprocess.frames.filterbank import apply_filterbank, mel_filterbank, split_filterbank
from preprocess.frames.framing import Frames, Samples, hann, iter_windows, power_spectra, power_to_db
from recipe import Features


class LogMel:
    """`librosa.feature.melspectrogram` and `power_to_db`, to 1e-3 dB."""

    def __init__(self, features: Features) -> None:
        self.features, self.taper = features, hann(features.n_fft)
        self.filter_blocks = split_filterbank(mel_filterbank(features))

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins], in dB, of blocks of sound."""
        features = self.features
        for windows in iter_windows(blocks, features.n_fft, features.hop_length, features.center):
            yield power_to_db(apply_filterbank(power_spectra(windows, self.taper), self.filter_blocks))
