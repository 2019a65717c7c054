# The menu of this repository: `make` lists it. Every target sets up what it needs by itself.
#
# Plain make and sh on purpose: it has to work with the GNU make 3.81 of macOS, and dash.

# What the user may set, see `make help`.
PYTHON ?= python3
APP ?=
WORKERS ?=
HOST ?=
PORT ?=
ADMIN_PORT ?=
TESTS ?=
COVER ?=
SCENARIO ?=
USERS ?=
DURATION ?=
PROCESSES ?=
SHAPE ?=
UI ?=
ARGS ?=

comma := ,
space := $(subst ,, )
VENV := .venv
BENCH_VENV := .venv-bench

# Directories that come later are picked up as soon as there is Python in them.
SOURCES := $(strip $(foreach dir,server workers loadtest grafana examples benchmarks docs tests,\
	$(if $(wildcard $(dir)/*.py $(dir)/*/*.py),$(dir))))
# Modules in which every branch is a promise to a peer: none of them goes untested.
FULLY_COVERED := server/routing.py server/params.py server/close_codes.py server/receiving.py \
	server/websocket.py
MEASURED = $(filter-out 0,$(COVER))

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help serve bench loadtest capacity monitor test test-browser soak cover check lint types imports spell fresh configs fmt docs generate lock clean \
	venv-run venv-dev venv-bench

##@ Run
# `exec`, so that signals reach the server and not a shell. Only what was given is passed on: the
# defaults are the server's own. HOST counts on the command line alone, because some shells export
# the machine's name under it, which would open the server to the network.
#
# The showcase signs tokens. All its workers need the same key, also one that takes the place of a
# crashed one; what make gives the server in its environment is that, and lasts as long as the server.
# An app of the user's gets none: it is to have a key of its own.
ifeq ($(strip $(APP)$(SWITCHBOARD_JWT_SECRET)$(SWITCHBOARD_JWT_SECRET_FILE)),)
serve: export SWITCHBOARD_JWT_SECRET = $(shell od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
endif
serve: venv-run ## serve APP in the foreground until Ctrl-C
	exec $(VENV)/bin/python -m server serve $(strip $(APP) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(filter command,$(origin HOST)),$(addprefix --host ,$(HOST))) \
		$(addprefix --port ,$(PORT)) $(addprefix --admin-port ,$(ADMIN_PORT)) $(ARGS))

# Its own server is started if there is no HOST, which is ws://host:port here.
LOAD = exec $(VENV)/bin/python -m loadtest $(1) $(strip $(SCENARIO) \
	$(if $(filter command,$(origin HOST)),$(addprefix --host ,$(HOST))) \
	$(addprefix --admin ,$(ADMIN_PORT)) $(addprefix --users ,$(USERS)) \
	$(addprefix --duration ,$(DURATION)) $(addprefix --processes ,$(PROCESSES)) \
	$(addprefix --shape ,$(SHAPE)) $(2) $(ARGS))

loadtest: venv-dev ## hold USERS connections, judge what came of it and write a report
	$(call LOAD,run,$(if $(filter-out 0,$(UI)),--ui))

capacity: venv-dev ## how many connections this machine carries: ever more USERS, until a limit breaks
	$(call LOAD,capacity)

monitor: ## watch the server: Prometheus and Grafana in Docker, or the prometheus of this machine alone
	@exec sh grafana/monitor.sh

bench: venv-bench ## compare with other servers (in its own .venv-bench)
	$(BENCH_VENV)/bin/python -m benchmarks $(ARGS)

##@ Work on it
# `ls`, because coverage would pass over a module that has gone or changed its name.
test: venv-dev ## run TESTS; with COVER=1 also measure and judge their coverage
	$(VENV)/bin/python -m pytest $(strip $(TESTS) $(if $(MEASURED),--cov) $(ARGS))
	$(if $(MEASURED),@ls $(FULLY_COVERED) >/dev/null)
	$(if $(MEASURED),$(VENV)/bin/python -m coverage report --fail-under=100 \
		--include=$(subst $(space),$(comma),$(FULLY_COVERED)))

soak: venv-dev ## the tests of the whole server in their long form: thousands of connections
	SWITCHBOARD_SOAK=1 $(VENV)/bin/python -m pytest -n 0 $(or $(TESTS),tests/system tests/deploy/test_proxies.py) $(ARGS)

test-browser: TESTS := tests/browser
test-browser: test ## those that need Chromium: the chat, and what else is a page

cover: COVER := 1
cover: test ## the same as `make test COVER=1`

check: lint types imports spell fresh configs ## all that can be judged without running the code

lint: venv-dev ## ruff: mistakes and format
	$(VENV)/bin/python -m ruff check $(SOURCES)
	$(VENV)/bin/python -m ruff format --check $(SOURCES)

types: venv-dev ## mypy, strict
	$(VENV)/bin/python -m mypy $(SOURCES)

# It has no `-m`. Its script is named, not run: the path in its first line dies with a moved tree.
imports: venv-dev ## who may import whom (import-linter)
	$(VENV)/bin/python $(VENV)/bin/lint-imports --no-logo

spell: venv-dev ## codespell
	$(VENV)/bin/python -m codespell_lib

# What the lock file asks for has just been installed. If pyproject.toml asks for anything else, uv
# would have to download it, which it may not: no network is needed to find out.
fresh: venv-dev ## generated files match their sources
	@$(VENV)/bin/python -m uv pip install --quiet --offline --dry-run --python $(VENV) \
		--requirements pyproject.toml --all-extras --group dev \
		|| { echo "error: the lock files do not fit pyproject.toml; run: make lock" >&2; exit 1; }
	@$(VENV)/bin/python -m docs.generate --check
	@$(VENV)/bin/python -m grafana.builder --check

# As far as the programs are here; `-rs` says which are not. CI has them all.
configs: venv-dev ## the files of grafana/ and examples/deploy, by the programs that read them
	$(VENV)/bin/python -m pytest -n 0 -q -rs -m config tests/grafana tests/deploy

fmt: venv-dev ## let ruff format, and mend what it can
	$(VENV)/bin/python -m ruff check --fix-only $(SOURCES)
	$(VENV)/bin/python -m ruff format $(SOURCES)

docs: generate

generate: venv-dev ## write docs/reference/ and grafana/dashboards/ from the code
	$(VENV)/bin/python -m docs.generate
	$(VENV)/bin/python -m grafana.builder

##@ Keep it
# The other two follow the first, so that tests run on what is served. No address of a package index
# may get into the files: where packages come from is each machine's own business.
UV_COMPILE = $(VENV)/bin/python -m uv pip compile pyproject.toml --quiet --universal \
	--generate-hashes --no-header --no-emit-index-url --all-extras $(ARGS)

lock: venv-dev ## write the lock files from pyproject.toml (newer versions: ARGS=--upgrade)
	$(UV_COMPILE) --output-file requirements.lock
	$(UV_COMPILE) --group dev --constraints requirements.lock --output-file requirements-dev.lock
	$(UV_COMPILE) --group bench --constraints requirements.lock --output-file requirements-bench.lock
	@! grep -n -e '://' -e '^-' requirements*.lock \
		|| { echo "error: an address or an option got into a lock file" >&2; exit 1; }

clean: ## remove caches and reports (to start afresh: rm -rf .venv .venv-bench)
	rm -rf loadtest/reports
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf .coverage .coverage.* coverage.xml htmlcov build dist
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables, as in: make serve APP=examples.chat:app PORT=9000'
	@echo '  APP       what to serve, module:attribute (examples.showcase:app)'
	@echo '  WORKERS   worker processes (one per core)'
	@echo '  HOST      address to listen on (127.0.0.1); of a load test: the server, ws://host:port'
	@echo '  PORT      port to listen on (8000)'
	@echo '  SCENARIO  what the users of a load test do (idle); see `python -m loadtest scenarios`'
	@echo '  USERS     connections to hold; capacity begins with so many (the scenario'"'"'s)'
	@echo '  DURATION  how long, as in 90, 90s or 5m (the scenario'"'"'s)'
	@echo '  PROCESSES processes that make the load, -1 is one per core (1)'
	@echo '  SHAPE     how users come: none, ramp, steps, spike or soak (none)'
	@echo '  UI        1 shows the web page of the load test'
	@echo '  TESTS     files, directories or tests to run (all)'
	@echo '  COVER     1 measures coverage while testing'
	@echo '  ARGS      added to the command: make test ARGS="-x -k rooms"'
	@echo '  PYTHON    interpreter to make .venv with, 3.11 or newer (python3)'

# ------------------------------------------------------------------------------------------------
# Set-up. A virtual environment holds a copy of each lock file that was installed into it: as long
# as they are equal there is nothing to do, which takes a few milliseconds to see. A copy is removed
# before pip starts and written after it succeeded, so an interrupted set-up leaves none. An
# environment made by hand has none either, so what it lacks is installed. A lock file names all that
# is needed, so pip looks no further (`--no-deps`): older ones would, for `coverage[toml]`, say, and
# then refuse a version that is newer than the lock file.

# If the user names no interpreter, one that is too old or incomplete is no reason to give up yet.
PYTHONS := $(PYTHON) $(if $(filter file,$(origin PYTHON)),python3.13 python3.12 python3.11 python3.14)

# Says what is wrong with the interpreter that runs it, on one line. Python 2 has to understand it.
PYTHON_CHECK := import sys; \
	sys.version_info < (3, 11) and sys.exit("is Python %d.%d" % sys.version_info[:2]); \
	import importlib.util as i; \
	all(map(i.find_spec, ("venv", "ensurepip"))) or sys.exit( \
		"lacks venv or ensurepip (Debian, Ubuntu: apt install python3-venv)")

# $(call setup,virtual environment,lock file)
define setup
@if [ -x $(1)/bin/python ] && cmp -s $(2) $(1)/.installed-$(2); then exit 0; fi; \
set -e; \
if [ -e $(1)/.unfinished ] || ! $(1)/bin/python -c '' 2>/dev/null; then \
	python=; tried=; \
	for name in $(PYTHONS); do \
		if ! command -v "$$name" >/dev/null; then why='is not there'; [ -z "$$tried" ] || continue; \
		elif why=$$("$$name" -c '$(PYTHON_CHECK)' 2>&1); then python=$$name; break; \
		else case $$why in is*|lacks*) ;; *) why='does not run' ;; esac; \
		fi; \
		tried="$$tried$${tried:+, }$$name $$why"; \
	done; \
	if [ -z "$$python" ]; then \
		echo "error: Python 3.11 or newer is needed, but $$tried;" \
			"install one, or name one: make PYTHON=/path/to/python3.13" >&2; \
		exit 1; \
	fi; \
	echo "==> creating $(1) with $$("$$python" --version)"; \
	rm -rf $(1); mkdir $(1); : > $(1)/.unfinished; \
	"$$python" -m venv $(1); \
	rm $(1)/.unfinished; \
elif ! why=$$($(1)/bin/python -c '$(PYTHON_CHECK)' 2>&1); then \
	echo "error: the Python in $(1) $$why; remove it (rm -rf $(1)) and try again" >&2; \
	exit 1; \
elif ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
	echo "==> adding pip to $(1)"; \
	$(1)/bin/python -m ensurepip >/dev/null; \
fi; \
rm -f $(1)/.installed-$(2); \
echo "==> installing $(2) into $(1) (a minute or two the first time)"; \
$(1)/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
	--no-deps --require-hashes --requirement $(2); \
cp $(2) $(1)/.unfinished-copy; \
mv $(1)/.unfinished-copy $(1)/.installed-$(2)
endef

venv-run:
	$(call setup,$(VENV),requirements.lock)

# After what it shares with the other, so that neither copy can be wrong about the other's packages.
venv-dev: venv-run
	$(call setup,$(VENV),requirements-dev.lock)

venv-bench:
	$(call setup,$(BENCH_VENV),requirements-bench.lock)
