# `make quickstart` shows the product on real input; `make test` proves it. Both set up all they need.
.DEFAULT_GOAL := help
.PHONY: help quickstart loop test lint format generate lock cluster-start cluster-stop install

help:
	@echo "make quickstart     a real Kubernetes node here, the operator on it, and a draft that earns its promotion"
	@echo "make loop           the learning loop alone, without Kubernetes"
	@echo "make test           every check: lint, types, contracts, unit, API server, engine and whole node"
	@echo "make lint           lint, types, import contracts and generated files alone"
	@echo "make generate       write CRD, dashboards and generated pages anew from the models"
	@echo "make cluster-start  the node; make install puts the product on it; make cluster-stop ends it"
	@echo "                    CLUSTER=kind: a kind cluster instead; CLUSTER=current: the current kube context"
	@echo "make lock           resolve dependencies anew"

quickstart:
	@tools/quickstart.sh

loop:
	@tools/loop.sh

test:
	@tools/test.sh

lint:
	@tools/test.sh lint

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

lock:
	@tools/bootstrap.sh >/dev/null; tools/lock.sh
