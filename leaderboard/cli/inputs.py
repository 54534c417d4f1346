"""``stemtwin data inputs``: the inputs of a split, without the truth."""

import json
from pathlib import Path
from typing import Annotated

import typer


def inputs(
    name: Annotated[str, typer.Argument(help="Name of the dataset, for example atoms-2d@1, or a folder of measured data.")],
    target: Annotated[Path, typer.Argument(help="New folder for the files.")],
    split: Annotated[str, typer.Option(help="Name of the split.")] = "test",
    size: Annotated[str | None, typer.Option(help="Size of the dataset: tiny, std (by default) or full.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the dataset; by default NAME/VERSION/SIZE in the data folder (STEMTWIN_DATA_DIR).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the inputs of a split without truth, conditions or seeds. The order of the rows reveals none of the three."""
    from stemtwin.datasets.cards import named_card
    from stemtwin.datasets.fetch import folder_of
    from stemtwin.datasets.inputs import write_inputs
    from stemtwin.datasets.measured import is_measured, read_measured_card

    if is_measured(Path(name)):
        if size is not None or folder is not None:
            option = "--size" if size is not None else "--folder"
            message = f"{name} is a folder of measured data, which have only one size: leave out {option}"
            raise typer.BadParameter(message)
        card, where = read_measured_card(Path(name)), Path(name)
    else:
        card = named_card(name, None)
        where = folder or folder_of(card, size or "std")
    files = [str(path) for path in write_inputs(card, where, split, target)]
    typer.echo(json.dumps({"split": split, "files": files}) if as_json else f"{split} of {card.id}: {', '.join(files)}")
