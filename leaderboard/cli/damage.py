"""``stemtwin damage``: displacement cross-sections as a function of beam energy."""

from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, make_console, print_json

ENERGIES = (30.0, 40.0, 60.0, 80.0, 100.0, 120.0, 200.0, 300.0)
BARN = 1e-8  # A^2
INCLUSIVE = (
    "Each cross-section counts every energy transfer above its own threshold. In a specimen, a transfer that also exceeds "
    "a higher threshold of the same atom causes only the process with the higher threshold."
)


def damage(
    element: Annotated[
        str | None, typer.Argument(help="Chemical symbol of the displaced atom; by default the sites of all elements are listed.")
    ] = None,
    site: Annotated[
        str | None,
        typer.Option("--site", help="Name of the atom's site, for example graphene, graphene-edge, bulk or surface."),
    ] = None,
    energy: Annotated[list[float] | None, typer.Option("--energy", help="Beam energy, keV; may be given several times.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="Temperature of the specimen, K.")] = 300.0,
    json: JsonFlag = False,
) -> None:
    """Print displacement cross-sections at several beam energies, with the displacement thresholds and their sources."""
    from stemtwin.twin import checks
    from stemtwin.twin.errors import SettingsError
    from stemtwin.twin.physics.dynamics.displacement_thresholds import SITES, find_site
    from stemtwin.twin.physics.dynamics.isotopes import SYMBOLS, number_of

    checks.number("--temperature", temperature, "K", low=0, high=5000)
    if element is None:
        if site is not None or energy:
            message = "--site and --energy need an element. "
            message += "Name the element, for example: stemtwin damage C --site graphene."
            raise SettingsError(message)
        chosen, energies = list(SITES), []
    else:
        symbol = SYMBOLS[number_of(element)]
        chosen = [find_site(symbol, site)] if site is not None else [one for one in SITES if one.element == symbol]
        if not chosen:
            message = f"No displacement threshold of {symbol} is known. Run 'stemtwin damage' to list the known thresholds."
            raise SettingsError(message)
        energies = [1e3 * checks.number("energy", value, "keV", low=1, high=3000, repair="Did you pass eV?") for value in (energy or ENERGIES)]
    found = [_entry(one, energies, temperature) for one in chosen]
    if json:
        print_json(found)
    elif element is None:
        _list(found)
    else:
        for entry in found:
            _show(entry, temperature)
        make_console().print(INCLUSIVE, markup=False, style="dim")


def _entry(site: Any, energies: list[float], temperature: float) -> dict[str, Any]:
    """Return a site and its cross-sections (barn) as JSON values."""
    from stemtwin.twin.physics.dynamics.displacement_thresholds import cross_sections
    from stemtwin.twin.physics.dynamics.knockon import threshold_energy

    rows = [cross_sections(site, energy, temperature=temperature) for energy in energies]
    parts = ("static", "knock_on", "excited", "radiolysis", "total")
    return {
        "element": site.element,
        "site": site.name,
        "displacement_ev": site.displacement,
        "mark": site.mark,
        "source": site.source,
        "threshold_energy_ev": threshold_energy(site.element, site.displacement),
        "velocity2_m2_per_s2": site.velocity2_at(temperature) * 1e-20 if energies else None,
        "velocity_source": site.velocity_source,
        "cross_sections_barn": [{"energy_ev": row.energy, **{part: getattr(row, part) / BARN for part in parts}} for row in rows],
    }


def _list(entries: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    for name in ("element", "site"):
        table.add_column(name, no_wrap=True)
    for name in ("threshold eV", "beam from keV"):
        table.add_column(name, justify="right")
    table.add_column("source")
    for entry in entries:
        source = f"\\[{entry['mark']}] {entry['source']}"
        table.add_row(entry["element"], entry["site"], f"{entry['displacement_ev']:.2f}", f"{entry['threshold_energy_ev'] / 1e3:.1f}", source)
    make_console().print(table)


def _show(entry: dict[str, Any], temperature: float) -> None:
    from rich.table import Table

    console = make_console()
    console.print(
        f"{entry['element']}, {entry['site']}: threshold {entry['displacement_ev']:.2f} eV  [{entry['mark']}] {entry['source']}", markup=False
    )
    beam = f"least beam energy for an atom at rest {entry['threshold_energy_ev'] / 1e3:.2f} keV"
    motion = (
        f"<v^2> {entry['velocity2_m2_per_s2']:.3g} m^2/s^2 at {temperature:g} K  {entry['velocity_source']}"
        if entry["velocity2_m2_per_s2"]
        else "unknown thermal motion"
    )
    console.print(f"{beam}; {motion}", markup=False)
    table = Table(box=None, header_style="dim")
    for name in ("keV", "at rest", "with thermal motion", "excited states", "radiolysis", "total barn", "e/A^2 to 63 %"):
        table.add_column(name, justify="right")
    for row in entry["cross_sections_barn"]:
        total = row["total"]
        values = [_barn(row[part]) for part in ("static", "knock_on", "excited", "radiolysis", "total")]
        table.add_row(f"{row['energy_ev'] / 1e3:g}", *values, f"{1 / (total * BARN):.3g}" if total >= 1e-9 else "-")
    console.print(table)


def _barn(value: float) -> str:
    return "0" if value < 1e-9 else f"{value:.3g}"
