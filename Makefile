# The verbs of the lab; `make help` lists them. Each sets up what it needs.
.DEFAULT_GOAL := help
LABCTL := .venv/bin/labctl
SCENARIO ?= offboarding

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: lab-up ## bring the lab up and replay the offboarding scenario
	@$(LABCTL) scenario offboarding

lab-up: setup engine ## bring the lab up
	@$(LABCTL) up

lab-down: setup ## stop the lab; mail and entries stay
	@$(LABCTL) down

lab-reset: setup ## put directory and mailboxes back to the seed
	@$(LABCTL) reset

scenario: setup ## replay one scenario: make scenario SCENARIO=send-disabled
	@$(LABCTL) scenario $(SCENARIO)

test: dev-setup ## run the whole test suite, live tests included (LAB_TESTS=unit: only the quick ones)
	@scripts/test

lint: dev-setup ## check style and types
	@scripts/lint

prove: setup engine ## break a lab in many ways, and see a scenario notice each (some minutes)
	@$(LABCTL) prove

bench: dev-setup engine ## take all measurements in short form, and write docs/performance.md anew
	@.venv/bin/python scripts/performance.py

bench-quick: dev-setup engine ## measure start-up, images, memory, the off-boarding and what the policy costs
	@for name in footprint scenario cost; do $(LABCTL) -n bench-quick bench $$name --short || failed=1; done; exit $${failed:-0}

reference: dev-setup ## write the scenarios' JSON Schema and reference anew, from the models
	@.venv/bin/python scripts/reference.py

lock: dev-setup ## write requirements.lock and requirements-dev.lock anew
	@.venv/bin/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml
	@.venv/bin/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --allow-unsafe --extra dev --output-file requirements-dev.lock pyproject.toml

setup: ## make the virtual environment
	@scripts/setup

dev-setup:
	@scripts/setup dev

engine: ## make sure that a Docker Engine answers
	@scripts/engine

.PHONY: help demo lab-up lab-down lab-reset scenario test lint prove bench bench-quick reference lock setup dev-setup engine
