# Two commands do everything: `make demo` runs the demonstration site, `make test` checks all there is.
# Both make their own environment in .venv and do not repeat what is done already.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHORTEN := --compress --mangle --format ascii_only=true
CATALOGUES := $(wildcard gem_consent/locales/*/LC_MESSAGES/*.po)

.PHONY: demo test lint types tests bench catalogues script clean

demo: $(VENV)/.demo
	$(BIN)/gem-consent demo $(DEMO_ARGS)

test: lint types tests

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	$(BIN)/mypy

tests: $(VENV)/.dev $(VENV)/.chromium $(VENV)/.caches $(VENV)/.node
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Measure, and write the results into docs/benchmarks.md: all parts, or BENCH="ledger" (BENCH="--help" tells more).
bench: $(VENV)/.bench
	PYTHONPATH=tests $(BIN)/python -m bench $(BENCH)

$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml $(CATALOGUES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml $(CATALOGUES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable ".[demo,parquet,postgres]"
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

# A Chromium for the browser tests: an installed one, else the distribution's when root, else Playwright's own.
$(VENV)/.chromium: $(VENV)/.dev
	@if command -v chromium chromium-browser google-chrome >/dev/null 2>&1; then \
	    echo "Chromium: the one that is installed"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; then \
	    echo "Chromium: the distribution's"; \
	elif $(BIN)/playwright install chromium; then \
	    echo "Chromium: Playwright's"; \
	else \
	    echo "Chromium: none to be had, so the browser tests will be skipped"; \
	fi
	@touch $@

# The caches that tests put before the application: those that are installed, else the distribution's when root.
$(VENV)/.caches: $(VENV)/.dev
	@if PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null && PATH="$$PATH:/usr/sbin" command -v varnishd >/dev/null; then \
	    echo "nginx and Varnish: those that are installed"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	        -o Dpkg::Options::=--force-confold nginx-light varnish gcc libc6-dev; then \
	    echo "nginx and Varnish: the distribution's"; \
	else \
	    echo "nginx and Varnish: not both to be had, so tests with the missing one will be skipped"; \
	fi
	@touch $@

# The compiler that checks the types of the scripts, what shortens the one that all pages carry (its very version,
# since the result is committed), and two libraries that swap pages, where there is an npm to get them with.
$(VENV)/.node: $(VENV)/.pip
	@if command -v npm >/dev/null 2>&1 && \
	    npm install --prefix $(VENV)/node --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
	        --silent typescript@~5.9 terser@5.51.4 @hotwired/turbo@~8.0 htmx.org@~2.0; then \
	    echo "TypeScript, terser, Turbo and htmx: npm's, in $(VENV)/node"; \
	else \
	    echo "TypeScript, terser, Turbo and htmx: none to be had, so what needs them will be skipped"; \
	fi
	@touch $@

# Make the script that every page carries, after a change to notice.js or to a part of it.
script: $(VENV)/.dev $(VENV)/.node
	$(BIN)/python -c 'from gem_consent.scripts import composed; print(composed("notice.js", {}))' \
	    | $(VENV)/node/node_modules/.bin/terser $(SHORTEN) --output gem_consent/static/notice.min.js

# Bring the catalogues up to date with the texts in the code and the templates.
catalogues: $(VENV)/.dev
	$(BIN)/pybabel --quiet extract -F .hatch/babel.cfg -k Message -k pgettext:1c,2 --no-location --sort-output \
	    -w 110 -o $(VENV)/gem_consent.pot .
	for po in $(CATALOGUES); do \
	    $(BIN)/pybabel --quiet update -i $(VENV)/gem_consent.pot -o $$po -N -w 110 --ignore-obsolete \
	        -l $$(basename $$(dirname $$(dirname $$po))); \
	done

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .screenshots
