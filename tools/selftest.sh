#!/bin/sh
# Usage: tools/selftest.sh
#
# Plants faults in a small tree and checks that check_layers and check_style find each of them, and
# nothing in the tree without them.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

# Told in a file: the pipes below run in subshells.
failed() {
  echo "FAIL: $*"
  cat "$tree/out"
  : >"$tree/failed"
}

put() { # FILE, its text on stdin
  mkdir -p "$tree/$(dirname "$1")"
  cat >"$tree/$1"
}

clean_tree() {
  rm -rf "$tree/src" "$tree/tests"
  put src/core/a.h <<'EOF'
// Owns a.
#pragma once
#include <vector>
namespace um { struct A { int b; }; }
EOF
  put src/kernels/args.h <<'EOF'
// Owns args.
#pragma once
#include <cstdint>
EOF
  put src/kernels/cpu/isa/add.cc <<'EOF'
// Adds.
#include <immintrin.h>
#include "kernels/args.h"
EOF
  put src/ops/add.cc <<'EOF'
// Owns add.
#include "core/a.h"
#include "kernels/args.h"
#include "ops/add.h"
EOF
}

# expect TOOL TEXT: the tool fails, and says TEXT.
expect() {
  case $1 in
    check_layers) argument=$tree/src ;;
    *) argument=$tree ;;
  esac
  if "$tools/$1" "$argument" >"$tree/out" 2>&1; then
    failed "$1 passed with a planted fault; expected: $2"
  elif ! grep -qF "$2" "$tree/out"; then
    failed "$1 did not say: $2"
  fi
}

# plant TOOL TEXT FILE: adds a file (stdin) to a clean tree and expects the tool to say TEXT.
plant() {
  clean_tree
  put "$3"
  expect "$1" "$2"
}

# A function "name" of $2 lines in all.
long_function() {
  echo "$1 {"
  i=2
  while [ $i -lt "$2" ]; do
    echo "  if (a) { b(\"}\", '{', R\"(}}})\"); }  // {"
    i=$((i + 1))
  done
  echo "}"
}

lines() { # COUNT: a comment of so many lines
  awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print "// line" }'
}

clean_tree
"$tools/check_layers" "$tree/src" >"$tree/out" || failed "a clean tree"
"$tools/check_style" "$tree" >"$tree/out" || failed "a clean tree"

echo '#include "ops/add.h"' | plant check_layers 'kernels/ (level 1) may not include from ops/ (level 2)' src/kernels/up.cc
echo '#  include "text/t.h"' | plant check_layers 'kernels/ (level 1) may not include from text/ (level 1)' src/kernels/side.cc
echo '#include "a.h"' | plant check_layers 'write the path from src/' src/core/a.cc
echo '#include "nowhere/a.h"' | plant check_layers 'no folder "nowhere"' src/core/a.cc
echo '// x' | plant check_layers 'src/misc is not in the layer table' src/misc/a.cc
echo '// x' | plant check_layers 'src/main.cc is not in the layer table' src/main.cc
echo '#include "core/a.h"' | plant check_layers 'include only from kernels/' src/kernels/cpu/isa/b.cc
echo '#include <vector>' | plant check_layers '<vector> is not for per-instruction-set kernels' src/kernels/cpu/isa/b.cc
echo '#include <algorithm>' | plant check_layers '<algorithm> is not for per-instruction-set' src/kernels/args.h
echo '#include <mpi.h>' | plant check_layers '<mpi.h> may only be included by' src/comm/comm.h
echo '#include <cuda_runtime.h>' | plant check_layers '<cuda_runtime.h> may only' src/nn/linear.cc
echo '#include <dnnl.hpp>' | plant check_layers '<dnnl.hpp> may only' src/ops/matmul.cc

{ echo '// x'; long_function 'namespace um { template <class T> struct B<T> f(int a)' 101; echo '}'; } |
  plant check_style 'src/ops/long.cc:2: a function of 101 lines' src/ops/long.cc
{ echo '// x'; echo 'class A {'; long_function ' public: int f() const override' 120; echo '};'; } |
  plant check_style 'src/ops/long.cc:3: a function of 120 lines' src/ops/long.cc
{ echo '// x'; long_function 'void f(int a)' 151; } |
  plant check_style 'a function of 151 lines; at most 150' src/kernels/long.cc
{ echo '// x'; long_function 'TEST(A, b)' 101; } | plant check_style 'a function of 101' tests/a_test.cc
lines 801 | plant check_style 'a file of 801 lines' src/ops/long.cc
{ lines 400; echo '#pragma once'; } | plant check_style 'a file of 401 lines; at most 400' src/ops/long.h
echo '// x' | plant check_style 'without #pragma once' src/ops/b.h
echo 'int x;' | plant check_style 'does not open with a comment' src/ops/b.cc
printf '// x\nvoid f() {\n' | plant check_style 'lost count of the braces' src/ops/b.cc

# At the limits, and things that only look like long functions.
clean_tree
{ echo '// x'; long_function 'void f(int a)' 100; } | put src/ops/long.cc
{ echo '// x'; long_function 'void f(int a)' 150; } | put src/kernels/long.cc
{ echo '// x'; echo 'namespace um {'; lines 400; echo "constexpr int k = 1'000;"; echo 'class B {'; lines 200; echo '};'; echo '}'; } |
  put src/ops/scopes.cc
{ echo '// x'; echo 'const int kTable[] = {'; lines 200; echo '};'; echo 'const char* kText = R"html('; lines 200; echo '{{{)html";'; } |
  put src/ops/tables.cc
"$tools/check_style" "$tree" >"$tree/out" || failed "within the limits"

[ ! -f "$tree/failed" ] || exit 1
echo "selftest: every planted fault was found"
