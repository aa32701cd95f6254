# roomtone: one line per verb. Each installs what it needs first (deploy/setup.sh).
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo run test check train train-speech train-default train-open train-frames unheard yardsticks strangers taught compare convert bench growth \
  mutants deploy bundle image sd-image lock ears ears-everybody soak fleet \
  test-systemd test-install test-instances test-make-deploy test-arm64 test-image test-homeassistant test-updates test-monitoring test-brokers test-addon test-sd-image test-wheel test-rolling
SHELL := bash
.SHELLFLAGS := -eo pipefail -c

EDGE := .venv-edge/.ready
DEV := .venv/.ready
HOME_ASSISTANT := .venv-homeassistant/.ready
TFLITE := .venv-tflite-runtime/.ready
PYTHON_DEV := .venv/bin/python
needs = $(if $($(1)),,$(error make $(firstword $(MAKECMDGOALS)) needs $(1)=$(2)))
# Said before anything is installed for it.
$(if $(filter train train-speech train-default train-open train-frames unheard yardsticks strangers taught compare,$(MAKECMDGOALS)),$(call needs,DATA,folder))
$(if $(filter train-speech train-open train-frames unheard yardsticks strangers taught,$(MAKECMDGOALS)),$(call needs,NOISE,folder))
$(if $(filter deploy,$(MAKECMDGOALS)),$(if $(HOSTS),,$(call needs,HOST,pi@sensor)))

help:  ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 26

setup: $(EDGE)  ## install what the sensor needs (.venv-edge)
	@echo "ready: .venv-edge/bin/roomtone (. .venv-edge/bin/activate makes it roomtone, in this terminal)"

setup-dev: $(DEV) $(TFLITE)  ## install what tests and training need (2.4 GB: .venv, .venv-tflite-runtime)
	@echo "ready: .venv and .venv-tflite-runtime"

demo: $(EDGE)  ## hear the bundled recording, with a page and a broker [SECONDS=40] [ARGS=...]
	@.venv-edge/bin/roomtone demo $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

run: $(EDGE)  ## listen to this machine's microphone, as config.yaml says [ARGS=...]
	@.venv-edge/bin/roomtone run $(ARGS)

test: $(DEV) $(TFLITE)  ## run the tests [ARGS=...]
	@$(PYTHON_DEV) -m pytest -n auto $(ARGS)

check: $(DEV)  ## lint, and the quick half of the tests (a minute and a half) [ARGS=...]
	@.venv/bin/ruff check .
	@$(PYTHON_DEV) -m pytest --quick -n auto $(ARGS)

train: $(DEV)  ## train one network DATA=folder [NETWORK=cnn] [ARGS=...]
	@$(PYTHON_DEV) -m train fit $(if $(NETWORK),--network $(NETWORK)) --data $(DATA) $(ARGS)

train-speech: $(DEV) $(TFLITE)  ## the bundled speech gate anew, in place (hours; with a GPU and 16 cores, minutes) DATA=folders NOISE=folders [ROOMS=folder]
	@$(PYTHON_DEV) -m train speech --data $(DATA) --noise $(NOISE) $(if $(ROOMS),--rooms $(ROOMS)) --name speech
	@$(PYTHON_DEV) -m convert runs/speech --form step --name speech --out edge/model/bundled/speech.tflite

train-default: $(DEV) $(TFLITE)  ## the bundled network of emotions anew, in place (half an hour) DATA=folders [OUT=file]
	@$(PYTHON_DEV) -m train rooms --data $(DATA) --out runs/default
	@$(PYTHON_DEV) -m convert runs/default/utterance-default-0-seed0 --name default \
	  --out $(or $(OUT),edge/model/bundled/default.tflite) --calibration train/reports/strangers/report.json

strangers: $(DEV) $(TFLITE)  ## what its recipe is worth on voices and corpora never heard, in rooms (an hour) DATA=folders NOISE=folder
	@$(PYTHON_DEV) -m train rooms --protocol yardsticks --data $(DATA) --out runs/rooms
	@$(PYTHON_DEV) -m convert.strangers runs/rooms --noise $(NOISE) --out train/reports/strangers

train-open: $(DEV) $(TFLITE)  ## a network that CREMA-D alone teaches, for any use, and what it is worth (half an hour) DATA=folders NOISE=folder
	@$(PYTHON_DEV) -m train rooms --teachers CREMA-D --protocol yardsticks --data $(DATA) --out runs/rooms-open
	@$(PYTHON_DEV) -m convert.strangers runs/rooms-open --noise $(NOISE) --out train/reports/open
	@$(PYTHON_DEV) -m train rooms --teachers CREMA-D --data $(DATA) --out runs/open
	@$(PYTHON_DEV) -m convert runs/open/utterance-default-0-seed0 --name open --out edge/model/bundled/open.tflite \
	  --calibration train/reports/open/report.json

train-frames: $(DEV) $(TFLITE)  ## a network that hears frames, and no room: runs/frames.tflite (15 minutes) DATA=folders NOISE=folder
	@$(PYTHON_DEV) -m train fit --network causal_cnn --protocol default --data $(DATA) --noise $(NOISE) --name frames
	@$(PYTHON_DEV) -m convert runs/frames --form step --name frames --out runs/frames.tflite \
	  --calibration train/reports/unheard/report.json

unheard: $(DEV) $(TFLITE)  ## what the recipe of train-frames is worth on voices and corpora never heard (80 minutes) DATA=folders NOISE=folder
	@$(PYTHON_DEV) -m train compare --protocol unheard --networks causal_cnn --recipe default --data $(DATA) --noise $(NOISE) \
	  --name unheard
	@$(PYTHON_DEV) -m convert.unheard runs/unheard --noise $(NOISE) --out train/reports/unheard

yardsticks: $(DEV)  ## what a recipe is worth to every corpus unseen, resumable (5 core hours; FAST=1: a quarter) DATA=folders NOISE=folder [ARGS=--recipe mine]
	@$(PYTHON_DEV) -m convert.yardsticks --data $(DATA) --noise $(NOISE) $(if $(FAST),--fast) \
	  --work runs/yardsticks/$(if $(FAST),fast,whole) --out train/reports/yardsticks$(if $(FAST),-fast) $(ARGS)

taught: $(DEV)  ## after `make strangers train-frames`: what lessons are worth to them (half an hour) DATA=folders NOISE=folder
	@$(PYTHON_DEV) -m convert.taught runs/frames.tflite runs/rooms/*.tflite --data $(DATA) --noise $(NOISE) \
	  --voices 10 --clips 20 --out train/reports/taught

compare: $(DEV)  ## train the study's networks side by side DATA=folder [ARGS=...]
	@$(PYTHON_DEV) -m train compare --data $(DATA) $(ARGS)

convert: $(DEV)  ## turn a training run into an artifact RUN=runs/NAME [OUT=file]; without RUN: config.yaml's set
	@$(PYTHON_DEV) -m convert $(RUN) $(if $(OUT),--out $(OUT)) $(ARGS)

bench: $(DEV)  ## what it costs, beside what one would otherwise run, and how soon it acts (an hour) [ROUNDS=1] [SECONDS=10] [OUT=folder] [ARM64=bundle]
	@$(PYTHON_DEV) -m pytest tests/bench/promptness.py
	@$(PYTHON_DEV) -m tests.bench.cost $(if $(OUT),--out $(OUT)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS))
	@$(PYTHON_DEV) -m tests.bench.telling $(if $(OUT),--out $(OUT)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS))
	@$(PYTHON_DEV) -m tests.bench.daemons $(if $(OUT),--out $(OUT)) $(if $(SECONDS),--seconds $(SECONDS))
	@$(PYTHON_DEV) -m tests.bench.guard $(if $(ARM64),--arm64 $(ARM64))

growth: $(DEV)  ## how it grows with blocks, microphones, sensors, clips and hours, into tests/bench/reports (hours)
	@for one in blocks "daemons --out tests/bench/reports" "fleet --seconds 40" laboratory "soak --out tests/bench/reports/soak.json"; \
	do began=$$SECONDS; $(PYTHON_DEV) -m tests.bench.$$one; echo "$${one%% *}: $$((SECONDS - began)) s"; done

mutants: $(DEV)  ## whether the tests notice small changes to the code (hours) [ROOM=hearing] [ARGS="--sample 0.2"]
	@deploy/setup.sh mutants
	@$(PYTHON_DEV) -m tests.bench.mutation $(ROOM) $(ARGS)

deploy:  ## install the last commit on machines, one after the other HOST="pi@sensor ..." or HOSTS=file [BUNDLE=dist/...tar] [AT_ONCE=1]
	deploy/rolling.sh $(if $(BUNDLE),--bundle $(BUNDLE)) $(if $(HOSTS),--hosts $(HOSTS)) $(if $(AT_ONCE),--at-once $(AT_ONCE)) $(HOST)

bundle:  ## an offline bundle of the last commit, into dist/ [ARCH=arm64] [SUITE=bookworm] [KEY=model.key] [EXTRAS=postgres,metrics]
	deploy/bundle.sh --arch $(or $(ARCH),arm64) --suite $(or $(SUITE),bookworm) $(if $(KEY),--key $(KEY)) $(if $(EXTRAS),--extras $(EXTRAS))

image:  ## an OCI image of the last commit [ARCH=amd64] [SUITE=bookworm], into dist/
	@deploy/setup.sh image-builder
	deploy/image/build.sh --arch $(or $(ARCH),amd64) --suite $(or $(SUITE),bookworm)

sd-image:  ## an SD card's image for a Raspberry Pi, of the last commit (as root; half an hour) [SUITE=bookworm], into dist/
	@deploy/setup.sh sd-image-builder
	deploy/sdcard/build.sh --suite $(or $(SUITE),bookworm)

test-systemd:  ## the unit in a Debian machine that boots (as root; 5 minutes) [ARGS=...]
test-install:  ## upgrades, failing and cut short at every step, rollback, uninstall on four such machines (as root) [ARGS=...]
test-instances:  ## three rooms on such a machine: a crash, a version that fails in one, uninstalling one (as root; 10 minutes) [ARGS=...]
test-make-deploy:  ## make deploy over ssh to such a machine, packages from the internet (as root; 5 minutes) [ARGS=...]
test-rolling:  ## five such machines upgraded one after the other over ssh; a failing version, signatures (as root; half an hour) [ARGS=...]
test-arm64:  ## the bundle on an emulated arm64 Debian (as root; 15 minutes) [ARGS=...]
test-systemd test-install test-instances test-make-deploy test-rolling test-arm64: $(DEV)
	@deploy/setup.sh $(if $(filter test-arm64,$@),arm64-machine,machine)
	@$(PYTHON_DEV) -m pytest -m machine tests/deploy/$(subst -,_,$@).py $(if $(filter test-install,$@),-n 4) $(ARGS)

test-image: $(DEV)  ## the image made, run read-only with a real broker and microphone, and on arm64 (as root; 10 minutes) [ARGS=...]
	@deploy/setup.sh image
	@$(PYTHON_DEV) -m pytest -m machine tests/deploy/test_image.py $(ARGS)

test-addon: $(DEV) $(HOME_ASSISTANT)  ## Home Assistant's add-on, as its Supervisor runs it, with a real Home Assistant (as root; 10 minutes) [ARGS=...]
	@deploy/setup.sh addon
	@$(PYTHON_DEV) -m pytest -m machine tests/deploy/test_addon_image.py $(ARGS)

test-sd-image: $(DEV)  ## the SD card's image in an emulated machine, and twenty power cuts (as root; two hours) [ARGS=...]
	@deploy/setup.sh sd-image
	@$(PYTHON_DEV) -m pytest -s -m machine tests/deploy/test_sd_image.py $(ARGS)

test-wheel: $(DEV)  ## the wheel, installed by pip away from any checkout, gives its demo (3 minutes) [ARGS=...]
	@$(PYTHON_DEV) -m pytest -m slow tests/deploy/test_wheel.py $(ARGS)

test-homeassistant: $(DEV) $(if $(NEWEST),,$(HOME_ASSISTANT))  ## a real Home Assistant finds the sensor (Python 3.13; 2 minutes; NEWEST=1: PyPI's newest, as root) [ARGS=...]
	@$(if $(NEWEST),deploy/setup.sh homeassistant-newest)
	@$(if $(NEWEST),HOME_ASSISTANT=.venv-homeassistant-newest) $(PYTHON_DEV) -m pytest -m machine tests/voice/test_homeassistant.py $(ARGS)

test-updates: $(DEV)  ## fifty sensors take a model over the air, and one that fails; kills at random moments (15 minutes) [ARGS=...]
	@$(PYTHON_DEV) -m pytest -m slow -s tests/updates/test_fleet.py $(ARGS)

test-brokers: $(DEV)  ## two brokers, the first killed twenty times while events flow: what it takes until all have come (8 minutes) [ARGS=...]
	@$(PYTHON_DEV) -m pytest -s -m slow tests/delivery/test_two_brokers.py tests/deploy/test_house_pair.py $(ARGS)

test-monitoring: $(DEV)  ## each alert fires by its cause and clears, with real Prometheus and Alertmanager (as root; 2 minutes) [ARGS=...]
	@deploy/setup.sh servers
	@$(PYTHON_DEV) -m pytest -s -m slow tests/deploy/test_monitoring.py $(ARGS)

ears: $(DEV)  ## how well speech is told from other sound, on the corpora (10 minutes) [ARGS=--clips 60]
	@$(PYTHON_DEV) -m tests.bench.ears $(ARGS)

ears-everybody: $(DEV)  ## whom the sensor hears and what fools it, beside silero-vad, on the corpora (half an hour) [ARGS=--clips 20]
	@$(PYTHON_DEV) -m tests.bench.everybody --out tests/bench/reports $(ARGS)

soak: $(DEV)  ## a day of sound through the sensor, faster than real time (half an hour) [ARGS=--hours 2]
	@$(PYTHON_DEV) -m tests.bench.soak $(ARGS)

fleet: $(DEV)  ## ten to a thousand sensors on one broker: what it needs, and who looks, on the corpora (15 minutes) [ARGS=--counts 300]
	@$(PYTHON_DEV) -m tests.bench.fleet $(ARGS)

lock:  ## renew the pinned versions in deploy/locks, needs uv [ARGS=--upgrade]
	deploy/lock.sh $(ARGS)

$(EDGE): pyproject.toml deploy/locks/requirements.txt
	deploy/setup.sh edge

$(DEV): pyproject.toml deploy/locks/requirements.txt
	deploy/setup.sh dev

$(HOME_ASSISTANT): deploy/locks/homeassistant.txt
	deploy/setup.sh homeassistant

$(TFLITE): pyproject.toml deploy/locks/tflite-runtime.txt
	deploy/setup.sh tflite-runtime
