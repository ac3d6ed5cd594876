"""SCRIPT make ensemble: several recipes on the same recordings, whatever is missing of them, and one submission."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.entrypoint import run_script
from core.errors import BadInput
from core.paths import Places
from predict.decide.blend_weights import WAYS, blend_tables, equal_weights
from predict.members import Member, bring_up
from predict.output.blending import match_tables, with_truth, write_blend
from predict.output.ground_truth import match_rows
from predict.output.submission import check_name_is_free, read_submission
from recipe.cli import OptionParser, count_jobs, read_command
from train.evaluate.score_table import Scores, read_scores, write_scores


@dataclass(frozen=True)
class Blend:
    """What becomes of the members' scores."""

    weights: np.ndarray
    """[n_members], for clips of no fold."""
    by: str

    def of(self, tables: Sequence[Scores]) -> Scores:
        """One table from matched ones."""
        return Scores(
            tables[0].clips, tables[0].labels, blend_tables([one.values for one in tables], self.by, self.weights)
        )


def read_options(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The ensemble's own options, and the rest, which is for every step of every recipe."""
    parser = OptionParser(description="Train and predict several recipes, and blend them.", allow_abbrev=False)
    parser.add_argument("--recipes", nargs="+", required=True, metavar="YAML", help="The recipes, two or more.")
    parser.add_argument("--recipe", help=argparse.SUPPRESS)
    parser.add_argument("--run", default="ensemble", help="Name of the blend.")
    parser.add_argument("--by", choices=list(WAYS), default="mean", help="What becomes of a score a recipe.")
    parser.add_argument("--fit", action="store_true", help="Weigh recipes by what is best on their out-of-fold scores.")
    parser.add_argument("--jobs", type=int, default=-1, help="Cores to keep busy in every step; -1 is all.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda.")
    options, rest = parser.parse_known_args(arguments)
    count_jobs(options.jobs)
    return options, rest


def read_members(options: argparse.Namespace, rest: Sequence[str]) -> list[Member]:
    """The recipes by their files. Raises BadInput where they cannot make an ensemble."""
    members = []
    for path in map(Path, options.recipes):
        name = path.stem
        command = read_command(["--recipe", str(path), "--run", name, *rest], "One recipe of an ensemble.")
        members.append(Member(path, command.recipe, command.places, tuple(rest)))
    names = [member.name for member in members]
    homes = {member.places.home for member in members}
    if len(names) < 2 or len(homes) < len(names):
        raise BadInput(f'an ensemble of {", ".join(names)}: name two or more different recipes, RECIPES="a b"')
    check_name_is_free(blend_places(members, options, rest).run_home, names)
    return members


def blend_places(members: Sequence[Member], options: argparse.Namespace, rest: Sequence[str]) -> Places:
    """Where the blend lands: beside the first recipe's run. Raises BadInput for a name that no run can have."""
    whose = ["--recipe", str(members[0].path), "--run", options.run]
    return read_command([*whose, *rest], "The blend.").places


def main(arguments: Sequence[str] | None = None) -> None:
    options, rest = read_options(arguments)
    members = read_members(options, rest)
    bring_up(members, str(options.jobs), options.device)
    places = blend_places(members, options, rest)
    names = [member.name for member in members]
    submissions = match_tables(names, [read_submission(member.places.submission()) for member in members])
    held_out = match_tables(names, [read_scores(member.places.oof_csv) for member in members])
    blend, out_of_fold = weigh(members, held_out, options)
    write_scores(places.oof_csv, out_of_fold.clips, out_of_fold.labels, out_of_fold.values)
    print(f"{places.oof_csv}: out-of-fold scores of the blend")
    write_blend(places, blend.of(submissions))


def weigh(members: Sequence[Member], held_out: Sequence[Scores], options: argparse.Namespace) -> tuple[Blend, Scores]:
    """How to blend, and the blend's out-of-fold scores, printed beside each member's."""
    places = members[0].places
    known = with_truth(held_out, places.clips_csv, places.oof_csv)
    blend = Blend(known.weights(options.by) if options.fit else equal_weights(len(members)), options.by)
    whole = blend.of(held_out)
    if options.fit:  # a clip that is scored does not weigh the recipes; noisy clips are not scored
        rows = {clip: row for row, clip in enumerate(whole.clips)}
        whole.values[[rows[clip] for clip in known.truth.clips]] = known.blend(options.by)
    names = [f"{weight:.3f}  {member.name}" for weight, member in zip(blend.weights, members, strict=True)]
    lines = [*zip(names, known.scores, strict=True)]
    known.show([*lines, (f"{1:.3f}  {options.run}, by {options.by}", match_rows(known.truth, whole))])
    return blend, whole


if __name__ == "__main__":
    run_script(main)
