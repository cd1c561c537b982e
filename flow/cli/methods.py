"""Commands that prune other things than filters. Imports nothing heavy: a command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bnnflow import Problem

from ..run.files import check_file, check_folder
from .options import Json, useless

if TYPE_CHECKING:
    from ..recipe.section import Section

S = TypeVar("S", bound="Section")
RunFolder = Annotated[Path, typer.Argument(help="Run folder of `flow build`.", show_default=False)]
Which = Annotated[str, typer.Option("--network", help="base or pruned.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Folder for weights.pt and network.onnx.", show_default=False),
]
Epochs = Annotated[int, typer.Option(min=0, help="Epochs of fine-tuning; 0 re-estimates the batch norms alone.")]
Rate = Annotated[float, typer.Option(min=1e-9, max=10, help="Learning rate of fine-tuning.")]


def checked(section: type[S], **values: Any) -> S:
    """Options as the section of a recipe that they are.

    Raises:
        Problem: a value that is not allowed; names the option.
    """
    from pydantic import ValidationError

    try:
        return section(**values)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise Problem(f"{detail['input']!r} is not allowed", f"--{detail['loc'][0]}", detail["msg"]) from None


def _tuned(context: typer.Context, run: Path, epochs: int, output: Path | None) -> None:
    """Refuse what changes nothing, and an output that cannot be written, before the work.

    Raises:
        Problem: a learning rate without epochs; an output in the place of the run's own files.
    """
    if epochs == 0:
        useless(context, ["learning_rate"], "without epochs of fine-tuning", "give --epochs, or leave it out")
    if output is not None:
        from ..run.names import QONNX, WEIGHTS

        check_folder(output)
        for name in (WEIGHTS, QONNX):
            check_file(output / name, inputs=[run / which / name for which in ("base", "pruned")])


def _one_goal(drop: int | None, max_loss: float | None, output: Path | None) -> float | None:
    """The loss that is allowed, 0 to 1."""
    if drop is None and max_loss is None and output is not None:
        raise Problem("nothing is dropped, so there is no network to write", "--output", "give --drop or --max-loss")
    if drop is not None and max_loss is not None:
        raise Problem("both are given", "--drop, --max-loss", "give one of them")
    return None if max_loss is None else max_loss / 100


def planes(
    context: typer.Context,
    run: RunFolder,
    which: Which = "base",
    drop: Annotated[
        int | None, typer.Option(min=1, max=7, help="Drop so many of the lowest planes.", show_default=False)
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="Drop planes one by one while this many points are lost at most."),
    ] = None,
    epochs: Epochs = 3,
    learning_rate: Rate = 0.001,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the noise that replaces a plane.")] = 3,
    output: Output = None,
    json: Json = False,
) -> None:
    """Say what each input bit plane is worth (`model.input: planes`), and drop the lowest, with fine-tuning."""
    from ..commands import methods as finer_commands
    from ..show import methods as screen_finer
    from ..show import terminal as screen

    most = _one_goal(drop, max_loss, output)
    if drop is None and max_loss is None:
        useless(context, ["epochs", "learning_rate"], "where nothing is dropped", "give --drop or --max-loss")
    _tuned(context, run, epochs, output)
    with screen.Bar("planes", quiet=json) as bar:
        found = finer_commands.planes(run, which, drop, most, (epochs, learning_rate), draws, output, bar.update)
    screen.print_json(found) if json else screen_finer.print_planes(found)


def blocks(
    context: typer.Context,
    run: RunFolder,
    which: Which = "base",
    drop: Annotated[
        int | None, typer.Option(min=1, help="Drop so many, each time the least needed.", show_default=False)
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="Drop units one by one while this many points are lost at most."),
    ] = None,
    epochs: Epochs = 3,
    learning_rate: Rate = 0.001,
    output: Output = None,
    json: Json = False,
) -> None:
    """Say what each residual unit is worth (`model.arch: resnet`), and drop the least needed, with fine-tuning."""
    from ..commands import methods as finer_commands
    from ..show import methods as screen_finer
    from ..show import terminal as screen

    most = _one_goal(drop, max_loss, output)
    if drop is None and max_loss is None:
        useless(context, ["epochs", "learning_rate"], "where nothing is dropped", "give --drop or --max-loss")
    _tuned(context, run, epochs, output)
    with screen.Bar("blocks", quiet=json) as bar:
        found = finer_commands.blocks(run, which, drop, most, (epochs, learning_rate), output, bar.update)
    screen.print_json(found) if json else screen_finer.print_blocks(found)


def synapses(
    context: typer.Context,
    run: RunFolder,
    share: Annotated[float, typer.Option(min=0, max=0.99, help="Share of synapses to remove.")] = 0.5,
    layer: Annotated[
        list[str] | None, typer.Option(help="Only in this layer; may be repeated.", show_default=False)
    ] = None,
    criterion: Annotated[
        str,
        typer.Option(help="latent (|w|), taylor (|w dL/dw|), flips or flips-step (counted in training), or random."),
    ] = "latent",
    steps: Annotated[int, typer.Option(min=1, help="Steps in which the share is reached.")] = 3,
    which: Which = "base",
    epochs: Epochs = 3,
    learning_rate: Rate = 0.001,
    output: Output = None,
    json: Json = False,
) -> None:
    """Remove single synapses of binary layers, with fine-tuning; it pays in unrolled hardware (estimate --unrolled)."""
    from ..commands.methods import pruned
    from ..pruning import methods as finer
    from ..recipe.prune import Synapses
    from ..show import methods as screen_finer
    from ..show import terminal as screen

    _tuned(context, run, epochs, output)
    settings = checked(Synapses, share=share, layers=layer or [], criterion=criterion, steps=steps)
    with screen.Bar("synapses", quiet=json) as bar:
        found = pruned(finer.synapses, run, which, settings, (epochs, learning_rate), output, bar.update)
    screen.print_json(found) if json else screen_finer.print_synapses(found)


def ecqx(
    context: typer.Context,
    run: RunFolder,
    bits: Annotated[int, typer.Option(min=2, max=5, help="Bits of weights; 2: -1, 0 and +1.")] = 2,
    strength: Annotated[float, typer.Option(min=0, help="lambda: squared steps that a bit of code is worth.")] = 0.1,
    extra: Annotated[float, typer.Option(min=0, max=1, help="Share of zeros that relevance may add; 0: none.")] = 0.1,
    relevance: Annotated[str, typer.Option(help="taylor (|w dL/dw|) or lrp (as the paper).")] = "taylor",
    which: Which = "base",
    epochs: Epochs = 3,
    learning_rate: Rate = 0.003,
    output: Output = None,
    json: Json = False,
) -> None:
    """Train with weights assigned by distance, entropy and relevance (ECQx), and say how few bytes they code to."""
    from ..commands.methods import pruned
    from ..pruning import methods as finer
    from ..recipe.prune import Ecqx
    from ..show import methods as screen_finer
    from ..show import terminal as screen

    _tuned(context, run, epochs, output)
    if extra == 0:
        useless(context, ["relevance"], "where it may add no zeros (--extra 0)", "give --extra, or leave it out")
    settings = checked(Ecqx, bits=bits, strength=strength, extra=extra, relevance=relevance)
    with screen.Bar("ecqx", quiet=json) as bar:
        found = pruned(finer.ecqx, run, which, settings, (epochs, learning_rate), output, bar.update)
    screen.print_json(found) if json else screen_finer.print_assigned(found)


def masks(
    context: typer.Context,
    run: RunFolder,
    strength: Annotated[float, typer.Option(min=0, help="Weight of the penalty on channels that are on.")] = 1.0,
    order: Annotated[str, typer.Option(help="joint, or layers: one after the other from the input on.")] = "joint",
    grow: Annotated[float, typer.Option(min=1, max=8, help="Begin so many times wider, with Gumbel noise.")] = 1.0,
    mask_epochs: Annotated[int, typer.Option(min=1, help="Epochs of masks and weights (of each layer).")] = 3,
    mask_rate: Annotated[float, typer.Option(min=1e-9, max=10, help="Learning rate of masks and weights.")] = 0.003,
    which: Which = "base",
    epochs: Epochs = 3,
    learning_rate: Rate = 0.001,
    output: Output = None,
    json: Json = False,
) -> None:
    """Choose filters and neurons by masks that are trained with the weights (Main/Subsidiary, RA-Growth), and cut."""
    from ..commands.methods import pruned
    from ..pruning import methods as finer
    from ..recipe.prune import Masks
    from ..show import methods as screen_finer
    from ..show import terminal as screen

    _tuned(context, run, epochs, output)
    given = {"strength": strength, "order": order, "grow": grow, "mask_epochs": mask_epochs, "mask_rate": mask_rate}
    settings = checked(Masks, **given)
    with screen.Bar("masks", quiet=json) as bar:
        found = pruned(finer.masks, run, which, settings, (epochs, learning_rate), output, bar.update)
    screen.print_json(found) if json else screen_finer.print_masks(found)
