# make demo   set up .venv, train examples/digits once, build it for a Raspberry Pi 4
# make test   set up .venv and the system programs, then lint and every test tier that this machine can run
# make test-zoo  every model of keras.applications (ten to twenty minutes)
# make PYTHON=python3.12 demo   chooses the interpreter of a new .venv

SHELL := /bin/bash
PYTHON ?=
DIGITS := examples/digits
# In quotes wherever it is used: the checkout may be under a path with a space.
BIN := $(CURDIR)/.venv/bin
DEMO_BUILD := "$(BIN)/edgeprune" build edgeprune.toml --target rpi4

.PHONY: demo test test-zoo lint venv clean

# A demo that was stopped goes on; one from before a change of the example or of edgeprune starts over. Exit 2 has many
# causes, so the command is asked again for its reason; capturing stderr the first time would take the progress bar away.
demo: $(DIGITS)/work/model.keras
	cd $(DIGITS) && { $(DEMO_BUILD) || { [ $$? -eq 2 ] && \
		$(DEMO_BUILD) 2>&1 >/dev/null | grep -q "holds another build" && \
		echo "demo: starting over" >&2 && $(DEMO_BUILD) --fresh; }; }

# train.py writes the model last, so the data is there too.
$(DIGITS)/work/model.keras: $(DIGITS)/train.py | venv
	"$(BIN)/python" $(DIGITS)/train.py

test: lint
	tools/install_system.sh
	"$(BIN)/python" tools/run_tests.py

test-zoo: venv
	"$(BIN)/python" -m pytest -q -m zoo tests/zoo

lint: venv
	"$(BIN)/ruff" check
	"$(BIN)/ruff" format --check
	"$(BIN)/mypy"

venv:
	@PYTHON="$(PYTHON)" tools/setup_venv.sh

clean:
	rm -rf .venv build dist edgeprune.egg-info examples/*/work .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find edgeprune tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} +
