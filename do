#!/bin/bash
# The one script of this repository: ./do build|test|guest|lint|bench|ci|clean. `./do help` says what each does.
# `./do test` is what CI runs (through .ci/run): it sets up what it needs and ends with the line "N passed, N failed".

set -eu
cd -- "$(dirname -- "$(readlink -f -- "$0")")"

# Debian packages the tests use: the linker for NativeAOT, tools that make and check file systems, a terminal.
# setup() adds libslirp0.
packages=(gcc libc6-dev e2fsprogs mmdebstrap bsdutils)
commands=(gcc gcc mke2fs mmdebstrap script)

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_CLI_USE_MSBUILD_SERVER=0 MSBUILDDISABLENODEREUSE=1
export PATH=$PATH:/usr/sbin:/sbin
[[ -n ${HOME:-} ]] || export HOME=$PWD/out/home
results=$PWD/out/results

say()
{
    echo "./do: $*" >&2
}

die()
{
    say "$*"
    exit 1
}

# Installs what is missing when root; says what to install otherwise.
setup()
{
    command -v dotnet >/dev/null || die "the .NET 10 SDK is needed: install it and put dotnet on PATH."
    local missing=() i
    for i in "${!commands[@]}"; do
        command -v "${commands[i]}" >/dev/null || missing+=("${packages[i]}")
    done

    # Programs for 32-bit guests are linked with the host's 32-bit C library.
    [[ $(gcc -m32 -print-file-name=crt1.o 2>/dev/null) == */crt1.o ]] || missing+=(gcc-multilib)
    # A library without a command: lhype loads it for --net user.
    ldconfig -p | grep 'libslirp\.so\.0 ' >/dev/null || missing+=(libslirp0)

    ((${#missing[@]})) || return 0
    if ((EUID)) || ! command -v apt-get >/dev/null; then
        die "needed packages are missing, install them first: apt-get install ${missing[*]}"
    fi

    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } </dev/null >&2 ||
        die "apt-get could not install ${missing[*]}."
}

# Publishes the binary as a user's first ./lhype does and tells the guest tests where it is.
publish()
{
    LHYPE_BINARY=$(LHYPE_BUILD_ONLY=1 ./lhype) || say "the binary could not be built"
    export LHYPE_BINARY
}

# Adds up the counters of every result file of this run. A test run that died counts as one failure.
summary()
{
    local crashed=$1 passed=0 failed=0 file counters p e
    for file in "$results"/*.trx; do
        [[ -e $file ]] || continue
        counters=$(grep -m1 -o '<Counters [^>]*>' "$file" || echo)
        p=$(sed -n 's/.* passed="\([0-9]*\)".*/\1/p' <<<"$counters")
        e=$(sed -n 's/.* total="\([0-9]*\)".*/\1/p' <<<"$counters")
        passed=$((passed + ${p:-0}))
        failed=$((failed + ${e:-1} - ${p:-0}))
    done

    ((failed > 0 || !crashed)) || failed=$crashed
    echo "$passed passed, $failed failed"
    ((failed == 0))
}

# run_tests PROJECT...: builds and runs test projects, results in out/results. Sets `crashed`.
run_tests()
{
    local project
    crashed=0
    rm -rf "$results"
    mkdir -p "$results"
    for project in "$@"; do
        say "running $project"
        dotnet test "tests/$project" -c Release -v quiet -nologo --logger "trx;LogFileName=$project.trx" \
            --results-directory "$results" -p:UseSharedCompilation=false </dev/null || crashed=$((crashed + 1))
        [[ -e $results/$project.trx ]] || say "$project gave no results"
    done
}

lint()
{
    local file
    for file in lhype do .ci/run; do
        bash -n "$file"
    done

    dotnet format Lhype.slnx --verify-no-changes --no-restore --severity warn </dev/null
}

case ${1:-help} in
    build)
        dotnet build Lhype.slnx -c Release -v quiet -nologo
        LHYPE_BUILD_ONLY=1 ./lhype
        ;;
    test)
        setup
        publish
        run_tests Lhype.Tests Lhype.GuestTests
        summary "$crashed"
        ;;
    unit)
        setup
        run_tests Lhype.Tests
        summary "$crashed"
        ;;
    guest)
        setup
        publish
        run_tests Lhype.GuestTests
        summary "$crashed"
        ;;
    lint)
        setup
        dotnet restore Lhype.slnx -v quiet
        lint
        ;;
    bench)
        shift
        exec bench/run "$@"
        ;;
    ci)
        exec bash .ci/run
        ;;
    clean)
        rm -rf out
        find src tests bench tools -type d \( -name bin -o -name obj -o -name TestResults \) -prune \
            -exec rm -rf {} + 2>/dev/null || true
        ;;
    help | --help | -h)
        cat <<'HELP'
usage: ./do COMMAND
  build   compile everything and publish the binary that ./lhype runs
  test    set up, then run every test; last line "N passed, N failed"
  unit    the unit tests only
  guest   boot real guests with the published binary only
  lint    formatting and script syntax
  bench   the same guests under QEMU TCG and Lhype, as a table of ratios
  ci      what CI runs: .ci/run
  clean   remove everything built
HELP
        ;;
    *)
        say "unknown command '$1'; ./do help lists them."
        exit 2
        ;;
esac
