"""``stemtwin data``: build, list, fetch, verify and publish datasets."""

import dataclasses
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from stemtwin.datasets.cards import find_card, list_cards, named_card, read_card
from stemtwin.leaderboard.cli.inputs import inputs
from stemtwin.leaderboard.cli.pack import pack
from stemtwin.leaderboard.cli.work_progress import counted_steps
from stemtwin.twin.errors import DatasetError

app = typer.Typer(name="data", help="Build, fetch and verify datasets.", no_args_is_help=True)
app.command()(pack)
app.command()(inputs)

Name = Annotated[str, typer.Argument(help="Name of the dataset, for example atoms-2d or atoms-2d@1.")]
Version = Annotated[str | None, typer.Option(help="Version of the dataset; by default the newest version in this installation.")]
SizeName = Annotated[str, typer.Option(help="Size of the dataset: tiny, std or full. Some mirrors do not have the size 'full'.")]
Folder = Annotated[Path | None, typer.Option(help="Folder of the dataset; by default NAME/VERSION/SIZE in the data folder (STEMTWIN_DATA_DIR).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _card(name: str, version: str | None) -> Any:
    """Return the card of a dataset, by default its newest version; ``name`` may include a version, or be the path of a card."""
    if version or "@" in name or name.endswith(".toml"):
        return named_card(name, version)
    return find_card(name, list_cards().get(name, ("",))[-1])


def _named_or_own(name: str | None, version: str | None, own: Path | None) -> Any:
    """Return the card of a named dataset or of a card file; exactly one of the two must be given."""
    if (name is None) == (own is None):
        given = "Both a name and --card are" if name else "Neither a name nor --card is"
        message = f"{given} given. Give one of them, for example atoms-2d@1."
        raise DatasetError(message)
    if own is not None and version is not None:
        message = f"--version {version} cannot be used with --card, because the card states the version. Leave out --version."
        raise DatasetError(message)
    return read_card(own) if own is not None else _card(str(name), version)


def _say(values: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a result as JSON or as text."""
    if as_json:
        typer.echo(json.dumps(values))
    else:
        Console(emoji=False).print(text, highlight=False, markup=False, soft_wrap=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the datasets, their sizes, and their folders on this machine."""
    from stemtwin.datasets.fetch import folder_of
    from stemtwin.datasets.generate import partial_of
    from stemtwin.datasets.kinds import find_generator
    from stemtwin.datasets.manifest import MANIFEST
    from stemtwin.datasets.release import released
    from stemtwin.datasets.sources import minutes

    found = []
    for name, versions in list_cards().items():
        for version in versions:
            card = find_card(name, version)
            for size in card.sizes:
                folder = folder_of(card, size)
                here = str(folder) if (folder / MANIFEST).is_file() else None
                begun = here is None and partial_of(folder).is_dir()
                row = {
                    "name": name,
                    "version": version,
                    "size": size,
                    "images": card.images(size),
                    "title": card.title,
                    "released": size in released(card),
                    "seconds": round(find_generator(card.kind).seconds(card, size), 1),
                    "folder": here,
                    "begun": begun,
                }
                found.append(row)
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table(Column("dataset", no_wrap=True), "version", Column("size", no_wrap=True), "images", "to build", "on this machine")
    for row in found:
        absent = "partly built: run 'build' again to continue" if row["begun"] else "no"
        name, version, size = row["name"], row["version"], row["size"] if row["released"] else f"{row['size']} *"
        table.add_row(name, version, size, str(row["images"]), minutes(row["seconds"]), Text(row["folder"] or absent))
    table.caption = "* not released: not on any mirror; build it from the card"
    Console(emoji=False).print(table)


@app.command()
def build(
    name: Annotated[str | None, typer.Argument(help="Name of the dataset, for example atoms-2d or atoms-2d@1; not with --card.")] = None,
    version: Version = None,
    size: SizeName = "std",
    folder: Folder = None,
    own: Annotated[Path | None, typer.Option("--card", help="Card of your own dataset (TOML file), instead of the name of a dataset.")] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Number of processes. Each process builds one specimen at a time with one thread."),
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler, for example tcp://host:8786. Its workers must have access to the dataset's folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a dataset from its card. Running the command again continues an interrupted build."""
    from stemtwin.datasets import fetch, generate
    from stemtwin.datasets.kinds import find_generator
    from stemtwin.datasets.sources import minutes

    if scheduler is not None and workers > 1:
        message = "a scheduler has its own workers: leave out --workers or --scheduler"
        raise typer.BadParameter(message)
    card = _named_or_own(name, version, own)
    name, where = card.name, folder or fetch.folder_of(card, size)
    if generate.check_build(card, size, where) is None and not as_json:
        typer.echo(f"{card.name} {card.version} {size}: about {minutes(find_generator(card.kind).seconds(card, size))} into {where}", err=True)
    with counted_steps("specimens", quiet=as_json) as progress:
        manifest = generate.build(card, size, where, progress=progress, workers=workers, scheduler=scheduler)
    rows = {split: piece.rows for split, piece in manifest.splits.items()}
    values = {"name": name, "version": card.version, "size": size, "folder": str(where), "rows": rows, "content_sha256": manifest.content_sha256}
    counts = ", ".join(f"{n} {split}" for split, n in rows.items())
    _say(values, as_json, f"{name} {card.version} {size}: {counts} images in {where}, content {manifest.content_sha256[:12]}")


@app.command()
def fetch(name: Name, version: Version = None, size: SizeName = "std", as_json: Json = False) -> None:
    """Fetch a published dataset from STEMTWIN_DATA_URL and check its hashes. Local files with a wrong hash are fetched again."""
    from stemtwin.datasets.fetch import fetch as fetch_all

    card = _card(name, version)
    columns = (TextColumn("{task.description:<40}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = Console(stderr=True, emoji=False)
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        folder, manifest = fetch_all(card, size, lambda file, count: bar.update(task, advance=count, description=file))
    values = {"name": name, "version": card.version, "size": size, "folder": str(folder), "content_sha256": manifest.content_sha256}
    _say(values, as_json, f"{name} {card.version} {size} is in {folder}, content {manifest.content_sha256[:12]}")


def _is_measured(name: str) -> bool:
    """Return True if a name is the path of a folder, for example of measured data, and not the name of a dataset."""
    return os.path.isdir(name) and name.partition("@")[0] not in list_cards()  # noqa: PTH112 - Path.is_dir raises where a name is too long


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Name of the dataset, for example atoms-2d or atoms-2d@1, or a folder of measured data.")],
    version: Version = None,
    size: Annotated[str | None, typer.Option(help="Size of the dataset: tiny, std (by default) or full.")] = None,
    folder: Folder = None,
    regenerate: Annotated[
        int, typer.Option(min=0, help="Number of specimens that are regenerated; their images and truth are compared with the dataset.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for the choice of the regenerated specimens.")] = 0,
    as_json: Json = False,
) -> None:
    """Check the hashes and the content of a dataset. With --regenerate, also check that this machine produces the same rows."""
    from stemtwin.datasets import fetch
    from stemtwin.datasets.measured import read_measured_card
    from stemtwin.datasets.verify import verify as check

    if _is_measured(name):
        given = [option for option, value in (("--version", version), ("--size", size), ("--folder", folder)) if value is not None]
        if given:
            message = f"{name} is a folder of measured data, which have only one version and size: leave out {given[0]}"
            raise typer.BadParameter(message)
        card, where = read_measured_card(Path(name)), Path(name)
    else:
        card = _card(name, version)
        where = folder or fetch.folder_of(card, size or "std")
    with counted_steps("specimens", quiet=as_json or not regenerate) as progress:
        report = check(card, where, regenerate=regenerate, seed=seed, progress=progress)
    worst = f"{report.worst_pixel_fraction:.3%} of the pixels differ by one in the worst image"
    again = f"; {report.rows_made_again} rows regenerated, {worst}" if regenerate else ""
    found = f"{report.files} files, {report.rows} rows, content {report.content_sha256[:12]}{again}"
    text = f"{report.folder} is correct: {found}"
    _say(dataclasses.asdict(report), as_json, text)


@app.command()
def publish(
    name: Name,
    target: Annotated[Path, typer.Argument(help="Folder of the mirror, which a web server serves.")],
    version: Version = None,
    size: SizeName = "std",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Copy a built dataset to a mirror and write the registry of its hashes."""
    from stemtwin.datasets import fetch

    card = _card(name, version)
    registry = fetch.publish(card, folder or fetch.folder_of(card, size), target)
    text = (
        f"{name} {card.version} {size} is in {target}. Serve this folder on the web. "
        f"Users set STEMTWIN_DATA_URL to its address and STEMTWIN_DATA_REGISTRY to a copy of {registry}."
    )
    _say({"target": str(target), "registry": str(registry)}, as_json, text)


@app.command()
def describe(
    name: Name,
    target: Annotated[Path, typer.Argument(help="Folder for README.md (a Hugging Face card), croissant.json and CITATION.cff.")],
    version: Version = None,
    size: SizeName = "std",
    folder: Folder = None,
    url: Annotated[str, typer.Option(help="Address at which the dataset's folder is served.")] = "",
    date: Annotated[str | None, typer.Option(help="Date of publication, YYYY-MM-DD; by default today.")] = None,
    as_json: Json = False,
) -> None:
    """Write descriptions of a built dataset for data hubs: a Hugging Face card, Croissant metadata and a citation file."""
    from stemtwin.datasets import description, fetch
    from stemtwin.datasets.croissant import FILE
    from stemtwin.datasets.manifest import check_card, read_manifest
    from stemtwin.twin.files import check_writable

    try:
        published = datetime.now(UTC).date() if date is None else datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        message = f"--date {date!r} is not a date: write it as 2026-01-31"
        raise typer.BadParameter(message) from None
    card = _card(name, version)
    where = folder or fetch.folder_of(card, size)
    manifest = read_manifest(where)
    check_card(manifest, card, where)
    for one in ("README.md", FILE, description.CITATION):
        check_writable(target / one)
    paths = description.describe(card, manifest, target, url=url, published=published.isoformat())
    _say({"paths": [str(path) for path in paths]}, as_json, f"written: {', '.join(str(path) for path in paths)}")


@app.command()
def witness(name: Name, version: Version = None, as_json: Json = False) -> None:
    """Compute the witness rows of a new card and write them beside the card; builds on other machines are compared with these rows."""
    from stemtwin.datasets import generate
    from stemtwin.datasets import witness as rows
    from stemtwin.twin.files import check_writable, write_atomically

    card = _card(name, version)
    path = rows.path_of(card)
    check_writable(path)
    with counted_steps("specimens", quiet=as_json) as progress:
        content = rows.make(card, generate.specimen_rows, progress)
    write_atomically(path, content)
    text = f"{path} contains the witness rows of {card.id}, {len(content)} bytes"
    _say({"path": str(path), "bytes": len(content)}, as_json, text)


@app.command()
def episodes(
    environment: Annotated[str | None, typer.Argument(help="Id of an environment with a goal; by default all environments with a goal.")] = None,
    difficulty: Annotated[str, typer.Option(help="Difficulty preset of the environment.")] = "easy",
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Baseline that plays the episodes; may be repeated; by default expert and random."),
    ] = None,
    count: Annotated[int, typer.Option("--episodes", min=1, help="Number of episodes per policy.")] = 200,
    folder: Annotated[Path | None, typer.Option(help="Folder for the recorded datasets; by default <data folder>/episodes.")] = None,
    minari: Annotated[
        bool,
        typer.Option("--minari", help="Also write each dataset in the Minari format to the folder in MINARI_DATASETS_PATH."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Record episodes of baselines as Parquet for offline learning. Running the command again continues an interrupted recording."""
    from stemtwin.benchmarks import minari_export, offline_data, returns
    from stemtwin.datasets.fetch import data_root

    chosen = tuple(policy or offline_data.POLICIES)
    root = folder or data_root() / "episodes"
    for name in returns.environments() if environment is None else [environment]:
        short = f"{name.partition('/')[2]}-{difficulty}"
        exported = {one: f"stemtwin/{short.lower()}/{one}-v0" for one in chosen} if minari else {}
        for dataset in exported.values():
            minari_export.check(dataset)
        typer.echo(f"{name}, {difficulty}: {count} episodes of each of {', '.join(chosen)} into {root / short}", err=True)
        found = offline_data.build(
            name, root / short, difficulty=difficulty, policies=chosen, episodes=count, tell=lambda line: typer.echo(f"  {line}", err=True)
        )
        for one, dataset in exported.items():
            minari_export.to_minari(root / short / one, dataset)
        values = {"environment": name, "folder": str(root / short), "returns": {one: dataclasses.asdict(value) for one, value in found.items()}}
        told = ", ".join(f"{one} {value.mean:.3f}" for one, value in found.items())
        load = f'datasets.load_dataset({str(root / short)!r}, split="{chosen[0].replace("-", "_")}").with_format("numpy")'
        _say({**values, "minari": exported}, as_json, f"{name} {difficulty}: mean returns {told}; load with\n  {load}")
