#!/usr/bin/env bash
# The operators' drill: the life of a federation, with the commands that its members type.
#
#     examples/operation/drill.sh http://127.0.0.1:8545 DIRECTORY
#
# It needs `flo` on the PATH, a development chain (anvil --block-time 1), whose coin and clock it
# takes what it needs from, and an empty directory. All members are on this machine here; each has a
# home of its own.
set -euo pipefail
command -v flo >/dev/null || {
    echo "flo is not on the PATH; in a checkout: export PATH=\$PWD/.venv/bin:\$PATH" >&2
    exit 1
}

export FLO_RPC=$1
mkdir -p "$2"
cd "$2"
export FLO_STORE="file://$PWD/store" FLO_DEPLOYMENTS=deployments FLO_PASSWORD_FILE=password
echo "a password of the drill" > password

declare -A pids addresses

step() { printf '\n== %s\n' "$*"; }

# What only a development chain does. Elsewhere coin comes from the treasury, and time passes.
chain() {
    python3 - "$FLO_RPC" "$@" <<'PYTHON'
import json, sys, urllib.request

url, method, *params = sys.argv[1:]
body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
answer = json.load(urllib.request.urlopen(request, timeout=30))
if "error" in answer:
    sys.exit(f"{method}: {answer['error']}")
PYTHON
}
let_pass() { chain evm_increaseTime "$(printf '0x%x' "$1")" && chain evm_mine; }

# The value at a path in the JSON of a command.
field() { python3 -c 'import json, sys
found = json.load(sys.stdin)
for key in sys.argv[1:]:
    found = found[int(key)] if isinstance(found, list) else found[key]
print(found)' "$@"; }

new_key() {
    addresses[$1]=$(flo keys new "$1.json" --json | field address)
    chain anvil_setBalance "${addresses[$1]}" 0x56bc75e2d63100000 # 100 ETH
}

# A member's process: start NAME ROLE [OPTION…]; stop NAME. It gets SIGTERM, as from systemd.
start() {
    local name=$1 role=$2
    shift 2
    flo "$role" run --key "$name.json" --home "homes/$name" "$@" >> "$name.log" 2>&1 &
    pids[$name]=$!
}
stop() {
    kill -TERM "${pids[$1]}"
    wait "${pids[$1]}"
    unset "pids[$1]"
}
start_party() { start "$1" party --trainer "trainer.py:$1" --seed 1; }
trap 'for pid in "${pids[@]}"; do kill -KILL "$pid" || true; done' EXIT

# Run a round to its end; it must be accepted with so many updates.
round_of() {
    flo keeper run --key keeper.json --home homes/keeper --rounds 1
    included "$1" accepted
}
included() {
    flo round list --last 1 --json > last.json
    [ "$(field rounds 0 outcome < last.json) $(field rounds 0 included < last.json)" = "$2 $1" ]
}
# The same, until it is final and its rewards are credited.
last_round() {
    local before
    before=$(flo federation show --json | field head_round)
    flo keeper run --key keeper.json --home homes/keeper --rounds 1 --settle &
    pids[keeper]=$!
    until [ "$(flo federation show --json | field head_round)" -gt "$before" ]; do sleep 1; done
    let_pass 2000
    wait "${pids[keeper]}"
    unset "pids[keeper]"
    included "$1" final
}

cat > trainer.py <<'PYTHON'
import numpy as np
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic


def rows(seed):
    draw = np.random.Generator(np.random.PCG64(seed))
    y = (np.arange(60) % 2).astype(np.int32)
    return Rows((draw.normal(0, 1, (60, 4)) + y[:, None]).astype(np.float32), y)


def hospital():
    return NumpyLogistic(rows(1), 2, rows(100))


def clinic():
    return NumpyLogistic(rows(2), 2, rows(100))


def practice():
    return NumpyLogistic(rows(3), 2, rows(100))
PYTHON

step "create"
for name in owner keeper hospital clinic practice university institute agency; do new_key $name; done
flo manifest create --trainer trainer.py:hospital --name drill --batch-size 10 \
    --loss sparse_categorical_crossentropy --learning-rate 0.1
flo federation create --manifest manifest.json --weights genesis.safetensors --parties 4 \
    --min-updates 2 --challenge-period 1200 --answer-period 600 --unbond-period 600 --key owner.json
first=$(flo federation show --json | field address)

step "admit"
flo federation admit "${addresses[hospital]}" "${addresses[clinic]}" --role party --key owner.json
flo federation admit "${addresses[university]}" "${addresses[institute]}" --role aggregator \
    --key owner.json

step "register"
for name in hospital clinic; do flo party register --key $name.json; done
for name in university institute; do flo aggregator register --key $name.json; done
flo federation fund 1 --key owner.json

step "run"
for name in hospital clinic; do start_party $name; done
for name in university institute; do start $name aggregator; done
round_of 2

step "restart all"
for name in hospital clinic university institute; do stop $name; done
for name in hospital clinic; do start_party $name; done
for name in university institute; do start $name aggregator; done
round_of 2

step "lose a disk"
# The key file comes from the backup, everything else from the chain and the store.
for name in clinic institute; do
    stop $name
    rm -rf "homes/$name"
done
start_party clinic
start institute aggregator
round_of 2

step "rotate an aggregator"
flo federation admit "${addresses[agency]}" --role aggregator --key owner.json
flo aggregator register --key agency.json
start agency aggregator
flo aggregator withdraw --key institute.json --home homes/other
round_of 2

step "add a party"
flo federation admit "${addresses[practice]}" --role party --key owner.json
flo party register --key practice.json
start_party practice
round_of 3

step "remove a party"
flo federation remove "${addresses[clinic]}" --role party --key owner.json
last_round 2
stop clinic
flo party withdraw --key clinic.json
stop institute
flo aggregator withdraw --key institute.json

step "upgrade"
# New contracts, or new terms: a new federation goes on from the final model of the old one.
for name in hospital practice university agency; do stop $name; done
FLO_DEPLOYMENTS=deployments-2
flo --version
flo federation migrate --from "$first" --parties 3 --key owner.json
flo federation admit "${addresses[hospital]}" "${addresses[practice]}" --role party \
    --key owner.json
flo federation admit "${addresses[university]}" "${addresses[agency]}" --role aggregator \
    --key owner.json
flo federation fund 1 --key owner.json
for name in hospital practice; do flo party register --key $name.json; done
for name in university agency; do flo aggregator register --key $name.json; done
for name in hospital practice; do start_party $name; done
for name in university agency; do start $name aggregator; done
last_round 2

step "stop"
for name in hospital practice university agency; do stop $name; done
for call in request pay; do
    for name in hospital practice; do
        flo party withdraw --key $name.json
        flo party withdraw --key $name.json --federation "$first"
    done
    for name in university agency; do
        flo aggregator withdraw --key $name.json
        flo aggregator withdraw --key $name.json --federation "$first"
    done
    if [ $call = request ]; then let_pass 2000; fi
done
for name in hospital practice; do
    flo party rewards --key $name.json --collect
done

step "prove it to an auditor"
# Who has an endpoint and the store, and no key.
flo model verify --all # follows the line back into the old federation
flo report --federation "$first" --contributions --trainer trainer.py:hospital --out report.html

step "done"
