"""Axes of size 1 that the code itself makes, whatever it is given: kept of what was summed over,
put in between, written as a literal. What is computed from their sizes tells nothing of inputs."""

from __future__ import annotations

from net2net.trace.graph import Node


def is_made(node: Node, axis: int) -> bool:
    """Whether an axis of a tensor is one."""
    op, ndim = node.producer, len(node.shape)
    if op is None or node.shape[axis] != 1:
        return False
    if node.traits.elementwise:  # operands are laid over each other from the last axis on
        places = [(one, len(one.shape) + axis - ndim) for one in node.inputs]
        return all(is_made(one, place) for one, place in places if place >= 0)
    sizes = node.args.get("size")
    if node.traits.moves and isinstance(sizes, list):  # a view
        told = {*op.traced_ints, *op.traced_sizes}
        return len(sizes) == ndim and sizes[axis] == 1 and ("size", axis) not in told
    put = node.traits.moves and [len(one.shape) for one in node.inputs] == [ndim - 1]
    if put or node.args.get("keepdim"):
        dims = node.args.get("dim")
        gone = dims if isinstance(dims, list) else [dims]
        return axis in {dim % ndim for dim in gone if dim is not None}
    return False
