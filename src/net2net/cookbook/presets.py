"""Ways of growing that have names: what each sets in a recipe, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from net2net.maps.methods import AUTO, method_of


@dataclass(frozen=True)
class Preset:
    """A named way of growing. How much is grown is the recipe's to say.

    Attributes:
        says: what it does.
        source: where it is from.
        sets: fields of a recipe.
    """

    says: str
    source: str
    sets: Mapping[str, Any]

    @property
    def exact(self) -> bool:
        """Whether the student computes what the teacher does."""
        return bool(self.sets.get("exact", True)) and method_of(self.sets["method"]).exact


def _preset(says: str, source: str, method: str = AUTO, **sets: Any) -> Preset:
    return Preset(says, source, MappingProxyType({"method": method, **sets}))


PRESETS: dict[str, Preset] = {
    "paper": _preset(
        "copies, whose readers' weights are divided by their number",
        "Net2Net (Chen, Goodfellow and Shlens, arXiv 1511.05641)",
        "replicate",
    ),
    "fresh": _preset(
        "units as their layer initialises itself, read by nobody at first",
        "this library, docs/methods.md",
        "fresh",
        optimizer={"state": "own", "rewarm": 1.3},
    ),
    "lemon": _preset(
        "copies that share unevenly, so that they learn apart",
        "LEMON (Wang et al., arXiv 2310.07999)",
        "uneven",
    ),
    "hypercloning": _preset(
        "copies whose readers differ by noise that adds up to nothing",
        "HyperCloning (Samragh et al., arXiv 2409.12903)",
        "pair",
    ),
    "llama-pro": _preset(
        "new blocks between the old ones, which add nothing yet; the paper then trains those alone",
        "LLaMA Pro (Wu et al., arXiv 2401.02415)",
        order="spread",
        copy="neighbour",
    ),
    "g_stack": _preset(
        "the whole stack again, on top of itself",
        "Stacking your transformers (Du et al., arXiv 2405.15319)",
        copy="stack",
        exact=False,
    ),
    "solar": _preset(
        "two copies of the stack, the ends where they meet left out",
        "SOLAR 10.7B, depth up-scaling (Kim et al., arXiv 2312.15166)",
        copy="overlap",
        exact=False,
    ),
    "sparkling-width": _preset(
        "units at random, scaled so that the root mean square of what is made of them stays; what "
        "is new starts without state and is warmed up again",
        "after arXiv 2602.02472",
        "rms",
        optimizer={"state": "own", "rewarm": 1.25},
    ),
    "one-block-depth": _preset(
        "a network of one block, or of few, repeated to its full depth late in training",
        "arXiv 2511.04981",
        copy="stack",
        exact=False,
    ),
    "shrink-perturb": _preset(
        "copies; then every parameter is shrunk and perturbed",
        "Ash and Adams (arXiv 1910.08475)",
        "shrink_perturb",
    ),
}
"""By name."""
