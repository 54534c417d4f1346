# Every target does its own set-up: a virtual environment in .venv with stemtwin installed in place.
# Needs make and Python 3.11 or newer; on Debian: apt install make python3-venv. Another Python: make PYTHON=python3.12 test

PYTHON ?= $(shell command -v python3.11 || command -v python3)
WORKERS ?= 2
BIN := .venv/bin
READY := .venv/ready
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --durations 15
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo test format check check-all docs golden lowest foreign baselines learn learn-denoise learn-columns learn-defects datasets measured-data measured certificates notebooks images pages scores texts newcomer rehearsal rehearsal-page soak speed speed-against

help:
	@echo "make demo       image a sample, run an agent, score the baselines, print the board"
	@echo "make test       run the default tests"
	@echo "make format     format the code with ruff"
	@echo "make check      run ruff, pyright, codespell and cffconvert"
	@echo "make check-all  run check, build the documentation site, then run the slow tests and the comparisons with abTEM"
	@echo "make docs       build the documentation site in build/docs/html, warnings as errors (a minute; nothing is fetched)"
	@echo "make golden     recompute the recorded arrays of tests/golden and compare them bit for bit"
	@echo "make lowest     run the default tests with the oldest versions that pyproject.toml allows"
	@echo "make foreign    open files of all signals in HyperSpy, eXSpy, SciFiReaders and py4DSTEM; use environments and episodes in Stable-Baselines3 and Minari"
	@echo "make baselines  play the baselines of every environment with a goal, keep the runs, write their scale of returns (continues after an interruption)"
	@echo "make learn      train policies in an environment with torch, write curves and ONNX (an hour and a half)"
	@echo "make learn-denoise  train the U-Net of the task denoise on its dataset of size std (15 minutes)"
	@echo "make learn-columns  train the U-Net of the task atoms-2d@2 on its dataset of size std (3 minutes)"
	@echo "make learn-defects  train the U-Net of the task defects on its dataset of size std (5 minutes)"
	@echo "make datasets   build all released datasets, copy them into build/mirror, write the registries that ship (an hour and a half)"
	@echo "make measured-data  make the numbers and the picture of docs/measured-data.md if ../shared/real has the files (a minute)"
	@echo "make measured   make the numbers and the pictures of docs/measured.md if ../shared/real has the file (a minute)"
	@echo "make images     image every structure file of ../shared/real with default options, with engine, error and time (on a quiet machine; half an hour)"
	@echo "make certificates  compute rows of the datasets by both solvers and keep the results beside the cards; an interrupted run continues (half an hour)"
	@echo "make notebooks  run the unchanged notebooks of docs/notebooks (ten minutes each)"
	@echo "make pages      write docs/environments and docs/tasks, a page for each environment and task, from docstrings, cards and kept scores (seconds)"
	@echo "make scores     run the baselines of the tasks on datasets and keep their scores (an hour, with the data)"
	@echo "make texts SEED=1  print docstrings and messages drawn at random, for a reader who has not seen the code (seconds)"
	@echo "make newcomer   follow the guides of participants and organisers in new virtual environments, with the time of each step (minutes; needs the package index)"
	@echo "make rehearsal  rehearse an event with twelve teams that are processes, up to a verified archive (half an hour; needs bubblewrap and git)"
	@echo "make rehearsal-page  write docs/rehearsal.md and its pictures from the results of make rehearsal (seconds; needs chromium)"
	@echo "make soak       kill submitters, scorers, runners and agents at random moments 200 times; nothing may be lost or counted twice (minutes)"
	@echo "make speed      run the speed benchmarks (on a quiet machine)"
	@echo "make speed-against CHECKOUT=FOLDER   run the same rows of two checkouts by turns and print ratios"

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	touch $@

demo: $(READY)
	$(BIN)/stemtwin demo

test: $(READY)
	$(PYTEST)

format: $(READY)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/cffconvert --validate --infile CITATION.cff
	rm -rf build/typing && mkdir -p build/typing/stemtwin
	ln -s ../../../stemtwin/__init__.py ../../../twin ../../../datasets ../../../benchmarks ../../../leaderboard build/typing/stemtwin/
	$(BIN)/pyright --pythonpath $(BIN)/python

# Tests run in the order of their files: the default order leaves files with one test, which take longest, to a single worker at the end.
check-all: check docs
	$(PYTEST) --no-loadscope-reorder -m "(slow or reference) and not (speed or network or gpu)" --timeout 1200

docs: $(READY)
	MPLBACKEND=Agg $(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/docs/html
	@echo "build/docs/html/index.html"

golden: $(READY)
	$(BIN)/python -m tests.golden compare tests/golden/values --exact

lowest:
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/python -m pip install --quiet uv
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct --editable '.[test]'
	build/lowest/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile -W default

# Other programs need their own environments: releases of py4DSTEM need numpy 1, and .zspy needs zarr 2, which is installed in a separate folder.
build/foreign/ready: pyproject.toml
	$(PYTHON) -m venv --clear build/foreign
	build/foreign/bin/python -m pip install --quiet uv
	build/foreign/bin/uv pip install --quiet --python build/foreign/bin/python --editable '.[formats]' hyperspy exspy atomap SciFiReaders hypothesis pytest pytest-timeout
	build/foreign/bin/uv pip install --quiet --python build/foreign/bin/python --target build/foreign/zarr2 --no-deps 'zarr<3' 'numcodecs<0.16' asciitree deprecated fasteners wrapt
	touch $@

build/py4dstem/ready:
	$(PYTHON) -m venv --clear build/py4dstem
	build/py4dstem/bin/python -m pip install --quiet uv
	build/py4dstem/bin/uv pip install --quiet --python build/py4dstem/bin/python py4DSTEM
	touch $@

foreign: build/foreign/ready build/py4dstem/ready build/learn/ready
	build/foreign/bin/python -m pytest -q tests/datasets/formats/test_export.py tests/datasets/formats/test_reader.py
	PYTHONPATH=build/foreign/zarr2 build/foreign/bin/python -m pytest -q -p no:zarr tests/datasets/formats/test_export.py -k zspy
	rm -rf build/foreign/files
	build/foreign/bin/stemtwin demo --signals --output build/foreign/files
	build/foreign/bin/python tests/foreign/put_in.py build/foreign/files
	build/foreign/bin/python -W ignore tests/foreign/hyperspy_reads.py build/foreign/files
	build/foreign/bin/python -W ignore tests/foreign/minari_reads.py
	build/foreign/bin/python -W ignore tests/foreign/atomap_finds.py
	build/py4dstem/bin/python -W ignore tests/foreign/py4dstem_reads.py build/foreign/files
	OMP_NUM_THREADS=1 build/learn/bin/python tests/foreign/sb3_trains.py

baselines: $(READY)
	$(BIN)/python -m stemtwin.benchmarks.returns
	$(BIN)/python -m stemtwin.benchmarks.environment_pages

# torch is installed first and separately, from its CPU wheel; only training needs it.
build/learn/ready: pyproject.toml
	$(PYTHON) -m venv --clear build/learn
	build/learn/bin/python -m pip install --quiet 'torch==2.13.*'
	build/learn/bin/python -m pip install --quiet stable-baselines3 onnx onnxruntime --editable .
	touch $@

learn: build/learn/ready
	OMP_NUM_THREADS=1 build/learn/bin/python -m stemtwin.benchmarks.training.learner
	OMP_NUM_THREADS=1 build/learn/bin/python -m stemtwin.benchmarks.training.forge

learn-denoise: build/learn/ready
	OMP_NUM_THREADS=1 build/learn/bin/python -m stemtwin.benchmarks.training.denoiser

learn-columns: build/learn/ready
	OMP_NUM_THREADS=1 build/learn/bin/python -m stemtwin.benchmarks.training.columns

learn-defects: build/learn/ready
	OMP_NUM_THREADS=1 build/learn/bin/python -m stemtwin.benchmarks.training.defects

datasets: $(READY)
	$(BIN)/python -m stemtwin.datasets.release build/mirror --workers $(WORKERS)

measured-data: $(READY)
	$(BIN)/python -m tests.measured.page

images: $(READY)
	$(BIN)/python -m tests.measured.images

measured: $(READY)
	$(BIN)/python -m tests.measured.comparison

certificates: $(READY)
	$(BIN)/stemtwin certify atoms-2d@1 --output datasets/cards/atoms-2d-1.0.0.certificate.json
	$(BIN)/stemtwin certify atoms-2d@2 --output datasets/cards/atoms-2d-2.0.0.certificate.json
	$(BIN)/stemtwin certify defects@1 --output datasets/cards/defects-1.0.0.certificate.json
	$(BIN)/stemtwin certify denoise@1 --output datasets/cards/denoise-1.0.0.certificate.json
	$(BIN)/stemtwin certify ronchigram@1 --output datasets/cards/ronchigram-1.0.0.certificate.json

build/notebooks/ready: pyproject.toml
	$(PYTHON) -m venv --clear build/notebooks
	build/notebooks/bin/python -m pip install --quiet nbclient ipykernel --editable .
	touch $@

notebooks: build/notebooks/ready
	cd build/notebooks && for notebook in ../../docs/notebooks/*.ipynb; do bin/jupyter execute $$notebook --output $(CURDIR)/build/notebooks/$$(basename $$notebook) || exit 1; done

pages: $(READY)
	$(BIN)/python -m stemtwin.benchmarks.environment_pages
	$(BIN)/python -m stemtwin.benchmarks.task_pages

scores: $(READY)
	$(BIN)/python -m stemtwin.benchmarks.kept_scores atoms-2d
	$(BIN)/python -m stemtwin.benchmarks.kept_scores denoise
	$(BIN)/python -m stemtwin.benchmarks.kept_scores drift
	$(BIN)/python -m stemtwin.benchmarks.kept_scores ronchigram

# The commands of docs/participating.md and docs/organising.md; the small form of this and of the rehearsal are slow tests.
texts: $(READY)
	@$(BIN)/python -m tests.drawn_texts $(or $(SEED),1)

newcomer: $(READY)
	rm -rf build/newcomer && mkdir -p build
	$(BIN)/python -m tests.rehearsal.participant build/newcomer

rehearsal: $(READY)
	rm -rf build/rehearsal && mkdir -p build
	$(BIN)/python -m tests.rehearsal.rehearse build/rehearsal

rehearsal-page: $(READY)
	$(BIN)/python -m tests.rehearsal.page build/rehearsal

soak: $(READY)
	rm -rf build/soak && mkdir -p build/soak
	$(BIN)/python -m tests.leaderboard.soak 200 build/soak

speed: $(READY)
	$(BIN)/python -m tests.speed.run

# make speed-against CHECKOUT=../other: each row in two processes that take turns; the other folder needs no environment of its own
speed-against: $(READY)
	$(BIN)/python -m tests.speed.against $(CHECKOUT)
