"""Transformers of every kind at widths of one's own: stream, MLP and heads, alone and together.

The students compute what their teachers do, generate the same text, and load from their own
configurations where these can say the widths.
"""

import copy
import functools
import re
import warnings
from fnmatch import fnmatchcase

import pytest
import torch

import net2net
from net2net import Net2NetError
from tests.any_width import DECODERS, ENCODERS, EXACT, MULTIPLES, Logits

NETS = {**DECODERS, **ENCODERS, **MULTIPLES}
ALONE = [(name, part) for name, net in NETS.items() for part in net.parts]
OTHERS = "timm", "torchvision", "mixer"
"""No models of transformers."""
TOKENS = 64
"""Generated."""
ANEW = "gemma", "gemma2", "gemma3_text", "t5"
"""Their classes make numbers of the stream's width that are no sizes; every width is said."""


@pytest.fixture(autouse=True)
def _libraries() -> None:
    for library in ("transformers", "timm", "torchvision"):
        pytest.importorskip(library)


@functools.cache
def teacher_of(name):
    return NETS[name].model()


@functools.cache
def grown(name, *parts):
    """Nothing measured by the library itself; an error is the same on every call."""
    net = NETS[name]
    try:
        return net2net.widen(teacher_of(name), net.widths(*parts), net.inputs(), verify=False)
    except Net2NetError as error:
        return error


def growth_of(name, *parts):
    growth = grown(name, *parts)
    if isinstance(growth, Net2NetError):
        raise growth
    return growth


def outputs_of(model, inputs):
    with torch.no_grad():
        output = model(**copy.deepcopy(inputs))
    return output if isinstance(output, torch.Tensor) else output.logits


def gap(old, new):
    assert old.shape == new.shape
    assert old.abs().max() > 0.01
    return float((old - new).abs().max() / old.abs().max())


def check(name, *parts):
    """What was asked grew to where it should and nothing else did, and the function is kept: by
    the models' own code, and where that computes in float32, in float64 as well."""
    net, teacher, growth = NETS[name], teacher_of(name), growth_of(name, *parts)
    report = growth.report
    asked = {glob: net.parts[part].ratio for part in parts for glob in net.parts[part].globs}
    assert not report.stayed, str(report)
    for row in report.rows:
        ratios = {ratio for glob, ratio in asked.items() if fnmatchcase(row.name, glob)}
        assert {row.new} == {round(row.old * ratio) for ratio in ratios}, str(report)
    for glob in asked:
        assert any(fnmatchcase(row.name, glob) for row in report.rows), str(report)
    before, after = report.parameters
    assert after > before
    assert after == sum(parameter.numel() for parameter in growth.model.parameters())

    inputs = net.inputs()
    expected = outputs_of(teacher, inputs)
    assert gap(expected, outputs_of(growth.model, inputs)) <= net.tolerance
    if net.float32:
        parity = net2net.verify(teacher, growth.model, inputs)
        assert parity.dtype == torch.float64 and parity.max_rel <= EXACT, str(parity)


@pytest.mark.parametrize(("name", "part"), ALONE)
def test_alone(name, part):
    check(name, part)


@pytest.mark.parametrize("name", NETS)
def test_together(name):
    check(name, *NETS[name].together)


@pytest.mark.parametrize("name", MULTIPLES)
def test_whole_multiples_and_why(name):
    """Between whole multiples the (first) stream stays, and the table of spaces names what forbids
    more."""
    net, teacher = MULTIPLES[name], teacher_of(name)
    report = net2net.estimate(teacher, {net.parts["stream"].globs[0]: 1.37}, net.inputs())
    assert not report.rows
    (row,) = report.stayed
    assert row.new == row.old and re.search(net.forbids, row.note), row.note
    lines = str(net2net.spaces(teacher, net.inputs())).splitlines()
    assert any(line.startswith(f"{row.name} ") and re.search(net.forbids, line) for line in lines)


@pytest.mark.parametrize(
    ("name", "seed", "taken"),
    [("bert", 0, "12 of 44 units"), ("convnext", 0, "4 of 14 units"), ("mixer", 8, "copies")],
)
def test_any_width_if_it_need_not_be_exact(name, seed, taken):
    """Between whole multiples the report says what changes the function, and how far it is off:
    copies, where these are closer than pads (a mixer's are about as close, by seed)."""
    net, teacher = MULTIPLES[name], teacher_of(name)
    asked = dict.fromkeys(net.parts["stream"].globs, 1.37)
    options = {"method": "replicate", "exact": False, "seed": seed}
    report = net2net.widen(teacher, asked, net.inputs(), **options).report
    assert not report.stayed and len(report.rows) == len(asked)
    assert {row.new for row in report.rows} == {round(row.old * 1.37) for row in report.rows}
    assert f"{taken} change what is computed" in report.rows[0].note
    assert net.tolerance < report.parity.max_rel < 0.1


def test_heads_that_constants_tell_apart_stay():
    """BLOOM's heads have slopes of their own (ALiBi), which the code makes for one head each."""
    teacher, net = teacher_of("bloom"), MULTIPLES["bloom"]
    with pytest.raises(net2net.NotGrowableError, match=r"query_key_value.*baddbmm.*a constant"):
        net2net.widen(teacher, {"*.self_attention.query_key_value": 1.5}, net.inputs())


def inner(model):
    return model.inner if isinstance(model, Logits) else model


def generated(name, model, more=TOKENS):
    inputs = {"input_ids": NETS[name].inputs()["input_ids"]}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of masks and lengths
        return inner(model).generate(
            **inputs, attention_mask=torch.ones_like(inputs["input_ids"]), do_sample=False,
            max_new_tokens=more, min_new_tokens=more, eos_token_id=None, use_cache=True,
        )  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
def test_generates_the_same(name):
    student = growth_of(name, *NETS[name].together).model
    expected = generated(name, teacher_of(name))
    assert expected.shape[1] > TOKENS and len(expected.unique()) > 2
    assert torch.equal(generated(name, student), expected)


@pytest.mark.parametrize("which", ["mlp", "together"])
@pytest.mark.parametrize("name", [name for name in NETS if not name.startswith(OTHERS)])
def test_loads_from_its_config_or_says_that_it_cannot(name, which, tmp_path):
    parts = NETS[name].together if which == "together" else [which]
    growth = growth_of(name, *parts)
    student = inner(growth.model)
    student.save_pretrained(tmp_path)
    said = [note for note in growth.report.notes if "config" in note]
    assert loads(student, tmp_path, NETS[name]) is not bool(said), said
    assert not (said and name in ANEW)


def loads(student, folder, net):
    """Whether the class, without a word of the student, computes what it does."""
    try:
        loaded = type(student).from_pretrained(
            folder, dtype=torch.float64, experts_implementation="eager"
        )
    except (RuntimeError, ValueError):  # other sizes, or none that its configuration takes
        return False
    inputs = net.inputs()
    return gap(outputs_of(student, inputs), outputs_of(loaded, inputs)) <= net.tolerance
