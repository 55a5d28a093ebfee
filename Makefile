PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := build/demo
# Recordings that no pretrained model was trained on.
RECORDINGS := edge_asc/demo
CLIPS := $(wildcard $(RECORDINGS)/*/*.flac)
INSTALLED := $(VENV)/.installed

MODELS := fuse bcresnet resnet
BASELINES := benchmarks/baselines
# Labelled recordings for the gate; without them it compares agreement on generated scenes.
DATA ?= $(wildcard ../shared/data/scenes10)

# Versions on the boards, and therefore on a machine that is compared with them.
PINS := benchmarks/arm/edge_asc_arm/pins.txt
# The same, and the build of torch.
CONSTRAINTS := constraints.txt
# The oldest Python, for the lowest versions of all packages.
OLDEST ?= python3.11
MINIMUM := .venv-minimum/bin
EXPORTED := $(foreach model,$(MODELS),$(addprefix build/gate/$(model)/,float int8 int8-dynamic))
# The same models as C, of which instructions are counted.
EXPORTED_C := $(MODELS:%=build/gate/%/c)
# Half of the time of all tests, beside which `make -j2 test` runs the others: those of whole programs, and of training.
PROGRAMS := $(addprefix tests/,accessibility bench cli conformance interruption listening reproduction test_snippets.py training)
# With REUSE=1, what was exported before is taken as it is.
EXPORTS := $(if $(REUSE),,$(EXPORTED))
EXPORTS_C := $(if $(REUSE),,$(EXPORTED_C))

# Pretrained models, and the artefacts of each that the wheel contains.
ZOO := $(patsubst %/checkpoint.json,%,$(wildcard edge_asc/zoo/*/checkpoint.json))
AUTHOR := The edge-asc maintainers
BUNDLES := edge_asc/zoo/fuse/float $(addsuffix /int8,$(ZOO))

# Other runtimes, in an environment of their own.
PEERS := .venv-peers/bin

.PHONY: demo conformance docs test test-programs test-parts fuzz interrupt day proof proof-c zoo exported measured gate arm peers android android-assets baselines check house minimum coverage clean $(EXPORTED) $(EXPORTED_C) $(BUNDLES)

demo: $(INSTALLED)
	$(BIN)/edge-asc demo
	$(BIN)/edge-asc export --quantize int8 --output $(DEMO)/int8
	rm -rf $(DEMO)/results
	mkdir -p $(DEMO)/results
	for clip in $(CLIPS); do \
	    $(BIN)/edge-asc classify $$clip --json --model $(DEMO)/int8 > $(DEMO)/results/$$(basename $$clip .flac).json || exit; \
	done
	$(BIN)/edge-asc bench fuse $(DEMO)/int8 --data $(RECORDINGS) --lengths 1-4 --output $(DEMO)/bench.json
	$(BIN)/edge-asc report $(DEMO)/bench.json $(DEMO)/int8/manifest.json $(DEMO)/results/*.json --output $(DEMO)/report.html

test: test-programs test-parts

test-programs: $(INSTALLED) check
	$(BIN)/python -m pytest $(PROGRAMS)

test-parts: $(INSTALLED) check
	$(BIN)/python -m pytest $(addprefix --ignore=,$(PROGRAMS))

# The documentation site, in build/site; a broken link is an error.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Damaged inputs, each read in a child process: SECONDS for all TARGETS together, at most CASES of each.
SECONDS ?= 120
CASES ?= 1000000
TARGETS ?=
fuzz: $(INSTALLED)
	$(BIN)/python tests/fuzz/harness.py --seconds $(SECONDS) --cases $(CASES) $(TARGETS)

# Processes that tests start are measured, too.
coverage: $(INSTALLED)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Signals end exports and trainings at random moments.
interrupt: $(INSTALLED)
	$(BIN)/python tests/interruption/harness.py $(or $(MOMENTS),100)

# A day of audio through `classify`, from a file of 2.8 GB and from a pipe; HOURS=1 takes less.
day: $(INSTALLED)
	$(BIN)/python tests/long/streaming.py $(or $(HOURS),24)

proof: $(INSTALLED)
	$(BIN)/python -m pytest -m slow -s

# C against LiteRT, bit by bit, on all recordings and with all compilers and kernels at hand: an hour.
proof-c: $(INSTALLED)
	$(BIN)/python tools/c_proof.py $(DATA)

# After a change of a checkpoint or of the export; tests/test_zoo.py says when.
zoo: $(BUNDLES)

$(BUNDLES): $(INSTALLED)
	$(BIN)/edge-asc export $(@D) --quantize $(subst float,none,$(@F)) --author "$(AUTHOR)" --license Apache-2.0 --output $@

exported: $(EXPORTED)

$(EXPORTED): build/gate/%: $(INSTALLED)
	$(BIN)/edge-asc export $(*D) --quantize $(subst float,none,$(*F)) --output $@

$(EXPORTED_C): build/gate/%/c: $(INSTALLED)
	$(BIN)/edge-asc export $* --quantize int8 --format c --output $@

measured: $(EXPORTS)
	for model in $(MODELS); do \
	    $(BIN)/edge-asc bench $$model build/gate/$$model/float build/gate/$$model/int8 $(DATA:%=--data %) \
	        --lengths 1-5 --rounds 10 --output build/gate/$$model.json || exit; \
	done

gate: measured
	for model in $(MODELS); do \
	    $(BIN)/edge-asc check build/gate/$$model.json --config $(BASELINES)/edge-asc.toml \
	        --baseline $(BASELINES)/$(if $(DATA),recordings,generated)/$$model.json || exit; \
	done

arm: $(EXPORTS) $(EXPORTS_C)
	$(BIN)/edge-asc arm conformance $(EXPORTED) --output build/arm/conformance.json
	$(BIN)/edge-asc arm cost $(EXPORTED) $(EXPORTED_C) --output build/arm/cost.json
	$(BIN)/edge-asc report build/arm/conformance.json build/arm/cost.json --output build/arm/report.html
	$(BIN)/edge-asc check build/arm/cost.json --baseline $(BASELINES)/arm.json
	$(BIN)/python -m pytest -m arm

peers: pyproject.toml
	$(PYTHON) -m venv .venv-peers
	$(PEERS)/pip install --quiet --constraint $(PINS) --editable '.[peers]' pytest hypothesis
	$(PEERS)/python -m pytest tests/peers -m peers
	$(PEERS)/edge-asc peers --output build/peers
	for result in build/peers/*.json; do $(PEERS)/edge-asc report $$result --output $${result%.json}.html || exit; done

# The same artefacts in other languages and runtimes; needs Node, npm and Chromium.
conformance: $(INSTALLED)
	npm ci --prefix examples
	$(BIN)/edge-asc conformance golden --output build/golden
	$(BIN)/edge-asc conformance measure build/golden --output build/conformance.json --page build/conformance.md

android-assets: $(INSTALLED) $(EXPORTS)
	$(BIN)/edge-asc android assets build/gate $(MODELS)

android: android-assets
	$(BIN)/edge-asc android build

baselines: measured $(EXPORTS_C)
	for model in $(MODELS); do \
	    $(BIN)/edge-asc check build/gate/$$model.json --update-baseline \
	        --baseline $(BASELINES)/$(if $(DATA),recordings,generated)/$$model.json || exit; \
	done
	$(BIN)/edge-asc arm cost $(EXPORTED) $(EXPORTED_C) --output build/arm/cost.json
	$(BIN)/edge-asc check build/arm/cost.json --update-baseline --baseline $(BASELINES)/arm.json

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTHON) tools/house.py

# The lowest versions that pyproject.toml declares: first what a device needs, then what exports and measures.
minimum:
	mkdir -p build
	rm -rf $(dir $(MINIMUM))
	$(OLDEST) -m venv $(dir $(MINIMUM))
	for extras in onnx,tflite,adapt export,bench; do \
	    $(OLDEST) tools/minimum.py $$(echo $$extras | tr , ' ') > build/minimum.txt && \
	    $(MINIMUM)/pip install --quiet --constraint build/minimum.txt --editable ".[$$extras]" pytest hypothesis && \
	    $(MINIMUM)/python -m pytest -rs @tests/light.txt || exit; \
	done

# Sizes, imports and types of the packages; the bars are in the script.
house:
	$(PYTHON) tools/house.py

$(INSTALLED): pyproject.toml $(CONSTRAINTS) $(PINS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-peers .venv-minimum build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
