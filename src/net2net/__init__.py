"""Grow trained networks without changing what they compute (Net2Net, Chen et al., 2016)."""

from net2net.analysis import spaces
from net2net.deepen.deepen import deepen
from net2net.errors import Net2NetError
from net2net.growth import Growth
from net2net.infer.rules import rule
from net2net.plan.plan import Plan
from net2net.transfer.transfer import transfer
from net2net.verify import Parity, verify
from net2net.widen.widen import widen

__version__ = "0.1.0"

__all__ = [
    "Growth",
    "Net2NetError",
    "Parity",
    "Plan",
    "deepen",
    "rule",
    "spaces",
    "transfer",
    "verify",
    "widen",
]
