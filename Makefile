# The whole daily life of the project. `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test browser lint format bench docs clean

setup: $(READY)

# torch first and by itself: pip then takes exactly the pinned build for it and for torchvision.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/stremn demo --out demo-output --overwrite

test: $(READY)
	@command -v chromium || command -v chromium-browser || command -v google-chrome || $(MAKE) browser
	$(BIN)/python -m pytest --numprocesses auto

# For the tests of pages: Debian's Chromium where it can be installed, else Playwright's.
browser: $(READY)
	if [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then \
		apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium; \
	else $(BIN)/playwright install chromium; fi

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# PEERS="--cutie CHECKOUT ..." also runs the comparison with other networks.
bench: $(READY)
	$(BIN)/python benchmarks/constant_memory.py
	$(BIN)/python benchmarks/rollout.py
	$(BIN)/python benchmarks/read_methods.py
ifdef PEERS
	$(BIN)/python benchmarks/speed_against_peers.py $(PEERS)
endif

# Pages into site/; any warning is an error.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) demo-output site build dist src/*.egg-info
