# Each target creates .venv and installs what it needs. torch comes pinned from constraints.txt;
# torchvision and timm come without their dependencies, which would bring another build of torch.
PYTHON ?= python3
PIP = .venv/bin/pip install --quiet --constraint constraints.txt

.PHONY: demo test lint docs bench clean

demo: .venv/demo.stamp
	.venv/bin/net2net-lab demo

test: .venv/test.stamp
	.venv/bin/pytest -n auto

lint: .venv/test.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: .venv/test.stamp
	.venv/bin/python docs/make_api.py
	.venv/bin/python docs/make_maps.py

bench: .venv/test.stamp
	.venv/bin/python benchmarks/resnet50.py
	.venv/bin/python benchmarks/inference.py
	.venv/bin/python benchmarks/growth.py

.venv/venv.stamp: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch numpy
	touch $@

.venv/demo.stamp: .venv/venv.stamp pyproject.toml lab/pyproject.toml
	$(PIP) --editable . --editable lab
	touch $@

.venv/test.stamp: .venv/venv.stamp pyproject.toml lab/pyproject.toml
	$(PIP) --editable '.[dev,hf]' --editable lab
	$(PIP) --no-deps torchvision timm
	touch $@

clean:
	rm -rf .venv
