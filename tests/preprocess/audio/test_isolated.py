"""What reading a recording in a sandbox raises: its own faults, those of others, and those of the program."""

from contextlib import closing

import pytest

from core.errors import UserError
from core.sandbox import Cancelled, SandboxLimits, cancel_sandboxes
from preprocess.audio.blocks import DecodeError, UnexpectedError
from preprocess.audio.isolated import MIN_ERRORS, ErrorTally, decoder_limits, read_each, read_isolated
from recipe import Data
from tests.preprocess.audio.read_tasks import count_letters, read_as_named

LIMITS = SandboxLimits(max_memory_bytes=1 << 30)


def read(name: str) -> list[str]:
    return list(read_isolated(read_as_named, f"/sound/{name}", "one", "two", limits=LIMITS))


def test_what_the_function_yields_is_yielded() -> None:
    assert read("good") == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "kind", "reason", "transient"),
    [
        ("damaged", DecodeError, "damaged at 1 s", False),
        ("gone", DecodeError, "cannot be opened", True),
        ("crash", DecodeError, "it ended its process (SIGABRT)", False),
        ("memory", DecodeError, "it needs more memory than its process may use", True),
        ("bug", UnexpectedError, "ZeroDivisionError: a bug", True),
        ("unknown bug", UnexpectedError, "UnknownError: of a library", True),
    ],
)
def test_faults_are_told_with_the_recording(name: str, kind: type[DecodeError], reason: str, transient: bool) -> None:
    with pytest.raises(kind) as caught:
        read(name)
    error = caught.value
    assert (type(error), str(error.path), error.reason, error.transient) == (kind, f"/sound/{name}", reason, transient)


def test_what_is_no_recording_s_is_raised_as_it_is() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        read("disk")
    assert (caught.value.errno, caught.value.filename) == (28, "a.shard")
    with pytest.raises(UserError, match="a bad recipe"):
        read("user")
    with cancel_sandboxes(), pytest.raises(Cancelled):
        read("good")


def test_a_reader_may_stop() -> None:
    with closing(read_isolated(read_as_named, "/sound/good", "one", "two", limits=LIMITS)) as words:
        assert next(words) == "one"
    assert read("good") == ["one", "two"]


def test_an_error_that_all_recordings_meet_is_the_program_s() -> None:
    tally = ErrorTally()
    for _ in range(MIN_ERRORS - 1):
        tally.add(UnexpectedError("a.wav", "ImportError: no library"))
        tally.add(DecodeError("damaged.wav", "damaged"))  # it did not come as far
    with pytest.raises(UserError, match=r"so the fault is not theirs; the first: a\.wav: ImportError: no library"):
        tally.add(UnexpectedError("b.wav", "another"))


def test_an_error_that_some_recordings_meet_is_not() -> None:
    tally = ErrorTally()
    tally.add(None)
    for _ in range(2 * MIN_ERRORS):
        tally.add(UnexpectedError("a.wav", "KeyError: 1"))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_recording_gives_a_value_or_an_error(n_jobs: int) -> None:
    names = ["four", "damaged", "bug", "crash", "three", "bug", "bug"]
    results = dict(read_each(count_letters, [f"/sound/{name}" for name in names], n_jobs=n_jobs, limits=LIMITS))
    values = {index: result for index, result in results.items() if not isinstance(result, DecodeError)}
    assert values == {0: 4, 4: 5}
    errors = [result.reason for _, result in sorted(results.items()) if isinstance(result, DecodeError)]
    bug = "ZeroDivisionError: a bug"
    assert errors == ["damaged at 1 s", bug, "it ended its process (SIGABRT)", bug, bug]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_reading_stops_where_every_recording_meets_an_error(n_jobs: int) -> None:
    paths = ["/sound/bug"] * 100
    with pytest.raises(UserError, match="so the fault is not theirs; the first: /sound/bug: Zero"):
        list(read_each(count_letters, paths, n_jobs=n_jobs, limits=LIMITS))


def test_memory_is_the_recipe_s() -> None:
    assert decoder_limits(Data(decoder_memory_gb=0.5)) == SandboxLimits(max_memory_bytes=1 << 29)
