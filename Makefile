# Every target sets up what it needs; a fresh clone needs git, make and Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --no-input --disable-pip-version-check -qq
INSTALLED := $(VENV)/.installed
TESTED := $(VENV)/.tested
PACKAGES := broker client_sdk keydir

# What a test result stands on; any newer file makes `make check` run the tests again.
SOURCES := $(shell find $(PACKAGES) configs docs tests conftest.py README.md \
	-type f -not -name '*.pyc' 2>/dev/null)

# The pure parts: every line and every branch of them is covered.
PURE := client_sdk/wire/*,client_sdk/core/*,client_sdk/machine/*,keydir/rules.py,keydir/limits.py,broker/acl.py
# Of all code; what only a command's own process runs is not counted.
MIN_COVERAGE := 88

# Most of the suite waits for programs and sockets: three at a time suit two cores.
WORKERS ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check long bench bench-peers bench-broker bench-scale attacks chaos fuzz \
	fuzz-broker kill-broker brokers cluster guide mutants fmt lock

help:
	@echo "make demo   the tour: a server, a doctor and a patient on this machine"
	@echo "make test   all tests"
	@echo "make long   tests that the suite has no time for"
	@echo "make check  everything CI runs: format, lint, types, layers, dependencies, coverage"
	@echo "make bench  a table of measurements, and bench.json"
	@echo "make chaos  kill -9 of server, senders and listeners, with a ledger; TEXTS and KILLS bound it"
	@echo "make bench-peers  the ratchet beside three others, installed into a scratch folder"
	@echo "make fuzz-broker  malformed packets against the broker; make kill-broker  kill -9, amqtt beside it"
	@echo "make brokers  every row of the contract of brokers, those with a cluster of their own too"
	@echo "make cluster  5,000 texts while a node of three is killed, and what syncing costs; ten minutes"
	@echo "make guide  every command of docs/operations.md, from one machine to a cluster"
	@echo "make bench-broker  the broker beside amqtt, Mosquitto and NATS, in turns; ten minutes"
	@echo "make bench-scale  messages by clients and brokers, bundles by replicas and users; 25 minutes"
	@echo "make attacks, make fuzz, make mutants   longer proofs than the suite has time for"
	@echo "make fmt    format the code"
	@echo "make lock   pin the dependencies of pyproject.toml again"

demo: $(INSTALLED)
	@$(BIN)/ratchetmq demo

# Leaves .coverage, which `make check` reads; the stamp says that the whole suite passed.
test: $(INSTALLED)
	@rm -f $(TESTED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=
	@touch $(TESTED)

# What is marked so: the same on more brokers, and the smallest runs of long measurements.
long: $(INSTALLED)
	RATCHETMQ_FULL=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m long

# Runs the tests only when they did not pass since the last change of a source, so that
# `make test check` runs them once.
check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	@test -e .coverage || rm -f $(TESTED)
	@$(MAKE) --no-print-directory $(TESTED)
	$(BIN)/coverage report --skip-covered --fail-under=$(MIN_COVERAGE)
	$(BIN)/coverage report --skip-covered --include='$(PURE)' --fail-under=100

$(TESTED): $(INSTALLED) $(SOURCES)
	@$(MAKE) --no-print-directory test

# BENCH_FLAGS=--markdown prints the table as docs/benchmarks.md has it, --in-memory leaves out
# stores and everything that travels.
bench: $(INSTALLED)
	@$(BIN)/python -m tests.bench $(BENCH_FLAGS)

# PEERS_FLAGS=--keep=<folder> keeps what was installed.
bench-peers: $(INSTALLED)
	@$(BIN)/python -m tests.bench.peers $(PEERS_FLAGS)

# BROKER_FLAGS="--broker ours --row mail.w20", or --help; nats-server goes into a scratch folder.
bench-broker: $(INSTALLED)
	@$(BIN)/python -m tests.bench.brokers $(BROKER_FLAGS)

# SCALE_FLAGS="--part messages --broker nats --clients 2 50", or --help. --keep=<folder> keeps the
# databases of a million users and the devices, 12 GB, which the next run then does not make again.
bench-scale: $(INSTALLED)
	@$(BIN)/python -m tests.bench.scale --plots docs/plots $(SCALE_FLAGS)

# Bounded by its texts, its kills and 20 minutes; the seed is printed, and SEED=n plays it again.
TEXTS ?= 3000
KILLS ?= 300
chaos: $(INSTALLED)
	@$(BIN)/python -m tests.e2e.chaos --texts $(TEXTS) --kills $(KILLS) --seconds 1200 \
		$(if $(SEED),--seed $(SEED))

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

# The attacks by their ids, with the numbers of cases that the suite has only a slice of.
attacks: $(INSTALLED)
	RATCHETMQ_FULL=1 $(BIN)/python -m pytest -q tests/attacks tests/property/machine

# FUZZ="--target mqtt --count 100000", or --help; findings are kept in .fuzz/.
fuzz: $(VENV)/.fuzz
	@$(BIN)/python -m tests.fuzz $(FUZZ)

# 100,000 bent packets of the seed that is printed; FUZZ_BROKER="--seed n" sends the same ones again.
fuzz-broker: $(INSTALLED)
	@$(BIN)/python -m tests.brokers.packet_fuzz $(FUZZ_BROKER)

# What is lost of what was acknowledged, in 20 kills of ours and of amqtt as shipped.
kill-broker: $(INSTALLED)
	@$(BIN)/python -m tests.brokers.kill $(KILL_BROKER)

# The suite has the rows of one server; here each row runs on a cluster of three, too.
brokers: $(INSTALLED)
	RATCHETMQ_FULL=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/brokers/contract

# Three rounds, each on a cluster of its own; CLUSTER="--texts 1000 --victims sender" for less.
cluster: $(INSTALLED)
	@$(BIN)/python -m tests.bench.cluster $(CLUSTER)

# The suite has it on one machine; here with PostgreSQL and the cluster, and the seconds of each chapter.
guide: $(INSTALLED)
	RATCHETMQ_FULL=1 $(BIN)/python -m pytest --durations=0 --durations-min=0.1 tests/guide

# Runs what was changed since the run before, MUTANTS="--fresh" all, MUTANTS="--again" the survivors
# too; those that are left have to stand in tests/mutants/known.toml.
mutants: $(VENV)/.mutants
	@$(BIN)/python -m tests.mutants $(MUTANTS)

# Tools of a proof of its own: installed when it is called for the first time.
$(VENV)/.fuzz $(VENV)/.mutants: $(VENV)/.%: requirements-%.lock $(INSTALLED)
	@$(PIP) install --require-hashes --no-deps -r $<
	@touch $@

# The locks are complete, so nothing is resolved at installation (--no-deps): older versions of pip
# look for the newest release of a package that is required with an extra, whatever the lock says.
# CUSTOM_COMPILE_COMMAND keeps this machine's settings out of the header of the lock.
LOCK := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	--strip-extras --allow-unsafe

lock: $(INSTALLED)
	$(LOCK) --extra server --extra dev --output-file requirements.lock pyproject.toml
	echo "atheris>=3,<4" | $(LOCK) -c requirements.lock --output-file requirements-fuzz.lock -
	echo "mutmut>=3.8,<4" | $(LOCK) -c requirements.lock --output-file requirements-mutants.lock -

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: call make PYTHON=python3.11" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing the pinned dependencies into $(VENV) (once; about a minute)"
	@$(PIP) install --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
