# The commands of this repository; `make help` lists them. Each sets up first what it needs, so any of them works in a fresh clone.
# Variables: PYTHON (interpreter for .venv, 3.10 or newer), CXX (compiler of the extension), JOBS (test processes),
# ARGS (handed to pytest or to the demo), CANVAS_DATA (a folder that holds data already), FUZZ_SECONDS (a fuzz target's time).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup test check lint types layers core sanitize fuzz format demo clean

JOBS ?= $(shell n=$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS ?= 1
unexport PYTHONDONTWRITEBYTECODE # packages are installed uncompiled: what the first process compiles is there for the next
CXX_FILES = $$(find src bindings fuzz -name '*.h' -o -name '*.cpp')
PYTEST = python -m pytest -n $(JOBS) --dist worksteal

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## .venv, dependencies, the C++ core, the demo's data; quick when all is there
	@PATH="$${PATH#*:}" tools/setup.sh

test: setup ## the tests (ARGS="tests/test_x.py -k name" for some of them)
	@$(PYTEST) $(ARGS)

check: export CANVAS_WERROR = ON
check: FUZZ_SECONDS ?= 12
check: setup lint types layers core fuzz test ## all that a change must pass: lint, types, layers, core alone, fuzzing, tests

lint: setup ## ruff, and clang-format where it could be installed
	@echo "== lint"
	@ruff check
	@ruff format --check
	@if [[ -x .venv/bin/clang-format ]]; then clang-format --dry-run -Werror $(CXX_FILES); \
	else echo "clang-format: not installed on this platform, skipped"; fi

types: setup ## mypy
	@echo "== types"
	@mypy

layers: setup ## the layers of src/, file lengths, machine paths
	@echo "== layers"
	@python tools/check_layers.py

core: setup ## the C++ core, warnings as errors; `make fuzz` is the same with clang++
	@echo "== core"
	@cmake -S . -B build/dev -DCANVAS_WERROR=ON >/dev/null
	@cmake --build build/dev

# Tests of workers want a segmentation fault, and a lack of memory, to be what they are without the sanitizers.
# Without OpenVINO, which loads libraries in a way that the sanitizers' runtime refuses.
sanitize: setup ## the tests with the core under the address and undefined-behaviour sanitizers (slow)
	@cmake -S . -B build/asan -G Ninja --log-level=WARNING -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCANVAS_SANITIZE=address,undefined -DCANVAS_PYTHON=ON -DPython_EXECUTABLE='$(CURDIR)/.venv/bin/python' >/dev/null
	@cmake --build build/asan
	@rm -rf build/asan/python && mkdir build/asan/python && cp -r python/canvas build/asan/python/
	@rm -f build/asan/python/canvas/_core* && cp build/asan/_core* build/asan/python/canvas/
	@LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:handle_segv=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  PYTHONPATH='$(CURDIR)/build/asan/python' $(PYTEST) -k 'not openvino' $(ARGS)

fuzz: setup ## the core under libFuzzer, FUZZ_SECONDS a target (30), where clang has it
	@echo "== fuzz"
	@python tools/fuzz.py --seconds $(or $(FUZZ_SECONDS),30)

format: setup ## rewrites all sources as lint wants them
	@ruff check --fix-only && ruff format
	@if [[ -x .venv/bin/clang-format ]]; then clang-format -i $(CXX_FILES); fi

demo: setup ## a real search, about five minutes; results in demo/
	@python examples/demo.py $(ARGS)

clean: ## removes what was built; .venv/ and data/ stay
	@rm -rf build demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis python/canvas/_core*.so
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
