# make demo         a 12-run campaign on real data in git history   (SEED=1 searches elsewhere, RUNS=30 longer, WORKERS=1 leaves a core free)
# make test         the tests
# PYTHON=python3.12 builds .venv with another interpreter (3.10 or later)

PYTHON ?= python3
SEED ?= 0
RUNS ?= 12
WORKERS ?= 2
CAMPAIGN ?= demo
PROBLEM ?= rp/digits

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EVOGIT := $(BIN)/evogit
DECLARED := pyproject.toml constraints.txt

.PHONY: demo test clean
.DEFAULT_GOAL := demo

# The first tag of demo, demo-2, demo-3 ... that no campaign has: each `make demo` is a campaign of its own.
demo: $(VENV)/.demo-installed
	@set -eu; \
	tag=$(CAMPAIGN); n=1; \
	while git show-ref --verify --quiet "refs/heads/autoresearch/$$tag"; do n=$$((n + 1)); tag=$(CAMPAIGN)-$$n; done; \
	$(EVOGIT) start "$$tag" --problem $(PROBLEM); \
	$(EVOGIT) loop --tag "$$tag" --problem $(PROBLEM) --max-runs $(RUNS) --seed $(SEED) --workers $(WORKERS); \
	printf '\nThe lab book\n\n'; $(EVOGIT) log --tag "$$tag"; \
	printf '\nThe frontier\n\n'; $(EVOGIT) frontier --tag "$$tag"; \
	printf '\nTry next\n\n'; \
	printf '  %-68s %s\n' \
	  "git log --graph --oneline autoresearch/$$tag" "the lab book in plain git" \
	  "git log --notes=evogit/metrics HEAD..autoresearch/$$tag" "with every number" \
	  "$(EVOGIT) show 1 --tag $$tag" "plan, diff, numbers and review of a run" \
	  "$(EVOGIT) loop --tag $$tag --max-runs 20" "go on searching" \
	  "$(EVOGIT) status --tag $$tag" "where it stands"

test: $(VENV)/.test-installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

# The stamps are older than what they were made from only if that changed: a second `make` installs nothing.
$(VENV)/.demo-installed: $(DECLARED) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[torch]'
	@touch $@

$(VENV)/.test-installed: $(DECLARED) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[torch,dev]'
	@touch $@ $(VENV)/.demo-installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo 'evogit needs Python 3.10 or later: make PYTHON=python3.12'; exit 2; }
	$(PYTHON) -m venv $(VENV)
