# make demo    a whole device on this computer: nucleus, broker, components, sample images
# make loop    a device learns a new concept: the whole cycle, on this computer
# make test    static checks and the test suite
# Both make their own environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

IMAGES ?= assets/scenes
PROMPTS ?=
PROFILE ?= classic
BUNDLE ?= assets/demo-bundle
OUT ?= .demo
# OPEN=1 opens the live page in a browser, and the demo goes on until Ctrl-C
OPEN ?=

# the stage that is deployed: a file in infra/stages; OPTIONS goes to new_stage, FLAGS to the CDK's command line
STAGE ?= dev
OPTIONS ?=
FLAGS ?=
YES ?=
CDK := infra/node/node_modules/.bin/cdk
ASSEMBLY := build/cdk/$(STAGE)

# a device and its tests are many processes, and each would compile every module anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo loop test check pytest benchmark env env-dev format schema picture page-picture vendor demo-bundle \
	definition clean new_stage synth diff push-images deploy destroy named snapshots architecture

demo: env
	@$(BIN)/python -m sam3edge_simulator.demo --images "$(IMAGES)" --prompts "$(PROMPTS)" --profile $(PROFILE) \
		--bundle "$(BUNDLE)" --out "$(OUT)" $(if $(filter-out 0,$(OPEN)),--open)

# a device meets something new, and learns it: hard examples, labels, training, evaluation, registry, roll-out
loop: env-dev
	@$(BIN)/python -m sam3edge_simulator.loop --out .loop

test: check pytest

check: env-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

pytest: env-dev
	$(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder -q -m "not slow and not gpu and not aws" --benchmark-disable

benchmark: env-dev
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-columns=min,median,ops

format: env-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# the JSON Schema of every topic, kept in the repository
schema: env-dev
	$(BIN)/python -m sam3edge.cli.schemas --out components/sam3edge/core/messages/schemas

# the picture in the README, from the overlays of the last demo
picture: env
	$(BIN)/python -m sam3edge_simulator.demo.picture --overlays "$(OUT)/overlays" --target assets/demo.jpg

# the pictures of the live page in the README, from the page itself; needs Chromium
page-picture: env-dev
	PYTHONPATH=tests $(BIN)/python -m support.page_pictures --picture assets/live-page.jpg --moving assets/live-page.webp

# the libraries of the live page, as npm has them, by the versions in their manifest
vendor: env-dev
	$(BIN)/python -m sam3edge_serving.live_map.vendoring

# the demo bundle from its checkpoint, as any bundle is made; then how good it is on scenes that it has never seen
DEMO_RELEASE := $(OUT)/sam3edge-demo-1.3.0
demo-bundle: env-dev
	rm -rf $(DEMO_RELEASE)
	$(BIN)/sam3edge-export --checkpoint assets/demo-checkpoint --prompts assets/demo-prompts.txt --image-limit 16 \
		--precision fp16-weights --text-encoder --no-exemplars --out $(DEMO_RELEASE)
	rm -rf assets/demo-bundle
	cp -r $(DEMO_RELEASE) assets/demo-bundle
	$(BIN)/python -m sam3edge_pipeline.evaluation.bundle assets/demo-bundle --out assets/demo-quality.json

env: $(VENV)/demo-is-installed
env-dev: $(VENV)/dev-is-installed $(VENV)/node-is-installed

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info < (3, 14) else "expected Python 3.10 to 3.13, this is " + sys.version.split()[0] + "; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo-is-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV) (once)"
	@$(PIP) -e ".[simulator]"
	@touch $@

$(VENV)/dev-is-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV) (once)"
	@$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/demo-is-installed

# OpenAI's client for Node.js, which a test asks the API with, and what checks state machines; without npm those tests are
# skipped
NODE_CLIENT := tests/integration/api/node
$(VENV)/node-is-installed: $(NODE_CLIENT)/package-lock.json infra/node/package-lock.json | $(BIN)/python
	@if command -v npm >/dev/null; then \
		npm ci --omit=peer --no-audit --no-fund --silent --prefix $(NODE_CLIENT) || echo "npm could not install OpenAI's client"; \
		npm ci --no-audit --no-fund --silent --prefix infra/node || echo "npm could not install the CDK's command line"; \
	fi
	@touch $@

# a stage file, by questions, or make new_stage OPTIONS="--name test --account ..."
new_stage: env-dev
	@$(BIN)/python -m sam3edge_infra.stages.new_stage $(OPTIONS)

# templates of a stage: no account, no Docker, and once env-dev has its packages no network
synth: env-dev
	rm -rf $(ASSEMBLY)
	$(BIN)/python -m sam3edge_infra.app --stage $(STAGE) --out $(ASSEMBLY)

diff: synth $(CDK)
	$(CDK) diff --app $(ASSEMBLY) '**' $(FLAGS)

# before "make deploy" of a stage with containers: {source: pull}; the storage stack has the repositories
push-images: synth $(CDK)
	$(CDK) deploy --app $(ASSEMBLY) '**/storage' --require-approval broadening $(FLAGS)
	$(BIN)/python -m sam3edge_infra.push_images --stage $(STAGE)

# needs credentials of the stage's account, "cdk bootstrap" once, and Docker where images are built. --all is the top
# level: of a stage with a delivery that is its pipeline, which deploys the others; ** is everything
deploy: synth $(CDK)
	$(CDK) deploy --app $(ASSEMBLY) '**/storage' --require-approval broadening $(FLAGS)
	$(BIN)/python -m sam3edge_infra.components --stage $(STAGE)
	$(CDK) deploy --app $(ASSEMBLY) --all --require-approval broadening $(FLAGS)

# no stage by default, and its name is asked for before anything is deleted; with YES=1 it is not
destroy: named synth $(CDK)
	$(BIN)/python -m sam3edge_infra.destroy --stage $(STAGE) $(if $(YES),--yes)
	$(CDK) destroy --app $(ASSEMBLY) '**' --force $(FLAGS)

named:
	@$(if $(filter file,$(origin STAGE)),$(error expected make $(MAKECMDGOALS) STAGE=..., the stage by its name))

$(CDK): infra/node/package-lock.json
	npm ci --no-audit --no-fund --silent --prefix infra/node
	@touch $@

# the picture of the stacks in docs, from the templates of the default stage
architecture: env-dev
	rm -rf build/cdk/architecture
	$(BIN)/python -m sam3edge_infra.app --stage dev --out build/cdk/architecture
	$(BIN)/python -m sam3edge_infra.architecture --assembly build/cdk/architecture --stage dev --out docs/architecture.svg

# the snapshots of the templates that the tests compare with
snapshots: env-dev
	WRITE_SNAPSHOTS=1 $(BIN)/python -m pytest -q tests/unit/infra/test_snapshots.py

clean:
	rm -rf $(VENV) $(OUT) greengrass-build $(NODE_CLIENT)/node_modules infra/node/node_modules build/cdk

# the definition of the pipeline, by SageMaker's SDK in an environment of its own; CHECK=--check only compares
definition:
	test -x .venv-definition/bin/python || $(PYTHON) -m venv .venv-definition
	.venv-definition/bin/python -m pip install --quiet --disable-pip-version-check -e ".[definition]"
	AWS_DEFAULT_REGION=eu-central-1 .venv-definition/bin/python -m sam3edge_pipeline.definition.build $(CHECK)
