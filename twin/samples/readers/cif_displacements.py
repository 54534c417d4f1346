"""Thermal displacements of CIF sites: isotropic U and B in the loop of sites, anisotropic ones in their own loop."""

import numpy as np

from stemtwin.twin.samples.crystal import B_OVER_U
from stemtwin.twin.samples.readers.cif_tags import Table, Tags

ISOTROPIC = {
    "u": ("_atom_site_u_iso_or_equiv", "_atom_site_u_iso", "_atom_site_u_equiv", "_atom_site_uiso_or_equiv", "_atom_site_u_eq"),
    "b": ("_atom_site_b_iso_or_equiv", "_atom_site_b_iso", "_atom_site_b_equiv", "_atom_site_biso_or_equiv", "_atom_site_b_eq"),
}
LABELS = ("_atom_site_aniso_label", "_atom_site_anisotrop_label", "_atom_site_anisotrop_id", "_atom_site_label")
COMPONENTS = ("11", "22", "33", "12", "13", "23")
STEMS = ("_atom_site_aniso_{kind}_{part}", "_atom_site_aniso_{kind}{part}", "_atom_site_anisotrop_{kind}{part}", "_atom_site_anisotrop_{kind}_{part}")


def displacements(tags: Tags, sites: Table, cell: np.ndarray) -> np.ndarray:
    """Return the equivalent isotropic U (n,) of the listed sites, A^2; nan where the file has none.

    Parameters
    ----------
    tags : Tags
        Tags of the data block.
    sites : Table
        Loop of the sites.
    cell : (3, 3) float
        Lattice vectors as rows, A.
    """
    u = np.full(sites.rows, np.nan)
    for kind, scale in (("u", 1.0), ("b", 1 / B_OVER_U)):
        for tag in ISOTROPIC[kind]:
            if tag in sites:
                u = np.where(np.isnan(u), sites.number(tag, strict=False) * scale, u)
    key = sites.first(("_atom_site_label", "_atom_site_id"))
    if key is None:
        return u
    for kind in ("u", "b", "beta"):
        tensors = _equivalent(tags, kind, cell)
        if tensors:
            u = np.where(np.isnan(u), [tensors.get(label.lower(), np.nan) for label in sites.text(key)], u)
    return u


def _equivalent(tags: Tags, kind: str, cell: np.ndarray) -> dict[str, float]:
    """Return the equivalent isotropic U (A^2) of anisotropic sites by label, a third of the trace of the tensor."""
    for stem in STEMS:
        columns = [stem.format(kind=kind, part=part) for part in COMPONENTS]
        table = tags.table(columns[:1], "_atom_site_aniso")
        label = table.first(LABELS)
        if label is None or not all(column in table for column in columns):
            continue
        parts = np.column_stack([table.number(column, strict=False) for column in columns])
        tensor = parts[:, [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
        metric, reciprocal = cell @ cell.T, np.linalg.norm(np.linalg.inv(cell), axis=0)  # lengths of a*, b*, c*
        if kind == "beta":  # exp(-beta_ij h_i h_j) = exp(-2 pi^2 U_ij a*_i a*_j h_i h_j)
            values = np.einsum("nij,ij->n", tensor, metric) / (6 * np.pi**2)
        else:
            values = np.einsum("nij,i,j,ij->n", tensor, reciprocal, reciprocal, metric) / 3 / (1.0 if kind == "u" else B_OVER_U)
        return dict(zip([text.lower() for text in table.text(label)], values.tolist(), strict=True))
    return {}
