# SPDX-License-Identifier: MIT
#
# lvhd: how everything is built, checked and installed.  Plain `make` needs a
# C compiler and the headers of Lua 5.4, nothing else; `make help` lists the
# targets.
#
# Yours to set: CC CFLAGS CPPFLAGS LDFLAGS LIBFLAG LUA LUA_INCDIR DESTDIR
# PREFIX.  What lvhd itself needs stands in separate variables (LV_...), so
# that setting yours takes nothing away.  WERROR=1 turns on every warning and
# makes each an error; it is for `make lint`, never for a user's build.
#
# Objects go to $(B)/obj, so that builds with other flags (build/asan, ...)
# never mix with the one in build.

B ?= build

CFLAGS ?= -O2 -g
LIBFLAG ?= -shared
PREFIX ?= /usr/local
INST_LUADIR ?= $(PREFIX)/share/lua/5.4
INST_LIBDIR ?= $(PREFIX)/lib/lua/5.4
INST_BINDIR ?= $(PREFIX)/bin
# "" where only the rock's own folders may be written.
INST_SHAREDIR ?= $(PREFIX)/share
LUA ?= lua5.4
LUA_LIB ?= -llua5.4
LUA_INCDIR ?= $(firstword $(patsubst %/lua.h,%,$(wildcard \
  /usr/include/lua5.4/lua.h /usr/local/include/lua5.4/lua.h \
  /usr/local/include/lua.h /usr/include/lua.h)) /usr/include/lua5.4)

# What is done, a word each; V=1 shows the commands.
ifneq ($(V),1)
Q = @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

# ---- flags -------------------------------------------------------------

WARNINGS = -Wall -Wextra
ifeq ($(WERROR),1)
WARNINGS += -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
  -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wwrite-strings \
  -Wcast-qual -Wpointer-arith -Wvla -Wformat=2 -Wimplicit-fallthrough \
  -Wswitch-enum -Wnull-dereference -Werror
endif

# The checked libc functions exist in optimised builds only, and hide from
# the sanitizers what these want to see.
HARDEN = -fstack-protector-strong
ifeq ($(SANITIZE),)
ifneq ($(filter -O1 -O2 -O3 -Os,$(CFLAGS)),)
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
endif

LV_CPPFLAGS = -D_GNU_SOURCE -Isrc
LV_CFLAGS = -std=c11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) $(HARDEN) \
  $(SANITIZE)
# nodelete: a Lua state that ends unmaps its C modules, and a worker thread
# may still be on its way out.
LV_LDFLAGS = -pthread -Wl,-z,relro,-z,now $(SANITIZE)
LV_SOFLAGS = -Wl,-z,nodelete

COMPILE = $(CC) $(LV_CPPFLAGS) $(CPPFLAGS) $(LV_CFLAGS) $(CFLAGS) -MMD -MP -c
LINK = $(CC) $(LV_LDFLAGS) $(CFLAGS) $(LDFLAGS)

# ---- what there is -----------------------------------------------------

BINDING_SRC := $(wildcard src/lua/*.c)
ENGINE_SRC := $(filter-out $(BINDING_SRC),$(wildcard src/*.c src/*/*.c))
TESTMOD_SRC := $(wildcard spec/c/*test.c)
CTEST_SRC := $(wildcard spec/c/test_*.c)
HOST_SRC := $(wildcard spec/c/host_*.c)
TSAN_SRC := $(wildcard spec/c/tsan_*.c)
BENCH_SRC := $(wildcard spec/bench/*.c)
BENCHMOD_SRC := $(wildcard spec/bench/lua/*.c)
# The parts of the fuzzers that need no libFuzzer, which tests use too.
FUZZLIB_SRC := $(filter-out spec/fuzz/entry.c spec/fuzz/seeds.c, \
  $(wildcard spec/fuzz/*.c))

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
ENGINE_OBJ := $(call objects,$(ENGINE_SRC))
BINDING_OBJ := $(call objects,$(BINDING_SRC))
SPEC_SRC := $(TESTMOD_SRC) $(CTEST_SRC) $(HOST_SRC) $(TSAN_SRC) \
  $(BENCH_SRC) $(BENCHMOD_SRC) $(wildcard spec/fuzz/*.c) spec/c/without.c \
  spec/c/cover.c
SPEC_OBJ := $(call objects,$(SPEC_SRC))
ALL_OBJ := $(ENGINE_OBJ) $(BINDING_OBJ) $(SPEC_OBJ)

CORE := $(B)/lvhd/core.so
TESTMOD := $(TESTMOD_SRC:spec/c/%.c=$(B)/spec/%.so)
CTESTS := $(CTEST_SRC:spec/c/%.c=$(B)/spec/%)
HOSTS := $(HOST_SRC:spec/c/%.c=$(B)/spec/%)
TSANS := $(TSAN_SRC:spec/c/%.c=$(B)/spec/%)
WITHOUT := $(B)/spec/without
BENCHES := $(BENCH_SRC:spec/bench/%.c=$(B)/bench/%)
BENCHMODS := $(BENCHMOD_SRC:spec/bench/lua/%.c=$(B)/bench/%.so)
# The engine as an archive: what is linked with it takes what it uses.
ENGINE := $(B)/obj/engine.a
FUZZLIB := $(B)/obj/fuzz.a
FUZZERS := $(patsubst %,$(B)/%,info chain read check \
  change codec paths fat)

.PHONY: all
all: $(CORE)

# ---- building ----------------------------------------------------------

# Holds the commands that built what is in $(B); written only when they
# change, which makes everything build anew.
FLAGS := $(B)/obj/flags
FLAGS_NOW := $(subst ','\'',$(COMPILE) | $(LINK) $(LV_SOFLAGS) $(LIBFLAG) | \
  $(LUA_INCDIR))
.PHONY: force
$(FLAGS): force
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS_NOW)' | cmp -s - $@ || \
	  printf '%s\n' '$(FLAGS_NOW)' > $@

$(B)/obj/%.o: %.c $(FLAGS) Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(COMPILE) -o $@ $<

# Only these see Lua.
$(BINDING_OBJ) $(SPEC_OBJ): LV_CPPFLAGS += -isystem $(LUA_INCDIR)

$(CORE): $(ENGINE_OBJ) $(BINDING_OBJ) $(COUNTED)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) $(LV_SOFLAGS) $(LIBFLAG) -o $@ $^

$(ENGINE): $(ENGINE_OBJ)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(FUZZLIB): $(call objects,$(FUZZLIB_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

# The test modules hold parts of the engine once more: they reach functions
# that core.so hides.
$(TESTMOD): $(B)/spec/%.so: $(B)/obj/spec/c/%.o $(ENGINE) $(COUNTED)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) $(LV_SOFLAGS) $(LIBFLAG) -o $@ $^

$(CTESTS): $(B)/spec/%: $(B)/obj/spec/c/%.o $(FUZZLIB) $(ENGINE) $(COUNTED)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(WRAP)
# test_hostile and test_drives count what is allocated.
ALLOCATE = malloc calloc realloc aligned_alloc free strdup strndup
$(patsubst %,$(B)/spec/test_%,hostile drives): WRAP = \
  -Wl,$(subst $(space),$(comma),$(patsubst %,--wrap=%,$(ALLOCATE)))
# Memory that runs out, threads too (spec/c/poor.h).
POOR = -Wl,$(subst $(space),$(comma),$(patsubst %,--wrap=%,$(ALLOCATE) \
  pthread_create))
$(patsubst %,$(B)/spec/test_%,alloc memory root places look newfile publish \
  inplace io_paths io_roots io_drives): WRAP = $(POOR)
# These make up the kernel's release.
$(B)/spec/test_io_new $(B)/spec/test_batch: WRAP = $(POOR),--wrap=uname
$(B)/spec/test_flush: WRAP = -Wl,--wrap=uname
# test_api makes the system refuse.
$(B)/spec/test_api: WRAP = -Wl,$(subst $(space),$(comma),$(patsubst \
  %,--wrap=%,pthread_create pthread_cond_init pthread_mutex_init \
  pthread_mutexattr_init madvise mmap read write sysconf realloc))
comma := ,
space := $(subst ,, )

# Programs with Lua states of their own.  They are the Lua that a loaded
# core.so resolves against, hence not --as-needed.
$(HOSTS) $(TSANS): $(B)/spec/%: $(B)/obj/spec/c/%.o $(ENGINE) $(COUNTED)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ -Wl,--start-group $^ -Wl,--end-group $(WRAP) \
	  -Wl,--no-as-needed $(LUA_LIB)
# host_alloc has the module in itself, to count what that holds.
$(B)/spec/host_alloc: $(BINDING_OBJ)
$(B)/spec/host_alloc: WRAP = $(POOR)

# Knows nothing of the engine.
$(WITHOUT): $(B)/obj/spec/c/without.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^

$(BENCHES): $(B)/bench/%: $(B)/obj/spec/bench/%.o $(ENGINE)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^

$(BENCHMODS): $(B)/bench/%.so: $(B)/obj/spec/bench/lua/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) $(LV_SOFLAGS) $(LIBFLAG) -o $@ $^

-include $(ALL_OBJ:.o=.d)

# ---- the C library -----------------------------------------------------

# liblvhd.a is one object whose inner names are local; liblvhd.so exports the
# same names.  The number behind .so. goes up when a program must be compiled
# anew.
LIB_VERSION := $(shell sed -n 's/^\#define LVHD_VERSION "\(.*\)"/\1/p' src/lvhd.h)
SONAME = liblvhd.so.0
LIB_SO := $(B)/liblvhd.so.$(LIB_VERSION)
OBJCOPY ?= objcopy
INST_CLIBDIR ?= $(PREFIX)/lib
INST_INCDIR ?= $(PREFIX)/include

.PHONY: lib
lib: $(B)/liblvhd.a $(B)/liblvhd.so $(B)/lvhd.pc
$(B)/obj/liblvhd.o: $(ENGINE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) -nostdlib -r -o $@ $^
	$(Q)$(OBJCOPY) --localize-hidden $@
$(B)/liblvhd.a: $(B)/obj/liblvhd.o
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^
$(LIB_SO): $(ENGINE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(SONAME) $(LV_SOFLAGS) -o $@ $^
$(B)/liblvhd.so: $(LIB_SO)
	$(Q)ln -sf $(<F) $(B)/$(SONAME)
	$(Q)ln -sf $(SONAME) $@
$(B)/lvhd.pc: $(FLAGS) Makefile src/lvhd.h force
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(INST_CLIBDIR)' \
	  'includedir=$(INST_INCDIR)' '' 'Name: lvhd' \
	  'Description: create, inspect and maintain VHD virtual hard disks' \
	  'Version: $(LIB_VERSION)' 'Cflags: -I$${includedir}' \
	  'Libs: -L$${libdir} -llvhd' 'Libs.private: -pthread' > $@

# ---- trying and testing ------------------------------------------------

RUN_PATHS = LUA_PATH="./?.lua;./?/init.lua;;" \
  LUA_CPATH="./$(B)/?.so;./$(B)/spec/?.so;./$(B)/bench/?.so;;"
# --cpath wins over .busted's, which names the plain build.
BUSTED = $$(command -v busted) --ignore-lua -o spec/support/report.lua \
  --cpath="./$(B)/?.so;./$(B)/spec/?.so" \
  $(patsubst %,--helper=%,$(wildcard spec/helper.lua))
SPECS ?= spec
BUSTED_ARGS ?=
TEST_BUILD = $(CORE) $(TESTMOD) $(CTESTS) $(HOSTS) $(WITHOUT)
# make test SPECS=spec/task_spec.lua BUSTED_ARGS='--filter=cancel' runs a part.
RUN_TESTS = $(RUN_PATHS) LVHD_BUILD="$(B)" $(LUA) spec/support/run.lua

.PHONY: demo demo-run
demo:
	@sh spec/support/deps.sh demo
	@$(MAKE) --no-print-directory demo-run
demo-run: $(CORE)
	@KEEP="$(KEEP)" $(RUN_PATHS) $(LUA) spec/examples/demo.lua

.PHONY: test test-long test-run
test:
	@sh spec/support/deps.sh test
	@$(MAKE) --no-print-directory test-run EXCLUDE=slow
test-long:
	@sh spec/support/deps.sh test
	@$(MAKE) --no-print-directory test-run EXCLUDE=gate
test-run: $(TEST_BUILD)
	@$(RUN_TESTS) $(CTESTS) -- $(LUA) $(BUSTED) \
	  $(if $(EXCLUDE),--exclude-tags=$(EXCLUDE)) $(BUSTED_ARGS) $(SPECS)

.PHONY: deps
deps:
	@sh spec/support/deps.sh all

.PHONY: bench bench-run
bench:
	@sh spec/support/deps.sh test
	@$(MAKE) --no-print-directory bench-run
bench-run: $(CORE) $(BENCHES) $(BENCHMODS) $(B)/spec/filetest.so
	@$(RUN_PATHS) $(LUA) spec/bench/bench.lua
	@$(RUN_PATHS) $(LUA) spec/bench/children.lua
	@$(RUN_PATHS) $(LUA) spec/bench/loops.lua
	@$(RUN_PATHS) $(LUA) spec/bench/many.lua
	@$(RUN_PATHS) $(LUA) spec/bench/reading.lua
	@$(RUN_PATHS) $(LUA) spec/bench/writing.lua

# ---- the gates ----------------------------------------------------------
#
# What spec/RELIABILITY.md tells of: make gate-NAME runs all that proves a
# gate, the slow tests too.  Of each, the short form is part of `make test`,
# and the long one of `make test-long`; what is marked #gate runs here alone.
# GATE_NAME are its specs, GATE_NAME_C its unit tests.

# every system call that fails, every size of a full volume
GATE_faults = spec/sweep_spec.lua spec/full_spec.lua spec/faults_spec.lua \
  spec/drives_faults_spec.lua spec/regress_faults_spec.lua spec/volume_spec.lua

# every loss of power, kill -9, the same bytes twice
GATE_crash = spec/crash_spec.lua spec/crash_new_spec.lua \
  spec/interrupted_spec.lua spec/kills_spec.lua spec/same_bytes_spec.lua

# every allocation that fails, of the engine's and of Lua's
GATE_alloc = spec/alloc_spec.lua
GATE_alloc_C = test_alloc test_drives

# races, many tasks, lifecycles; ThreadSanitizer for longer than make tsan
GATE_threads = spec/concurrency_spec.lua spec/lifecycle_spec.lua \
  spec/lives_spec.lua
gate-threads: tsan-long

# bytes of strangers, and other programs' disks
GATE_hostile = spec/hostile_spec.lua spec/reference_spec.lua \
  spec/interop_spec.lua spec/writing_interop_spec.lua
GATE_hostile_C = test_hostile test_corpus

# without the newer system calls, and without /proc; the table of paths
GATE_fallbacks = spec/fallbacks_spec.lua spec/atomic_spec.lua \
  spec/containment_spec.lua

# in real mounts of every file system that the kernel has (as root)
GATE_volumes = spec/volumes_spec.lua

GATES = faults crash alloc threads hostile fallbacks volumes
.PHONY: $(GATES:%=gate-%)
$(GATES:%=gate-%): gate-%:
	@sh spec/support/deps.sh test
	@$(MAKE) --no-print-directory test-run EXCLUDE=never \
	  SPECS="$(GATE_$*)" CTESTS="$(GATE_$*_C:%=$(B)/spec/%)"

# Breaks the checks one by one: some test must notice each.  Long; a part:
# make mutants FILES="format/ io/root" OPS=never SAMPLE=40, see the script.
.PHONY: mutants
mutants:
	@sh spec/support/deps.sh test
	@FILES="$(FILES)" OPS="$(OPS)" SAMPLE="$(SAMPLE)" SEED="$(SEED)" \
	  JOBS="$(JOBS)" FRESH="$(FRESH)" LIST="$(LIST)" WHOLE="$(WHOLE)" \
	  JUDGES="$(JUDGES)" PATIENCE="$(PATIENCE)" LUA_PATH="./?.lua;./?/init.lua;;" \
	  $(LUA) spec/support/mutants.lua

.PHONY: reference
reference:
	$(LUA) spec/support/reference.lua > lvhd/REFERENCE.md
	$(LUA) spec/support/tables.lua

# ---- sanitizers --------------------------------------------------------

# The stock lua5.4 knows no sanitizer, so its runtime must be loaded first.
# $(B)/bin/lua5.4 does that for every Lua a spec starts, and alone.so keeps
# the preload from all other programs.
$(B)/bin/alone.so: spec/c/alone.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O1 -fPIC -shared -o $@ $<
$(B)/bin/$(LUA): $(B)/bin/alone.so
	@printf '#!/bin/sh\nLD_PRELOAD="%s %s" exec %s "$$@"\n' \
	  "$$($(CC) -print-file-name=$(RUNTIME))" "$(abspath $<)" \
	  "$$(command -v $(LUA))" > $@
	@chmod +x $@

# Tests marked #nosan measure what a sanitizer changes (memory, descriptors,
# time, strace); those marked #tsan are the ones where threads meet.
SANITIZED = $(MAKE) --no-print-directory LUA=$(LUA) CFLAGS="-O1 -g -fno-omit-frame-pointer"
ASAN_TEST = $(SANITIZED) B=build/asan RUNTIME=libasan.so LVHD_SANITIZER=asan \
  SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
TSAN_TEST = $(SANITIZED) B=build/tsan RUNTIME=libtsan.so LVHD_SANITIZER=tsan \
  SANITIZE="-fsanitize=thread"

.PHONY: asan tsan tsan-long sanitized-run
asan:
	@sh spec/support/deps.sh test
	@$(ASAN_TEST) sanitized-run TAGS="--exclude-tags=slow,nosan"
# setarch -R: the runtime of gcc 12 refuses kernels that spread mappings wide.
tsan:
	@sh spec/support/deps.sh test
	@setarch -R $(TSAN_TEST) sanitized-run TAGS="--tags=tsan"
# The states and the engine in threads alone: ten times the tasks.
tsan-long:
	@sh spec/support/deps.sh test
	@LVHD_TSAN_SECONDS=60 LVHD_TSAN_TASKS=100000 setarch -R $(TSAN_TEST) \
	  sanitized-run CTESTS= TAGS="--tags=tsan"

sanitized-run: export PATH := $(abspath $(B)/bin):$(PATH)
sanitized-run: export LVHD_SANITIZER := $(LVHD_SANITIZER)
sanitized-run: export ASAN_OPTIONS ?= detect_leaks=1:abort_on_error=0
sanitized-run: export UBSAN_OPTIONS ?= print_stacktrace=1
sanitized-run: export TSAN_OPTIONS ?= halt_on_error=1:second_deadlock_stack=1
sanitized-run: $(TEST_BUILD) $(TSANS) $(B)/bin/$(LUA)
	@$(RUN_TESTS) $(CTESTS) $(TSANS) -- $(LUA) $(BUSTED) $(TAGS) \
	  $(BUSTED_ARGS) $(SPECS)

# Slow: make valgrind-units takes the unit tests alone, make valgrind
# SPECS=spec/task_spec.lua CTESTS= the part that is named.  Left out are those
# that go by openat2, which the valgrind of Debian 12 does not know; test_batch
# by the descriptors that are left, of which it keeps some; test_alloc and
# test_hostile would take an hour.  make asan has them all.
.PHONY: valgrind valgrind-run valgrind-units valgrind-units-run
VALGRIND = valgrind -q --leak-check=full --error-exitcode=9
UNDER_VALGRIND = LVHD_SANITIZER=valgrind LVHD_UNDER="$(VALGRIND)" $(RUN_TESTS) \
  $(filter-out $(VALGRIND_NOT:%=$(B)/spec/%),$(CTESTS))
VALGRIND_NOT = $(addprefix test_,read root look newfile publish places \
  image_journal io_drives io_paths io_roots op_batch batch alloc hostile)
valgrind:
	@sh spec/support/deps.sh test
	@sh spec/support/deps.sh valgrind
	@$(MAKE) --no-print-directory valgrind-run
valgrind-units:
	@sh spec/support/deps.sh valgrind
	@$(MAKE) --no-print-directory valgrind-units-run
valgrind-run: $(TEST_BUILD)
	@$(UNDER_VALGRIND) -- $(VALGRIND) $(LUA) $(BUSTED) \
	  --exclude-tags=slow,nosan $(BUSTED_ARGS) $(SPECS)
valgrind-units-run: $(CTESTS)
	@$(UNDER_VALGRIND)

# ---- coverage -----------------------------------------------------------

# make coverage counts, by gcov, which lines and branches of src/ the tests
# take, and says what is not in spec/support/uncovered.txt; LONG=1 counts the
# slow tests too, SPECS= a part.  make coverage-table tells the last counts
# again.  What is counted is not optimised: a branch of the text is a branch
# of the code.  An empty file that everybody may write is made for each object
# first: some tests give up root.  What is marked #built builds lvhd anew, by
# itself, and nothing of that would be counted.
COVERAGE = $(MAKE) --no-print-directory B=build/cov CC=gcc CFLAGS="-g" \
  CPPFLAGS="-D_exit=quick_exit -DSLOWER=20 -DCOUNTED" \
  COUNTED=build/cov/obj/spec/c/cover.o
ifneq ($(COUNTED),)
$(ENGINE_OBJ) $(BINDING_OBJ): LV_CFLAGS += --coverage -fprofile-update=atomic
$(SPEC_OBJ): LV_CFLAGS += -O2
LV_LDFLAGS += --coverage -Wl,--exclude-libs,ALL
endif
.PHONY: coverage coverage-table coverage-run
coverage:
	@sh spec/support/deps.sh test
	@$(COVERAGE) coverage-run EXCLUDE=built$(if $(LONG),,$(comma)slow); \
	  ran=$$?; \
	  $(LUA) spec/support/coverage.lua build/cov \
	  $(if $(LONG)$(filter-out spec,$(SPECS))$(BUSTED_ARGS),tell,judge) && \
	  exit $$ran
coverage-table:
	@$(LUA) spec/support/coverage.lua build/cov tell
coverage-run: export GCOV_ERROR_FILE = /dev/null
coverage-run: export LVHD_SLOWER = 20
coverage-run: $(TEST_BUILD)
	@for o in $(ENGINE_OBJ) $(BINDING_OBJ); do : > $${o%.o}.gcda; \
	  chmod 666 $${o%.o}.gcda; done
	@$(RUN_TESTS) $(CTESTS) -- $(LUA) $(BUSTED) \
	  --exclude-tags=$(EXCLUDE) $(BUSTED_ARGS) $(SPECS)

# ---- fuzzing ------------------------------------------------------------

# make fuzz builds the fuzzers (clang), make fuzz-run SECONDS=60 lets each
# run so long.  What they find new goes to build/fuzz/new/<target>, what is
# wrong to build/fuzz/crash-...; see spec/fuzz/README.md.
FUZZ = $(MAKE) --no-print-directory B=build/fuzz CC=clang \
  CFLAGS="-O1 -g -fno-omit-frame-pointer" \
  SANITIZE="-fsanitize=fuzzer-no-link,address,undefined \
  -fno-sanitize-recover=undefined" UNCOVERED=-fno-sanitize=fuzzer-no-link
# What looks is not what is looked at.
$(call objects,$(wildcard spec/fuzz/*.c)): LV_CFLAGS += $(UNCOVERED)
SECONDS ?= 60
FUZZ_ARGS ?=

.PHONY: fuzz fuzz-run fuzz-seeds fuzz-build fuzz-each fuzz-coverage
fuzz:
	@sh spec/support/deps.sh fuzz
	@$(FUZZ) fuzz-build
fuzz-run: fuzz
	@$(FUZZ) fuzz-each
fuzz-build: $(FUZZERS)
$(FUZZERS): $(B)/obj/spec/fuzz/entry.o $(FUZZLIB) $(ENGINE)
	$(call say,LINK,$@)
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $^
# A second and 64 MiB are what an input may take.
fuzz-each:
	@for t in $(notdir $(FUZZERS)); do mkdir -p $(B)/new/$$t; \
	  echo "=== $$t"; $(B)/$$t -max_total_time=$(SECONDS) -timeout=5 \
	  -malloc_limit_mb=64 -max_len=65536 -print_final_stats=1 \
	  -artifact_prefix=$(B)/$$t- $(FUZZ_ARGS) \
	  $(B)/new/$$t $$(ls -d spec/fuzz/corpus/$$t \
	  $$(case $$t in codec|paths|fat) ;; \
	  *) echo spec/fuzz/corpus/image ;; esac) 2>/dev/null) || \
	  exit 1; done
# What the corpus reaches, by target and room.
FUZZCOV = build/fuzzcov
fuzz-coverage:
	@sh spec/support/deps.sh fuzz
	@$(MAKE) --no-print-directory B=$(FUZZCOV) CC=clang CFLAGS="-O1 -g" \
	  SANITIZE="-fprofile-instr-generate -fcoverage-mapping" \
	  $(FUZZCOV)/spec/test_corpus
	@$(LUA) spec/fuzz/coverage.lua $(FUZZCOV)/spec/test_corpus \
	  $(notdir $(FUZZERS))
# Writes the first inputs anew.
$(B)/seeds: $(B)/obj/spec/fuzz/seeds.o $(FUZZLIB) $(ENGINE)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^
fuzz-seeds: $(B)/seeds
	@mkdir -p $(B)/disks spec/fuzz/corpus
	@for f in $(filter-out %-2040g.vhd.gz,$(wildcard \
	  spec/fixtures/*.vhd.gz)) spec/fixtures/damaged/*.vhd.gz; do \
	  gzip -dc $$f > $(B)/disks/$$(basename $$f .vhd.gz); done
	@$(B)/seeds spec/fuzz/corpus $(B)/disks/*

# ---- lint --------------------------------------------------------------

.PHONY: lint lint-objects luacheck cppcheck rooms
lint: rooms
	@sh spec/support/deps.sh lint
	@$(MAKE) --no-print-directory B=build/lint-gcc CC=gcc WERROR=1 lint-objects
	@$(MAKE) --no-print-directory B=build/lint-clang CC=clang WERROR=1 lint-objects
	@$(MAKE) --no-print-directory luacheck cppcheck
	@echo "lint: clean"
lint-objects: $(ALL_OBJ)
luacheck:
	$(Q)luacheck -q lvhd spec rockspec/*.rockspec
CPPCHECK_FLAGS = --std=c11 --language=c --platform=unix64 --quiet -Isrc \
  -D_GNU_SOURCE -D__GNUC__=12 -DLUA_VERSION_NUM=504 \
  --enable=warning,performance,portability \
  --inline-suppr --suppress=missingIncludeSystem --error-exitcode=1
cppcheck:
	$(call say,CPPCHECK,"src and spec")
	$(Q)cppcheck $(CPPCHECK_FLAGS) \
	  $(ENGINE_SRC) $(BINDING_SRC) $(SPEC_SRC) spec/c/alone.c
rooms:
	@$(LUA) spec/support/rooms.lua .

# ---- installing --------------------------------------------------------

INSTALL ?= install
LUA_DIRS = lvhd lvhd/virtualserver lvhd/command
.PHONY: install uninstall install-lib uninstall-lib clean help
MAN_PAGE = $(DESTDIR)$(INST_SHAREDIR)/man/man1/lvhd.1
COMPLETION = $(DESTDIR)$(INST_SHAREDIR)/bash-completion/completions/lvhd
install: all
	$(INSTALL) -d $(LUA_DIRS:%="$(DESTDIR)$(INST_LUADIR)/%") \
	  "$(DESTDIR)$(INST_LIBDIR)/lvhd" "$(DESTDIR)$(INST_BINDIR)"
	for d in $(LUA_DIRS); do $(INSTALL) -m 644 $$d/*.lua \
	  "$(DESTDIR)$(INST_LUADIR)/$$d" || exit 1; done
	$(INSTALL) -m 755 $(CORE) "$(DESTDIR)$(INST_LIBDIR)/lvhd/core.so"
	$(INSTALL) -m 755 lvhd/bin/lvhd "$(DESTDIR)$(INST_BINDIR)/lvhd"
	$(if $(INST_SHAREDIR),@$(MAKE) --no-print-directory install-pages)
	@$(LUA) -e 'require "argparse"' 2>/dev/null || \
	  echo "the command, lvhd, will not run without argparse: lua-argparse"
# Made of the command's own words, which takes its parser, argparse.
WRITE_PAGE = io.write(require "lvhd.command.parser".manual(require "lvhd".version))
.PHONY: install-pages
install-pages: all
	@if $(LUA) -e 'require "argparse"' 2>/dev/null; then \
	  $(INSTALL) -d "$(dir $(MAN_PAGE))" "$(dir $(COMPLETION))" && \
	  $(RUN_PATHS) $(LUA) lvhd/bin/lvhd completion bash > "$(COMPLETION)" && \
	  $(RUN_PATHS) $(LUA) -e '$(WRITE_PAGE)' > "$(MAN_PAGE)" && \
	  chmod 644 "$(COMPLETION)" "$(MAN_PAGE)" && \
	  echo "installed the man page and bash's completion"; \
	else echo "no man page, no completion: they need argparse"; fi
uninstall:
	rm -f $(patsubst %,"$(DESTDIR)$(INST_LUADIR)/%",$(wildcard \
	  $(LUA_DIRS:%=%/*.lua))) "$(DESTDIR)$(INST_LIBDIR)/lvhd/core.so" \
	  "$(DESTDIR)$(INST_BINDIR)/lvhd" "$(MAN_PAGE)" "$(COMPLETION)"
	-rmdir "$(DESTDIR)$(INST_LUADIR)/lvhd/virtualserver" \
	  "$(DESTDIR)$(INST_LUADIR)/lvhd/command" \
	  "$(DESTDIR)$(INST_LUADIR)/lvhd" "$(DESTDIR)$(INST_LIBDIR)/lvhd" \
	  2>/dev/null
install-lib: lib
	$(INSTALL) -d "$(DESTDIR)$(INST_INCDIR)" \
	  "$(DESTDIR)$(INST_CLIBDIR)/pkgconfig"
	$(INSTALL) -m 644 src/lvhd.h "$(DESTDIR)$(INST_INCDIR)"
	$(INSTALL) -m 644 $(B)/liblvhd.a "$(DESTDIR)$(INST_CLIBDIR)"
	$(INSTALL) -m 755 $(LIB_SO) "$(DESTDIR)$(INST_CLIBDIR)"
	ln -sf $(notdir $(LIB_SO)) "$(DESTDIR)$(INST_CLIBDIR)/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(INST_CLIBDIR)/liblvhd.so"
	$(INSTALL) -m 644 $(B)/lvhd.pc "$(DESTDIR)$(INST_CLIBDIR)/pkgconfig"
uninstall-lib:
	rm -f "$(DESTDIR)$(INST_INCDIR)/lvhd.h" \
	  "$(DESTDIR)$(INST_CLIBDIR)"/liblvhd.* \
	  "$(DESTDIR)$(INST_CLIBDIR)/pkgconfig/lvhd.pc"
# An archive of the source and a rock of this machine's kind, of one version, in
# build/dist.  luarocks must make and pack in two steps: in one it packs nothing
# of a build by make.
DIST = build/dist
DIST_NAME = lvhd-$(LIB_VERSION)
DIST_FILES = $(wildcard lvhd src rockspec spec Makefile README.md LICENSE \
  CHANGELOG.md .busted .luacheckrc .ci .github .gitattributes .gitignore)
DIST_ROCKS = env -u MAKEFLAGS luarocks --lua-version=5.4 --tree "$$top/tree"
.PHONY: dist
dist:
	@rm -rf $(DIST)
	@mkdir -p $(DIST)/$(DIST_NAME)
	@cp -r $(DIST_FILES) $(DIST)/$(DIST_NAME)
	@cd $(DIST)/$(DIST_NAME)/rockspec && sed 's/"dev-1"/"$(LIB_VERSION)-1"/' \
	  lvhd-dev-1.rockspec > $(DIST_NAME)-1.rockspec
	@tar -C $(DIST) --owner=0 --group=0 --sort=name -czf \
	  $(DIST)/$(DIST_NAME).tar.gz $(DIST_NAME)
	@top=$$(cd $(DIST) && pwd); cd $(DIST)/$(DIST_NAME) && \
	  $(DIST_ROCKS) make rockspec/$(DIST_NAME)-1.rockspec > ../log 2>&1 && \
	  cd .. && $(DIST_ROCKS) pack lvhd >> log 2>&1 || { cat $$top/log; exit 1; }
	@rm -rf $(DIST)/tree $(DIST)/$(DIST_NAME) $(DIST)/log
	@ls $(DIST)
clean:
	rm -rf build

help:
	@echo "make              build/lvhd/core.so (compiler and Lua headers only)"
	@echo "make demo         a dozen children of a golden image [KEEP=folder]"
	@echo "make test         unit tests and specs [SPECS= BUSTED_ARGS=]"
	@echo "make test-long    the same with the slow ones"
	@echo "make deps         install what tests and checks need (Debian)"
	@echo "make $(GATES:%=gate-%)"
	@echo "                  all that proves a promise, see spec/RELIABILITY.md"
	@echo "make fuzz fuzz-run fuzz-seeds fuzz-coverage"
	@echo "                  libFuzzer [SECONDS=60 each], what it reaches"
	@echo "make coverage     lines and branches of src/ that the tests take [LONG=1]"
	@echo "make mutants      do the tests notice a missing check? [FILES= SAMPLE=]"
	@echo "make lint         gcc, clang, luacheck, cppcheck, rooms"
	@echo "make asan tsan tsan-long valgrind    the tests under a sanitizer"
	@echo "make valgrind-units                  the unit tests under valgrind"
	@echo "make bench        lvhd beside the floor"
	@echo "make reference    the tables and lvhd/REFERENCE.md, of the sources"
	@echo "make install uninstall     [DESTDIR= PREFIX=/usr/local]"
	@echo "make dist         an archive and a rock, in build/dist"
	@echo "make lib install-lib uninstall-lib    the C library, without Lua"
	@echo "make clean        removes build/"
	@echo "V=1 shows the commands"
