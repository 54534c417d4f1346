"""``stemtwin event``: a hackathon, from its settings to a verifiable archive."""

import dataclasses
import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemtwin.leaderboard.cli.board import PORT
from stemtwin.leaderboard.cli.output import JsonFlag, print_json, progress

if TYPE_CHECKING:
    from stemtwin.leaderboard.events.folders import Organiser
    from stemtwin.leaderboard.events.scoring import Outcome

app = typer.Typer(no_args_is_help=True, help="Run an event such as a hackathon, from its settings to a verifiable archive.")

FolderArgument = Annotated[Path, typer.Argument(help="Folder of the event.")]
SecretOption = Annotated[Path | None, typer.Option(help="Folder of the secrets; by default FOLDER-secret beside the folder of the event.")]
IsolationOption = Annotated[str | None, typer.Option(help="Isolation of agents: bubblewrap or process; by default as in the settings of the event.")]
ReasonOption = Annotated[str, typer.Option(help="Reason for the decision, one sentence; it is published in the log.")]


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="New folder, whose name is the name of the event: lowercase letters, digits and hyphens.")],
    task: Annotated[list[str] | None, typer.Option(help="Prediction task as NAME or NAME:SIZE; may be repeated.")] = None,
    environment: Annotated[
        list[str] | None, typer.Option(help="Agent task as NAME, NAME:EPISODES or NAME:EPISODES:ATTEMPTS; may be repeated.")
    ] = None,
    opens: Annotated[str | None, typer.Option(help="Start of the event, for example 2026-12-15T09:00Z; by default the next full hour.")] = None,
    closes: Annotated[str | None, typer.Option(help="End of the event, for example 2026-12-17T09:00Z; by default two days after the start.")] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Site of the event and its time zone, for example Knoxville=America/New_York; may be repeated.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the pages and the guide; by default the name of the event.")] = None,
    counts: Annotated[str, typer.Option(help="Rule that selects a team's submission for the ranking of a task: best or last.")] = "best",
    submissions: Annotated[int, typer.Option(help="Maximum number of scored submissions per team and task.")] = 20,
    team: Annotated[
        list[str] | None, typer.Option(help="Team that is allowed to take part; may be repeated; by default all teams are allowed.")
    ] = None,
    isolation: Annotated[str, typer.Option(help="Isolation of agents: bubblewrap or process.")] = "bubblewrap",
    pad: Annotated[
        float,
        typer.Option(help="Minimum time from an action of an agent to the reply, s. It hides the computing time, which could reveal the true state."),
    ] = 0.0,
    honeypots: Annotated[
        int, typer.Option(help="Number of honeypots (unanswerable rows) of each of three kinds, added to the hidden rows of tasks that support them.")
    ] = 2,
    secret: SecretOption = None,
) -> None:
    """Create the folder of an event, ready for a Git repository, and a separate folder for the secrets of the event."""
    from stemtwin.leaderboard.events.creation import new_event
    from stemtwin.leaderboard.events.settings import parse_parts, parse_time

    hour = datetime.datetime.now(datetime.UTC).replace(minute=0, second=0, microsecond=0) + datetime.timedelta(hours=1)
    start = hour if opens is None else parse_time(opens, "opens")
    end = start + datetime.timedelta(days=2) if closes is None else parse_time(closes, "closes")
    settings: dict[str, Any] = parse_parts(task or (), environment or ())
    settings |= {"opens": start, "closes": end, "counts": counts, "submissions": submissions, "teams": team or []}
    settings |= {"isolation": isolation, "pad_s": pad, "honeypots": honeypots}
    settings |= {"sites": [_site(text) for text in site or ()]} | ({"title": title} if title is not None else {})
    made = new_event(folder, settings, secret=secret)
    typer.echo(f"made: {made.path}; secrets: {made.secret}; keep them private and out of every repository")
    typer.echo(f"next: run 'stemtwin event seal {folder}', then put {folder} in a repository")


def _site(text: str) -> dict[str, str]:
    """Return the site in a text ``NAME=ZONE``."""
    name, equal, zone = text.rpartition("=")
    if not equal:
        message = f"site {text!r} is not of the form NAME=ZONE, for example 'Knoxville=America/New_York'"
        raise typer.BadParameter(message)
    return {"name": name, "zone": zone}


@app.command()
def seal(
    folder: FolderArgument,
    wheels: Annotated[
        Path | None, typer.Option(help="Folder of wheels from 'pip download', with which teams install stemtwin without a network.")
    ] = None,
    secret: SecretOption = None,
) -> None:
    """Build the hidden rows, and encrypt tasks, inputs and wheels in sealed.bundle. This file can be given to teams before the start."""
    from stemtwin.leaderboard.events.creation import seal_event

    organiser = _organiser(folder, secret)
    made = seal_event(organiser, wheels=wheels, tell=_tell)
    digest = next(line.content["sha256"] for line in reversed(organiser.folder.lines) if line.kind == "sealed")
    typer.echo(f"sealed: {made}, {made.stat().st_size / 2**20:.1f} MiB, sha256 {digest}")
    typer.echo(f"it opens at {organiser.event.opens.isoformat()} with the key in {organiser.secret / 'bundle-key.txt'}")


@app.command(name="open")
def open_(
    path: Annotated[Path, typer.Argument(help="File of the bundle, or folder of the event that contains it.")],
    key: Annotated[str | None, typer.Option(help="Key for decryption of the bundle; by default read from the folder of the event.")] = None,
    output: Annotated[Path | None, typer.Option(help="New folder for the contents; by default 'opened' beside the bundle.")] = None,
    secret: SecretOption = None,
) -> None:
    """Open the bundle after the start of the event. If the secrets of the event are available, also publish the key of the bundle."""
    from stemtwin.leaderboard.events.bundle import unseal
    from stemtwin.leaderboard.events.folders import BUNDLE, OPENED, announced_key, open_folder, secret_of

    bundle = path / BUNDLE if path.is_dir() else path
    if key is None and path.is_dir():
        key = announced_key(open_folder(path))
        own = secret or secret_of(path)
        if key is None and own.is_dir():
            from stemtwin.leaderboard.events.creation import publish_key

            key = publish_key(_organiser(path, own))
            typer.echo(f"published: the key of the bundle, {key}")
    if key is None:
        message = f"the key of {bundle} is not published yet: use --key with the key that the organiser announced"
        raise typer.BadParameter(message)
    target = output or bundle.parent / OPENED
    with progress(f"opening {bundle}") as tick:
        count = unseal(bundle, target, key=key, progress=tick)
    typer.echo(f"opened: {count} files in {target}; begin with {target / 'guide.md'}")


@app.command()
def predict(
    opened: Annotated[Path, typer.Argument(help="Folder with the contents of the bundle.")],
    task: Annotated[str, typer.Option(help="Prediction task of the event.")],
    output: Annotated[Path, typer.Option(help="New folder of the submission, submissions/TEAM/NAME.")],
    baseline: Annotated[str | None, typer.Option(help="Name of a baseline that gives the answers; see 'stemtwin task NAME'.")] = None,
    agent: Annotated[str | None, typer.Option(help="Your class as pkg.mod:Name, whose method predict(given, rng) gives the answers.")] = None,
) -> None:
    """Answer the hidden rows of a task and write a submission."""
    from stemtwin.leaderboard.events.team_side import answer
    from stemtwin.twin.files import check_writable

    check_writable(output, folder=True)
    if (baseline is None) == (agent is None):
        given = "both --baseline and --agent were" if baseline else "neither --baseline nor --agent was"
        message = f"{given} given: give exactly one of them"
        raise typer.BadParameter(message)
    with progress(f"{task}: {baseline or agent}") as tick:
        count = answer(opened, task, output, baseline=baseline, agent=agent, progress=tick)
    typer.echo(f"written: {output}, answers to {count} rows")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the event, or folder with the contents of the bundle.")],
    submission: Annotated[list[Path] | None, typer.Argument(help="Folders to check, one for each submission.")] = None,
    changed: Annotated[
        Path | None, typer.Option(help="File with the output of 'git diff --name-only -z'; the submissions that it lists are checked.")
    ] = None,
) -> None:
    """Check submissions before they are handed in; their code is not run."""
    from stemtwin.leaderboard.events.folders import open_folder
    from stemtwin.leaderboard.events.team_side import changed_folders, check_submission

    open_folder(folder)
    named = list(submission or ())
    if changed is not None:
        listed = changed.read_bytes().decode(errors="replace").split("\0")
        named += [folder / one for one in changed_folders(path for path in listed if path)]
    elif not named:
        message = "no submission was named: give the folder submissions/TEAM/NAME"
        raise typer.BadParameter(message)
    for one in named:
        if one.is_dir() or changed is None:
            typer.echo(check_submission(folder, one))


@app.command()
def score(folder: FolderArgument, secret: SecretOption = None, isolation: IsolationOption = None, json: JsonFlag = False) -> None:
    """Score all submissions that are not scored yet, and write board, log and pages. Running the command again continues the scoring."""
    from stemtwin.leaderboard.events.scoring import score_event

    outcomes = score_event(_organiser(folder, secret), isolation=_level(isolation), tell=_tell)
    if json:
        print_json([dataclasses.asdict(one) for one in outcomes])
    else:
        _show(outcomes, folder)
    if any(one.status == "failed" for one in outcomes):
        raise typer.Exit(1)


def _show(outcomes: "list[Outcome]", folder: Path) -> None:
    """Print the number of submissions by outcome."""
    from stemtwin.benchmarks.names import printable

    for one in outcomes:
        if one.status in ("refused", "failed"):
            typer.echo(printable(f"{one.status}: {one.text}"))
    counts = {status: sum(one.status == status for one in outcomes) for status in ("scored", "known", "refused", "failed")}
    typer.echo(f"{counts['scored']} scored, {counts['known']} known, {counts['refused']} refused, {counts['failed']} failed")
    typer.echo(f"pages: {folder / 'pages' / 'index.html'}")


@app.command()
def freeze(folder: FolderArgument, secret: SecretOption = None) -> None:
    """Freeze the event: later submissions do not count."""
    from stemtwin.leaderboard.events.moderation import freeze as freeze_event

    organiser = _organiser(folder, secret)
    count = freeze_event(organiser)
    if datetime.datetime.now(datetime.UTC) < organiser.event.closes:
        typer.echo(f"note: the event was to close at {organiser.event.closes.isoformat()}, but it is frozen from now on", err=True)
    typer.echo(f"frozen: {count} submissions; score them, then run 'stemtwin event close {folder}'")


@app.command()
def jury(folder: FolderArgument, secret: SecretOption = None) -> None:
    """Compare the entries of different teams, and write one printable page per team and a CSV file for the jury."""
    from stemtwin.benchmarks.names import printable
    from stemtwin.leaderboard.events.jury import write_jury

    target, found = write_jury(_organiser(folder, secret), tell=_tell)
    for one in found.reviews:
        typer.echo(printable(f"{one.team}/{one.name}: {one.text}"))
    typer.echo(f"{found.compared} entries compared, {len(found.reviews)} reviews requested; pages: {target / 'index.html'}")


@app.command()
def serve(
    folder: FolderArgument,
    secret: SecretOption = None,
    host: Annotated[
        str, typer.Option(help="Address at which the server listens; 0.0.0.0 for all machines of the local network, by default this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the server.", min=1, max=65535)] = PORT,
) -> None:
    """Serve the event's pages on the local network until Ctrl-C, and rewrite them when settings, log, board or reviews change."""
    import contextlib
    import tempfile

    from stemtwin.leaderboard.events.event_pages import event_server
    from stemtwin.leaderboard.events.folders import open_folder, secret_of

    own = secret or secret_of(folder)
    event = _organiser(folder, own).folder if secret is not None or own.is_dir() else open_folder(folder)
    with tempfile.TemporaryDirectory(prefix="stemtwin-") as pages:
        server = event_server(event, Path(pages), host=host, port=port)
        typer.echo(f"serving the pages of {event.event.name} at {server.address} until Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
    typer.echo("stopped")


@app.command()
def close(
    folder: FolderArgument,
    output: Annotated[Path | None, typer.Option(help="Folder of the archive; by default FOLDER-archive beside the folder of the event.")] = None,
    secret: SecretOption = None,
    isolation: IsolationOption = None,
) -> None:
    """Reveal the secret keys of the event, recompute every score, and write a signed archive as a folder and as a zip file."""
    from stemtwin.leaderboard.events.archive import close_event

    target = output or folder.resolve().with_name(f"{folder.resolve().name}-archive")
    made = close_event(_organiser(folder, secret), target, isolation=_level(isolation), tell=_tell)
    typer.echo(f"closed: {made} and {made}.zip; anybody can verify it with 'stemtwin event verify {made}'")


@app.command()
def verify(
    archive: Annotated[Path, typer.Argument(help="Folder of the archive, or its zip file.")],
    public_key: Annotated[str | None, typer.Option(help="Public key of the organiser, from an independent announcement.")] = None,
    specimens: Annotated[
        int | None, typer.Option(min=1, help="Number of specimens of each task, drawn at random, whose truth is rebuilt; by default all specimens.")
    ] = None,
) -> None:
    """Verify an archive without a network: signatures, hashes, keys, truth, every score and every rank."""
    from stemtwin.benchmarks.names import printable
    from stemtwin.leaderboard.events.verification import verify_archive

    for text in verify_archive(archive, public_key=public_key, tell=_tell, specimens=specimens):
        typer.echo(printable(f"ok    {text}"))
    typer.echo("verified" if public_key else "verified; compare the public key above with the one that the organiser announced")


@app.command()
def withdraw(
    folder: FolderArgument,
    entry: Annotated[str, typer.Argument(help="Entry as TEAM/NAME.")],
    reason: ReasonOption,
    secret: SecretOption = None,
) -> None:
    """Withdraw an entry: it stays in the log but does not count."""
    from stemtwin.leaderboard.events import moderation

    moderation.withdraw(_organiser(folder, secret), entry, reason)
    typer.echo(f"withdrawn: {entry}")


@app.command()
def disqualify(
    folder: FolderArgument, team: Annotated[str, typer.Argument(help="Name of the team.")], reason: ReasonOption, secret: SecretOption = None
) -> None:
    """Disqualify a team: none of its entries counts."""
    from stemtwin.leaderboard.events import moderation

    moderation.disqualify(_organiser(folder, secret), team, reason)
    typer.echo(f"disqualified: {team}")


@app.command()
def correct(
    folder: FolderArgument,
    task: Annotated[str, typer.Argument(help="Task or environment of the event.")],
    reason: ReasonOption,
    secret: SecretOption = None,
    isolation: IsolationOption = None,
) -> None:
    """Void all scores of a task that had an error, and score all submissions to the task again."""
    from stemtwin.leaderboard.events import moderation
    from stemtwin.leaderboard.events.scoring import score_event

    organiser = _organiser(folder, secret)
    moderation.correct(organiser, task, reason)
    _show(score_event(organiser, isolation=_level(isolation), tell=_tell), folder)


def _organiser(folder: Path, secret: Path | None) -> "Organiser":
    """Return an event with its secrets."""
    from stemtwin.leaderboard.events.folders import open_organiser

    return open_organiser(folder, secret)


def _level(isolation: str | None) -> str | None:
    """Return a checked level of isolation, or None if none is given."""
    from stemtwin.benchmarks.isolation.sandbox import check_level

    return None if isolation is None else check_level(isolation)


def _tell(text: str) -> None:
    """Print a progress message on stderr."""
    typer.echo(re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "?", text), err=True)
