"""make inspect, by its command line: the summary, and a page that needs no other file and runs nobody's names."""

import base64
import io
import re
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from core.errors import UserError
from predict import run, score
from recipe import as_dict
from report.dataset.clip_analysis import analyse_clip
from report.inspect import main
from report.media.data_uris import HEIGHT, WIDTH, picture_uri
from report.media.preview import read_preview
from tests.predict.conftest import FEATURES, LABELS, TinyRun, make_tiny_run

FEATURE_KEYS = [f"--features.{key}={value}" for key, value in as_dict(FEATURES).items() if value not in (None, [])]


class Page(HTMLParser):
    """Every tag, with its attributes, and the text of headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A run with the submission of its test clips, which tests leave as it is, but for its page."""
    tiny_run = make_tiny_run(tmp_path_factory.mktemp("predicted"))
    run.main(tiny_run.arguments)
    return tiny_run


@pytest.fixture(scope="module")
def page(predicted: TinyRun) -> Page:
    """The page of the submission."""
    with redirect_stdout(io.StringIO()) as printed:
        main(predicted.arguments)
    assert str(predicted.run_paths.submission_dir / "report.html") in printed.getvalue()
    return Page((predicted.run_paths.submission_dir / "report.html").read_text(encoding="utf-8"))


def decode_uri(uri: str | None) -> io.BytesIO:
    assert uri
    return io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))


def test_every_clip_has_its_picture_and_its_sound(predicted: TinyRun, page: Page) -> None:
    assert len(page.all("article")) == len(page.all("img")) == len(page.all("audio")) == 6
    for picture, player in zip(page.all("img"), page.all("audio"), strict=True):
        with Image.open(decode_uri(picture["src"])) as image:
            assert (image.format, image.height) == ("PNG", 24)
        clip = str(player["aria-label"])
        seconds = soundfile.info(decode_uri(player["src"])).duration
        with soundfile.SoundFile(predicted.table.set_index("clip").loc[clip, "path"]) as recording:
            assert seconds == pytest.approx(len(recording) / recording.samplerate, abs=0.1)


def test_the_page_needs_no_other_file(page: Page) -> None:
    links = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert links
    assert all(str(link).startswith(("data:", "#clip-")) for link in links)


def test_names_and_labels_are_text_whatever_they_hold(predicted: TinyRun, page: Page) -> None:
    assert len(page.all("script")) == 1
    assert not page.all("b")[len(page.all("li")) :]
    assert "<script>alert('高い')</script>" in page.text
    assert all(clip in page.text for clip in predicted.table.loc[predicted.table["split"] == "test", "clip"])


def test_truth_is_shown_beside_predictions(page: Page) -> None:
    assert "accuracy" in page.text
    verdicts = [str(attributes.get("class")).split()[-1:] for attributes in page.all("li")]
    assert ["wrong"] in verdicts


def test_the_page_is_bounded(predicted: TinyRun) -> None:
    main([*predicted.arguments, "--clips", "2"])
    assert (
        len(Page((predicted.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")).all("article")) == 2
    )


def test_every_label_shown_has_a_saliency_map_unless_they_are_left_out(predicted: TinyRun, page: Page) -> None:
    shown = [attributes for attributes in page.all("button") if "data-saliency" in attributes]
    assert len(shown) == 6 * len(LABELS)
    for attributes in shown:
        with Image.open(decode_uri(attributes["data-saliency"])) as image:
            assert image.mode == "LA"
    main([*predicted.arguments, "--no_maps"])
    assert "data-saliency=" not in (predicted.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")


def test_a_clip_without_room_on_the_page_is_not_said_to_be_unreadable(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.main(tiny_run.arguments)
    monkeypatch.setattr("report.media.data_uris.MAX_MEDIA_BYTES", 0)
    main(tiny_run.arguments)
    html = (tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")
    assert html.count("no sound: left out, for the page would be too large") == 6
    assert "could not be read" not in html
    assert "data-saliency=" not in html  # a map lies over a picture


def test_a_page_does_without_the_maps_of_other_networks(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.main(tiny_run.arguments)
    for fold in (0, 1):
        tiny_run.write_network(fold, labels=[*LABELS[1:], "other"])
    main(tiny_run.arguments)
    assert "the page has no saliency maps: the run's networks have other labels" in capsys.readouterr().err
    shutil.rmtree(tiny_run.run_paths.run_dir)
    main(tiny_run.arguments)
    assert "saliency maps" not in capsys.readouterr().err  # as of a blend
    assert "data-saliency=" not in (tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")


def test_previews_have_the_same_top_db_floor_as_network_inputs(tiny_run: TinyRun) -> None:
    path = str(tiny_run.table["path"].iloc[10])
    raw = read_preview(path, FEATURES).frames
    frames = read_preview(path, replace(FEATURES, top_db=20.0)).frames
    assert raw is not None
    assert frames is not None
    np.testing.assert_allclose(frames, np.maximum(raw, raw.max() - 20), atol=1e-2)
    assert raw.min() < raw.max() - 20


def test_players_have_the_channel_that_pictures_show(tmp_path: Path) -> None:
    path, tone = str(tmp_path / "stereo.wav"), 0.5 * np.sin(np.arange(16_000))
    soundfile.write(path, np.stack([-tone, tone], 1), 16_000)
    features = replace(FEATURES, sample_rate_hz=16_000, channel=1)
    for found in (read_preview(path, features), analyse_clip(path, features)):
        sound, _ = soundfile.read(io.BytesIO(found.mp3))
        assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.5 / np.sqrt(2), abs=0.02)


def test_the_picture_of_a_trimmed_clip_lies_where_its_sound_is(tiny_run: TinyRun) -> None:
    tiny_run.write_store(start_s=0.05)
    run.main(tiny_run.arguments)
    main(tiny_run.arguments)
    page = Page((tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8"))
    of_two_s = next(image for image in page.all("img") if image["alt"] == 'Spectrogram of test11 <b>"é"</b>.wav')
    assert of_two_s["style"] == "margin-left:2.50%;width:98.12%"  # 157 frames, 80 a second


def test_recordings_that_are_gone_leave_the_picture(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.main(tiny_run.arguments)
    for path in tiny_run.table["path"]:
        tiny_run.run_paths.cache.parent.joinpath(path).unlink()
    main(tiny_run.arguments)
    assert "6 of the page's 6 clips have no sound, the first " in capsys.readouterr().err
    page = Page((tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8"))
    assert (len(page.all("img")), len(page.all("audio"))) == (6, 0)
    assert page.text.count("no sound: cannot be opened: No such file") == 6


def test_a_recording_without_frames_has_sound_where_it_can_be_read(tiny_run: TinyRun) -> None:
    run.main(tiny_run.arguments)
    tiny_run.write_store(unreadable=[tiny_run.table["clip"].iloc[8]])
    (tiny_run.run_paths.submission_dir / "provenance.json").unlink()  # as of scores by another program
    main(tiny_run.arguments)
    page = Page((tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8"))
    assert (len(page.all("article")), len(page.all("img")), len(page.all("audio"))) == (6, 5, 6)


FAULTS = {
    "crashes": "it ended its process (SIGSEGV)",
    "hangs": "it hung: no progress for",
    "needs_memory": "it needs more memory than its process may use",
    "has_a_fault": "ZeroDivisionError: division by zero",
    "damaged": "neither soundfile nor PyAV can read it",
}


@pytest.mark.parametrize("is_input", [False, True])
def test_a_recording_that_fails_in_its_decoder_costs_its_own_player(
    tiny_run: TinyRun,
    tmp_path: Path,
    is_input: bool,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sound, paths = tmp_path / "sound", tiny_run.table["path"].tolist()
    for number, name in enumerate(FAULTS, start=7):
        paths[number] = shutil.move(paths[number], sound / f"{name}.wav")
    tiny_run.write_table(tiny_run.table.assign(path=paths))
    arguments = [*tiny_run.arguments, *(["--input", str(sound), *FEATURE_KEYS] if is_input else [])]
    run.main(arguments)
    request.getfixturevalue("faulty_decoders")
    request.getfixturevalue("short_stall")
    (sound / "damaged.wav").write_bytes(b"no sound" * 1_000)
    main(arguments)
    folder = tiny_run.run_paths.submission_dir
    page = Page((folder / "inputs" / "sound" if is_input else folder).joinpath("report.html").read_text("utf-8"))
    n_clips = 12 if is_input else 6
    assert len(page.all("article")) == n_clips
    assert len(page.all("audio")) == n_clips - len(FAULTS)
    assert len(page.all("img")) == (n_clips - len(FAULTS) if is_input else n_clips)
    assert all(page.text.count(f"no sound: {reason}") == 1 for reason in FAULTS.values())
    assert f"{len(FAULTS)} of the page's {n_clips} clips have no sound, the first " in capsys.readouterr().err


def test_recordings_of_no_dataset_have_a_page_too(
    tiny_run: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    field = tmp_path / "field"
    field.mkdir()
    for number in (8, 11):
        shutil.copy(tiny_run.table["path"].iloc[number], field / f"{number}.wav")
    arguments = [*tiny_run.arguments, *FEATURE_KEYS, "--input", str(field)]
    run.main([*arguments, "--jobs", "1"])
    tiny_run.run_paths.store.unlink()
    tiny_run.run_paths.clips_csv.unlink()
    main(arguments)
    page = Page((tiny_run.run_paths.submission_dir / "inputs" / "field" / "report.html").read_text(encoding="utf-8"))
    assert len(page.all("article")) == len(page.all("img")) == len(page.all("audio")) == 2
    assert "pictures: the first 60" in page.text
    with Image.open(decode_uri(page.all("img")[0]["src"])) as image:
        assert image.height == 24
    assert "inputs/field/submission.csv: 2 clips" in capsys.readouterr().out
    with pytest.raises(UserError, match="TRUTH="):
        score.main(arguments)
    truth = tmp_path / "truth.csv"
    truth.write_text("fname,labels\n11.wav,low\n8.wav,low\n", encoding="utf-8")
    score.main([*arguments, "--truth", str(truth)])
    assert "2 of 2 clips" in capsys.readouterr().out
    main([*arguments, "--truth", str(truth)])
    assert "2 clips of known labels" in capsys.readouterr().out


def test_recordings_that_were_not_read_are_counted_in_the_terminal_and_on_the_page(
    tiny_run: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    field = tmp_path / "field"
    field.mkdir()
    sound = Path(shutil.copy(tiny_run.table["path"].iloc[8], field / "whole.wav")).read_bytes()
    (field / "half.wav").write_bytes(sound[: len(sound) // 2])
    for name in ("a.wav", "b.wav"):
        (field / name).write_bytes(b"no sound")
    arguments = [*tiny_run.arguments, *FEATURE_KEYS, "--input", str(field), "--jobs", "1", "--no_maps", "--brief"]
    run.main(arguments[:-2])
    main(arguments)
    told = (
        "Recordings that could not be read: 2 (failed.csv). "
        "Recordings that were read in part or look odd: 1 (warnings.csv)."
    )
    assert told in capsys.readouterr().out
    folder = tiny_run.run_paths.input_dir(field)
    assert told in Page((folder / "report.html").read_text(encoding="utf-8")).text
    shutil.copy(folder / "submission.csv", folder / "mine.csv")
    main([*arguments, "--submission", str(folder / "mine.csv")])  # which may be of other recordings
    assert "Recordings that" not in capsys.readouterr().out


def test_a_missing_submission_says_what_to_run(tiny_run: TinyRun) -> None:
    with pytest.raises(UserError, match="make predict"):
        main(tiny_run.arguments)
    assert not (tiny_run.run_paths.submission_dir / "report.html").exists()


def test_a_missing_store_says_what_to_run(tiny_run: TinyRun) -> None:
    run.main(tiny_run.arguments)
    tiny_run.run_paths.store.unlink()
    with pytest.raises(UserError, match="make features"):
        main(tiny_run.arguments)


def test_low_bins_are_at_the_bottom_and_time_runs_right() -> None:
    frames = np.full((400, 10), -80.0)
    frames[:100, :2] = 0
    with Image.open(decode_uri(picture_uri(frames))) as image:
        assert image.size == (WIDTH, 10)
        brightness = np.asarray(image.convert("L"))
    assert brightness[8:, : WIDTH // 4 - 1].min() > 200
    assert brightness[:8].max() == brightness[:, WIDTH // 4 + 1 :].max() < 10


def test_a_waveform_s_picture_is_its_envelope() -> None:
    samples = np.concatenate([np.zeros(3_000), np.sin(np.arange(3_000))])[:, None]
    with Image.open(decode_uri(picture_uri(samples))) as image:
        assert image.size == (WIDTH, HEIGHT)
        bright = (np.asarray(image.convert("L")) > 200).sum(axis=0)
    assert bright[: WIDTH // 2].max() <= 3
    assert bright[WIDTH // 2 + 1 :].min() > 0.9 * HEIGHT


def test_a_silent_clip_has_a_picture() -> None:
    assert re.match("data:image/png;base64,", picture_uri(np.full((1, 5), -100.0)))
