"""Fifteen torchvision models in float64: whole and by one layer, by 2 and by 1.5."""

import warnings

import pytest
import torch
from torch import nn

import net2net
from tests.helpers import randomise

MODELS = {
    "alexnet": "features.3",
    "vgg16_bn": "features.10",
    "resnet18": "layer2.0.conv2",
    "resnet50": "layer3.1.conv1",
    "resnext50_32x4d": "layer2.1.conv2",
    "inception_v3": "Mixed_6b.branch7x7_2.conv",
    "googlenet": "inception4a.branch2.1.conv",
    "densenet121": "features.denseblock2.denselayer3.conv2",
    "mobilenet_v2": "features.4.conv.1.0",
    "mobilenet_v3_small": "features.5.block.2.fc1",
    "efficientnet_b0": "features.3.0.block.0.0",
    "shufflenet_v2_x1_0": "stage3.2.branch2.5",
    "squeezenet1_1": "features.3.expand3x3",
    "mnasnet0_5": "layers.8.0.layers.0",
    "regnet_y_400mf": "trunk_output.block2.block2-0.f.b.0",
}
SIZES = {"inception_v3": 96, "alexnet": 80}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    from torchvision.models import get_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of default initialisations to come
        options = {"init_weights": False} if request.param in {"googlenet", "inception_v3"} else {}
        teacher = get_model(request.param, num_classes=10, **options)
    if request.param == "vgg16_bn":  # nine tenths of its weights lie in the classifier
        teacher.classifier[0], teacher.classifier[3] = nn.Linear(25088, 64), nn.Linear(64, 64)
        teacher.classifier[6] = nn.Linear(64, 10)
    teacher = randomise(teacher.double().eval())
    size = SIZES.get(request.param, 64)
    torch.manual_seed(0)
    return request.param, teacher, torch.randn(2, 3, size, size, dtype=torch.float64)


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_whole(model, factor):
    _, teacher, inputs = model
    growth = net2net.widen(teacher, factor, inputs)
    assert type(growth.model) is type(teacher)
    assert growth.report.parity.dtype == torch.float64
    assert growth.report.parity.max_rel <= 1e-12
    before, after = growth.report.parameters
    assert after >= {1.5: 1.5, 2.0: 2.5}[factor] * before


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_one_layer(model, factor):
    name, teacher, inputs = model
    growth = net2net.widen(teacher, {MODELS[name]: factor}, inputs)
    assert len(growth.report.rows) == 1
    assert growth.report.parity.max_rel <= 1e-12
    assert growth.report.parameters[1] > growth.report.parameters[0]


def test_auxiliary_heads_follow_in_training_mode():
    """Evaluation never runs them; the student's training mode has to."""
    from torchvision.models import googlenet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net = googlenet(num_classes=5, init_weights=False, dropout=0.0, dropout_aux=0.0)
    teacher = randomise(net.double().eval())
    inputs = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    student = net2net.widen(teacher, 1.5, inputs).model
    before = teacher.train()(inputs)
    after = student.train()(inputs)
    for old, new in zip(before, after, strict=True):
        assert (old - new).abs().max() <= 1e-9 * old.abs().max()


def test_shuffled_channels_move_to_the_nearest_feasible_width():
    from torchvision.models import shufflenet_v2_x0_5

    teacher = randomise(shufflenet_v2_x0_5(num_classes=5).double().eval())
    inputs = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    growth = net2net.widen(teacher, 2.0, inputs)
    assert growth.report.parity.max_rel <= 1e-12
    (moved,) = [row for row in growth.report.rows if "has a place" in row.note]
    assert (moved.old, moved.new) == (48, 97)
    with pytest.raises(net2net.Net2NetError, match=r"neighbours are \[.*97\]"):
        net2net.widen(teacher, {moved.name: 96}, inputs)
