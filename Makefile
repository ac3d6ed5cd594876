# Earmark: recordings and labels in, label probabilities out. `make help` lists the targets.

RECIPE    ?= demo
RUN       ?= $(RECIPE)
JOBS      ?= -1
ARGS      ?=
SCHEDULER ?=
NOTES     ?= cache/notes
PYTHON    ?= python3

# Threads that spin while they wait for a core made training five times slower beside other work.
export OMP_WAIT_POLICY ?= passive
# glibc keeps freed memory up to 1 GiB for the next arrays: a quarter less CPU time per step of training on a CPU.
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824
export MALLOC_MMAP_THRESHOLD_ ?= 1073741824

VENV   := .venv
PY     := $(VENV)/bin/python
# $(value X) and not $(X): a dollar in a folder's name is no variable of make.
quoted  = '$(subst ','\'',$(1))'
on_cluster = $(if $(SCHEDULER),--scheduler $(SCHEDULER))
SCRIPT  = $(PY) -m $(1) --recipe $(call quoted,recipes/$(RECIPE).yaml) --run $(call quoted,$(RUN)) $(if $(value DATA),--data.folder=$(call quoted,$(value DATA))) $(2) $(ARGS)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo demo_audio notes features survey baselines batch train lr calibrate tune predict embed similar blend ensemble export score inspect review report runs serve worker test check format bench bench-gpu clean

help:  ## this list
	@awk -F ':[^#]*## ' '/^[a-z_-]+:.*## / {printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## make .venv and install requirements.txt

# The last line: librosa compiles functions for later at its first import, and two processes at once may spoil them.
$(VENV)/.ready: requirements.txt requirements-nodeps.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "earmark needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -r requirements.txt
	$(PY) -m pip install --quiet --no-deps -r requirements-nodeps.txt
	$(PY) -c 'import librosa.util.utils, librosa.core.pitch'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	$(PY) -m pip install --quiet -r requirements-dev.txt
	@touch $@

demo: RECIPE = demo
demo: DATA = cache/demo_audio
demo: demo_audio features train  ## render instruments, then the whole road on them
	@$(if $(value ARGS),,[ $(call quoted,submissions/$(RUN)/report.html) -nt $(call quoted,cache/demo/runs/$(RUN)/oof.csv) ] ||) \
	$(MAKE) --no-print-directory tune predict inspect RECIPE=demo DATA=cache/demo_audio BRIEF=--brief
	@echo
	@echo "Eleven instruments, learnt one at a time and recognised several at once. Open or type:"
	@echo "  submissions/$(RUN)/submission.csv        the label probabilities"
	@echo "  submissions/$(RUN)/report.html           each clip: its scores over time, and its true labels"
	@echo "  make serve RECIPE=demo                   a page to tag your recordings with"
	@echo "  make report RECIPE=demo                  a page of the training: curves, confusions, clips to check"
	@echo "  make features train RECIPE=... DATA=...  your own recordings: README.md"

demo_audio: setup  ## the instruments of make demo
	$(PY) -m synth.render_demo --folder cache/demo_audio --jobs $(JOBS)

notes: setup  ## render the notes of recipes pitch, pitch_twelve and pitch_chords (SETS="naturals twelve chords")
	$(PY) -m synth.render_notes --folder $(call quoted,$(value NOTES)) $(if $(SETS),--sets $(SETS)) $(if $(TAKES),--takes $(TAKES)) --jobs $(JOBS)

features: setup  ## recordings -> cache/RECIPE/features.h5
	$(call SCRIPT,preprocess.features,--jobs $(JOBS) $(on_cluster))

survey: setup  ## what is in the data, before training, and cache/RECIPE/survey.html to look at and listen to
	$(call SCRIPT,preprocess.survey,--jobs $(JOBS))
	$(call SCRIPT,report.survey,--jobs $(JOBS))

baselines: setup  ## simple models on simple inputs, out of fold: a table, and accuracy over k
	$(call SCRIPT,train.baselines,--jobs $(JOBS))

batch: setup  ## what networks are fed: clips before and after each augmentation, cache/RECIPE/batch.html
	$(call SCRIPT,report.batch,--jobs $(JOBS))

train: setup  ## features -> cache/RECIPE/runs/RUN (FOLDS=0,2 for some of the networks)
	$(call SCRIPT,train.fit,--jobs $(JOBS) $(if $(FOLDS),--folds $(call quoted,$(FOLDS))) $(on_cluster))

lr: setup  ## the learning-rate finder
	$(call SCRIPT,train.find_lr)

calibrate: setup  ## the temperature of a run's scores, on out-of-fold scores
	$(call SCRIPT,predict.calibrate,--jobs $(JOBS))

tune: setup  ## thresholds of a run, on out-of-fold scores
	$(call SCRIPT,predict.tune,--jobs $(JOBS))

predict: setup  ## networks -> submissions/RUN/submission.csv (INPUT=folder_or_file for recordings of no dataset)
	$(call SCRIPT,predict.run,--jobs $(JOBS) $(if $(value INPUT),--input=$(call quoted,$(value INPUT)) $(on_cluster)))

embed: setup  ## embeddings of windows -> submissions/RUN/embeddings.parquet (INPUT=folder_or_file for recordings of no dataset)
	$(call SCRIPT,predict.embed,--jobs $(JOBS) $(if $(value INPUT),--input=$(call quoted,$(value INPUT))))

similar: setup  ## the places most like TO=clip.wav, by the embeddings of make embed (INPUT=...)
	$(call SCRIPT,predict.similar,$(if $(value TO),--to=$(call quoted,$(value TO))) $(if $(value INPUT),--input=$(call quoted,$(value INPUT))))

blend: setup  ## submissions of RUNS="a b c" -> submissions/RUN/submission.csv
	$(call SCRIPT,predict.blend,--runs $(RUNS))

ensemble: RECIPE = $(firstword $(RECIPES))
ensemble: RUN = ensemble
ensemble: setup  ## features, train and predict of RECIPES="a b" on the same DATA, blended -> submissions/RUN/submission.csv
	@set -e; for recipe in $(RECIPES); do $(MAKE) --no-print-directory features train predict RECIPE=$$recipe RUN=$$recipe; done
	$(call SCRIPT,predict.blend,--runs $(RECIPES))

export: setup  ## submissions/RUN/model to hand on: weights, ONNX from frames and from sound, recipe, labels, model card
	$(call SCRIPT,predict.export)

score: setup  ## score submissions/RUN/submission.csv (TRUTH=file.csv or a table of events, or the dataset's own labels)
	$(call SCRIPT,predict.score,$(if $(value TRUTH),--truth=$(call quoted,$(value TRUTH))) $(if $(value INPUT),--input=$(call quoted,$(value INPUT))))

inspect: setup  ## a summary of the result, and submissions/RUN/report.html (AGAINST=other_run for both side by side)
	$(call SCRIPT,report.inspect,--jobs $(JOBS) $(BRIEF) $(if $(value AGAINST),--against=$(call quoted,$(value AGAINST))) $(if $(value TRUTH),--truth=$(call quoted,$(value TRUTH))) $(if $(value INPUT),--input=$(call quoted,$(value INPUT))))

review: setup  ## clips of detections in INPUT to listen to and judge; then precision by score, thresholds, training data
	$(call SCRIPT,report.review,--jobs $(JOBS) $(if $(value INPUT),--input=$(call quoted,$(value INPUT))))

report: setup  ## a page of a trained run: curves, labels, confusions, a map of clips, clips to check; submissions/RUN/training_report.html
	$(call SCRIPT,report.training_report,--jobs $(JOBS))

runs: setup  ## all runs side by side: scores, spread, curves, differing keys; cache/runs.html
	$(PY) -m report.compare_runs $(ARGS)

# With a heap for each thread the server keeps more memory, and needs as much CPU time a request.
serve: export MALLOC_ARENA_MAX ?= 1
serve: setup  ## a page and an API that say what is in a recording (PORT=8000)
	$(call SCRIPT,serve.run,--jobs $(JOBS) $(if $(PORT),--port $(PORT)))

worker: setup  ## a worker for the dask cluster of SCHEDULER=tcp://host:8786, a process for each of JOBS cores
	PYTHONPATH=. $(VENV)/bin/dask worker $(SCHEDULER) --nworkers $(JOBS) --nthreads 1

# A process a core, one thread each: threads that wait for a core another test has cost more than they bring.
test: $(VENV)/.ready-dev  ## the tests
	$(PY) -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/.ready-dev  ## lint, types and house rules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	$(PY) -W error -m pytest tests/test_house.py

format: $(VENV)/.ready-dev  ## lint mended, code laid out
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: setup  ## the benchmarks, one after another
	@set -e; for name in mel features long_recording training parallel_folds prediction serving; do $(PY) -m benchmarks.$$name; done

bench-gpu: $(VENV)/.ready-dev  ## the tests and benchmarks that need a GPU, in less than eight minutes
	$(PY) -m benchmarks.gpu $(ARGS)

clean:  ## remove outputs, keep the environment
	find -H cache submissions -mindepth 1 ! -path cache/README.md ! -path submissions/README.md -delete
