"""Who produces and who uses what a tensor of a trace holds, also where code writes in place."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from net2net.trace.graph import GIVEN, Graph, Node
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import trace

from ...helpers import Written, noise


def graph(code: Callable[[Any, Tensor], Any]) -> Graph:
    """What code does to ``[2, 3]`` inputs, with a layer ``m.layer`` of 6 features."""
    model = Written(code, layer=nn.Linear(3, 6)).double()
    return Graph(trace(meta_copy(model), noise(2, 3)))


def result(found: Graph) -> Node:
    (tensor,) = found.trace.outputs.values()
    return found.node(tensor)


def back(node: Node) -> list[str]:
    """The operations that a tensor comes from, by first operands."""
    found = []
    while node.producer is not None:
        found.append(node.producer.name.removeprefix("aten::"))
        node = node.inputs[0]
    return found


def users(node: Node) -> list[str]:
    return [op.name.removeprefix("aten::") for op in node.users]


def test_producers_users_and_parameters() -> None:
    found = graph(lambda m, x: (h := m.layer(x)).tanh() + h)
    out = result(found)
    assert out.kind == "add" and out.returned and out.users == [] and out.shape == (2, 6)
    tanh, hidden = out.inputs
    assert hidden is tanh.args["self"] and users(hidden) == ["tanh", "add"]
    assert not hidden.returned and back(out) == ["add", "tanh", "linear"]
    assert [one.name for one in hidden.inputs] == ["", "layer.weight", "layer.bias"]
    assert all(one.producer is None and one.position == GIVEN for one in hidden.inputs)
    assert found.outputs(found.trace.ops[0]) == [hidden]
    assert found.inputs(found.trace.ops[-1]) == [tanh, hidden]


def test_a_write_in_place_makes_a_node() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.layer(x)
        y = h * 2
        h.relu_()
        return y + h

    found = graph(code)
    scaled, rectified = result(found).inputs
    (before,) = scaled.inputs
    assert rectified.tensor == before.tensor and rectified is not before
    assert users(before) == ["mul", "relu_"] and users(rectified) == ["add"]
    assert back(rectified) == ["relu_", "linear"]
    assert found.node(before.tensor, before.position + 1) is before


def test_a_view_shows_what_is_written_to_its_memory_later() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.layer(x)
        v = h.view(2, 2, 3)
        h.t()
        h.relu_()
        return v * 2

    found = graph(code)
    out = result(found)
    assert back(out) == ["mul", "view", "relu_", "linear"]
    (view,) = out.inputs
    (rectified,) = view.inputs
    assert users(rectified) == ["view"]  # and not the view that nobody reads any more
    assert users(rectified.inputs[0]) == ["view", "t", "relu_"]
    assert found.node(view.tensor, view.position) is not view


def test_a_view_of_a_view_is_followed_to_its_memory() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.layer(x)
        v = h.t()[1:]
        h.mul_(2)
        return v.neg()

    assert back(result(graph(code))) == ["neg", "slice", "t", "mul_", "linear"]


def test_what_is_written_through_a_view_has_no_producer() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.layer(x)
        h[:, :2].zero_()
        return h.neg()

    (hidden,) = result(graph(code)).inputs
    assert hidden.producer is None and hidden.inputs == [] and hidden.position > GIVEN
    assert hidden.name == ""


def test_a_write_through_a_view_is_seen_in_others_that_overlap() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.layer(x)
        a, b = h[:, :4], h[:, 2:]
        a.relu_()
        return b.neg()

    (other,) = result(graph(code)).inputs
    assert other.producer is None


def test_pieces_of_one_cut_do_not_overlap() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        a, b = m.layer(x).chunk(2, -1)
        a.t().relu_()
        return a * b.t().t()

    a, b = result(graph(code)).inputs
    assert back(b) == ["t", "t", "chunk", "linear"]
    assert a.producer is None


def test_copies_are_not_views() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.layer(x)
        copy, same = h.to(torch.float32), h.to(h.dtype)
        h.relu_()
        return copy + same

    copy, same = result(graph(code)).inputs
    assert back(copy) == ["to", "linear"] and back(same) == ["relu_", "linear"]
    assert users(copy.inputs[0]) == ["to", "relu_"]


def test_what_is_written_into_an_argument_is_new() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.layer(x)
        out = h.clone()
        torch.mul(h, 2, out=out)
        return out.neg()

    assert back(result(graph(code))) == ["neg", "mul", "linear"]


def test_a_parameter_that_was_written_to_has_no_name() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        m.layer.weight.data.mul_(2)
        return m.layer(x)

    weight = result(graph(code)).args["weight"]
    assert weight.name == "" and users(weight) == ["linear"]


def test_lists_of_tensors_and_several_outputs() -> None:
    found = graph(lambda m, x: torch.cat([*m.layer(x).unbind(1), x[:, 0]]))
    out = result(found)
    assert [one.kind for one in out.args["tensors"]] == ["unbind"] * 6 + ["select"]
    pieces = found.outputs(out.inputs[0].producer)
    assert pieces == out.inputs[:6] and users(pieces[3]) == ["cat"]
