#!/usr/bin/env bash
# Builds the tests that need a card, and `reprise`, and puts them with all that they need into
# build/gpu-bundle: what a bare machine with a card runs (tests/gpu/run.sh, bench/gpu/run.sh).
#
#     tests/gpu/make_bundle.sh [PRESET]     (default: release)
#
# bundle.tar.xz holds bin/ (stripped), lib/ (shared libraries of them, without those of the C library,
# the driver and cuBLASLt), libc/ (the loader and C library of this machine, for machines with an
# older one) and tests.txt (a line a test: seconds it may take, name). Beside it lies FlashInfer, where
# bench/gpu/peers/pack_flashinfer.py has packed it. Prints the sizes; fails above kMostBytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=${1:-release}
build=build/$preset
target=build/gpu-bundle
readonly kMostBytes=$((40 << 20))  # carried beside a tree and a library or two
readonly kLibc='^(ld-linux-x86-64|libc|libm|libpthread|libdl|librt|libresolv|libutil|libmvec|libnsl)\.so'

[ -e "$build/build.ninja" ] || cmake --preset "$preset"
if [ ! -e "$build/gpu-bundle.txt" ] && ! cmake --preset "$preset" >/dev/null; then exit 1; fi
if [ ! -e "$build/gpu-bundle.txt" ]; then
  echo "make_bundle.sh: $build was configured without CUDA: install nvcc 13, or say where it is by -DREPRISE_NVCC=" >&2
  exit 1
fi
cmake --build --preset "$preset" --target gpu_bundle

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/bin" "$folder/lib" "$folder/libc"
while read -r seconds program; do
  strip -o "$folder/bin/$(basename "$program")" "$program"
  [ "$seconds" = - ] || echo "$seconds $(basename "$program")" >>"$folder/tests.txt"
done <"$build/gpu-bundle.txt"

# Their libraries, and those of their libraries: ldd follows all of them.
ldd "$folder"/bin/* | sed -nE 's/^\s*(\S+) => (\/\S+) .*/\1 \2/p' | sort -u | while read -r name path; do
  if [[ $name =~ $kLibc ]]; then
    cp -L "$path" "$folder/libc/$name"
  else
    cp -L "$path" "$folder/lib/$name" && strip --strip-unneeded "$folder/lib/$name"
  fi
done
missing=$(ldd "$folder"/bin/* | grep 'not found' || true)
if [ -n "$missing" ]; then
  echo "make_bundle.sh: libraries are missing here: $missing" >&2
  exit 1
fi
cp -L /lib64/ld-linux-x86-64.so.2 "$folder/libc/"
getconf GNU_LIBC_VERSION | cut -d' ' -f2 >"$folder/libc/version"

rm -rf "$target"
mkdir -p "$target/tests/gpu" "$target/bench/gpu/peers" "$target/bench/peers"
tar -C "$folder" -c --owner=0 --group=0 --sort=name --mtime=@0 . | xz -T2 >"$target/bundle.tar.xz"
cp tests/gpu/run.sh tests/gpu/stages.sh "$target/tests/gpu/"
cp bench/gpu/run.sh "$target/bench/gpu/"
cp bench/gpu/peers/*.py "$target/bench/gpu/peers/"
cp bench/peers/peer_protocol.py "$target/bench/peers/"
if [ -e build/flashinfer/flashinfer.tar.xz ]; then cp build/flashinfer/flashinfer.tar.xz "$target/"; fi

du -sh --apparent-size "$folder/bin" "$folder/lib" "$folder/libc" | sed "s|$folder/||"
bytes=$(du -sb "$target" | cut -f1)
echo "$target: $((bytes / 1024)) KiB, at most $((kMostBytes / 1024)) KiB"
if [ "$bytes" -gt "$kMostBytes" ]; then
  echo "make_bundle.sh: too large" >&2
  exit 1
fi
