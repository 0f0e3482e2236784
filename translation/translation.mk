# Targets of the translation crate.

ORACLE := $(CACHE)/bin/translation-oracle
ORACLE_CASES ?= 100000
VOLUMES := $(CACHE)/volumes.jsonl

.PHONY: test-oracle bench-translation

test-oracle: ## Ask Kubernetes' own translation library and ours 125,000 random questions
	TRANSLATION_ORACLE_CASES=$(ORACLE_CASES) cargo test -p csi-translation --test oracle -- --nocapture

$(ORACLE): $(wildcard translation/tests/oracle/*)
	cd translation/tests/oracle && go build -o ../../../$@ .

bench-translation: $(ORACLE) ## Measure the translation beside Kubernetes' own library
	cargo build --quiet --release -p csi-translation --example bench
	target/release/examples/bench make 100000 > $(VOLUMES)
	target/release/examples/bench compare $(ORACLE) $(VOLUMES)
	rm -f $(VOLUMES)
