"""What the commands on ranking and pruning show; it prints, as `terminal` does."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from ...models.relevance.criteria import CRITERIA, REDUCTIONS
from ..pruning import statistics as study_figures
from ..recipe.methods.all import METHODS
from ..recipe.methods.method import Lines
from ..results.rankings import CaptumComparison, ChanceTable, Ranking, SensitivityTable, StudyResult
from ..results.stages import BY_SENSITIVITY, SEEN, PrunedRun
from . import tables as report_tables
from .graphs import print_input
from .terminal import print_json, terminal


def print_criteria(json: bool = False) -> None:
    """Print what every criterion says, costs and needs, and reductions of attributions; or one JSON object of both."""
    if json:
        rows = {
            name: {"meaning": one.meaning, "cost": one.cost, "check": one.check, "needs": one.needs}
            | ({"reduction": one.reduction} if one.kind == "attribution" else {})
            for name, one in CRITERIA.items()
        }
        print_json({"criteria": rows, "reductions": REDUCTIONS})
        return
    table = Table("criterion", "a score is", "cost", "needs")
    table.columns[0].overflow = "fold"
    for name, one in CRITERIA.items():
        table.add_row(name, one.meaning, one.cost, one.needs)
    terminal().print(table)
    for name, meaning in REDUCTIONS.items():
        terminal().print(f":{name}  {meaning}, A the attributions", highlight=False, markup=False)


def print_rank(ranking: Ranking, show: int) -> None:
    """Each criterion with its cost and self-check, the ends of each layer's ranking, and the correlations."""
    console = terminal()
    for row in ranking.criteria:
        check = f"; self-check {row.check:.2g} ({row.check_is})" if row.check is not None else ""
        line = f"{row.criterion}: {row.meaning}; {row.seconds:.1f} s, {row.images} images{check}"
        line += captum_text(row.captum)
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    table = Table("layer", "criterion", "lowest: filter score", "highest: filter score")
    for layer in max((row.scores for row in ranking.criteria), key=len):
        for row in (row for row in ranking.criteria if layer in row.scores):
            scores = row.scores[layer]
            order = sorted(range(len(scores)), key=scores.__getitem__)
            ends = (order[:show], order[::-1][:show])
            table.add_row(layer, row.criterion, *("  ".join(f"{i} {scores[i]:.3g}" for i in end) for end in ends))
    console.print(table)
    names = [row.criterion for row in ranking.criteria]
    if ranking.chance is not None:
        _print_chance(ranking.chance, names)
    if len(names) < 2:
        return
    table = Table("layer", "rank correlation (Spearman)", *names, title_justify="left")
    for layer, matrix in ranking.spearman.items():
        for name, values in zip(names, matrix, strict=True):
            table.add_row(layer, name, *("-" if value is None else f"{value:+.2f}" for value in values))
    console.print(table)
    for layer, alike in coinciding(ranking).items():
        console.print(f"{layer}: {', '.join(alike)} rank alike", highlight=False, markup=False)


_ALIKE = 0.999


def coinciding(ranking: Ranking) -> dict[str, list[str]]:
    """Criteria that put the filters of a layer in one order, by layer; layers without such are left out."""
    names = [row.criterion for row in ranking.criteria]
    found = {}
    for layer, matrix in ranking.spearman.items():
        alike = {
            name
            for i, row in enumerate(matrix)
            for j, value in enumerate(row)
            if i != j and value is not None and value >= _ALIKE
            for name in (names[i], names[j])
        }
        if alike:
            found[layer] = [name for name in names if name in alike]
    return found


def _print_chance(found: ChanceTable, names: list[str]) -> None:
    """Accuracy by criterion, and how many deviations of a random draw it is above their mean."""
    title = (
        f"accuracy, %, without channels, batch norms re-estimated, nothing trained; {found.images:,} images, "
        f"{found.judged_on}; beside {found.draws} random draws"
    )
    table = Table("group", "removed", "random draws", *names, title=title, title_justify="left")
    for cell in found.cells:
        cells = []
        for name in names:
            z = cell.z(name)
            cells.append(f"{100 * cell.accuracy[name]:.2f} ({'-' if z is None else f'{z:+.1f}'})")
        chance = f"{100 * cell.mean:.2f} ± {100 * cell.deviation:.2f}"
        table.add_row(escape(cell.group), f"{cell.share:.0%}", chance, *cells)
    terminal().print(table)
    for name in names:
        known = [z for cell in found.cells if (z := cell.z(name)) is not None]
        if known:
            below, above = sum(z < -1 for z in known), sum(z >= 2 for z in known)
            line = f"{name}: mean z {sum(known) / len(known):+.2f}; below chance by more than one deviation in {below}"
            line += f", above by two in {above} of {len(known)} cells"
            terminal().print(line, highlight=False, markup=False, soft_wrap=True)


def captum_text(found: CaptumComparison | None) -> str:
    """What Captum's DeepLIFT says to the attributions of deeplift."""
    if found is None:
        return ""
    if not found.images:
        return f"; not held against Captum ({found.reason})"
    apart = ""
    if found.layers:
        apart = f", attributions differ by {found.difference:.2g} ({', '.join(found.layers)})"
    return f"; Captum's DeepLift on {found.images} images: sums miss by {found.completeness:.2g}{apart}"


def print_sensitivity(found: SensitivityTable) -> None:
    """Print accuracy by group and level."""
    print_input(found.input)
    title = (
        f"accuracy without the lowest filters of one group, ranked by {found.criterion}; "
        f"{found.validation:,} validation images"
    )
    shares = sorted({round(count / row.width, 3) for row in found.groups for count in row.removed[1:]})
    table = Table("group", "width", title=title, title_justify="left")
    columns = shares if len(shares) <= 8 else []
    for share in columns:
        table.add_column(f"{share:.1%}", justify="right")
    if not columns:
        table.add_column("removed: accuracy")
    for row in found.groups:
        cells = dict(zip(row.removed, row.accuracy, strict=True))
        by_share = {round(count / row.width, 3): f"{value:.2%}" for count, value in cells.items()}
        listed = ", ".join(f"{count}: {value:.2%}" for count, value in cells.items() if count)
        texts = [by_share.get(share, "") for share in columns] or [listed]
        table.add_row(row.group, f"{row.width:,}", *texts)
    terminal().print(table)
    if found.accuracy is not None:
        print(f"accuracy of the whole network {found.accuracy:.2%}; simulated, batch norms re-estimated on")
        print(f"{found.calibration:,} calibration images")


def print_pruning(found: PrunedRun) -> None:
    """Print the steps of a pruning."""
    whole = found.unpruned is not None and found.unpruned.kept == found.kept
    if whole:
        why = found.stop or "prune.amount is less than one prune.unit of every layer"
        terminal().print(f"THE PRUNED NETWORK IS THE UNPRUNED ONE: {why}", highlight=False, style="bold")
    terminal().print(report_tables.pruning_table(found))
    print_lines(METHODS[found.method].lines(found))
    for step in found.steps:
        by = (step.allocation or {}).get("chosen_by", "")
        if by not in ("", BY_SENSITIVITY):
            print(f"step {step.step}: {by}")
    if found.stop and not whole:
        print(f"ended: {found.stop}")
    if found.judged_on is not None:
        known = ", which the network was trained on" if found.judged_on == SEEN else ""
        images = found.judged_on if known else f"images {found.judged_on}"
        print(f"rounds are judged on {images}{known}")
    more = f"flow build with these settings goes on in {found.folder}"
    rest = more if found.files is None else f"wrote {', '.join(found.files)}"
    print(f"test accuracy {found.accuracy:.2%}; {rest}")


def print_lines(lines: Lines) -> None:
    """Print texts and tables one below the other."""
    for line in lines:
        if isinstance(line, str):
            print(line)
            continue
        table = Table(*line.headings, title=line.title or None, title_justify="left")
        for row in line.rows:
            table.add_row(*row)
        terminal().print(table)


def print_study(found: StudyResult) -> None:
    """Print criteria against chance, a table for each amount."""
    console = terminal()
    for at in found.amounts:
        table = Table(title=study_figures.title(found, at), title_justify="left")
        for heading in study_figures.HEADINGS:
            table.add_column(heading, min_width=14 if heading == "criterion" else None, overflow="fold")
        for name, *figures in study_figures.table_rows(found, at):
            table.add_row(name.replace(",", ", "), *figures)
        console.print(table)
        console.print(study_figures.conclusion(at), highlight=False, markup=False)
    for criterion, why in found.left_out.items():
        console.print(f"left out: {criterion}: {why}", highlight=False, markup=False)
