"""Parquet with Hugging Face features and the calibrations in the schema's metadata."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from stemtwin.datasets.formats.calibrations import check_calibrations, described, places
from stemtwin.datasets.formats.file_formats import FORMATS, Format
from stemtwin.twin.errors import SettingsError

if TYPE_CHECKING:
    import xarray as xr


def write_parquet(data: "xr.Dataset", path: Path) -> None:
    """Write a variable as the rows of a table.

    Each index along the first dimension gives one row. A variable with at most two dimensions gives a single row.

    Raises
    ------
    SettingsError
        The variable has more dimensions than a table can store.
    """
    import datasets as hf

    from stemtwin.datasets import storage

    (name,) = data.data_vars
    array = data[name]
    axes = check_calibrations(array)
    values = array.to_numpy()
    values = values if values.ndim > 2 else values[None]
    kinds = {1: hf.List(hf.Value(str(values.dtype))), 2: hf.Array2D, 3: hf.Array3D, 4: hf.Array4D, 5: hf.Array5D}
    inner = values.ndim - 1
    if inner not in kinds:
        message = f"{name} has {values.ndim} dimensions, but a row of a table holds at most five. Use .nc or .zarr."
        raise SettingsError(message)
    feature = kinds[1] if inner == 1 else kinds[inner](values.shape[1:], str(values.dtype))
    features = hf.Features({str(name): feature, "row": hf.Value("int64")})
    rows = hf.Dataset.from_dict({str(name): list(values), "row": list(range(len(values)))}, features=features)
    known = {"axes": [[a.name, a.size, a.offset, a.step, a.units] for a in axes], **json.loads(described(data, str(name)))}
    known["values_of_places"] = {key: values.tolist() for key, values in places(data, str(name)).items()}
    table = rows.data.table
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"stemtwin": json.dumps(known).encode()})
    storage.write_parquet(table, path)


FORMATS.add("parquet", Format(suffixes=(".parquet",), write=write_parquet, single=True, about="Hugging Face datasets"))
