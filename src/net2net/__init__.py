"""Grow trained networks without changing what they compute (Net2Net, Chen et al., 2016)."""

from typing import Any

from net2net.analysis import spaces
from net2net.deepen.deepen import deepen
from net2net.errors import (
    DepthError,
    FolderError,
    GraphMismatchError,
    InputError,
    Net2NetError,
    NotGrowableError,
    OptimizerError,
    PlanError,
    RecipeError,
    StudentRunError,
    TransferError,
    UnknownMethodError,
    UnknownModuleError,
    UnknownOperationError,
    UnsupportedModelError,
    VerificationError,
    WidthError,
)
from net2net.factorize.factorize import factorize
from net2net.growth import Growth
from net2net.hf.grow import grow
from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.spaces import Kind, Space, Spaces
from net2net.infer.values import Value
from net2net.maps.methods import METHODS, Method
from net2net.optim.carried import Carried
from net2net.plan.plan import Plan
from net2net.rates import lr_groups
from net2net.report import Report
from net2net.transfer.transfer import transfer
from net2net.verify import Parity, verify
from net2net.widen.estimate import estimate
from net2net.widen.widen import widen

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``net2net.distributed``, which is imported when it is asked for."""
    if name == "distributed":
        from importlib import import_module

        return import_module("net2net.distributed")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "METHODS",
    "Carried",
    "DepthError",
    "FolderError",
    "GraphMismatchError",
    "Growth",
    "InputError",
    "Kind",
    "Method",
    "Net2NetError",
    "NotGrowableError",
    "OpSite",
    "OptimizerError",
    "Parity",
    "Plan",
    "PlanError",
    "RecipeError",
    "Report",
    "Space",
    "Spaces",
    "StudentRunError",
    "TransferError",
    "UnknownMethodError",
    "UnknownModuleError",
    "UnknownOperationError",
    "UnsupportedModelError",
    "Value",
    "VerificationError",
    "WidthError",
    "deepen",
    "estimate",
    "factorize",
    "grow",
    "lr_groups",
    "rule",
    "spaces",
    "transfer",
    "verify",
    "widen",
]
