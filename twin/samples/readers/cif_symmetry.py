"""Symmetry stated in a CIF: a list of operations (magnetic ones, too), a Hall symbol, or the name or number of a space group."""

import re
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.readers.cif_tags import Tags
from stemtwin.twin.samples.readers.orbits import IDENTITY, Operations, closed, listed_operations, operations_of_group, product
from stemtwin.twin.samples.readers.space_groups import NamedSettings, settings_of_name, settings_of_number
from stemtwin.twin.samples.readers.symmetry_choice import SymmetryCandidate, sites_alone

if TYPE_CHECKING:
    import gemmi

OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz", "_space_group_symop_xyz", "_symmetry_equiv_as_xyz")
MAGNETIC = ("_space_group_symop_magn_operation_xyz", "_magnetic_space_group_symop_operation_xyz", "_space_group_symop_magn_xyz")
CENTRINGS = ("_space_group_symop_magn_centering_xyz", "_magnetic_space_group_symop_centering_xyz", "_space_group_symop_centering_xyz")
MODULATED = ("_space_group_symop_ssg_operation_algebraic", "_space_group_symop_magn_ssg_operation_algebraic", "_symmetry_ssg_equiv_pos_as_xyz")
MODULATED_CENTRINGS = ("_space_group_symop_magn_ssg_centering_algebraic", "_space_group_symop_ssg_centering_algebraic")
NAMES = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_full", "_space_group_name_h-m_ref")
NAMES += ("_space_group_name_h-m", "_symmetry_space_group_name_h-m_full", "_symmetry_space_group_name_h-m_alt")
HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number", "_symmetry_space_group_it_number")
CODES = ("_space_group_it_coordinate_system_code",)
MAGNETIC_NAMES = ("_space_group_magn_number_bns", "_space_group_magn_name_bns", "_magnetic_space_group_bns_number", "_space_group_magn_number_og")


class StatedSymmetry:
    """Possible interpretations of the symmetry that a data block states, the likeliest first, with notes and doubts.

    Parameters
    ----------
    tags : Tags
        Tags of the data block.

    Raises
    ------
    StructureFileError
        An operation cannot be read, or the space group is unknown and no operations are listed.
    """

    def __init__(self, tags: Tags) -> None:
        self.candidates: list[SymmetryCandidate] = []
        self.unique = True
        self.notes: tuple[str, ...] = ()
        self.doubts: tuple[str, ...] = ()
        name, number = tags.text(NAMES), _whole(tags.text(NUMBERS))
        named = _named(name, number, tags.text(CODES))
        listed = _listed(tags)
        hall = _of_hall(tags)
        if listed is not None:
            self._add_listed(tags.name, listed, named, name)
        elif hall is not None:
            self.candidates.append(SymmetryCandidate(operations=hall, source=f"the operations of the Hall symbol {tags.text(HALL)!r}"))
        if named.settings and name and not self.candidates and not settings_of_name(name).settings:
            self.doubts += (f"{tags.name} names the space group {name!r}, which is unknown: settings of its number {number} were tried.",)
        if named.settings:
            self._add_named(named, name, number, first=not self.candidates)
        elif (name or number) and not self.candidates:
            message = (
                f"{tags.name} names the space group {name or number!r}, which is unknown, and lists no operations. Add a loop of "
                f"_space_group_symop_operation_xyz."
            )
            raise StructureFileError(message)
        if not self.candidates:
            self._add_nothing(tags)
        elif len(self.candidates[0].operations) > 1:
            self.candidates.append(sites_alone())
        if tags.column(MODULATED):
            self.doubts += (f"{tags.name} describes a modulated structure: its average structure was taken, without the modulation.",)

    def _add_listed(self, file: str, listed: Operations, named: NamedSettings, name: str) -> None:
        """Add the listed operations, completed by the named group's centring translations where these are missing."""
        group = closed(listed)
        source = "the operations that the file lists"
        if len(group) > len(listed):
            self.doubts += (f"{file} lists {len(listed)} operations, which do not form a group: the {len(group)} that they generate were taken.",)
        same = [setting for setting in named.settings if group.keys() < operations_of_group(setting.operations()).keys()]
        if same and len(group) > 1:
            whole = operations_of_group(same[0].operations())
            points = {tuple(np.rint(rotation).astype(int).ravel()) for rotation in group.rotations}
            if len(points) * len({tuple(row) for row in whole.translations[_pure(whole)].tolist()}) == len(whole):
                self.doubts += (f"{file} lists {len(group)} of the {len(whole)} operations of {name!r}: those with its centring were added.",)
                group = whole
        self.candidates.append(SymmetryCandidate(operations=group, source=source))
        order = {len(setting.operations()) for setting in named.settings}
        if order and len(group) not in order and max(order) > 1 and len(group) == 1:
            self.unique = False

    def _add_named(self, named: NamedSettings, name: str, number: int | None, *, first: bool) -> None:
        """Add the settings of a name or a number and, as alternatives of rank 1, the other settings of the group."""
        rank = 0 if first or not self.unique else 1
        for setting in named.settings:
            self._add_setting(setting, rank)
        others = settings_of_number(named.settings[0].number)
        for setting in others if others[0].number > 1 else ():  # centred settings of P 1 are not tried
            self._add_setting(setting, 1)
        if first:
            self.unique = named.unique
            if number and named.settings[0].number != number:
                own = named.settings[0].number
                self.doubts += (f"The name {name!r} is that of space group {own}, but the file says {number}: the name was taken.",)

    def _add_setting(self, setting: "gemmi.SpaceGroup", rank: int) -> None:
        operations = operations_of_group(setting.operations())
        if all(operations.keys() != other.operations.keys() for other in self.candidates):
            self.candidates.append(SymmetryCandidate(operations=operations, source=f"the operations of {setting.xhm()!r}", rank=rank))

    def _add_nothing(self, tags: Tags) -> None:
        magnetic = tags.text(MAGNETIC_NAMES)
        if magnetic:
            self.doubts = (f"{tags.name} names the magnetic group {magnetic!r} and lists no operations: its sites were taken as the whole cell.",)
        else:
            self.notes = ("The file gives no symmetry: its sites were taken as the whole cell.",)
        self.candidates.append(SymmetryCandidate(operations=IDENTITY, source="the listed sites as the whole cell"))


def _pure(operations: Operations) -> np.ndarray:
    """Return the translations of the operations without rotation."""
    return np.all(np.abs(operations.rotations - np.eye(3)) < 1e-9, axis=(1, 2))


def _whole(text: str) -> int | None:
    found = re.fullmatch(r"(\d{1,3})(?:\.\d*)?", text)
    return int(found[1]) if found and 1 <= int(found[1]) <= 230 else None


def _named(name: str, number: int | None, code: str) -> NamedSettings:
    """Return the settings of a name, or of a number, that fit a coordinate system code (``2``, ``b1``, ``H``)."""
    named = settings_of_name(name) if name else NamedSettings(settings=(), unique=False)
    if not named.settings and number:
        own = settings_of_number(number)
        named = NamedSettings(settings=own, unique=len(own) == 1)
    coded = tuple(setting for setting in named.settings if code and code.upper() in (setting.ext.upper(), setting.qualifier.upper()))
    return NamedSettings(settings=coded, unique=True) if coded else named


def _listed(tags: Tags) -> Operations | None:
    """Return the listed operations of a data block, magnetic ones with their centrings, or None."""
    try:
        for names, centrings in ((OPERATIONS, ()), (MAGNETIC, CENTRINGS), (MODULATED, MODULATED_CENTRINGS)):
            texts = [_three(text) for text in tags.column(names) if text.strip()]
            if texts:
                operations = listed_operations(texts)
                shifts = [_three(text) for text in tags.column(centrings) if text.strip()]
                return product(listed_operations(shifts), operations) if shifts else operations
    except ValueError as error:
        message = f"{tags.name} has a symmetry operation that cannot be read ({error}). Repair it."
        raise StructureFileError(message) from error
    return None


def _three(text: str) -> str:
    """Return an operation in x1, x2, x3, x4, ... as one in x, y, z, and others unchanged."""
    if "x1" not in text.lower():
        return text
    return ",".join(text.lower().split(",")[:3]).replace("x1", "x").replace("x2", "y").replace("x3", "z")


def _of_hall(tags: Tags) -> Operations | None:
    """Return the operations of the Hall symbol, or None if it is missing or unreadable beside a named group."""
    import gemmi

    hall = tags.text(HALL)
    if not hall:
        return None
    try:
        return operations_of_group(gemmi.symops_from_hall(hall))
    except (ValueError, RuntimeError) as error:
        if tags.text(NAMES) or tags.text(NUMBERS):
            return None
        message = f"{tags.name} has a Hall symbol that cannot be read ({error}). Repair it."
        raise StructureFileError(message) from error
