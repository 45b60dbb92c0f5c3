# Two commands do everything on a fresh machine: `make align` and `make test`.
# PYTHON names the interpreter that makes .venv (3.11 to 3.13).

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SHELL := /bin/bash

# $(PY) is how every command below is run; it is printed as `python`, as in an activated .venv.
.PHONY: align align-ppo align-open test check lint setup clean help
.DEFAULT_GOAL := help

help:
	@echo "make align       run the whole loop on the demonstration house (runs/asdfg)"
	@echo "make align-ppo   then PPO too, and the review with it"
	@echo "make align-open  the loop on a real open model of 135 million parameters (runs/open; an hour)"
	@echo "make test        run all tests"
	@echo "make check       format, lint, types, fast tests"

# The stages' own commands, in a row. Each can be run by hand after `source .venv/bin/activate`.
TRAINED := \
	examples.asdfg.prepare sft \
	labeling.candidates "labeling.server start" labeling.push examples.asdfg.raters labeling.pull \
	labeling.preferences reward rlhf.dpo
REVIEWED := review "review.verdicts push" examples.asdfg.reviewers "review.verdicts pull"
ALIGN := $(TRAINED) $(REVIEWED) review.memorisation "review.gate --model dpo"

# A stage that fails ends it. The gate alone may say no (exit 2): its decision is what was asked for,
# and a demonstration this small is not meant to pass.
# $$run is the campaign's folder. A review that has not seen PPO's result is made again, and verdicts
# on the one before are asked for again.
define step
	  case "$$words" in \
	    review) result=review read=ppo;; \
	    "review.verdicts push") result=verdicts/push read=review;; \
	    *) result= ;; \
	  esac; \
	  if [ "$$result" ] && [ -f $$run/$$result/manifest.json ] \
	    && [ $$run/$$read/manifest.json -nt $$run/$$result/manifest.json ]; then \
	    words="$$words --overwrite"; \
	  fi; \
	  case "$$run $$words" in \
	    "runs/asdfg "*|*"server start") ;; \
	    *) words="$$words --run_dir $$run";; \
	  esac; \
	  echo; echo "$$ python -m $$words"; \
	  $(PY) -m $$words || { code=$$?; case "$$code $$words" in \
	    "2 review.gate "*) echo "(exit 2: the gate has decided, and does not pass this model)";; \
	    *) exit $$code;; \
	  esac; }
endef

# RUN is for trying this file: its commands then name that campaign.
RUN := runs/asdfg

align: setup
	@run=$(RUN); for words in $(ALIGN); do \
	$(step); \
	done

# The same on SmolLM2-135M-Instruct, which the package index has; configs/open/ is its campaign's.
align-open: setup
	@run=runs/open; for words in examples.open_model.fetch examples.open_model.general $(ALIGN); do \
	$(step); \
	done

# PPO climbs the reward model beside DPO.
align-ppo: align
	@run=$(RUN); for words in rlhf.ppo $(REVIEWED) "review.gate --model ppo"; do \
	$(step); \
	done

test: setup
	$(PY) -m pytest

lint: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

check: lint
	$(PY) -m pytest -m "not slow"

setup: $(VENV)/installed .venv-argilla/lock.sha256

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) --version); Python 3.11 to 3.13 is needed: make PYTHON=python3.12 …"; exit 3; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# What `labeling.server start` would build on its first call, so that later steps need no network.
.venv-argilla/lock.sha256: $(VENV)/installed labeling/server/host/requirements.lock
	@$(PY) -c 'from labeling.server.host import environment as e; e.ensure(e.DEFAULT_FOLDER)'
	@touch $@

clean:
	rm -rf $(VENV) .venv-argilla build *.egg-info
