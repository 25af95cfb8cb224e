# The one interface for developers. Every target sets up what it needs first; run again, it costs nothing.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: setup demo test check bench docs proto lock conformance-gateway foreign

setup:
	@scripts/setup

demo: setup
	@.venv/bin/python examples/shop/demo.py

test: setup check docs
	@scripts/setup tests
	.venv/bin/pytest -q

check: setup
	.venv/bin/ruff check src tests bench scripts examples
	.venv/bin/ruff format --check src tests bench scripts examples
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup
	.venv/bin/python -m bench

docs: setup
	@.venv/bin/python scripts/check_docs.py

# the official suite of Gateway API, in a cluster of its own (needs Go); its words: T="--test HTTPRouteWeight --keep"
conformance-gateway: setup
	@.venv/bin/python tests/conformance/gateway/run.py $(T)

# our agents beside a Kubernetes that is not ours: KUBE_APISERVER=/path/to/kube-apiserver make foreign (docs/foreign-kubernetes.md)
foreign: setup
	@scripts/foreign-kubernetes $(T)

proto: setup
	scripts/proto

# all platforms and Pythons, no registry's address in the file
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url -o requirements.lock
