"""A clip's picture and sound as data URIs, so that one HTML file holds them."""

from core.entrypoint import log_warning

import base64
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 320, 96
DYNAMIC_RANGE_DB = 80.0
"""Below the loudest point of a picture, everything is black."""
MAX_OPACITY = 0.85
"""Opacity of a saliency map where it is 0."""
MAX_MEDIA_BYTES = 13_000_000
"""Of the media of a page of less than 15 MB."""


def picture_uri(frames: np.ndarray, value_range: tuple[float, float] | None = None) -> str:
    """A PNG of frames [n_frames, n_bins]: time to the right, low bins below; of samples (one bin) their envelope.

    Black and white are the ends of the `value_range`, by default of the frames' own.
    """
    n_columns = min(WIDTH, len(frames))
    columns = np.split(frames.astype(np.float32), np.arange(1, n_columns) * len(frames) // n_columns)
    if frames.shape[1] == 1:
        bounds = np.array([(column.min(), column.max()) for column in columns])
        image, value_range = _envelope(bounds, float(np.abs(value_range or bounds).max())), (0.0, 1.0)
    else:
        image = np.stack([column.max(axis=0) for column in columns], axis=1)[::-1]
    low, high = value_range or (image.min(), image.max())
    low = max(low, high - DYNAMIC_RANGE_DB)
    levels = np.clip((image - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    picture = Image.frombytes("P", levels.shape[::-1], levels.tobytes())
    picture.putpalette(matplotlib.colormaps["magma"](np.arange(256), bytes=True)[:, :3].tobytes())
    return png_uri(picture)


def saliency_uri(saliency: np.ndarray) -> str:
    """A PNG to lie over a picture, from values 0 to 1 [n_rows, n_columns], low bins first: the lower, the darker."""
    alpha = np.round((1 - saliency[::-1]) * MAX_OPACITY * 255).astype(np.uint8)
    shade = Image.frombytes("LA", alpha.shape[::-1], np.stack([np.zeros_like(alpha), alpha], -1).tobytes())
    return png_uri(shade)


def _envelope(bounds: np.ndarray, reach: float) -> np.ndarray:
    """An image [HEIGHT, n_columns] of samples up to `reach`: 1 between a column's lowest and highest, 0 elsewhere."""
    reach = max(reach, 1e-6)
    levels = np.linspace(reach, -reach, HEIGHT)[:, None]
    return ((levels >= bounds[:, 0] - reach / HEIGHT) & (levels <= bounds[:, 1] + reach / HEIGHT)).astype(np.float32)


def audio_uri(mp3: bytes) -> str:
    return _uri("audio/mpeg", mp3)


def limit_media(cards: Iterable[dict[str, Any]]) -> int:
    """Take pictures and sound from the cards, those of clips, behind MAX_MEDIA_BYTES of them; returns their number."""
    n_bytes = n_limited = 0
    for card in cards:
        media = {key: len(value) for key, value in card.items() if str(value).startswith("data:")}
        n_bytes += sum(media.values())
        if media and n_bytes > MAX_MEDIA_BYTES:
            card |= dict.fromkeys(media) | {"no_sound": "left out, for the page would be too large"}
            n_limited += 1
    return n_limited


def warn_if_no_sound(cards: Sequence[dict[str, Any]]) -> None:
    """Warn of cards without sound: how many there are, and why the first has none."""
    if silent := [card for card in cards if card.get("no_sound")]:
        first = f"the first {silent[0]['clip']}: {silent[0]['no_sound']}"
        log_warning(f"{len(silent)} of the page's {len(cards)} clips have no sound, {first}")


def png_uri(image: Image.Image) -> str:
    """A picture as a PNG."""
    data = BytesIO()
    image.save(data, format="PNG", optimize=True)
    return _uri("image/png", data.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
