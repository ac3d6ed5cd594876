"""The table of embeddings, a row a window: written as clips are done, and read a chunk at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import UserError
from predict.inference.tagger import ClipPrediction
from predict.output.detections import has_duration
from predict.output.submission import WINDOW_COLUMNS

CHUNK_ROWS = 8_192
"""Rows in the memory at a time: 32 MB of 1,024 values."""
METADATA_KEY = b"earmark"
PLACE_COLUMNS = WINDOW_COLUMNS[:3]

EmbeddingChunk = tuple[pd.DataFrame, np.ndarray]
"""Neighbouring rows of the table: PLACE_COLUMNS of windows, and their embeddings float32 [n_windows, n_values]."""


def write_embeddings(
    path: Path, clips: Iterable[tuple[str, ClipPrediction]], n_values: int, provenance: Mapping[str, Any]
) -> int:
    """Write the embeddings of clips as Parquet, float16, with their provenance; the number of windows.

    As in the other tables, windows in the padding around a recording are left out.
    """
    columns = [("clip", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())]
    schema = pa.schema(
        [*columns, ("embedding", pa.list_(pa.float16(), n_values))], {METADATA_KEY: json.dumps(provenance).encode()}
    )
    n_windows, pending = 0, list[pa.Table]()
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["clip"]) as writer:

        def write_pending() -> None:
            if pending:
                writer.write_table(pa.concat_tables(pending), row_group_size=CHUNK_ROWS)
            pending.clear()

        for clip, prediction in clips:
            table = _to_table(clip, prediction, schema)
            n_windows += len(table)
            pending.append(table)
            if sum(map(len, pending)) >= CHUNK_ROWS:
                write_pending()
        write_pending()
    return n_windows


def _to_table(clip: str, prediction: ClipPrediction, schema: pa.Schema) -> pa.Table:
    rows, highest = has_duration(prediction), float(np.finfo(np.float16).max)
    embeddings = np.clip(prediction.windows[rows], -highest, highest).astype(np.float16)
    values = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    start_s, end_s = prediction.start_s[rows].round(3), prediction.end_s[rows].round(3)
    return pa.table([pa.array([clip] * len(embeddings)), start_s, end_s, values], schema=schema)


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance that `write_embeddings` was given. Raises UserError where there is no such table."""
    if not path.exists():
        raise UserError(f"{path} is not there: run make embed first, with the same RECIPE, RUN and INPUT")
    try:
        return dict(json.loads(pq.read_schema(path).metadata[METADATA_KEY]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no table of embeddings ({error}): run make embed again") from None


def iter_embeddings(path: Path) -> Iterator[EmbeddingChunk]:
    """The rows of the table, CHUNK_ROWS at a time. Raises UserError where it is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                values = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
                embeddings = values.astype(np.float32).reshape(len(batch), -1)
                yield batch.select(PLACE_COLUMNS).to_pandas(), embeddings
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): run make embed again") from None


def find_nearest(chunks: Iterable[EmbeddingChunk], embedding: np.ndarray, n_places: int) -> pd.DataFrame:
    """The windows of the highest cosine similarity to an embedding [n_values], highest first: places and `similarity`.

    A window of zeros has a similarity of 0.
    """
    nearest = pd.DataFrame(columns=[*PLACE_COLUMNS, "similarity"])
    tiny = np.finfo(np.float32).tiny
    direction = embedding / max(float(np.linalg.norm(embedding)), tiny)
    for places, embeddings in chunks:
        lengths = np.maximum(np.linalg.norm(embeddings, axis=1), tiny)
        # A product a row: those of a matrix differ in their last bits by the place of the row.
        similarity = (np.vecdot(embeddings, direction) / lengths).astype(np.float64)
        highest = np.argsort(-similarity, kind="stable")[:n_places]
        found = places.iloc[highest].assign(similarity=similarity[highest])
        nearest = pd.concat([nearest, found]) if len(nearest) else found
        nearest = nearest.sort_values("similarity", ascending=False, kind="stable").head(n_places)
    return nearest.reset_index(drop=True)
