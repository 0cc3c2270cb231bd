"""What is wrong with the printed document."""

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.plan import AnomalyKind
from app.models.base import Base, IdMixin, SortKey, one_of

__all__ = ["Anomaly"]


class Anomaly(IdMixin, Base):
    """A misprint, contradiction, duplicate, omission or ambiguity of the document."""

    __tablename__ = "anomalies"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        UniqueConstraint("plan_id", "ordinal"),
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"], ondelete="CASCADE"),
        Index(None, "battle_id", "plan_id"),
        one_of("kind", AnomalyKind),
    )

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    ordinal: Mapped[int]
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    kind: Mapped[str]
    locator: Mapped[str]
    printed: Mapped[str | None]
    reading: Mapped[str | None]
    note: Mapped[str]
