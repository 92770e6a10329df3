"""Exported graphs: sizes that are written into a model's code become attributes of its graph.

Where ``forward`` says ``x.view(-1, 8, 16)``, no student of the same class can be wider there. But
the graph that ``torch.export`` makes of the model can: in it every size is an integer argument of
an operation. Here each of them becomes an attribute of the graph module, so what finds and sets the
attributes that a class reads (``traced_ints.py``, ``attributes.py``) finds and sets them too.

Torch's own layers stay what they are, with their names, hooks and training mode; the code around
them is the graph.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import operator
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ShapesCollection
from torch.fx.node import map_aggregate
from torch.utils._pytree import tree_leaves, tree_map

from net2net.errors import PlanError, UnsupportedModelError
from net2net.trace.alone import ALONE
from net2net.trace.input_spec import from_spec
from net2net.trace.meta_copy import copied, named_tensors
from net2net.trace.trace import quiet, split_inputs


class GraphModel(fx.GraphModule):
    """The graph of a model, with the model's own tensors under their own names.

    What a module returned passes through the module of its name, so that hooks see it.
    """

    trains: bool
    """In training mode it does what the model does in training."""

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModel:
        """``GraphModule`` would keep only what the graph reads, in the order of reading."""
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        with ALONE, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, of copying its own specs
            vars(result).update(copy.deepcopy(vars(self), memo))
        result.recompile()
        return result


class Passage(nn.Module):
    """What is left of a module whose code is in the graph: its tensors, and a place to pass."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def graph_of(model: nn.Module, inputs: Any) -> GraphModel:
    """The graph of a model, which shares its tensors.

    Args:
        inputs: what the model runs on, as ``spec_of``. All sizes that the code leaves open stay
            open, and so does a batch of one.

    Raises:
        UnsupportedModelError: ``torch.export`` cannot capture the model.
    """
    program, whole = _captured(model, inputs, training=False)
    graph = program.graph
    result = GraphModel(nn.Module(), fx.Graph())
    _fill(result, copied(model, _shared(model)), "", whole, {})
    result.trains = _follow_training(program, model, inputs)
    _take_over(graph, program, result)
    result.graph = graph
    for part in result.modules():
        if isinstance(part, fx.GraphModule):
            _make_attributes(part)
    return result


def _captured(model: nn.Module, inputs: Any, *, training: bool) -> tuple[fx.GraphModule, set[str]]:
    """What ``torch.export`` makes of a model, with its layers put back; and their paths."""
    program = _exported(model, inputs, training).module()
    graph = program.graph
    for node in graph.nodes:
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)  # it would bind the student to one type
    paths = {path for path, _ in model.named_modules(remove_duplicate=False)}
    whole = _keep_layers(graph, model)
    _pass_through(graph, paths - whole)
    return program, whole


@dataclass(frozen=True)
class Export:
    """How to make the graph of a model again: what the model runs on, as ``spec_of``, and the
    graph's checksum."""

    inputs: Any
    code: str

    def of(self, model: nn.Module) -> GraphModel:
        """The graph of a copy of that model.

        Raises:
            PlanError: it is another graph.
        """
        graph = graph_of(model, self.inputs)
        if checksum(graph) != self.code:
            raise PlanError(
                f"torch.export makes another graph of this {type(model).__name__} than of the "
                "teacher that the plan was made for: other code, another version of torch, or "
                "another device. Make the plan again."
            )
        return graph


def checksum(graph: GraphModel) -> str:
    """Of the code, and of the integers that it reads."""
    parts = [part for part in graph.modules() if isinstance(part, fx.GraphModule)]
    integers = [sorted((k, v) for k, v in vars(part).items() if type(v) is int) for part in parts]
    return hashlib.sha256(repr(([part.code for part in parts], integers)).encode()).hexdigest()


def _shared(model: nn.Module) -> dict[int, Any]:
    """For a copy that shares the tensors."""
    return {id(tensor): tensor for _, tensor in named_tensors(model)}


def _exported(model: nn.Module, inputs: Any, training: bool) -> torch.export.ExportedProgram:
    double = copied(model, _shared(model)).train(training)
    device = next((tensor.device for _, tensor in named_tensors(model)), torch.device("cpu"))
    given = from_spec(inputs, device)
    reasons = []
    for one in _roomy(given):
        args, kwargs = split_inputs(one)
        shapes: Any = ShapesCollection()  # type: ignore[no-untyped-call]
        for leaf in tree_leaves(one):
            if isinstance(leaf, Tensor):
                shapes[leaf] = dict.fromkeys(range(leaf.ndim), Dim.AUTO)
        try:
            with ALONE, quiet(), torch.random.fork_rng(), torch.enable_grad():
                return torch.export.export(
                    double, args, kwargs, dynamic_shapes=shapes, strict=False
                )
        except Exception as error:
            reasons.append(error)
    first = str(reasons[-1]).strip().partition("\n")[0]
    raise UnsupportedModelError(
        f"torch.export cannot make a graph of {type(model).__name__}: "
        f"{type(reasons[-1]).__name__}: {first}. "
        "Read the size from a tensor's shape in forward."
    ) from reasons[-1]


def _roomy(inputs: Any) -> Iterator[Any]:
    """Export takes an axis of size 1 for one that always is: a batch of one is made two first."""
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    if tensors and all(tensor.ndim and tensor.shape[0] == 1 for tensor in tensors):
        yield tree_map(lambda x: torch.cat([x, x]) if isinstance(x, Tensor) else x, inputs)
    yield inputs


# -- modules ---------------------------------------------------------------------------------------


def _stack(node: fx.Node) -> list[tuple[str, str]]:
    """The calls that a node was made in, outermost first: a key for each call, and the path of its
    module."""
    found = (node.meta.get("nn_module_stack") or {}).items()
    return [(key, path) for key, (path, _) in found if path]


def _may_stay(part: nn.Module) -> bool:
    """One of torch's own layers, which takes one tensor: a graph can call it."""
    return (
        type(part).__module__.startswith("torch.nn.modules.")
        and "forward" not in vars(part)
        and not list(part.children())
        and len(inspect.signature(type(part).forward).parameters) == 2
    )


def _keep_layers(graph: fx.Graph, model: nn.Module) -> set[str]:
    """Put calls of layers in the place of what they did. Returns the layers' paths."""
    modules = dict(model.named_modules(remove_duplicate=False))
    calls: dict[tuple[str, str], list[fx.Node]] = {}
    for node in graph.find_nodes(op="call_module"):
        node.meta = {}  # the checks of the inputs, which export ascribes to the first layer
    for node in graph.nodes:
        innermost = next(reversed(_stack(node)), ("", ""))
        if innermost[1] in modules and _may_stay(modules[innermost[1]]):
            calls.setdefault(innermost, []).append(node)
    opened = {path for (_, path), nodes in calls.items() if list(map(len, _ends(nodes))) != [1, 1]}
    for (_, path), nodes in calls.items():
        if path not in opened:
            (source,), (result,) = _ends(nodes)
            with graph.inserting_before(nodes[0]):
                call = graph.create_node("call_module", path, (source,))
            call.meta = result.meta
            result.replace_all_uses_with(call)
            for node in reversed(nodes):
                graph.erase_node(node)
    return {path for _, path in calls} - opened


def _ends(nodes: list[fx.Node]) -> tuple[set[fx.Node], set[fx.Node]]:
    """The tensors that some nodes take from others, and the nodes that others use."""
    inside = set(nodes)
    taken = {arg for node in nodes for arg in node.all_input_nodes} - inside
    sources = {node for node in taken if node.op != "get_attr" and _is_tensor(node)}
    return sources, {node for node in nodes if node.users.keys() - inside}


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _is_number(node: fx.Node) -> bool:
    """A size that is read: export notes that in no module."""
    return isinstance(node.meta.get("val"), (int, torch.SymInt))


def _pass_through(graph: fx.Graph, paths: set[str]) -> None:
    """Let what a module returns pass through it."""
    for node in [node for node in graph.nodes if _is_tensor(node)]:
        for key, path in reversed(_stack(node)):
            outside = [
                user
                for user in node.users
                if (key, path) not in _stack(user) and not _is_number(user)
            ]
            if outside and path in paths:
                with graph.inserting_after(node):
                    passed = graph.create_node("call_module", path, (node,))
                passed.meta = node.meta
                for user in outside:
                    user.replace_input_with(node, passed)
                node = passed


def _fill(
    bare: nn.Module, part: nn.Module, path: str, whole: set[str], made: dict[int, nn.Module]
) -> None:
    """Give a module the tensors of another, and children likewise."""
    made[id(part)] = bare
    for key in ("training", "_parameters", "_buffers", "_non_persistent_buffers_set"):
        vars(bare)[key] = vars(part)[key]
    for name, child in list(part._modules.items()):
        inner = f"{path}.{name}" if path else name
        if child is not None and inner not in whole:
            if id(child) not in made:
                holds = type(child).forward is nn.Module.forward  # a list: nobody calls it
                _fill(child if holds else Passage(), child, inner, whole, made)
            child = made[id(child)]
        bare._modules[name] = child


def _take_over(graph: fx.Graph, program: nn.Module, result: nn.Module) -> None:
    """What the graph reads and the model has not: constants, checks of the inputs, and regions
    without gradients. What nothing reads any more goes."""
    for node in list(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
        elif node.op in {"get_attr", "call_module"}:
            try:
                operator.attrgetter(node.target)(result)
            except AttributeError:
                holder, _, name = node.target.rpartition(".")
                owner = result.get_submodule(holder)
                setattr(owner, name, operator.attrgetter(node.target)(program))


# -- training --------------------------------------------------------------------------------------


def _follow_training(program: fx.GraphModule, model: nn.Module, inputs: Any) -> bool:
    """Let arguments that are false in evaluation and true in training read ``training`` of the
    module whose code gives them. Returns whether nothing else differs."""
    try:
        other, _ = _captured(model, inputs, training=True)
    except UnsupportedModelError:
        return False
    graph = program.graph
    ours, theirs = _steps(graph), _steps(other.graph)
    if len(ours) != len(theirs) or _regions(program) != _regions(other):
        return False
    flags: list[tuple[fx.Node, int]] = []
    for node, one, two in zip(graph.nodes, ours, theirs, strict=True):
        if len(one) != len(two):
            return False
        for place, (x, y) in enumerate(zip(one, two, strict=True)):
            if x is False and y is True:
                flags.append((node, place))
            elif x != y:
                return False
    for node, place in flags:
        stack = _stack(node)
        name = f"{stack[-1][1]}.training" if stack else "training"
        with graph.inserting_before(node):
            _put(node, place, graph.create_node("get_attr", name))
    return True


def _regions(program: fx.GraphModule) -> list[str]:
    """The code of regions without gradients."""
    parts = [part for part in program.modules() if isinstance(part, fx.GraphModule)]
    return [part.code for part in parts if part is not program]


def _steps(graph: fx.Graph) -> list[list[Any]]:
    """For every node its arguments, flat, and what it does; other nodes by number."""
    number = {node: f"%{i}" for i, node in enumerate(graph.nodes)}
    steps = []
    for node in graph.nodes:
        step: list[Any] = []
        map_aggregate((node.args, node.kwargs), step.append)
        step = [number[x] if isinstance(x, fx.Node) else x for x in step]
        steps.append([*step, node.op, str(node.target)])
    return steps


def _put(node: fx.Node, place: int, new: fx.Node) -> None:
    """Replace one of the arguments, counted flat."""
    places = count()
    node.args, node.kwargs = map_aggregate(
        (node.args, node.kwargs), lambda x: new if next(places) == place else x
    )


# -- integers --------------------------------------------------------------------------------------


def _make_attributes(part: fx.GraphModule) -> None:
    """Make the integers of a graph attributes of its module, named by node and place in it."""
    graph = part.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        _count_from_front(node)
        arguments: list[Any] = []
        map_aggregate((node.args, node.kwargs), arguments.append)
        for place, item in enumerate(arguments):
            if type(item) is int and 1 < item < sys.maxsize:
                name = f"literal_{node.name}_{place}"
                setattr(part, name, item)
                with graph.inserting_before(node):
                    _put(node, place, graph.create_node("get_attr", name))
    for node in graph.nodes:
        node.meta = {}
    part.graph = graph


def _count_from_front(node: fx.Node) -> None:
    """``[-8:]`` of 32 is ``[24:]``: what counts from the end of an axis would not say how far its
    front grew."""
    if node.target is torch.ops.aten.slice.Tensor:
        tensor, dim, *rest = node.args
        size = node.all_input_nodes[0].meta["val"].shape[dim]
        if isinstance(size, int):
            ends = [max(x + size, 0) if isinstance(x, int) and x < 0 else x for x in rest[:2]]
            node.args = (tensor, dim, *ends, *rest[2:])
