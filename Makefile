# `make quickstart` shows the product on real input; `make test` proves it. Both set up all they need.
.DEFAULT_GOAL := help
.PHONY: help quickstart test lint format lock

help:
	@echo "make quickstart   serve, train and swap on this machine (about 18 minutes), ends with a table and JSON"
	@echo "make test         every check: lint, types, import contracts, unit, property and engine tests"
	@echo "make lint         lint, types and import contracts alone"
	@echo "make lock         resolve dependencies anew"

quickstart:
	@tools/quickstart.sh

test:
	@tools/test.sh

lint:
	@tools/test.sh lint

format:
	@bin=$$(tools/bootstrap.sh) && $$bin/ruff format . && $$bin/ruff check --fix .

lock:
	@tools/bootstrap.sh >/dev/null; tools/lock.sh
