"""The commands on pruning. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bnnflow import Problem

from ..run.files import check_file, check_folder
from .commands import examples, made_as
from .declare import KEY, Key, Own
from .method_options import PruneCommand, learns, method_changes, method_settings, refuse_settings
from .options import (
    DataDir,
    ImagesOrContract,
    Json,
    Labels,
    Overrides,
    changes,
    check_images,
    given,
    option,
    read_recipe,
    share_list,
    together,
    useless,
)

AnySource = Annotated[Path, Own("Run folder, recipe (.yaml) or QONNX file.", argument=True)]
RunFolder = Annotated[Path | None, Own("Run folder of a recipe.", ("--run",), default="runs/<name>")]
Criterion = Annotated[str, Key("prune.criterion", help="What filters are ranked by, as `flow rank --list` says.")]
Jobs = Annotated[int, Key("prune.jobs", help="Processes; the result does not depend on it.")]


@examples("flow sensitivity runs/model --levels 0.25,0.5 --plot curves.svg")
def sensitivity(
    context: typer.Context,
    source: AnySource,
    run: RunFolder = None,
    method: Annotated[
        str, Own("Of what: the last two one by one.", choices=("filters", "planes", "blocks"))
    ] = "filters",
    draws: Annotated[int, Own("With --method planes: of the noise in place of a plane.", least=1)] = 3,
    criterion: Criterion = "",
    scores: Annotated[Path | None, Own('JSON file {"conv0": [...]} to rank by instead.')] = None,
    levels: Annotated[str, Key("prune.levels", more="Comma separated.")] = "",
    unit: Annotated[int | None, Key("prune.unit")] = None,
    images: Annotated[int | None, Key("prune.validation", ("--images",))] = None,
    calibration: Annotated[int | None, Key("prune.calibration")] = None,
    data: Annotated[str, Own("Data set, for a QONNX file.", ("--data",), metavar="NAME")] = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    seed: Annotated[int | None, Key("seed", help="Of all random choices.")] = None,
    jobs: Jobs = KEY,
    store: Annotated[
        Path | None,
        Own("Folder of measured cells; an interrupted table resumes.", default="in the run folder"),
    ] = None,
    plot: Annotated[Path | None, Own("Draw the curves (.svg, .png, .pdf).")] = None,
    csv: Annotated[Path | None, Own("Write the table as .csv.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Accuracy after removing each layer's lowest filters.

    To each level, batch norms re-estimated. With --method planes or blocks: what each input bit plane or residual unit
    of a run is worth.
    """
    read_recipe(source, list(overrides or []))
    if method != "filters":
        useless(context, _OF_FILTERS, f"with --method {method}", "leave it out")
        if source.is_dir():
            useless(context, ["run"], "for a run folder", "give one of them")
        _measure(source, run, method, changes(overrides, [] if seed is None else [f"seed={seed}"]), draws, json)
        return
    useless(context, ["draws"], "without --method planes", "leave it out")
    from ..commands import sensitivity as work
    from ..commands.simulation import Images
    from ..graphs import inputs
    from ..show import pruning as screen_pruning
    from ..show import terminal as screen
    from ..show.drawing import PICTURES

    pictures, contract = inputs.images_and_contract(input)
    together(context, ["criterion", "scores"], "give one of them: filters are ranked once")
    check_images(context, data, data_dir, pictures, labels)
    if source.suffix == ".onnx":
        useless(context, ["run", "overrides"], "for a QONNX file", "give a run folder or recipe, or leave it out")
    elif source.is_dir():
        useless(context, ["run"], "for a run folder", "give one of them")
    for path, endings in ((csv, (".csv",)), (plot, PICTURES)):
        if path is not None:
            check_file(path, endings, [source, scores, pictures, labels])
    if store is not None:
        check_folder(store)
    wanted = changes(overrides)
    _once(context, wanted, {"prune.criterion": "criterion", "prune.levels": "levels", "prune.unit": "unit"})
    _once(context, wanted, {"prune.validation": "images", "prune.calibration": "calibration", "seed": "seed"})
    shares = share_list(levels, "--levels")
    with screen.Bar("sensitivity", quiet=json) as bar:
        found = work.sensitivity(
            source,
            run,
            wanted,
            work.SensitivityOptions(criterion, scores, shares, unit, images, calibration, seed, jobs, store),
            Images(pictures, labels, data, data_dir),
            contract,
            bar.update,
        )
    if csv is not None:
        work.write_sensitivity_csv(csv, found)
    if plot is not None:
        work.write_plot(plot, found)
    screen.print_json(found) if json else screen_pruning.print_sensitivity(found)


_OF_FILTERS = (
    *("criterion", "scores", "levels", "unit", "images", "calibration", "data", "data_dir", "input", "labels"),
    *("jobs", "store", "plot", "csv"),
)


def _measure(source: Path, run: Path | None, method: str, wanted: list[str], draws: int, json: bool) -> None:
    """What each thing that a method removes is worth."""
    from ..commands import pruning as work
    from ..show import pruning as screen_pruning
    from ..show import terminal as screen

    with screen.Bar("sensitivity", quiet=json) as bar:
        found = work.measure(source, run, method, wanted, draws, bar.update)
    screen.print_json({"method": method, **found.facts}) if json else screen_pruning.print_lines(found.shown)


def _once(context: typer.Context, overrides: list[str], options: dict[str, str]) -> None:
    """Refuse a recipe's key that is set by its option and by -s too."""
    said = {text.partition("=")[0].strip() for text in overrides}
    for key, name in options.items():
        if key in said and given(context, [name]):
            raise Problem(f"{option(context, name)} and -s {key} set one key twice", f"-s {key}", "give one of them")


@made_as(PruneCommand)
@examples(
    "flow prune runs/model --amount 0.5 --steps 2",
    "flow prune model.yaml --objective lut=1,bram18=1 --budget lut=20000 --max-loss 1",
    "flow prune runs/model --method synapses --share 0.5 -o sparse  # The run stays as it is.",
    "flow prune net.onnx --data digits --amount 0.5 -o smaller.onnx  # Anyone's network, without training.",
    "flow prune net.onnx --data digits --amount 0.5 --epochs 5 -o smaller.onnx  # Trained again.",
    "flow prune net.onnx --data digits --method synapses --share 0.5 --epochs 2 -o sparse.onnx",
    "flow prune net.onnx --data digits --method masks --strength 2 --epochs 2 -o smaller.onnx",
)
def prune(
    context: typer.Context,
    source: AnySource,
    run: RunFolder = None,
    method: Annotated[str, Key("prune.method", help="What is removed: filters, or by a method below.")] = "",
    criterion: Criterion = "",
    allocation: Annotated[str, Key("prune.allocation")] = "",
    amount: Annotated[float | None, Key("prune.amount")] = None,
    steps: Annotated[int | None, Key("prune.steps")] = None,
    objective: Annotated[str, Key("prune.objective", metavar="PART=WEIGHT,...")] = "",
    budget: Annotated[
        str,
        Key(
            "prune.budget",
            help="Stop when met, in place of --amount: part, fps, lut, bram18, cycles, energy (nJ), ops.",
            metavar="PART=LIMIT,...",
        ),
    ] = "",
    max_loss: Annotated[float | None, Key("prune.max_loss")] = None,
    epochs: Annotated[int | None, Key("prune.epochs", default="{field} of a recipe, 0 for a QONNX file")] = None,
    learning_rate: Annotated[float | None, Key("prune.learning_rate")] = None,
    batch: Annotated[int | None, Key("prune.batch")] = None,
    distill: Annotated[
        float | None, Key("prune.distill", help="Weight of fine-tuning's loss against the unpruned network; 0: none.")
    ] = None,
    output: Annotated[
        Path | None, Own("Folder for weights.pt and network.onnx; the run stays as it is.", ("-o", "--output"))
    ] = None,
    network: Annotated[
        str, Own("With --output: which one to prune.", ("--network",), choices=("base", "pruned"))
    ] = "base",
    unit: Annotated[int | None, Key("prune.unit")] = None,
    min_width: Annotated[int | None, Key("prune.min_width")] = None,
    images: Annotated[int | None, Key("prune.images", default="{field} of a recipe, 512 for a QONNX file")] = None,
    calibration: Annotated[
        int | None, Key("prune.calibration", help="Images that batch norms are measured on.")
    ] = None,
    seed: Annotated[int | None, Key("seed", help="Of all random choices.")] = None,
    data: Annotated[str, Own("Data set, for a QONNX file.", ("--data",), metavar="NAME")] = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Prune the trained network of a run or recipe, or a QONNX file, by any method that can.

    Every step is shown. Of a file the channels go that matter least by the criterion, or by --method those that trained
    masks leave out, synapses or whole residual units; norms or thresholds are re-estimated, what is left is checked,
    and with --epochs trained.
    """
    if source.suffix == ".onnx":
        by_filters = method in ("", "filters")
        useless(context, _OF_RUNS, "for a QONNX file", "leave it out")
        if by_filters:
            useless(context, ("steps", "max_loss"), "for the filters of a QONNX file", "leave it out")
            refuse_settings(context, "for the filters of a QONNX file")
        else:
            useless(context, ("amount", "unit", "min_width"), f"with --method {method}", "leave it out")
        if not epochs:
            mine = ("learning_rate",) if learns(method) else _OF_TRAINING
            useless(context, mine, "without epochs of fine-tuning", "give --epochs, or leave it out")
        from ..api.graphs import LoadedGraph
        from ..graphs.inputs import images_and_contract, open_graph
        from ..recipe.methods.filters import AUTO
        from ..show import pruned_files
        from ..show import terminal as screen

        settings = {} if by_filters else method_settings(context, method, {"criterion": criterion, "steps": steps})
        pictures, contract = images_and_contract(input)
        check_images(context, data, data_dir, pictures, labels)
        if output is None:
            raise Problem("nothing says where the smaller network is to be written", "-o", "give -o smaller.onnx")
        tuning: dict[str, Any] = {"epochs": epochs or 0, "batch": batch, "learning_rate": learning_rate}
        how: dict[str, Any] = {"data": data, "data_dir": data_dir, "count": images, "calibration": calibration}
        with screen.Bar("train", quiet=json or not (epochs or learns(method))) as bar:
            how |= {"seed": seed, **tuning, "distill": distill, "progress": bar.update}
            graph = LoadedGraph(open_graph(source, contract), source)
            if by_filters:
                widths: dict[str, Any] = {"amount": amount, "unit": unit, "min_width": min_width}
                smaller = graph.prune(output, pictures, labels, **widths, criterion=criterion or AUTO, **how)
            else:
                how |= {"settings": settings, "max_loss": max_loss}
                reduced = graph.prune_by(method, output, pictures, labels, **how)
        if by_filters:
            screen.print_json(smaller) if json else pruned_files.print_pruned_file(smaller)
        else:
            screen.print_json(reduced) if json else pruned_files.print_reduced_file(reduced)
        return
    useless(context, ["data", "data_dir", "input", "labels"], "for a run", "a run has images of its own")
    if source.is_dir():
        useless(context, ["run"], "for a run folder", "give one of them")
    if epochs == 0:
        useless(context, _OF_TRAINING, "without epochs of fine-tuning", "give --epochs, or leave it out")
    if output is None:
        useless(context, ["network"], "without --output", "say with --output where its pruned network is to be written")
    else:
        _check_output(output, source, run)
    for name in ("objective", "budget"):
        if given(context, [name]) and method not in ("", "filters"):
            raise Problem(f"--{name} is no setting of method {method}", f"--{name}", "leave it out")
    shared: dict[str, Any] = {"criterion": criterion, "steps": steps, "amount": amount, "allocation": allocation}
    shared |= {"unit": unit, "min_width": min_width, "images": images, "calibration": calibration}
    shared["distill"] = distill
    options = method_changes(context, source, method, shared, list(overrides or []))
    common = {"max_loss": max_loss, "epochs": epochs, "learning_rate": learning_rate, "batch": batch}
    options += [] if seed is None else [f"seed={seed}"]
    options += [f"prune.{key}={value}" for key, value in common.items() if value is not None]
    options += _parts(objective, "objective") + _parts(budget, "budget")
    wanted = changes(overrides, options)
    if (objective or budget) and not any(text.startswith("prune.allocation=") for text in wanted):
        wanted.insert(0, "prune.allocation=sensitivity")
    read_recipe(source, ["prune.enabled=true", *wanted])
    from ..commands import pruning as work
    from ..show import pruning as screen_pruning
    from ..show import terminal as screen

    if output is None:
        found = work.prune(source, run, wanted, json)
    else:
        with screen.Bar("prune", quiet=json) as bar:
            found = work.prune_to(output, source, run, wanted, network, bar.update)
    screen.print_json(found) if json else screen_pruning.print_pruning(found)


_OF_RUNS = (*("run", "allocation", "objective", "budget", "network", "overrides"),)
_OF_TRAINING = ("learning_rate", "batch", "distill")


def _check_output(output: Path, source: Path, run: Path | None) -> None:
    """Refuse an output that cannot be written, and the run's own files, before the work."""
    from ..run.names import QONNX, WEIGHTS

    if output.suffix == ".onnx":
        what = "the pruned network of a run is a folder with weights.pt and network.onnx"
        raise Problem(what, f"-o {output}", f"give -o {output.with_suffix('')}")
    check_folder(output)
    folders = [folder for folder in (source, run) if folder is not None and folder.is_dir()]
    for name in (WEIGHTS, QONNX):
        check_file(output / name, inputs=[folder / one / name for folder in folders for one in ("base", "pruned")])


@examples("flow study model.yaml --criterion deeplift --criterion latent --amount 0.5")
def study(
    context: typer.Context,
    recipe: Annotated[Path, Own("Recipe (.yaml).", argument=True)],
    folder: Annotated[Path | None, Own("Of trained and pruned networks.", default="runs/<name>-study")] = None,
    criterion: Annotated[
        list[str] | None, Own("May be given several times.", default="twelve of those that `flow rank --list` says")
    ] = None,
    amount: Annotated[list[float] | None, Key("prune.amount", help="Share of every layer to remove.")] = None,
    seeds: Annotated[int, Own("Networks that are trained.", least=1)] = 3,
    draws: Annotated[int, Own("Random prunings a network, to compare with; at least 5.")] = 5,
    steps: Annotated[int | None, Key("prune.steps")] = None,
    epochs: Annotated[int | None, Key("prune.epochs")] = None,
    jobs: Jobs = KEY,
    plot: Annotated[Path | None, Own("Draw the result (.svg, .png, .pdf).")] = None,
    markdown: Annotated[Path | None, Own("Write the tables as .md.")] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Compare criteria with chance, all else being the same.

    Same networks, shares, rounds and fine-tuning; an interrupted study resumes.
    """
    from ..show.drawing import PICTURES

    for path, endings in ((plot, PICTURES), (markdown, (".md",))):
        if path is not None:
            check_file(path, endings, [recipe])
    wanted = changes(overrides)
    read_recipe(recipe, wanted)
    from ..commands import study as work
    from ..pruning import statistics as study_figures
    from ..run.files import write_whole
    from ..show import pruning as screen_pruning
    from ..show import terminal as screen

    if folder is not None:
        check_folder(folder)
    _once(context, wanted, {"prune.steps": "steps", "prune.epochs": "epochs", "prune.amount": "amount"})
    wishes = work.StudyOptions(tuple(criterion or ()), tuple(amount or ()), seeds, draws, steps, epochs, jobs)
    prepared = work.prepared(recipe, folder, wanted, wishes, json)
    with screen.Bar("study", quiet=json) as bar:
        found = prepared.run(bar.update)
    if markdown is not None:
        write_whole(markdown, study_figures.study_tables(found).encode())
    if plot is not None:
        from ..show.study_plots import study_picture

        write_whole(plot, study_picture(found, plot.suffix[1:]))
    screen.print_json(found) if json else screen_pruning.print_study(found)


def _parts(text: str, key: str) -> list[str]:
    """The override that makes a recipe's mapping `part=number,part=number`; a weight that is not said is 1."""
    if not text:
        return []
    pairs = [item.partition("=") for item in text.split(",")]
    if key == "objective":
        pairs = [(name, "=", value if equals else "1") for name, equals, value in pairs]
    if any(not name.strip() or not value.strip() for name, _, value in pairs):
        raise Problem(f"{text!r} is not a list of parts", f"--{key}", f"for example --{key} lut=1,bram18=1")
    said = ", ".join(f"{name.strip()}: {value.strip()}" for name, _, value in pairs)
    return [f"prune.{key}={{{said}}}"]
