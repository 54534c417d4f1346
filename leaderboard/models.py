"""Tables of the board: entries and their scores. Rows are added, never changed: triggers refuse UPDATE and DELETE."""

import datetime

from sqlalchemy import DDL, ForeignKey, Index, UniqueConstraint, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Declarative base class of the board's tables."""


class Entry(Base):
    """One entry on the board: task, data, team, level of trust, and the complete report."""

    __tablename__ = "entries"
    __table_args__ = (
        UniqueConstraint("comparability_key", "artefact_sha256", "ranked", "team", name="one_row_for_one_artefact"),
        Index("by_table", "task", "comparability_key"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    created: Mapped[datetime.datetime]
    task: Mapped[str]
    major: Mapped[int]
    comparability_key: Mapped[str]
    source: Mapped[str]
    source_version: Mapped[str]
    size: Mapped[str]
    split: Mapped[str]
    source_sha256: Mapped[str]
    artefact_sha256: Mapped[str]
    name: Mapped[str]
    team: Mapped[str]
    trust: Mapped[str]
    ordered: Mapped[bool] = mapped_column("ranked")  # has a place in the order; the column keeps its name of version 1
    version: Mapped[str]
    seeds: Mapped[str]
    git_commit: Mapped[str | None]
    git_dirty: Mapped[bool | None]
    wall_s: Mapped[float]
    report: Mapped[str]
    scores: Mapped[list["Score"]] = relationship(back_populates="entry", lazy="selectin")


class Score(Base):
    """Value of a metric of an entry on all samples, or of the primary metric on the slice with ``column`` and ``label``."""

    __tablename__ = "scores"

    id: Mapped[int] = mapped_column(primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id"), index=True)
    metric: Mapped[str]
    metric_version: Mapped[str]
    direction: Mapped[str]
    unit: Mapped[str]
    column: Mapped[str] = mapped_column(default="")
    label: Mapped[str] = mapped_column(default="")
    n: Mapped[int]
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    entry: Mapped[Entry] = relationship(back_populates="scores")


for _table in Base.metadata.sorted_tables:
    for _verb in ("UPDATE", "DELETE"):
        _text = (
            f"CREATE TRIGGER IF NOT EXISTS {_table.name}_refuse_{_verb.lower()} BEFORE {_verb} ON {_table.name} "
            "BEGIN SELECT RAISE(ABORT, 'the board is append-only'); END"
        )
        event.listen(_table, "after_create", DDL(_text).execute_if(dialect="sqlite"))
