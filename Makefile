PY ?= python3
V := .venv

.PHONY: run test smoke lint e2e bench battery openapi lock

# uv is used where it is on PATH, plain pip everywhere else. Both check every hash.
define install
	$(PY) -m venv $(1)
	@if command -v uv >/dev/null 2>&1; then uv pip sync --quiet --python $(1)/bin/python $(2); \
	 else $(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2); fi
endef

$(V)/.run: requirements/run.txt
	$(call install,$(V),requirements/run.txt)
	@touch $@

$(V)/.dev: requirements/dev.txt
	$(call install,$(V),requirements/dev.txt)
	@touch $(V)/.run $@

# Only what `make run` installs, so that nothing leans on a package that the tests brought along.
$(V)-run/.run: requirements/run.txt
	$(call install,$(V)-run,requirements/run.txt)
	@touch $@

run: $(V)/.run
	@exec $(V)/bin/python manage.py stack

test: $(V)/.dev
	$(V)/bin/python -m pytest -n 2 -q

# Lint reads the settings; nothing in it reaches a server.
lint: export SECRET_KEY := lint-lint-lint-lint-lint-lint-lint
lint: export DATABASE_URL := postgresql://nobody@127.0.0.1:1/nothing
lint: export REDIS_URL := redis://127.0.0.1:1/0
lint: $(V)/.dev
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/lint-imports
	$(V)/bin/mypy .
	$(V)/bin/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(V)/bin/python manage.py spectacular --validate --fail-on-warn --file .openapi.draft
	@diff -u docs/openapi.yaml .openapi.draft && rm .openapi.draft || \
	  { rm -f .openapi.draft; echo "docs/openapi.yaml is behind the code: make openapi"; exit 1; }

openapi: $(V)/.dev
	SECRET_KEY=lint-lint-lint-lint-lint-lint-lint DATABASE_URL=postgresql://nobody@127.0.0.1:1/nothing \
	  $(V)/bin/python manage.py spectacular --file docs/openapi.yaml

smoke: $(V)-run/.run
	$(V)-run/bin/python -m tests.smoke

# The README's tour, typed into a shell against `make run`'s own command. Needs bash and curl.
e2e: $(V)/.dev
	$(V)/bin/python -m pytest tests/e2e -q

# Long proofs: minutes, not seconds. SEED= repeats a run.
battery: $(V)/.dev
	$(V)/bin/python -m pytest tests/battery -q
	EXAMPLES=50 $(V)/bin/python -m pytest tests/test_contract.py -n 2 -q

bench: $(V)/.dev
	$(V)/bin/python -m benchmarks

lock:
	cd requirements && for f in base run dev; do \
	  uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o $$f.txt $$f.in; done
