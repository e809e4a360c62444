# `make quickstart` shows the product on real input; `make test` proves it. Both set up all they need.
.DEFAULT_GOAL := help
.PHONY: gpu-check help map quickstart loop online test lint dev unit format generate lock cluster-start cluster-stop install

help:
	@echo "make quickstart     a real Kubernetes node here, the operator on it, and a draft that earns its promotion"
	@echo "                    DASHBOARDS=FOLDER draws its Grafana dashboards there"
	@echo "make loop           the learning loop alone, without Kubernetes"
	@echo "make online         the same in mode Online: engine and trainer in one Ray cluster"
	@echo "make test           every check: lint, types, contracts, unit, API server, engine and node"
	@echo "make lint           lint, types, import contracts and generated files alone"
	@echo "make unit T=FILE    unit tests of one file, or of several; without T all of the operator's"
	@echo "make dev            the environment that make unit uses, in .venv; make dev E=core the core's, in .venv-core"
	@echo "make map            every file, with a line on it"
	@echo "make generate       write CRD, dashboards and generated pages again from the models"
	@echo "make cluster-start  the node; make install puts the product on it; make cluster-stop ends it"
	@echo "                    CLUSTER=kind: a kind cluster instead; CLUSTER=current: the current kube context"
	@echo "make gpu-check      what only an accelerator can show, with PYTHON=an environment that has SGLang on it"
	@echo "make lock           resolve dependencies again"

quickstart:
	@exec tools/quickstart.sh

loop:
	@exec tools/loop.sh

online:
	@exec tools/workshop.sh online

test:
	@exec tools/test.sh

lint:
	@exec tools/test.sh lint

dev:
	@exec tools/workshop.sh dev $(E)

unit:
	@exec tools/workshop.sh unit $(T)

map:
	@python3 tools/file_map.py

generate:
	@bin=$$(tools/bootstrap.sh) && $$bin/python tools/generate.py

format:
	@bin=$$(tools/bootstrap.sh) && $$bin/ruff format . && $$bin/ruff check --fix .

cluster-start:
	@tools/cluster.sh start

install:
	@tools/cluster.sh install

cluster-stop:
	@tools/cluster.sh stop

PYTHON ?= python3
gpu-check:
	@cd benchmarks && exec $(PYTHON) gpu_check.py $(ARGS)

lock:
	@tools/bootstrap.sh >/dev/null; tools/lock.sh
