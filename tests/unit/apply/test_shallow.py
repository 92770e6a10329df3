"""Few blocks in place of many."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from net2net.apply.shallow import shallow
from net2net.apply.unfilled import Unfilled


class Config:
    def __init__(self, **values: Any) -> None:
        vars(self).update(values)


def sizes(config: Config) -> dict[str, int] | None:
    """Of blocks that are as wide as their list says, and of heads that are no list."""
    if len(config.widths) != config.depth:
        return None
    blocks = {f"blocks.{i}.weight[0]": width for i, width in enumerate(config.widths)}
    return blocks | {f"tail.{i}.weight[0]": 3 for i in range(config.tail)} | {"head[0]": 7}


def test_lists_of_blocks_are_cut_with_what_is_said_of_each():
    config = Config(depth=5, widths=[4, 6, 8, 4, 6], tail=3, heads=5)
    few, left, counts = shallow(config, sizes(config), ["depth", "tail", "heads"], sizes)
    assert (few.depth, few.widths, few.tail, few.heads) == (2, [4, 6], 2, 5)
    assert left == sizes(few)
    assert counts == {"depth", "tail"}
    assert (config.depth, config.widths) == (5, [4, 6, 8, 4, 6])


def test_a_count_that_other_sizes_depend_on_stays():
    def spread(config: Config) -> dict[str, int]:
        return {f"blocks.{i}.weight[0]": 12 // config.depth for i in range(config.depth)}

    config = Config(depth=3)
    assert shallow(config, spread(config), ["depth"], spread) == (config, spread(config), set())


def test_weights_on_meta_are_not_drawn_and_others_are():
    with Unfilled():
        hidden = nn.Linear(3, 2, device="meta")
        drawn = torch.full((64,), 2.0).uniform_()
        noise = torch.randn(4)
    assert hidden.weight.shape == (2, 3)
    assert hidden.weight.requires_grad
    assert (drawn < 1).all()
    assert noise.std() > 0
