"""What each tenant may have: how much of the workers, and how much it may ask for; `[tenants.NAME]` of
`palaver.toml`.

`[tenants."*"]` is for all that have no table of their own, and for what such a table leaves out. Jobs that
name no tenant are one tenant's, named `""`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import BeforeValidator, Field, model_validator

from palaver.shared.config_file import read_config, table_of
from palaver.shared.document import Document
from palaver.shared.error_tree import ConfigurationError, ValidationError
from palaver.shared.names import Queue, queue_for
from palaver.shared.plain import Integer, Real, refuse, shape
from palaver.shared.settings import Settings

__all__ = ["ANY_TENANT", "PerTenant", "Strictest", "Tenant", "Tenants"]

ANY_TENANT: Final = "*"
"""The table of all tenants that have none."""

HEAVIEST: Final = 1000

BOUNDS: Final = ("queued", "spend_soft", "spend_hard", "priority_most")
"""What whoever submits a job has to know, beside workers."""


def _false_is_none(value: Any) -> Any:
    """`false` says in a table that there is no limit, whatever the table of all others says."""
    return None if value is False else value


Bound = Annotated[Annotated[Integer, Field(ge=1, le=10**9)] | None, BeforeValidator(_false_is_none)]
Dollars = Annotated[Annotated[Real, Field(ge=0)] | None, BeforeValidator(_false_is_none)]


class Tenant(Document):
    """One tenant's part; None is no limit.

    `running` of its jobs run at once, and `user_running` of each of its users; with a `weight` of 3 it has
    three turns where others have one. `queued` of its jobs may not have ended. `spend_soft` and `spend_hard`
    are dollars of a calendar month, UTC: beyond the one its jobs are warned, beyond the other none is taken,
    and no model asked. Where one of them is set, a model whose price is not known is asked, and its jobs are
    warned that nobody counts what it costs, or it is not asked: `spend_unpriced`, which is "refuse" with
    `spend_hard` unless it is said. A job with a higher priority than `priority_most` waits as if it had that.
    """

    running: Bound = None
    user_running: Bound = None
    weight: Annotated[Integer, Field(ge=1, le=HEAVIEST)] = 1
    priority_most: Annotated[
        Annotated[Integer, Field(ge=0, le=9)] | None, BeforeValidator(_false_is_none)
    ] = None
    queued: Bound = None
    spend_soft: Dollars = None
    spend_hard: Dollars = None
    spend_unpriced: Literal["warn", "refuse"] | None = None

    @property
    def limits_spending(self) -> bool:
        """Whether what it spends is counted."""
        return self.spend_soft is not None or self.spend_hard is not None

    @property
    def refuses_unpriced(self) -> bool:
        """Whether no model is asked for it whose price is not known."""
        if self.spend_unpriced is None:
            return self.spend_hard is not None
        return self.spend_unpriced == "refuse"

    def queue_for(self, priority: int) -> Queue:
        """Where its job of this priority waits for a worker."""
        return queue_for(priority if self.priority_most is None else min(priority, self.priority_most))

    @model_validator(mode="after")
    def _soft_comes_first(self) -> Self:
        if self.spend_soft is not None and self.spend_hard is not None and self.spend_soft > self.spend_hard:
            refuse("spend_soft", f"must be at most spend_hard, {self.spend_hard:g}, not {self.spend_soft:g}")
        return self


class PerTenant(Protocol):
    """What each tenant may have."""

    def of(self, tenant: str | None) -> Tenant:
        """The part of the tenant that a job names, or of those that name none."""
        ...


class Tenants:
    """The tables of all tenants, by name."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises ValidationError, whose `param` is `tenants.NAME.FIELD`."""
        common = tables.get(ANY_TENANT, {})
        self._named = {
            name: Tenant.validated({**common, **table}, at=f"tenants.{name}")
            for name, table in tables.items()
        }
        self._others = self._named.get(ANY_TENANT) or Tenant()

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Those of `palaver.toml` and of the environment (which wins), `PALAVER_TENANTS`.

        Raises ConfigurationError naming the file and the key.
        """
        tables = {**table_of(read_config(settings.config), "tenants", settings.config), **settings.tenants}
        try:
            return cls({name: _table(name, table) for name, table in tables.items()})
        except ValidationError as error:
            problem = f"{settings.config}: {error.message}"
        raise ConfigurationError(problem)

    @classmethod
    def bounded(cls, bounds: Mapping[str, Mapping[str, Any]]) -> Self:
        """As another process has told its `bounds`. Raises ValidationError."""
        known = {name: {key: table[key] for key in BOUNDS if key in table} for name, table in bounds.items()}
        return cls(known)

    @property
    def bounds(self) -> dict[str, dict[str, float | bool]]:
        """The tables of those that have bounds of `BOUNDS`; JSON."""
        said = {name: _bounds_of(tenant) for name, tenant in self._named.items()}
        bounded = any(bound is not False for table in said.values() for bound in table.values())
        return said if bounded else {}

    @property
    def limit_spending(self) -> bool:
        """Whether any of them does."""
        return any(tenant.limits_spending for tenant in self._named.values())

    @property
    def names(self) -> list[str]:
        """The tenants that have tables of their own."""
        return [name for name in self._named if name != ANY_TENANT]

    def of(self, tenant: str | None) -> Tenant:
        """The part of the tenant that a job names, or of those that name none."""
        return self._named.get(tenant or "", self._others)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tenants) and self._named == other._named

    __hash__ = None  # type: ignore[assignment] # it is compared, and never a key


class Strictest:
    """Of several tables each of the `BOUNDS` that is the least; the rest is as the first one says."""

    def __init__(self, tables: Sequence[PerTenant]) -> None:
        self._tables = tables

    def of(self, tenant: str | None) -> Tenant:
        """See `PerTenant`."""
        parts = [table.of(tenant) for table in self._tables]
        least = {name: _least([getattr(part, name) for part in parts]) for name in BOUNDS}
        return parts[0].model_copy(update=least)


def _least(bounds: Sequence[float | None]) -> float | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _bounds_of(tenant: Tenant) -> dict[str, float | bool]:
    """`false` where there is none, whatever the table of all others says."""
    return {name: False if (bound := getattr(tenant, name)) is None else bound for name in BOUNDS}


def _table(name: str, table: Any) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        refuse(f"tenants.{name}", f"must be a table, not {shape(table)}")
    return table
