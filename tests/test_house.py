"""The rules of the house: which floor may import which, scripts stand alone, the README speaks the truth."""

import ast
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from core.errors import UserError
from preprocess.features import add_options
from recipe import SECTIONS
from recipe.cli import find_step_options, parse_command
from tests.make_commands import SCRIPTS, WITHOUT_JOBS
from tests.trace_clip import count, trace_clip

ROOT = Path(__file__).parent.parent
FLOORS = {
    "core": [],
    "recipe": [],
    "preprocess": ["dataset", "frames", "audio", "store", "build", "statistics"],
    "synth": [],
    "train": ["augment", "data", "networks", "runs", "evaluate", "loop", "classical"],
    "predict": ["decide", "inference", "output", "model_export"],
    "report": ["media", "submission", "training", "dataset", "augmentation", "verdicts"],
    "serve": [],
}
"""Floors, and the packages of each, in the order of the data's way: imports point back along it, never on."""
BESIDE = {"synth"}
"""Floors that nothing imports but their own scripts."""
MAX_FILES = 12
FILES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
OLD_WORDS = {
    *("abandon", "centre", "crew", "deaf", "doubt", "ear", "ears", "figures", "findings", "gallery", "hear", "heard"),
    *("hearing", "joining", "journal", "learner", "learnt", "lesson", "listener", "listing", "marks", "material"),
    *("plight", "seal", "sealed", "soften", "sounding", "stamp", "stock", "strange", "surest", "taught", "teaching"),
    *("trust", "unheard", "untaught", "voices", "watched", "whereabouts", "wins"),
}
"""Private words of earlier versions; the field has others for what they named."""
YAML_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@cache
def imports_of(path: Path) -> list[str]:
    """Every module a file imports, anywhere in it, `from package import module` spelled out."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def is_script(path: Path) -> bool:
    return "run_script(main" in text_of(path) and path.name != "entrypoint.py"


def place_of(name: str) -> tuple[str, str]:
    """The floor of a module, and its package there; a script is in none."""
    floor, package, *_ = [*name.split("."), ""]
    return floor, package if package in FLOORS.get(floor, []) else ""


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_to_where_data_came_from(path: Path) -> None:
    floor, package = place_of(module_of(path))
    order = list(FLOORS)
    for name in imports_of(path):
        other, its = place_of(name)
        if other not in FLOORS:
            continue
        assert order.index(other) <= order.index(floor), f"{name} is of a later floor"
        assert other not in BESIDE or other == floor, f"{name} stands beside the floors"
        if other == floor and package and its:
            packages = FLOORS[floor]
            assert packages.index(its) <= packages.index(package), f"{name} is of a later package"


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {module_of(path): path for path in FILES}
    graph = {name: {other for other in imports_of(path) if other in names} for name, path in names.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_modules_stand_on_a_floor_or_in_one_of_its_packages() -> None:
    assert not list(ROOT.glob("*.py"))
    packages = {module_of(path.parent) for path in FILES}
    known = {*FLOORS, *(f"{floor}.{package}" for floor, names in FLOORS.items() for package in names)}
    assert packages - {"preprocess.dataset.layouts", "preprocess.dataset.annotations"} == known


def test_no_folder_holds_more_than_twelve_unlike_files() -> None:
    folders = {path.parent for path in FILES if path.parent.name != "layouts"}
    counts = {module_of(folder): len([*folder.glob("*.py"), *folder.glob("*.j2")]) for folder in folders}
    assert not {name: count for name, count in counts.items() if count > MAX_FILES}


def test_scripts_are_imported_by_nothing() -> None:
    scripts = {module_of(path) for path in FILES if is_script(path)}
    assert {"preprocess.features", "train.fit", "predict.run"} <= scripts
    assert not [(module_of(path), name) for path in FILES for name in imports_of(path) if name in scripts]


def test_every_make_target_calls_a_script_that_is_there() -> None:
    called = re.findall(r"(?:SCRIPT,|-m )([a-z_]+\.[a-z_]+)", (ROOT / "Makefile").read_text())
    assert len(called) > 7
    assert not [name for name in called if not is_script(ROOT / (name.replace(".", "/") + ".py"))]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_file_says_its_purpose_in_its_first_line(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_read_by_the_scripts(path: Path) -> None:
    command = parse_command(["--recipe", str(path)], "test")
    assert command.recipe.name == path.stem == command.run_paths.run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"training: [1,\nnetwork: }", "is no YAML .* in line 2"),
        (b"data: {folds: 3}\ndata: {seed: 4}", r"is no YAML \(key 'data' stands there twice in line 2"),
        (b"data:\n  folds: 3\n  folds: 4", r"is no YAML \(key 'folds' stands there twice in line 3"),
        (b"", "holds no keys"),
        (b"- 1", "holds no keys"),
        (b"training: 5", "has 5 for section training: write its keys below it"),
        (b"tuning:", "has None for section tuning"),
        (b"[" * 5_000, "is nested too deep"),
        (b"a: &a [*a]", "is no recipe: its aliases stand for too many values"),
        (b"#" * (1 << 19), "is larger than 256 KiB"),
        (YAML_BOMB.encode(), "is no recipe: its aliases stand for too many values"),
    ],
)
def test_a_recipe_that_is_no_recipe_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    for arguments in (["--recipe", str(path)], [f"--recipe={path}"]):
        with pytest.raises(UserError, match=f"mine.yaml {message}"):
            parse_command(arguments, "test")


def test_a_recipe_may_stand_on_the_command_line() -> None:
    command = parse_command(["--recipe", "{data: {folds: 3}}"], "test")
    assert (command.recipe.name, command.recipe.data.folds) == ("recipe", 3)


def test_a_recipe_on_the_command_line_may_be_longer_than_a_file_s_name() -> None:
    text = f"{{data: {{folds: 3}}, prediction: {{view_shifts_s: [{', '.join(['0.5'] * 100)}]}}}}"
    for arguments in (["--recipe", text], [f"--recipe={text}"]):
        recipe = parse_command(arguments, "test").recipe
        assert (recipe.name, recipe.data.folds, len(recipe.prediction.view_shifts_s)) == ("recipe", 3, 100)
    with pytest.raises(UserError, match=r"\"recipe\": File does not exist"):
        parse_command(["--recipe", "x" * 300], "test")


def test_every_key_of_a_recipe_is_described() -> None:
    keys = [f"{name}.{key}" for name, section in SECTIONS.items() for key in section.__dataclass_fields__]
    assert not [key for key in keys if not _docstring_of(key)]


def test_help_says_what_every_key_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_command(["--help"], "test")
    said = " ".join(capsys.readouterr().out.split())
    keys = [f"{name}.{key}" for name, section in SECTIONS.items() for key in section.__dataclass_fields__]
    assert not [key for key in keys if " ".join(_docstring_of(key).split()) not in said]


@cache
def _section_documents() -> dict[str, dict[str, str]]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "recipe").glob("*.py")]
    documents: dict[str, dict[str, str]] = {}
    for node in [node for tree in trees for node in tree.body]:
        if isinstance(node, ast.ClassDef):
            after = dict(zip(node.body, node.body[1:], strict=False))
            documents[node.name] = {
                item.target.id: str(follower.value.value)
                for item, follower in after.items()
                if isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(follower, ast.Expr)
                and isinstance(follower.value, ast.Constant)
            }
    return documents


def _docstring_of(key: str) -> str:
    section, name = key.split(".")
    return _section_documents()[SECTIONS[section].__name__].get(name, "")


@pytest.mark.parametrize("key", [f"{name}.{key}" for name, s in SECTIONS.items() for key in s.__dataclass_fields__])
def test_every_key_of_a_recipe_is_read_by_a_floor(key: str) -> None:
    name = key.split(".")[1]
    stem = name.removesuffix("_probability")  # augmentations are named in one table, their keys made from its names
    read = re.compile(rf"\b{name}\b" if stem == name else rf"\b{name}\b|\"{stem}\"")
    users = [path for path in FILES if path.parent.name != "recipe" and read.search(text_of(path))]
    assert users, f"{key} is read by nothing"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--training.epochs", "0"], ["training.epochs", "0", "at least 1"]),
        (["--training.epochz", "3"], ["no step has --training.epochz, do you mean --training.epochs?"]),
        (["--mixture", "3"], ["no step has --mixture, do you mean --mixtures?"]),
        (["--features.rate_hz", "8000"], ["features.rate_hz is called features.sample_rate_hz now"]),
        (["--recipe", "{training: {masks: 1}}"], ["training.masks is called training.max_masks now"]),
        (["--prediction.top_k", "2"], ["prediction.top_k is gone: use prediction.pooling mean or max"]),
        (["--recipe", "{prediction: {view_windows_s: [1]}}"], ["prediction.view_windows_s is gone: use"]),
        (["--training.epochs", "many"], ["training.epochs", "many"]),
        (["--recipe", "recipes/none.yaml"], ["recipes/none.yaml"]),
        (["--features.kind", "smell"], ["features.kind", "smell", "logmel"]),
        (["--run", "../else"], ["--run", "../else"]),
        (
            ["--features.kind", "cqt", "--features.n_bins", "4096", "--features.bins_per_octave", "1"],
            ["features.fmin_hz = 20: 4.1e+03 octaves of cqt", "do not fit"],
        ),
    ],
)
def test_bad_keys_and_values_are_named_with_their_bounds(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse_command(arguments, "test")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_dashes_in_the_names_of_options_are_underscores_and_in_values_are_not() -> None:
    spelled = ["--training.max-lr=1e-3..1e-2", "--data.note-octaves", "false", "--run", "a-b", "--max-failures", "0.2"]
    command = parse_command(spelled, "test", add_options)
    assert (command.recipe.training.max_lr, command.recipe.data.note_octaves) == ("1e-3..1e-2", False)
    assert (command.run_paths.run, command.options.max_failures) == ("a-b", 0.2)


def test_options_of_other_steps_are_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--metric f1_macro --max-failures 0.2 --export json raven --mixtures=3 --tuning.mixtures 7 --per_label"
    command = parse_command(arguments.split(), "test", add_options)
    assert (command.options.max_failures, command.recipe.tuning.mixtures) == (0.2, 7)
    said = [line.partition(" is an option of another step")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["--metric", "--export", "--mixtures", "--per_label"]


def test_the_options_of_every_step_are_found() -> None:
    options = find_step_options()
    for path in FILES:
        if is_script(path) and path.parent.name not in ("synth", "core"):
            script = import_module(module_of(path))
            parser = ArgumentParser()
            if add := getattr(script, "add_options", None):
                add(parser)
            own = {option for action in parser._actions for option in action.option_strings}
            assert own - {"-h", "--help"} <= options, path


def test_a_recipe_with_an_unknown_key_stops_with_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "odd.yaml"
    recipe.write_text("training:\n  epochz: 3\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "preprocess.features", "--recipe", recipe], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "epochz" in ended.stderr


def test_readme_commands_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z_]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    typed = {
        word
        for line in re.findall(r"^make ([^\n#|]+)", readme, flags=re.M)
        for word in re.sub(r"\"[^\"]*\"", "", line).split()
        if "=" not in word
    }
    assert {"demo", "test", "features", "train", "predict", "inspect"} <= typed
    assert typed <= targets


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, flags=re.M)
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in listed.splitlines()] == phony.split()


def test_make_quotes_folders_and_files_also_with_a_dash_in_front() -> None:
    folder = '-Bob\'s $(x) $HOME "field" recordings #1$'
    variables = [f"{name}={folder}" for name in ("DATA", "INPUT", "TRUTH", "TO", "AGAINST")]
    command = ["make", "-n", "-o", ".venv/.ready", "predict", "score", "similar", "inspect", *variables]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [
        [word.partition("=")[2] for word in shlex.split(line)].count(folder) for line in lines if " -m " in line
    ] == [2, 3, 3, 4]


def test_make_calls_the_script_of_each_target_with_its_variables() -> None:
    options = {
        "train": "--folds 0,2",
        "blend": "--runs a b",
        "predict": "--input=in",
        "review": "--input=in",
        "embed": "--input=in",
        "similar": "--to=clip.wav --input=in",
        "serve": "--port 7",
    }
    options |= dict.fromkeys(("score", "inspect"), "--input=in --truth=true.csv")
    variables = ["RECIPE=esc50", "RUN=my run", "JOBS=3", "FOLDS=0,2", "RUNS=a b", "INPUT=in", "TRUTH=true.csv"]
    variables += ["PORT=7", "TO=clip.wav"]
    command = ["make", "-n", "-o", ".venv/.ready", *SCRIPTS, *variables, "ARGS=--x y"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = {line.split()[2]: shlex.split(line)[1:] for line in printed.splitlines() if " -m " in line}
    for target, script in SCRIPTS.items():
        line = lines[script]
        expected = options.get(target, "") + ("" if target in WITHOUT_JOBS else " --jobs 3")
        assert line[2:6] == ["--recipe", "recipes/esc50.yaml", "--run", "my run"]
        assert sorted(line[6:-2]) == sorted(expected.split()), line
        assert line[-2:] == ["--x", "y"]


def test_make_clean_leaves_nothing_but_its_two_pages(tmp_path: Path) -> None:
    for name in ("cache/README.md", "cache/a/README.md", "submissions/README.md", "submissions/a/model/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "cache").rename(tmp_path / "large_disk")
    (tmp_path / "cache").symlink_to("large_disk")
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["large_disk/README.md", "submissions/README.md"]


def test_pages_name_only_files_that_are_there() -> None:
    """Links, and paths of the project's own files."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        linked = [page.parent / target for target in re.findall(r"\]\((?!http)([^)#]+)", text)]
        named = re.findall(
            r"\b(?:core|preprocess|train|predict|report|serve|benchmarks|recipes)/[\w/]+\.(?:py|yaml)", text
        )
        missing = [str(path) for path in [*linked, *(ROOT / name for name in named)] if not path.exists()]
        assert not missing, f"{page.name}: {missing}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_readme_table_names_every_recipe() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert RECIPES
    assert not [path.name for path in RECIPES if f"`{path.stem}`" not in readme]


def test_the_tree_names_every_package_and_script() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("```")[2].partition("```")[0]
    packages = {f"{name}/" for names in FLOORS.values() for name in names} | {f"{floor}/" for floor in FLOORS}
    scripts = {path.name for path in FILES if is_script(path)}
    assert not [name for name in packages | scripts if name not in tree]


def test_tests_of_pages_leave_screenshots() -> None:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if "with open_browser(" in path.read_text("utf-8")]
    assert len(tests) > 3
    keepers = ("check_looks(", "keep_screenshot(")
    assert not [path.name for path in tests if not any(each in path.read_text("utf-8") for each in keepers)]


@pytest.mark.parametrize("status", [0, 1])
def test_the_check_of_a_change_names_where_screenshots_are_kept(tmp_path: Path, status: int) -> None:
    for name, content in {"make": f'echo "$1 $SCREENSHOTS"; exit {status}', "chromedriver": ""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{content}\n")
        (tmp_path / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "SCREENSHOTS"}
    environment["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True)
    folder = ROOT / "test-artifacts"
    called = [f"{target} {folder}" for target in ("check", "test")]
    assert ended.returncode == status
    assert ended.stdout.splitlines() == [*called[: 2 - status], f"screenshots of the pages: {folder}"]
    assert f"{folder.name}/" in (ROOT / ".gitignore").read_text().splitlines()


def identifiers_of(path: Path) -> set[str]:
    """Names that a file defines: functions, classes, arguments, variables, attributes; and its own."""
    found = {path.stem}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
    return found


def test_old_private_words_do_not_come_back() -> None:
    """As identifiers or file names, also as a part of one: `crew` in `start_crew`."""
    python = [path for folder in [*FLOORS, "tests", "benchmarks"] for path in (ROOT / folder).rglob("*.py")]
    back = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in python
        for name in identifiers_of(path)
        if OLD_WORDS & {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    }
    assert not back


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("preprocess.features", ["--jobs", "0"]),
        ("preprocess.features", ["--max_failures", "2"]),
        ("preprocess.survey", ["--jobs", "-2"]),
        ("predict.run", ["--top_labels", "0"]),
        ("predict.run", ["--min_score", "2"]),
        ("synth.render_notes", ["--sets", "none"]),
        ("synth.render_demo", ["--seed", "one"]),
    ],
)
def test_a_script_s_own_options_have_bounds(script: str, arguments: list[str]) -> None:
    with pytest.raises(UserError, match=arguments[0].lstrip("-")):
        import_module(script).main(arguments)


def test_the_way_of_one_clip_is_short() -> None:
    way, _ = trace_clip()
    assert ("preprocess/audio/decode.py", "decode_blocks") in way
    assert ("predict/inference/tagger.py", "Tagger.pool_clip") in way
    n_hops, n_modules, n_returns = count(way)
    assert n_hops <= 80
    assert n_modules <= 28
    assert n_returns <= 18
