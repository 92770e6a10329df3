"""What may stand in a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from net2net.deepen.how import COPIES
from net2net.errors import Net2NetError
from net2net.hf.budget import Budget
from net2net.hf.quantity import quantity
from net2net.hf.source import DTYPES, Options
from net2net.hf.wish import Wish
from net2net.maps.methods import AUTO, METHODS
from net2net.plan.orders import ORDERS
from net2net.transfer.longer import NewOutputs


def _size(given: object) -> float:
    try:
        return quantity(given)
    except Net2NetError as error:
        raise ValueError(str(error)) from error


Size = Annotated[float, BeforeValidator(_size)]
Number = int | float


class Strict(BaseModel):
    """Nothing that is not named here, and nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Budgeted(Strict):
    """One of them: the smallest growth with as much, or the largest that fits into memory."""

    parameters: Size | None = None
    memory: Size | None = None
    flops: Size | None = None

    @model_validator(mode="after")
    def _one(self) -> Budgeted:
        if len(self.model_fields_set) != 1:
            raise ValueError("give one of parameters, memory and flops")
        return self


class Grown(Strict):
    """How much larger: widths and depths, or numbers of the configuration, or a budget."""

    widths: Number | dict[str, Number] | None = None
    depths: Number | dict[str, Number] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    budget: Budgeted | None = None
    multiple_of: Annotated[int, Field(ge=1)] | None = None


class Optimizer(Strict):
    """The state of what is new, where the source is a training checkpoint."""

    state: Literal["own", "scale", "drop"] = "own"
    rewarm: float = 1.0
    over: int = 250


class GrowthRecipe(Strict):
    """A growth: from what, how much, how, and what is checked. ``preset`` sets what is not said."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    preset: str | None = None
    source: str | None = None
    class_name: str | None = Field(default=None, alias="class")
    inputs: str | None = None
    growth: Grown = Field(default_factory=Grown)
    method: Literal[AUTO, *METHODS] = AUTO  # type: ignore[valid-type]
    order: Literal[*ORDERS] | list[int] = "spread"  # type: ignore[valid-type]
    copy_: Literal[*COPIES] = Field(default="neighbour", alias="copy")  # type: ignore[valid-type]
    exact: bool = True
    new_outputs: NewOutputs | None = None
    seed: int = 0
    optimizer: Optimizer = Field(default_factory=Optimizer)
    dtype: Literal[*DTYPES] | None = None  # type: ignore[valid-type]
    max_shard_size: str = "50GB"
    verify: bool | Literal["blocks", "sampled"] = True

    def wish(self) -> Wish:
        """What it asks for.

        Raises:
            InputError: nothing, or what does not go together.
        """
        grown, how = self.growth, self.how()
        budget = None
        if grown.budget is not None:
            (kind,) = grown.budget.model_fields_set
            budget = Budget(kind, getattr(grown.budget, kind), how.dtype)  # type: ignore[arg-type]
        return Wish(
            grown.widths, grown.depths, grown.config, budget, grown.multiple_of, self.method,
            self.seed, self.order, self.copy_, self.exact, self.new_outputs,
        )  # fmt: skip

    def how(self) -> Options:
        """How its target is written."""
        one = self.optimizer
        return Options(
            self.verify, DTYPES[self.dtype] if self.dtype else None, self.max_shard_size,
            one.state, one.rewarm, one.over,
        )  # fmt: skip
