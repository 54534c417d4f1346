"""``stemtwin event``: a hackathon, from its settings to an archive that anybody can verify."""

import dataclasses
import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json, progress

if TYPE_CHECKING:
    from stemtwin.leaderboard.events.folders import Organiser
    from stemtwin.leaderboard.events.scoring import Outcome

app = typer.Typer(no_args_is_help=True, help="Hold an event: make it, seal and open its bundle, score, freeze, close, verify.")

FolderArgument = Annotated[Path, typer.Argument(help="Folder of the event.")]
SecretOption = Annotated[Path | None, typer.Option(help="Folder of the secrets; FOLDER-secret beside the event where none is named.")]
IsolationOption = Annotated[str | None, typer.Option(help="bubblewrap or process, in the place of the event's.")]
ReasonOption = Annotated[str, typer.Option(help="Why: a sentence, which everybody will read.")]


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="New folder; its name is the event's, in small letters, digits and dashes.")],
    task: Annotated[list[str] | None, typer.Option(help="Task of predictions: NAME or NAME:SIZE. May be given again.")] = None,
    environment: Annotated[list[str] | None, typer.Option(help="Task of an agent: NAME, NAME:EPISODES or NAME:EPISODES:ATTEMPTS.")] = None,
    opens: Annotated[str | None, typer.Option(help="Start, as 2026-12-15T09:00Z; the next full hour where none is given.")] = None,
    closes: Annotated[str | None, typer.Option(help="End, as 2026-12-17T09:00Z; two days later where none is given.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Place and its time zone: 'Knoxville=America/New_York'. May be given again.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of pages and guide.")] = None,
    counts: Annotated[str, typer.Option(help="Which of a team's submissions to a task counts: best or last.")] = "best",
    submissions: Annotated[int, typer.Option(help="Submissions of a team to a task that are scored.")] = 20,
    team: Annotated[list[str] | None, typer.Option(help="A team that may take part; everybody may where none is named.")] = None,
    isolation: Annotated[str, typer.Option(help="In what agents run: bubblewrap or process.")] = "bubblewrap",
    honeypots: Annotated[
        int, typer.Option(help="Rows of each of three kinds that nobody can answer, among the hidden rows of a task that has them.")
    ] = 2,
    secret: SecretOption = None,
) -> None:
    """Make the folder of an event, ready for a Git repository, and the folder of its secrets beside it."""
    from stemtwin.leaderboard.events.creation import new_event
    from stemtwin.leaderboard.events.settings import parse_parts, parse_time

    hour = datetime.datetime.now(datetime.UTC).replace(minute=0, second=0, microsecond=0) + datetime.timedelta(hours=1)
    start = hour if opens is None else parse_time(opens, "opens")
    end = start + datetime.timedelta(days=2) if closes is None else parse_time(closes, "closes")
    settings: dict[str, Any] = parse_parts(task or (), environment or ())
    settings |= {"opens": start, "closes": end, "counts": counts, "submissions": submissions, "teams": team or []}
    settings |= {"isolation": isolation, "honeypots": honeypots}
    settings |= {"sites": [_site(text) for text in site or ()]} | ({"title": title} if title is not None else {})
    made = new_event(folder, settings, secret=secret)
    typer.echo(f"made: {made.path}; its secrets: {made.secret}, which nobody else may read and no repository may hold")
    typer.echo(f"next: 'stemtwin event seal {folder}', then put {folder} into a repository")


def _site(text: str) -> dict[str, str]:
    """Return a site of ``NAME=ZONE``."""
    name, equal, zone = text.rpartition("=")
    if not equal:
        message = f"site {text!r} is not of the form NAME=ZONE, as 'Knoxville=America/New_York'"
        raise typer.BadParameter(message)
    return {"name": name, "zone": zone}


@app.command()
def seal(
    folder: FolderArgument,
    wheels: Annotated[Path | None, typer.Option(help="Folder of wheels for an install without a network, filled by 'pip download'.")] = None,
    secret: SecretOption = None,
) -> None:
    """Build the hidden rows, and seal tasks, inputs and wheels into sealed.bundle, to be given out before the start."""
    from stemtwin.leaderboard.events.creation import seal_event

    organiser = _organiser(folder, secret)
    made = seal_event(organiser, wheels=wheels, tell=_tell)
    digest = next(line.content["sha256"] for line in reversed(organiser.folder.lines) if line.kind == "sealed")
    typer.echo(f"sealed: {made}, {made.stat().st_size / 2**20:.1f} MiB, sha256 {digest}")
    typer.echo(f"it opens at {organiser.event.opens.isoformat()} with the key in {organiser.secret / 'bundle-key.txt'}")


@app.command(name="open")
def open_(
    path: Annotated[Path, typer.Argument(help="The bundle, or the folder of the event that holds it.")],
    key: Annotated[str | None, typer.Option(help="Key of the bundle; the published one where none is given.")] = None,
    output: Annotated[Path | None, typer.Option(help="New folder of the content; 'opened' beside the bundle where none is named.")] = None,
    secret: SecretOption = None,
) -> None:
    """Open the bundle at the start hour; an organiser, whose secrets are beside the event, publishes its key by that."""
    from stemtwin.leaderboard.events.bundle import unseal
    from stemtwin.leaderboard.events.creation import announced_key, publish_key
    from stemtwin.leaderboard.events.folders import BUNDLE, OPENED, open_folder, secret_of

    bundle = path / BUNDLE if path.is_dir() else path
    if key is None and path.is_dir():
        key = announced_key(open_folder(path))
        own = secret or secret_of(path)
        if key is None and own.is_dir():
            key = publish_key(_organiser(path, own))
            typer.echo(f"published: the key of the bundle, {key}")
    if key is None:
        message = f"no key of {bundle} is published yet: give the one that the organiser announced by --key"
        raise typer.BadParameter(message)
    target = output or bundle.parent / OPENED
    with progress(f"opening {bundle}") as tick:
        count = unseal(bundle, target, key=key, progress=tick)
    typer.echo(f"opened: {count} files in {target}, begin with {target / 'guide.md'}")


@app.command()
def predict(
    opened: Annotated[Path, typer.Argument(help="Content of the bundle.")],
    task: Annotated[str, typer.Option(help="A task of predictions of the event.")],
    output: Annotated[Path, typer.Option(help="New folder of the submission: submissions/TEAM/NAME.")],
    baseline: Annotated[str | None, typer.Option(help="Answer by this baseline: see 'stemtwin task NAME'.")] = None,
    agent: Annotated[str | None, typer.Option(help="Answer by your class, pkg.mod:Name, which has predict(given, rng).")] = None,
) -> None:
    """Answer the hidden rows of a task and write a submission."""
    from stemtwin.leaderboard.events.team_side import answer
    from stemtwin.twin.files import check_writable

    check_writable(output, folder=True)
    if (baseline is None) == (agent is None):
        message = f"{'both of' if baseline else 'none of'} --baseline and --agent were given: give exactly one of them"
        raise typer.BadParameter(message)
    with progress(f"{task}: {baseline or agent}") as tick:
        count = answer(opened, task, output, baseline=baseline, agent=agent, progress=tick)
    typer.echo(f"written: {output}, answers to {count} rows")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the event, or content of the bundle.")],
    submission: Annotated[list[Path] | None, typer.Argument(help="Folders of submissions.")] = None,
    changed: Annotated[Path | None, typer.Option(help="List of changed files, as 'git diff --name-only -z' writes it: their submissions.")] = None,
) -> None:
    """Check submissions before they are handed in; nothing of them is run."""
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
    """Score what was handed in and not scored yet, and write board, log and pages; begun again, it goes on where it stopped."""
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
    """Freeze the event: what is handed in now still counts, nothing later does."""
    from stemtwin.leaderboard.events.moderation import freeze as freeze_event

    organiser = _organiser(folder, secret)
    count = freeze_event(organiser)
    if datetime.datetime.now(datetime.UTC) < organiser.event.closes:
        typer.echo(f"note: the event was to close at {organiser.event.closes.isoformat()}, which is later", err=True)
    typer.echo(f"frozen: {count} submissions are in; score them, then 'stemtwin event close {folder}'")


@app.command()
def jury(folder: FolderArgument, secret: SecretOption = None) -> None:
    """Compare entries between teams, and write a printable page a team and a CSV for the jury."""
    from stemtwin.benchmarks.names import printable
    from stemtwin.leaderboard.events.jury import write_jury

    target, found = write_jury(_organiser(folder, secret), tell=_tell)
    for one in found.reviews:
        typer.echo(printable(f"{one.team}/{one.name}: {one.text}"))
    typer.echo(f"{found.compared} entries compared, {len(found.reviews)} reviews asked for; pages: {target / 'index.html'}")


@app.command()
def close(
    folder: FolderArgument,
    output: Annotated[Path | None, typer.Option(help="Folder of the archive; FOLDER-archive beside the event where none is named.")] = None,
    secret: SecretOption = None,
    isolation: IsolationOption = None,
) -> None:
    """Reveal the keys, compute every score again, and pack everything into a signed archive: a folder and a zip file."""
    from stemtwin.leaderboard.events.archive import close_event

    target = output or folder.resolve().with_name(f"{folder.resolve().name}-archive")
    made = close_event(_organiser(folder, secret), target, isolation=_level(isolation), tell=_tell)
    typer.echo(f"closed: {made} and {made}.zip; anybody verifies it with 'stemtwin event verify {made}'")


@app.command()
def verify(
    archive: Annotated[Path, typer.Argument(help="Folder of the archive, or its zip file.")],
    public_key: Annotated[str | None, typer.Option(help="The organiser's public key, as it was announced elsewhere.")] = None,
    specimens: Annotated[
        int | None, typer.Option(min=1, help="Make the truth of so many specimens of each task again, drawn now; of all by default.")
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
    entry: Annotated[str, typer.Argument(help="TEAM/NAME.")],
    reason: ReasonOption,
    secret: SecretOption = None,
) -> None:
    """Withdraw an entry: it stays in the log and does not count."""
    from stemtwin.leaderboard.events import moderation

    moderation.withdraw(_organiser(folder, secret), entry, reason)
    typer.echo(f"withdrawn: {entry}")


@app.command()
def disqualify(folder: FolderArgument, team: Annotated[str, typer.Argument(help="Team.")], reason: ReasonOption, secret: SecretOption = None) -> None:
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
    """Make all scores of a task void after a fault of it, and score its submissions again."""
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
    """Return a level of isolation that works here, None where none was named."""
    from stemtwin.benchmarks.isolation.sandbox import check_level

    return None if isolation is None else check_level(isolation)


def _tell(text: str) -> None:
    """Print a sentence about long work on stderr."""
    typer.echo(re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "?", text), err=True)
