"""SCRIPT fast.ai's ResNet-18 from scratch on pictures of whole clips, with its defaults.

`benchmarks/peers.py` calls it in the peers' environment; the last line it prints is the accuracy on the held-out fold.
"""

import argparse
from pathlib import Path

from fastai.vision.all import (  # type: ignore[import-not-found]
    ImageDataLoaders,
    Resize,
    ResizeMethod,
    accuracy,
    resnet18,
    set_seed,
    vision_learner,
)

from benchmarks.peer_programs.pictures import write_pictures

PICTURE_SIZE = (128, 320)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    options = parser.parse_args()
    set_seed(0)
    table = write_pictures(options.data, options.pictures)
    table["is_held_out"] = table["fold"] == options.fold
    loaders = ImageDataLoaders.from_df(
        table,
        path="/",
        fn_col="picture",
        label_col="category",
        valid_col="is_held_out",
        item_tfms=Resize(PICTURE_SIZE, method=ResizeMethod.Squish),
        num_workers=0,
    )
    classifier = vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy)
    with classifier.no_bar(), classifier.no_logging():
        classifier.fit_one_cycle(options.epochs)
    print(float(classifier.validate()[1]))


if __name__ == "__main__":
    main()
